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

// No operation of the backend waits for these copies, and they wait for none: the operations that wrote the
// rows must have ended, and no operation may use a row that is being written, or write a row that is being
// read. read() and write() may run at the same time, each on one thread.
class RecordCopier {
 public:
  virtual ~RecordCopier() = default;
  // Copies row rows[i] of each part to records[i]. Returns when the copies are done. Throws Error{kDevice}.
  virtual void read(std::span<const int32_t> rows, std::span<std::byte* const> records) = 0;
  // Copies in the other direction.
  virtual void write(std::span<const int32_t> rows, std::span<const std::byte* const> records) = 0;
};

}  // namespace seer
