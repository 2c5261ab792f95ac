#include "kernels/cuda/records/copier.h"

#include <algorithm>
#include <cassert>

#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256, kUnrolled = 4;
constexpr int kMostRows = 64;                       // of a launch
constexpr int64_t kBufferBytes = int64_t{8} << 20;  // of a lane, if a record is not larger

struct Part {
  char* device;
  int64_t bytes, at;
};

struct Rows {
  int32_t row[kMostRows];
};

// Each block copies one row of one part.
template <class Word, bool kToDevice>
__global__ void __launch_bounds__(kThreads)
    move_rows_kernel(const Part* parts, const __grid_constant__ Rows rows, char* slices, int64_t slice_bytes,
                     int64_t slice_at) {
  const Part part = parts[blockIdx.x];
  auto* device = reinterpret_cast<Word*>(part.device + rows.row[blockIdx.y] * part.bytes);
  auto* record = reinterpret_cast<Word*>(slices + blockIdx.y * slice_bytes + part.at - slice_at);
  Word* const to = kToDevice ? device : record;
  const Word* const from = kToDevice ? record : device;
  const int64_t n = part.bytes / static_cast<int64_t>(sizeof(Word));
  for (int64_t first = threadIdx.x; first < n; first += kThreads * kUnrolled) {
    Word words[kUnrolled];
#pragma unroll
    for (int i = 0; i < kUnrolled; ++i)
      if (first + i * kThreads < n) words[i] = __ldcs(from + first + i * kThreads);
#pragma unroll
    for (int i = 0; i < kUnrolled; ++i)
      if (first + i * kThreads < n) __stcs(to + first + i * kThreads, words[i]);
  }
}

// The largest word that divides every size and place.
int word_bytes(const std::vector<RecordPart>& parts, int64_t record_bytes) {
  int64_t all = record_bytes;
  for (const RecordPart& part : parts)
    all |= part.row_bytes() | part.at | static_cast<int64_t>(reinterpret_cast<uintptr_t>(part.device.data));
  return all % 16 == 0 ? 16 : all % 4 == 0 ? 4 : 1;
}

}  // namespace

CudaRecordCopier::CudaRecordCopier(std::function<void()> use, const std::vector<RecordPart>& parts,
                                   int64_t record_bytes)
    : use_(std::move(use)),
      record_bytes_(record_bytes),
      buffer_bytes_(std::max(kBufferBytes, record_bytes)),
      word_bytes_(word_bytes(parts, record_bytes)),
      parts_on_host_(parts) {
  use_();
  std::vector<Part> table;
  for (const RecordPart& part : parts)
    table.push_back({static_cast<char*>(part.device.data), part.row_bytes(), part.at});
  const size_t bytes = table.size() * sizeof(Part);
  parts_ = DeviceMemory(static_cast<int64_t>(bytes), "copies of pages");
  check(cudaMemcpy(parts_.get(), table.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  // The kernels here are short. At a lower priority they would wait for the thread blocks of a step's
  // kernels, and the copies after them would wait too.
  int lowest = 0, highest = 0;
  check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
  for (Lanes* lanes : {&to_host_, &to_device_})
    for (Lane& lane : *lanes) {
      lane.buffer = DeviceMemory(buffer_bytes_, "copies of pages");
      check(cudaStreamCreateWithPriority(&lane.stream, cudaStreamNonBlocking, highest), "cudaStreamCreate");
    }
}

CudaRecordCopier::Lane::~Lane() {
  if (stream == nullptr) return;
  (void)cudaStreamSynchronize(stream);
  (void)cudaStreamDestroy(stream);
}

template <bool kToDevice>
void CudaRecordCopier::move_rows(const Lane& lane, std::span<const int32_t> rows, const Slice& slice) {
  assert(rows.size() <= kMostRows);
  Rows numbers = {};
  std::copy(rows.begin(), rows.end(), numbers.row);
  const dim3 grid(static_cast<unsigned>(slice.end_part - slice.first_part),
                  static_cast<unsigned>(rows.size()));
  const auto launch = [&](auto word) {
    move_rows_kernel<decltype(word), kToDevice><<<grid, kThreads, 0, lane.stream>>>(
        parts_.as<Part>() + slice.first_part, numbers, lane.buffer.as<char>(), slice.bytes, slice.at);
  };
  if (word_bytes_ == 16) {
    launch(uint4{});
  } else if (word_bytes_ == 4) {
    launch(uint32_t{});
  } else {
    launch(static_cast<unsigned char>(0));
  }
  check(cudaGetLastError(), "move_rows_kernel");
}

// Divides the records into groups whose slices fit into a lane's buffer, calls copy(lane, first record, end)
// for each group, and returns when all copies are done. If one fails, it waits for the others too, because
// the caller may then give the rows and records to other users.
template <class Copy>
void CudaRecordCopier::for_groups(Lanes& lanes, size_t n, const Slice& slice, const Copy& copy) try {
  use_();
  const auto group = static_cast<size_t>(std::clamp<int64_t>(buffer_bytes_ / slice.bytes, 1, kMostRows));
  for (size_t first = 0, i = 0; first < n; first += group, ++i)
    copy(lanes[i % kLanes], first, std::min(n, first + group));
  for (const Lane& lane : lanes) check(cudaStreamSynchronize(lane.stream), "a copy between GPU and host");
} catch (...) {
  for (const Lane& lane : lanes) (void)cudaStreamSynchronize(lane.stream);
  throw;
}

namespace {

// Calls copy(i, m) for each run of m records that lie one after the other.
template <class Record, class Copy>
void for_runs(std::span<Record* const> records, size_t first, size_t end, int64_t bytes, const Copy& copy) {
  for (size_t i = first, next = first; i < end; i = next) {
    for (next = i + 1; next < end && records[next] == records[next - 1] + bytes;) ++next;
    copy(i, next - i);
  }
}

}  // namespace

void CudaRecordCopier::read(std::span<const int32_t> rows, std::span<std::byte* const> records) {
  assert(rows.size() == records.size());
  const auto size = static_cast<size_t>(record_bytes_);
  const Slice all{0, record_bytes_, 0, parts_on_host_.size()};
  for_groups(to_host_, rows.size(), all, [&](const Lane& lane, size_t first, size_t end) {
    move_rows<false>(lane, rows.subspan(first, end - first), all);
    for_runs(records, first, end, record_bytes_, [&](size_t i, size_t n) {
      check(cudaMemcpyAsync(records[i], lane.buffer.as<char>() + (i - first) * size, n * size,
                            cudaMemcpyDeviceToHost, lane.stream),
            "cudaMemcpyAsync");
    });
  });
}

void CudaRecordCopier::write(std::span<const int32_t> rows, std::span<const std::byte* const> records,
                             PartRange parts) {
  assert(parts.begin < parts.end && parts.end <= parts_on_host_.size());
  const RecordPart &first = parts_on_host_[parts.begin], &last = parts_on_host_[parts.end - 1];
  write_slice(rows, records, {first.at, last.at + last.row_bytes() - first.at, parts.begin, parts.end});
}

void CudaRecordCopier::write_slice(std::span<const int32_t> rows, std::span<const std::byte* const> records,
                                   const Slice& slice) {
  assert(rows.size() == records.size());
  const auto size = static_cast<size_t>(slice.bytes), pitch = static_cast<size_t>(record_bytes_);
  for_groups(to_device_, rows.size(), slice, [&](const Lane& lane, size_t first, size_t end) {
    for_runs(records, first, end, record_bytes_, [&](size_t i, size_t n) {
      check(cudaMemcpy2DAsync(lane.buffer.as<char>() + (i - first) * size, size, records[i] + slice.at, pitch,
                              size, n, cudaMemcpyHostToDevice, lane.stream),
            "cudaMemcpy2DAsync");
    });
    move_rows<true>(lane, rows.subspan(first, end - first), slice);
  });
}

}  // namespace seer::cuda
