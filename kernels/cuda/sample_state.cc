#include "kernels/cuda/sample_state.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

constexpr int64_t kRowBytes = sizeof(SampleRowParams), kChangeBytes = sizeof(LogitChange);
static_assert(kRowBytes % alignof(LogitChange) == 0, "changes lie after the rows");

}  // namespace

void SampleState::reserve(int64_t n_rows, int64_t n_changes) {
  const int64_t n_bytes = n_rows * kRowBytes + n_changes * kChangeBytes;
  if (n_bytes > n_bytes_) {
    n_bytes_ = 0;
    device_ = DeviceMemory(n_bytes, "sampling");
    host_ = PinnedMemory(n_bytes, "sampling");
    n_bytes_ = n_bytes;
  }
  if (n_rows > n_rows_) {
    n_rows_ = 0;
    ids_ = PinnedMemory(n_rows * static_cast<int64_t>(sizeof(int32_t)), "sampling");
    n_rows_ = n_rows;
  }
}

SampleParams SampleState::begin(std::span<const SampleRow> rows, cudaStream_t stream) {
  const auto n_rows = static_cast<int64_t>(rows.size());
  int64_t n_changes = 0;
  for (const SampleRow& row : rows) n_changes += static_cast<int64_t>(row.changes.size());
  // Twice the size is reserved, since the penalties of a growing text need a little more each time.
  if (n_rows > n_rows_ || n_rows * kRowBytes + n_changes * kChangeBytes > n_bytes_)
    reserve(n_rows, 2 * n_changes);

  auto* const host_rows = host_.as<SampleRowParams>();
  auto* const host_changes = reinterpret_cast<LogitChange*>(host_rows + n_rows);
  int64_t at = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    host_rows[i] = SampleRowParams::of(rows[i], at);
    std::copy(rows[i].changes.begin(), rows[i].changes.end(), host_changes + at);
    at += static_cast<int64_t>(rows[i].changes.size());
  }
  const auto n_bytes = static_cast<size_t>(n_rows * kRowBytes + n_changes * kChangeBytes);
  check(cudaMemcpyAsync(device_.get(), host_.get(), n_bytes, cudaMemcpyHostToDevice, stream),
        "cudaMemcpyAsync");
  SampleParams p = {};
  p.ids = ids_.as<int32_t>();  // pinned memory has the same address on host and device
  p.rows = device_.as<SampleRowParams>();
  p.changes = reinterpret_cast<const LogitChange*>(p.rows + n_rows);
  return p;
}

}  // namespace seer::cuda
