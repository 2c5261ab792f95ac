// One allocation that holds many tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

#include "kernels/backend.h"

namespace seer {

// Gives out tensors that follow one another in memory, each at a multiple of 256 bytes. An arena without
// memory gives out tensors without data and only adds up sizes. So one function can both say how much memory
// its tensors need and place them.
class Arena {
 public:
  static constexpr int64_t kAlignment = 256;  // holds whole cache lines, and suits the widest copies of GPUs

  // `data` is the memory; null only measures. `too_large` is the message of the error if sizes are beyond the
  // address space.
  explicit Arena(std::string too_large, void* data = nullptr)
      : too_large_(std::move(too_large)), data_(static_cast<char*>(data)) {}

  // Returns the next tensor. Throws Error{kMemory} if the sizes so far are beyond the address space.
  Tensor take(DType type, std::initializer_list<int64_t> shape);
  int64_t used() const { return used_; }

  // Returns the bytes of the tensors that `place` takes.
  static int64_t measure(const std::string& too_large, const std::function<void(Arena*)>& place) {
    Arena sizes(too_large);
    place(&sizes);
    return sizes.used();
  }
  // Allocates as many bytes, and calls `place` again to take its tensors from that memory. The tensors are
  // valid as long as the returned buffer. Throws Error{kMemory}.
  static Buffer allocate(Backend* backend, const std::string& purpose, const std::string& too_large,
                         const std::function<void(Arena*)>& place);

 private:
  std::string too_large_;
  char* data_;
  int64_t used_ = 0;
};

}  // namespace seer
