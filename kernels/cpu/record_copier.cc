#include "kernels/cpu/record_copier.h"

#include <cassert>
#include <cstring>

namespace seer {

void CpuRecordCopier::read(std::span<const int32_t> rows, std::span<std::byte* const> records) {
  assert(rows.size() == records.size());
  for (size_t i = 0; i < rows.size(); ++i)
    for (const RecordPart& part : parts_) {
      const int64_t bytes = part.row_bytes();
      std::memcpy(records[i] + part.at, static_cast<const std::byte*>(part.device.data) + rows[i] * bytes,
                  static_cast<size_t>(bytes));
    }
}

void CpuRecordCopier::write(std::span<const int32_t> rows, std::span<const std::byte* const> records,
                            PartRange parts) {
  assert(rows.size() == records.size() && parts.end <= parts_.size());
  for (size_t i = 0; i < rows.size(); ++i)
    for (const RecordPart& part : std::span(parts_).subspan(parts.begin, parts.end - parts.begin)) {
      const int64_t bytes = part.row_bytes();
      std::memcpy(static_cast<std::byte*>(part.device.data) + rows[i] * bytes, records[i] + part.at,
                  static_cast<size_t>(bytes));
    }
}

}  // namespace seer
