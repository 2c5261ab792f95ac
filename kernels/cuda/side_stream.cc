#include "kernels/cuda/side_stream.h"

#include "kernels/cuda/check.h"

namespace seer::cuda {

SideStream::SideStream(int n_marks) : marks_(static_cast<size_t>(n_marks)) {
  int lowest = 0, highest = 0;
  check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
  check(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, highest),
        "cudaStreamCreateWithPriority");
  check(cudaEventCreateWithFlags(&begin_, cudaEventDisableTiming), "cudaEventCreate");
  for (cudaEvent_t& mark : marks_)
    check(cudaEventCreateWithFlags(&mark, cudaEventDisableTiming), "cudaEventCreate");
}

SideStream::~SideStream() {
  (void)cudaStreamSynchronize(stream_);
  for (cudaEvent_t mark : marks_) (void)cudaEventDestroy(mark);
  (void)cudaEventDestroy(begin_);
  (void)cudaStreamDestroy(stream_);
}

void SideStream::wait_for(cudaStream_t other) {
  check(cudaEventRecord(begin_, other), "cudaEventRecord");
  check(cudaStreamWaitEvent(stream_, begin_), "cudaStreamWaitEvent");
}

void SideStream::mark(int i) {
  check(cudaEventRecord(marks_[static_cast<size_t>(i)], stream_), "cudaEventRecord");
}

void SideStream::join(cudaStream_t other, int i) {
  check(cudaStreamWaitEvent(other, marks_[static_cast<size_t>(i)]), "cudaStreamWaitEvent");
}

}  // namespace seer::cuda
