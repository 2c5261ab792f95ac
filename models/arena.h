// One allocation that holds many tensors.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

#include "kernels/backend.h"

namespace seer {

// Takes tensors one after the other, each on a multiple of 256 bytes. Without memory, tensors have no data
// and only the size is summed, so that one function can say how much memory its tensors need and then place
// them.
class Arena {
 public:
  static constexpr int64_t kAlignment = 256;  // whole cache lines, and the widest copies of GPUs

  // `too_large` is the message of the error if sizes are beyond the address space.
  explicit Arena(std::string too_large, void* data = nullptr)
      : too_large_(std::move(too_large)), data_(static_cast<char*>(data)) {}

  // Throws Error{kMemory}.
  Tensor take(DType type, std::initializer_list<int64_t> shape);
  int64_t used() const { return used_; }

  // Bytes of the tensors that `place` takes.
  static int64_t measure(const std::string& too_large, const std::function<void(Arena*)>& place) {
    Arena sizes(too_large);
    place(&sizes);
    return sizes.used();
  }
  // Allocates as much, and has `place` take its tensors again, this time with memory.
  static Buffer allocate(Backend* backend, const std::string& purpose, const std::string& too_large,
                         const std::function<void(Arena*)>& place);

 private:
  std::string too_large_;
  char* data_;
  int64_t used_ = 0;
};

}  // namespace seer
