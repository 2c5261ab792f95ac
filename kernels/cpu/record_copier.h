// Records on the host, for the CPU.
#pragma once

#include "kernels/record_copier.h"

namespace seer {

// Copies on the calling thread, because the backend's threads belong to the steps.
class CpuRecordCopier final : public RecordCopier {
 public:
  explicit CpuRecordCopier(std::vector<RecordPart> parts) : parts_(std::move(parts)) {}

  void read(std::span<const int32_t> rows, std::span<std::byte* const> records) override;
  void write(std::span<const int32_t> rows, std::span<const std::byte* const> records) override {
    write(rows, records, {0, parts_.size()});
  }
  void write(std::span<const int32_t> rows, std::span<const std::byte* const> records,
             PartRange parts) override;

 private:
  std::vector<RecordPart> parts_;
};

}  // namespace seer
