// The residual stream of a step, and the sums over ranks that are added to it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/shard.h"
#include "models/workspace.h"

namespace seer {

// One thread at a time. The constructor's arguments must outlive it. The stream lies in workspace.x, or in
// workspace.h after narrow().
class ResidualStream {
 public:
  // A range of rows. The sum over ranks of one range runs during the products of the other.
  struct RowRange {
    int64_t row, n;
    std::optional<int> sum;  // set while a sum is under way: the rows of x change until finish()

    // Returns the range's rows of `t`.
    Tensor of(const Tensor& t) const { return t.rows(row, n); }
  };

  ResidualStream(Backend* backend, Communicator* comm, const Shard& shard, Workspace* workspace);

  // Begins a stream of n rows, which the caller must fill. There may be no rows.
  void begin(int64_t n_rows);
  // Keeps only the n logit rows that begin_step brought. No sum may be under way.
  void narrow(int64_t n);

  const Tensor& x() const { return x_; }        // [n, d_model]
  const Tensor& scratch() const { return h_; }  // [n, d_model], free for the caller's use
  // Returns one or two ranges that hold all rows.
  std::vector<RowRange>& ranges() { return ranges_; }

  // Adds in W^T to the range's rows of x. `in` has all rows. Every rank has the columns of W that belong to
  // its heads or to its part of d_ff, and the products are summed over ranks. The sum may be under way until
  // finish().
  void add_linear(RowRange* range, const Tensor& in, const LinearWeights& w);
  // Ends the range's sum, if one is under way. Afterwards the range's rows of x include it.
  void finish(RowRange* range);
  void finish_all();

 private:
  void set(const Tensor& x, const Tensor& h);

  Backend* backend_;
  Communicator* comm_;
  const Shard& shard_;
  Workspace* workspace_;
  Tensor x_, h_;
  std::vector<RowRange> ranges_;
};

}  // namespace seer
