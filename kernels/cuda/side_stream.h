// A second stream, for work that runs beside a backend's.
#pragma once

#include <cuda_runtime.h>

#include <vector>

namespace seer::cuda {

// Of the current device, whose blocks go before those of other streams.
class SideStream {
 public:
  explicit SideStream(int n_marks);
  ~SideStream();  // waits for its work
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  cudaStream_t stream() const { return stream_; }
  void wait_for(cudaStream_t other);     // what is put here from now on comes behind what `other` has
  void mark(int i);                      // here
  void join(cudaStream_t other, int i);  // what `other` gets from now on comes behind mark i

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  std::vector<cudaEvent_t> marks_;
};

}  // namespace seer::cuda
