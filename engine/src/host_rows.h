// The logit rows of a step that requests want on the host: for log-probabilities, or for a hook that may
// change them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/src/batch.h"
#include "kernels/backend.h"

namespace seer {

// A step is begin(), read() for each piece of its logits, finish(). What fails for one request is kept in its
// HostRow::error; a device that fails throws.
class HostRows {
 public:
  explicit HostRows(Backend* backend) : backend_(backend) {}

  void begin(Batch* batch);
  // Reads the rows of this piece that are wanted: logits [n, n_vocab] of the logit rows from `first` on. A
  // prompt's are done with then; those by which a token is chosen are copied, for the step's other ranks wait
  // while logits are read, and a hook may take long.
  void read(size_t first, const Tensor& logits);
  // The row's token is not the device's to choose: it is chosen in finish(), or is a prompt's.
  bool chooses(size_t row) const { return chooses_[row]; }
  // After the step: chooses the tokens of requests with hooks, and computes log-probabilities of all chosen.
  void finish();

 private:
  Batch* batch_ = nullptr;
  Backend* backend_;
  size_t next_ = 0;  // of the batch's host rows: the first that was not read
  std::vector<bool> chooses_;
  std::vector<float> buffer_;  // of rows while they are read, then of the choice of a token
};

}  // namespace seer
