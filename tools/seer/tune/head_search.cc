#include "tools/seer/tune/head_search.h"

#include "tools/seer/interrupt.h"
#include "tools/seer/tune/divergence.h"

namespace seer::cli {

HeadSearch::HeadSearch(const ModelInfo& model, double threshold, int64_t seed)
    : n_vocab_(model.n_vocab),
      rule_{SparseRule::Method::kHeadThreshold, threshold},
      effects_(model.n_layers, model.n_heads, static_cast<uint64_t>(seed)) {}

void HeadSearch::run_window(WindowLosses& windows, int64_t index, StatusLine& line) {
  const std::span<const int32_t> tokens = windows.tokens_of_window(index);
  Divergence divergence(windows.window(), n_vocab_);
  std::string status = "heads, dense";
  EvaluateRequest request;
  request.tokens.assign(tokens.begin(), tokens.end());
  request.sparse = SparseRule();
  request.n_last_logits = 0;  // all
  request.on_progress = [&](const PrefillProgress& progress) {
    line.update(status + ", " + describe(progress));
    return !interrupted();
  };
  request.on_logits = [&](int64_t position, int64_t n_rows, int64_t, const float* logits) {
    divergence.keep(position, n_rows, logits);
    return !interrupted();
  };
  const auto evaluate = [&] {
    throw_if_interrupted();
    const RequestStats stats = windows.session().evaluate(request);
    throw_if_interrupted();
    return stats.density;
  };
  evaluate();
  double sum = 0.0;
  request.sparse = rule_;
  request.on_logits = [&](int64_t position, int64_t n_rows, int64_t, const float* logits) {
    sum += divergence.sum(position, n_rows, logits);
    return !interrupted();
  };
  effects_.begin_window();
  for (int64_t run = 0; run < effects_.n_runs(); ++run) {
    status = "heads, run " + std::to_string(run + 1) + "/" + std::to_string(effects_.n_runs());
    request.head_factors = effects_.factors_of_run(run);
    sum = 0.0;
    const double density = evaluate();
    effects_.add(run, sum / static_cast<double>(divergence.n_positions()), density);
  }
}

}  // namespace seer::cli
