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
  // Throws Error{kMemory} with `purpose` and the size.
  LargePinnedMemory(int64_t bytes, const std::string& purpose);
  ~LargePinnedMemory();
  LargePinnedMemory(const LargePinnedMemory&) = delete;
  LargePinnedMemory& operator=(const LargePinnedMemory&) = delete;

  void* get() const { return data_; }

 private:
  void* mapped_ = nullptr;  // what the system gave, in which data_ lies at the boundary of a huge page
  size_t mapped_bytes_ = 0;
  void* data_ = nullptr;
};

}  // namespace seer::cuda
