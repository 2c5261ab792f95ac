// Large pieces of page-locked memory of the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace seer::cuda {

// CUDA itself takes such memory on one thread, in pages of 4 KiB. This takes it on several threads, in huge
// pages if the system has them, and lets CUDA lock it afterwards. DESIGN.md in this folder has the times.
class LargePinnedMemory {
 public:
  // Throws Error{kMemory} with `purpose` and the size, and Error{kDevice}.
  LargePinnedMemory(int64_t bytes, const std::string& purpose);
  ~LargePinnedMemory();
  LargePinnedMemory(const LargePinnedMemory&) = delete;
  LargePinnedMemory& operator=(const LargePinnedMemory&) = delete;

  void* get() const { return data_; }

 private:
  // What the system gave; data_ lies in it at the boundary of a huge page.
  struct Mapping {
    ~Mapping();
    void* begin = nullptr;
    size_t bytes = 0;
  };
  Mapping mapping_;
  void* data_ = nullptr;
};

}  // namespace seer::cuda
