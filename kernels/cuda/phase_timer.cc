#include "kernels/cuda/phase_timer.h"

#include <cmath>

#include "kernels/cuda/check.h"

namespace seer::cuda {

PhaseTimer::~PhaseTimer() {
  for (const Span& span : spans_) {
    (void)cudaEventDestroy(span.begin);
    (void)cudaEventDestroy(span.end);
  }
}

void PhaseTimer::begin(Phase phase, cudaStream_t stream) {
  if (n_used_ == spans_.size()) {
    Span span = {};
    check(cudaEventCreate(&span.begin), "cudaEventCreate");
    check(cudaEventCreate(&span.end), "cudaEventCreate");
    spans_.push_back(span);
  }
  Span& span = spans_[n_used_++];
  span.phase = phase;
  span.ended = false;
  check(cudaEventRecord(span.begin, stream), "cudaEventRecord");
}

void PhaseTimer::end(Phase phase, cudaStream_t stream) {
  for (size_t i = n_used_; i-- > 0;) {  // backwards, because other phases may have begun within this one
    Span& span = spans_[i];
    if (span.phase != phase) continue;
    if (!span.ended) check(cudaEventRecord(span.end, stream), "cudaEventRecord");
    span.ended = true;
    return;
  }
}

int64_t PhaseTimer::sum_ns(Phase phase) const {
  double ms = 0.0;
  for (size_t i = 0; i < n_used_; ++i) {
    if (spans_[i].phase != phase || !spans_[i].ended) continue;
    check(cudaEventSynchronize(spans_[i].end), "cudaEventSynchronize");
    float span = 0.0F;
    check(cudaEventElapsedTime(&span, spans_[i].begin, spans_[i].end), "cudaEventElapsedTime");
    ms += static_cast<double>(span);
  }
  return std::llround(ms * 1e6);
}

}  // namespace seer::cuda
