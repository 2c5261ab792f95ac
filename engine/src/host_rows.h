// Handles the logit rows of a step that requests want on the host: for log-probabilities, or for a hook
// (on_logits) that may change them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/src/batch.h"
#include "kernels/backend.h"

namespace seer {

// For each step, call begin(), then read() for each piece of its logits, then finish(). The failure of one
// request is kept in its HostRow::error; the failure of the device is thrown.
class HostRows {
 public:
  explicit HostRows(Backend* backend) : backend_(backend) {}

  void begin(Batch* batch);
  // Reads the wanted rows of a piece: logits [n, n_vocab] of the logit rows from `first` on. Rows of a prompt
  // are finished here. Rows by which a token is chosen are only copied, because the other ranks wait while
  // logits are read, and a hook may take long.
  void read(size_t first, const Tensor& logits);
  // Returns whether the device need not choose a token by the row, because finish() chooses it or the row is
  // one of a prompt.
  bool chooses(size_t row) const { return chooses_[row]; }
  // Must be called after the step. Chooses the tokens of requests with hooks, and computes the
  // log-probabilities of all chosen tokens.
  void finish();

 private:
  Batch* batch_ = nullptr;
  Backend* backend_;
  size_t next_ = 0;  // index of the first of the batch's host rows that was not read
  std::vector<bool> chooses_;
  std::vector<float> buffer_;  // holds rows while they are read; later scratch for the choice of a token
};

}  // namespace seer
