// seer perplexity: what a sparse rule costs in quality, rules side by side on the same windows.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "seer/engine.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/log_softmax.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/row_writer.h"
#include "tools/seer/status_line.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr const char* kDescription =
    "Cuts a text's tokens (without BOS) into windows of N + 1, predicts each window's last N from an empty "
    "cache, "
    "and prints exp of the mean loss for every rule. Seconds are the prefills', the losses' own time left "
    "out. "
    "Ctrl-C prints the windows done so far.";

struct PerplexityOptions {
  ModelOptions model;
  PromptOptions text;
  std::vector<SparseRule> rules;
  int64_t window = 0;
  int64_t max_windows = 0;
  std::string output = "md";

  void add_to(Args& args) {
    args.group("Perplexity");
    text.add_to(args, "the text");
    text.add_tokens_file_to(args);
    args.value("--window", "N", "0: the context, or the text where it is shorter",
               "tokens predicted in a window", into(window, 0));
    args.value("--max-windows", "N", "0: all", "stop after N windows", into(max_windows, 0));
    add_sparse_list(args, rules);
    args.value("--output", "FORMAT", output, "md, csv, json or jsonl", into(output, kRowFormats));
    model.add_to(args, "--window, else the model's maximum");
  }
};

struct RuleTotals {
  SparseRule rule;
  double loss = 0.0;     // sum of the windows' mean losses
  double density = 0.0;  // sum over windows
  double seconds = 0.0;
  int64_t n_windows = 0;

  double perplexity() const { return std::exp(loss / static_cast<double>(n_windows)); }
};

class Perplexity {
 public:
  explicit Perplexity(PerplexityOptions options) : options_(std::move(options)) {}

  int run() {
    const Prompt text = read_prompt(options_.text);
    if (options_.model.ctx_size == 0) options_.model.ctx_size = options_.window;
    engine_ = load_engine(options_.model);
    if (text.ids) check_ids(*text.ids, engine_->model().n_vocab, text.source);
    tokens_ = text.ids ? *text.ids : engine_->tokenizer().encode(text.text, false);
    choose_windows(text.source);
    for (const SparseRule& rule : rules_to_run(options_.rules, engine_->model())) totals_.push_back({rule});
    session_ = engine_->new_session();
    int code = kDone;
    try {
      for (int64_t i = 0; i < n_windows_; ++i) run_window(i);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kCancelled) throw;
      line_.clear();
      log_info("interrupted in window " + std::to_string(totals_.back().n_windows + 1) + " of " +
               std::to_string(n_windows_));
      code = kInterrupted;
    }
    line_.clear();
    print();
    return code;
  }

 private:
  void choose_windows(const std::string& source) {
    const auto n_tokens = static_cast<int64_t>(tokens_.size());
    window_ = options_.window > 0 ? options_.window : std::min(engine_->info().ctx_size, n_tokens - 1);
    if (window_ < 1 || n_tokens < window_ + 1)
      throw Error(ErrorKind::kUsage,
                  source + " has " + std::to_string(n_tokens) + " tokens; a window of " +
                      std::to_string(std::max<int64_t>(window_, 1)) +
                      " needs one more than that, so give a longer text or a smaller --window");
    n_windows_ = n_tokens / (window_ + 1);
    if (options_.max_windows > 0) n_windows_ = std::min(n_windows_, options_.max_windows);
  }

  // Every rule on one window. The totals change together at its end, so an interrupt leaves the rules
  // comparable.
  void run_window(int64_t index) {
    std::vector<RuleTotals> next = totals_;
    for (RuleTotals& totals : next) {
      evaluate(index, totals);
      ++totals.n_windows;
    }
    totals_ = std::move(next);
  }

  void evaluate(int64_t index, RuleTotals& totals) {
    const int32_t* const window = tokens_.data() + index * (window_ + 1);
    const std::string status = "window " + std::to_string(index + 1) + "/" + std::to_string(n_windows_) +
                               " " + totals.rule.to_string() +
                               (totals.n_windows > 0 ? format(" (%.3f so far)", totals.perplexity()) : "");
    double loss = 0.0;
    int64_t n_seen = 0;
    std::chrono::nanoseconds own_time{0};
    EvaluateRequest request;
    request.tokens.assign(window, window + window_);
    request.sparse = totals.rule;
    request.n_last_logits = 0;
    request.on_logits = [&](int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits) {
      const Clock::time_point start = Clock::now();
      loss += negative_log_likelihood(logits, window + position + 1, n_rows, n_vocab);
      n_seen += n_rows;
      own_time += Clock::now() - start;
      return !interrupted();
    };
    request.on_progress = [&](const PrefillProgress& progress) {
      line_.update(status + ", " + describe(progress));
      return !interrupted();
    };
    throw_if_interrupted();
    const Clock::time_point start = Clock::now();
    const RequestStats stats = session_->evaluate(request);
    const std::chrono::duration<double> elapsed = Clock::now() - start - own_time;
    throw_if_interrupted();
    if (n_seen != window_)
      throw Error(ErrorKind::kRuntime, "the engine reported other logits than were asked for");
    totals.loss += loss / static_cast<double>(window_);
    totals.density += stats.density;
    totals.seconds += elapsed.count();
  }

  void print() const {
    RowWriter writer(options_.output, {{"rule", 15, false},
                                       {"perplexity", 10},
                                       {"ratio", 7},
                                       {"density", 7},
                                       {"seconds", 9},
                                       {"windows", 7},
                                       {"window", 7}});
    const auto dense = std::find_if(totals_.begin(), totals_.end(), [](const RuleTotals& totals) {
      return totals.rule.method == SparseRule::Method::kDense;
    });
    for (const RuleTotals& totals : totals_) {
      if (totals.n_windows == 0) continue;
      const bool comparable = dense != totals_.end();
      const double ratio = comparable ? totals.perplexity() / dense->perplexity() : 0.0;
      const double density = totals.density / static_cast<double>(totals.n_windows);
      writer.write(
          {{"sparse", totals.rule.to_string()},
           {"perplexity", totals.perplexity()},
           {"ratio", comparable ? Json(ratio) : Json()},
           {"density", density},
           {"seconds", totals.seconds},
           {"n_windows", totals.n_windows},
           {"window", window_},
           {"model_filename", options_.model.model_dir}},
          {totals.rule.to_string(), format("%.4f", totals.perplexity()),
           comparable ? format("%.4f", ratio) : "", format("%.1f%%", 100.0 * density),
           format("%.2f", totals.seconds), std::to_string(totals.n_windows), std::to_string(window_)});
    }
    writer.finish();
  }

  PerplexityOptions options_;
  std::shared_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
  std::vector<int32_t> tokens_;
  int64_t window_ = 0, n_windows_ = 0;
  std::vector<RuleTotals> totals_;
  StatusLine line_;
};

}  // namespace

int run_perplexity(const Arguments& arguments) {
  PerplexityOptions options;
  Args args("perplexity", "-m DIR [-g DIR] -f FILE [options]", kDescription);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  require_model_dir(options.model.model_dir);
  for (const SparseRule& rule : options.rules) require_gates(rule, options.model);
  return Perplexity(std::move(options)).run();
}

}  // namespace seer::cli
