#include "models/residual.h"

namespace seer {

ResidualStream::ResidualStream(Backend* backend, Communicator* comm, const Shard& shard, Workspace* workspace)
    : backend_(backend), comm_(comm), shard_(shard), workspace_(workspace) {}

void ResidualStream::begin(int64_t n_rows) {
  set(workspace_->x.rows(0, n_rows), workspace_->h.rows(0, n_rows));
}

void ResidualStream::narrow(int64_t n) {
  backend_->gather_rows(h_.rows(0, n), x_);
  set(h_.rows(0, n), x_.rows(0, n));
}

// Makes two ranges if sums can run during products and the stream is large enough for that to pay. Then the
// sum of one range runs while the products of the other are computed.
void ResidualStream::set(const Tensor& x, const Tensor& h) {
  constexpr int64_t kLeastRows = 1024;  // rows of a range; products of fewer rows leave multiprocessors idle
  x_ = x;
  h_ = h;
  ranges_.clear();
  const int64_t n_rows = x.dim(0), half = (n_rows / 2 + 127) / 128 * 128;  // a multiple of a tile's 128 rows
  if (n_rows == 0) return;
  if (!workspace_->reaches_peers() || n_rows < 2 * kLeastRows ||
      (n_rows - half) * x.dim(1) <= Communicator::kSmallSummand) {
    ranges_.push_back({0, n_rows, {}});
  } else {
    ranges_.push_back({0, half, {}});
    ranges_.push_back({half, n_rows - half, {}});
  }
}

// The residual stream is added after the sum over ranks. If the summands are rounded to a narrow type, each
// loses less by itself than it would together with the much larger stream.
void ResidualStream::add_linear(RowRange* range, const Tensor& in, const LinearWeights& w) {
  const Tensor x = range->of(x_), own = range->of(in);
  if (shard_.size == 1) return backend_->linear(x, own, w, /*accumulate=*/true);
  const Tensor wide = workspace_->summand(range->row, range->n);
  const Tensor summand = wide ? wide : range->of(h_);
  backend_->linear(summand, own, w, /*accumulate=*/false);
  if (ranges_.size() > 1) {
    range->sum = comm_->start_sum(x, summand, workspace_->inbox(range->row, range->n));
  } else if (workspace_->reaches_peers()) {
    comm_->add_sum(x, summand);
  } else {
    comm_->all_reduce_sum(summand);
    backend_->add(x, summand);
  }
}

void ResidualStream::finish(RowRange* range) {
  if (range->sum) comm_->finish_sum(*range->sum);
  range->sum.reset();
}

void ResidualStream::finish_all() {
  for (RowRange& range : ranges_) finish(&range);
}

}  // namespace seer
