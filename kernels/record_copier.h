// Copies rows of several tensors to and from records on the host, for threads that do not run steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/tensor.h"

namespace seer {

// Says that each row of `device` lies at byte `at` of its record. A row is one index of the first axis, for
// example a page.
struct RecordPart {
  Tensor device;
  int64_t at = 0;

  int64_t row_bytes() const { return device.nbytes() / device.dim(0); }
};

// The parts [begin, end) of a copier, in the order in which make_record_copier() was given them.
struct PartRange {
  size_t begin = 0, end = 0;
};

// No operation of the backend waits for these copies, and they wait for none: the operations that wrote the
// rows must have ended, and no operation may use a row of a part that is being written, or write a row that
// is being read. One thread may call read() while another one calls write().
class RecordCopier {
 public:
  virtual ~RecordCopier() = default;
  // Copies row rows[i] of each part to records[i]. Returns when the copies are done. Throws Error{kDevice}.
  virtual void read(std::span<const int32_t> rows, std::span<std::byte* const> records) = 0;
  // Copies all parts in the other direction.
  virtual void write(std::span<const int32_t> rows, std::span<const std::byte* const> records) = 0;
  // Copies only these parts, of which there must be at least one. They must lie in a record one after the
  // other, without gaps.
  virtual void write(std::span<const int32_t> rows, std::span<const std::byte* const> records,
                     PartRange parts) = 0;
};

}  // namespace seer
