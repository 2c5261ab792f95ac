// A second stream, for work that runs at the same time as a backend's.
#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace seer::cuda {

// A stream of the current device with a high priority: its thread blocks start before those of other streams.
class SideStream {
 public:
  explicit SideStream(int n_marks);
  ~SideStream();  // waits for its work
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  cudaStream_t stream() const { return stream_; }
  void wait_for(cudaStream_t other);     // later work here runs after the present work of `other`
  void mark(int i);                      // sets mark i after the present work here
  void join(cudaStream_t other, int i);  // later work of `other` runs after mark i

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  std::vector<cudaEvent_t> marks_;
};

}  // namespace seer::cuda
