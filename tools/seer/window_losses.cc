#include "tools/seer/window_losses.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/sparse_options.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;

// Returns the standard error of the mean of `samples`, as if they were independent.
double standard_error(const std::vector<double>& samples) {
  return spread(samples).stddev / std::sqrt(static_cast<double>(std::max<size_t>(samples.size(), 1)));
}

}  // namespace

bool RulePair::dense() const { return is_dense(prompt) && is_dense(decode); }
std::string RulePair::to_string() const { return both_rules(prompt, decode); }

double RuleTotals::perplexity() const { return std::exp(loss / static_cast<double>(n_windows)); }

double perplexity_error(const RuleTotals& totals) {
  return totals.perplexity() * standard_error(totals.losses);
}

double ratio_error(const RuleTotals& totals, const RuleTotals& dense) {
  std::vector<double> differences = totals.losses;
  for (size_t i = 0; i < differences.size(); ++i) differences[i] -= dense.losses[i];
  return totals.perplexity() / dense.perplexity() * standard_error(differences);
}

void WindowOptions::add_text_to(Args& args) {
  text.add_to(args, "the text");
  text.add_tokens_file_to(args);
}

void WindowOptions::add_windows_to(Args& args) {
  args.value("--window", "N", "0: the context, or the text if it is shorter", "tokens predicted in a window",
             into(window, 0));
  args.value("--max-windows", "N", "0: all", "stop after N windows", into(max_windows, 0));
}

std::vector<int32_t> tokens_of(const Prompt& text, const Engine& engine) {
  if (!text.ids) return engine.tokenizer().encode(text.text, false, false, {-1, throw_if_interrupted});
  check_ids(*text.ids, engine.model().n_vocab, text.source);
  return *text.ids;
}

WindowLosses::WindowLosses(std::shared_ptr<Engine> engine, std::vector<int32_t> tokens,
                           const WindowOptions& options, const std::string& source)
    : engine_(std::move(engine)), tokens_(std::move(tokens)), decode_tokens_(options.decode_tokens) {
  const auto n_tokens = static_cast<int64_t>(tokens_.size());
  window_ = options.window > 0 ? options.window : std::min(engine_->info().ctx_size, n_tokens - 1);
  if (window_ < 1 || n_tokens < window_ + 1)
    throw Error(ErrorKind::kUsage,
                source + " has " + std::to_string(n_tokens) + " tokens; a window of " +
                    std::to_string(std::max<int64_t>(window_, 1)) +
                    " needs one more than that, so give a longer text or a smaller --window");
  if (decode_tokens_ >= window_)
    throw Error(ErrorKind::kUsage,
                "--decode-tokens: expected fewer than the window's " + std::to_string(window_) +
                    " tokens, because the others are the prompt; found " + std::to_string(decode_tokens_));
  n_windows_ = n_tokens / (window_ + 1);
  if (options.max_windows > 0) n_windows_ = std::min(n_windows_, options.max_windows);
  session_ = engine_->new_session();
}

void WindowLosses::run_window(std::vector<RuleTotals>& totals, bool decodes, StatusLine& line) {
  const int64_t n_counted = decodes ? decode_tokens_ : window_;
  std::vector<RuleTotals> next = totals;
  for (RuleTotals& rule : next) {
    rule.losses.resize(static_cast<size_t>((rule.n_windows + 1) * n_counted));
    evaluate(rule, n_counted, line);
    ++rule.n_windows;
  }
  totals = std::move(next);
}

void WindowLosses::evaluate(RuleTotals& totals, int64_t n_counted, StatusLine& line) {
  const int64_t index = totals.n_windows;
  const int32_t* const window = tokens_.data() + index * (window_ + 1);
  const std::string status = "window " + std::to_string(index + 1) + "/" + std::to_string(n_windows_) + " " +
                             totals.rule.to_string() +
                             (index > 0 ? format(" (%.3f so far)", totals.perplexity()) : "");
  double loss = 0.0;
  int64_t n_seen = 0;
  EvaluateRequest request;
  request.tokens.assign(window, window + window_);
  request.sparse = totals.rule.prompt;
  request.head_factors = totals.rule.head_factors;
  request.sparse_decode = totals.rule.decode;
  const int64_t first = window_ - n_counted;  // the first position that counts
  request.n_prompt = first;                   // 0 stands for all tokens
  request.n_last_logits = n_counted;
  request.targets.assign(window + first + 1, window + window_ + 1);
  request.on_losses = [&](int64_t position, std::span<const double> losses) {
    double* const out = totals.losses.data() + index * n_counted + position - first;
    std::copy(losses.begin(), losses.end(), out);
    loss = std::accumulate(losses.begin(), losses.end(), loss);
    n_seen += static_cast<int64_t>(losses.size());
    return !interrupted();
  };
  request.on_progress = [&](const PrefillProgress& progress) {
    line.update(status + ", " + describe(progress));
    return !interrupted();
  };
  throw_if_interrupted();
  const Clock::time_point start = Clock::now();
  const RequestStats stats = session_->evaluate(request);
  const double own = 1e-9 * static_cast<double>(stats.losses_ns);
  const double elapsed = std::chrono::duration<double>(Clock::now() - start).count() - own;
  throw_if_interrupted();
  if (n_seen != n_counted)
    throw Error(ErrorKind::kRuntime, "the engine reported other losses than were asked for");
  totals.loss += loss / static_cast<double>(n_counted);
  totals.density += stats.density;
  totals.decode_density += stats.decode_density;
  totals.seconds += elapsed;
  // The losses are computed while the tokens that count run: in the prefill or, if the last tokens are
  // decoded, in the decode.
  const bool decodes = first > 0;
  totals.prefill_seconds += 1e-9 * static_cast<double>(stats.prefill_ns) - (decodes ? 0.0 : own);
  totals.decode_seconds += 1e-9 * static_cast<double>(stats.decode_ns) - (decodes ? own : 0.0);
}

}  // namespace seer::cli
