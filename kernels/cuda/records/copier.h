// Records on the host, for a GPU. DESIGN.md in this folder says why they pass through a buffer on the GPU.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <vector>

#include "kernels/cuda/device_memory.h"
#include "kernels/record_copier.h"

namespace seer::cuda {

// One record is one copy between host and GPU; a kernel divides it among the parts, or gathers it from them.
class CudaRecordCopier final : public RecordCopier {
 public:
  // `use` makes the device the calling thread's. Parts must not overlap in a record. Throws Error{kMemory}.
  CudaRecordCopier(std::function<void()> use, const std::vector<RecordPart>& parts, int64_t record_bytes);

  void read(std::span<const int32_t> rows, std::span<std::byte* const> records) override;
  void write(std::span<const int32_t> rows, std::span<const std::byte* const> records) override {
    write_slice(rows, records, {0, record_bytes_, 0, parts_on_host_.size()});
  }
  void write(std::span<const int32_t> rows, std::span<const std::byte* const> records,
             PartRange parts) override;

 private:
  // The bytes of a record that are copied, and the parts that lie in them.
  struct Slice {
    int64_t at, bytes;
    size_t first_part, end_part;
  };
  // A stream with a buffer of its own. Each direction has some, so that the kernel of one group of records
  // runs next to the copies of others.
  struct Lane {
    Lane() = default;
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    cudaStream_t stream = nullptr;
    DeviceMemory buffer;
  };
  static constexpr size_t kLanes = 4;
  using Lanes = Lane[kLanes];

  void write_slice(std::span<const int32_t> rows, std::span<const std::byte* const> records,
                   const Slice& slice);
  template <bool kToDevice>
  void move_rows(const Lane& lane, std::span<const int32_t> rows, const Slice& slice);
  template <class Copy>
  void for_groups(Lanes& lanes, size_t n, const Slice& slice, const Copy& copy);

  std::function<void()> use_;
  int64_t record_bytes_;
  int64_t buffer_bytes_;  // of a lane
  int word_bytes_;
  std::vector<RecordPart> parts_on_host_;
  DeviceMemory parts_;
  Lanes to_host_, to_device_;
};

}  // namespace seer::cuda
