#include "engine/src/host_rows.h"

#include <algorithm>

#include "engine/src/request.h"

namespace seer {
namespace {

// Rows read at once. In a transfer of a few megabytes only the bytes cost time, and the buffer stays small.
constexpr size_t kRowsRead = 16;

// Runs the work for one row's request. An error fails that request alone.
template <class Body>
void guard(HostRow* row, const Body& body) {
  if (row->error) return;
  try {
    body();
  } catch (...) {
    row->error = std::current_exception();
  }
}

}  // namespace

void HostRows::begin(Batch* batch) {
  batch_ = batch;
  next_ = 0;
  chooses_.assign(batch->logit_rows.size(), false);
  for (const HostRow& host : batch->host_rows)
    chooses_[host.row] = host.prompt_position >= 0 || host.request->has_hook();
}

void HostRows::read(size_t first, const Tensor& logits) {
  const size_t end = first + static_cast<size_t>(logits.dim(0));
  const auto n_vocab = static_cast<size_t>(logits.dim(1));
  std::vector<HostRow>& rows = batch_->host_rows;
  while (next_ < rows.size() && rows[next_].row < end) {
    size_t n = 1;  // the number of consecutive rows
    while (n < kRowsRead && next_ + n < rows.size() && rows[next_ + n].row == rows[next_].row + n &&
           rows[next_ + n].row < end)
      ++n;
    buffer_.resize(std::max(buffer_.size(), n * n_vocab));
    backend_->read(buffer_.data(),
                   logits.rows(static_cast<int64_t>(rows[next_].row - first), static_cast<int64_t>(n)));
    for (size_t i = 0; i < n; ++i) {
      HostRow& host = rows[next_ + i];
      const std::span<const float> own = std::span(buffer_).subspan(i * n_vocab, n_vocab);
      guard(&host, [&] {
        if (host.prompt_position >= 0) {
          host.request->take_prompt_logits(host.prompt_position, own);
        } else {
          host.request->keep_logits(own);
        }
      });
    }
    next_ += n;
  }
}

void HostRows::finish() {
  for (HostRow& host : batch_->host_rows)
    if (host.prompt_position < 0)
      guard(&host, [&] {
        host.request->finish_row(batch_->samples[host.row], &batch_->chosen[host.row], &buffer_);
      });
}

}  // namespace seer
