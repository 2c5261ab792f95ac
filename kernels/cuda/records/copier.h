// Records on the host, for a GPU. DESIGN.md in this folder says why they pass through a buffer on the GPU.
#pragma once

#include <cuda_runtime.h>

#include <functional>

#include "kernels/cuda/device_memory.h"
#include "kernels/record_copier.h"

namespace seer::cuda {

// One record is one copy between host and GPU; a kernel divides it among the parts, or gathers it from them.
class CudaRecordCopier final : public RecordCopier {
 public:
  // `use` makes the device the calling thread's. Parts must not overlap in a record. Throws Error{kMemory}.
  CudaRecordCopier(std::function<void()> use, const std::vector<RecordPart>& parts, int64_t record_bytes);

  void read(std::span<const int32_t> rows, std::span<std::byte* const> records) override;
  void write(std::span<const int32_t> rows, std::span<const std::byte* const> records) override;

 private:
  // A stream with a buffer of its own. Each direction has two, so that the kernel of one group of records
  // runs next to the copy of another.
  struct Lane {
    Lane() = default;
    ~Lane();
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;

    cudaStream_t stream = nullptr;
    DeviceMemory buffer;
  };
  static constexpr size_t kLanes = 2;
  using Lanes = Lane[kLanes];

  template <bool kToDevice>
  void move_rows(const Lane& lane, std::span<const int32_t> rows);
  template <class Copy>
  void for_groups(Lanes& lanes, size_t n, const Copy& copy);

  std::function<void()> use_;
  int64_t record_bytes_;
  size_t group_;  // records that a lane's buffer holds
  int n_parts_, word_bytes_;
  DeviceMemory parts_;
  Lanes to_host_, to_device_;
};

}  // namespace seer::cuda
