// The residual stream of a step, and the sums over ranks that go into it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/shard.h"
#include "models/workspace.h"

namespace seer {

// One thread at a time. Holds references. The stream lies in workspace.x, or, after narrow(), in workspace.h.
class ResidualStream {
 public:
  // Rows whose sums over ranks run beside the products of other rows.
  struct RowRange {
    int64_t row, n;
    std::optional<int> sum;  // under way: rows of x change until finish()

    Tensor of(const Tensor& t) const { return t.rows(row, n); }
  };

  ResidualStream(Backend* backend, Communicator* comm, const Shard& shard, Workspace* workspace);

  // A stream of n rows, which the caller fills; x() may have no rows.
  void begin(int64_t n_rows);
  // Goes on with only the logit rows that begin_step brought, n of them. No sum may be under way.
  void narrow(int64_t n);

  const Tensor& x() const { return x_; }        // [n, d_model]
  const Tensor& scratch() const { return h_; }  // as x
  // All rows, in one or two ranges.
  std::vector<RowRange>& ranges() { return ranges_; }

  // Adds in W^T to the range's rows of x, for `in` of all rows. Every rank has the columns of W that belong
  // to its heads or to its part of d_ff. The sum may be under way until finish().
  void add_linear(RowRange* range, const Tensor& in, const LinearWeights& w);
  // After finish(), the range's rows of x include the sum.
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
