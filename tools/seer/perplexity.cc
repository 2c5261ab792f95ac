// seer perplexity: measures how much quality a sparse rule costs, with all rules on the same windows.
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
#include "tools/seer/sparse_options.h"
#include "tools/seer/status_line.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Json = OrderedJson;

constexpr const char* kPerplexityDescription =
    "Cuts a text's tokens (without BOS) into windows of N + 1, predicts each window's last N from an empty "
    "cache, "
    "and prints exp of the mean loss for every rule, with the standard error of the perplexity and of its "
    "ratio to "
    "dense (of the loss's difference on the same tokens). Seconds are those of prefills and decodes, "
    "without the losses' own time. "
    "With --decode-tokens the last tokens of a window are decoded one by one after the others, as if they "
    "had "
    "been chosen, and only they count. "
    "stderr gets the figures so far after each window. Ctrl-C prints the windows done so far.";

struct PerplexityOptions {
  static constexpr CommandHead kHead = {"perplexity", "-m DIR [-g DIR] -f FILE [options]",
                                        kPerplexityDescription};

  ModelOptions model;
  PromptOptions text;
  SparseLists rules;
  int64_t decode_tokens = 0;
  int64_t window = 0;
  int64_t max_windows = 0;
  std::string output = "md";
  bool quiet = false;

  void add_to(Args& args) {
    args.group("Perplexity");
    text.add_to(args, "the text");
    text.add_tokens_file_to(args);
    args.value("--window", "N", "0: the context, or the text if it is shorter",
               "tokens predicted in a window", into(window, 0));
    args.value("--max-windows", "N", "0: all", "stop after N windows", into(max_windows, 0));
    args.value("--decode-tokens", "N", "0: none",
               "decode the last N tokens of each window under the rules of --sparse-decode, and take the "
               "perplexity of these; --sparse is then dense by default",
               into(decode_tokens, 0));
    rules.add_to(args);
    args.flag("-q,--quiet", quiet, "leave out the figures after each window, and warnings about the load");
    args.choice("--output", "FORMAT", output, kRowFormats, "how rows are written");
    model.add_to(args, "--window, else the model's maximum");
  }
};

struct RulePair {
  SparseRule prompt;
  SparseDecodeRule decode;

  bool dense() const { return is_dense(prompt) && is_dense(decode); }
};

struct RuleTotals {
  RulePair rule;
  double loss = 0.0;                           // sum of the windows' mean losses
  double density = 0.0, decode_density = 0.0;  // sums over windows
  double seconds = 0.0;
  int64_t n_windows = 0;
  std::vector<double> losses;  // of every token predicted so far

  double perplexity() const { return std::exp(loss / static_cast<double>(n_windows)); }
};

// Returns the standard error of the mean of `samples`, as if they were independent.
double standard_error(const std::vector<double>& samples) {
  return spread(samples).stddev / std::sqrt(static_cast<double>(std::max<size_t>(samples.size(), 1)));
}

// Returns the standard error of a ratio of perplexities. Both rules see the same tokens, so the spread is
// that of the differences of losses.
double ratio_error(const RuleTotals& totals, const RuleTotals& dense) {
  std::vector<double> differences = totals.losses;
  for (size_t i = 0; i < differences.size(); ++i) differences[i] -= dense.losses[i];
  return totals.perplexity() / dense.perplexity() * standard_error(differences);
}

class Perplexity {
 public:
  explicit Perplexity(PerplexityOptions options) : options_(std::move(options)) {}

  int run() {
    const Prompt text = read_prompt(options_.text);
    if (options_.model.ctx_size == 0) options_.model.ctx_size = options_.window;
    engine_ = load_engine(options_.model, options_.quiet);
    if (text.ids) check_ids(*text.ids, engine_->model().n_vocab, text.source);
    tokens_ = text.ids ? *text.ids
                       : engine_->tokenizer().encode(text.text, false, false, {-1, throw_if_interrupted});
    choose_windows(text.source);
    options_.rules.check(engine_->model());
    for (const RulePair& rule : rules_to_run()) totals_.emplace_back().rule = rule;
    session_ = engine_->new_session();
    int code = kDone;
    const Clock::time_point start = Clock::now();
    try {
      for (int64_t i = 0; i < n_windows_; ++i) {
        run_window(i);
        if (!options_.quiet) show_running(std::chrono::duration<double>(Clock::now() - start).count());
      }
    } catch (const Error& error) {
      line_.clear();
      if (error.kind() != ErrorKind::kCancelled) throw;
      log_info("interrupted in window " + std::to_string(totals_.back().n_windows + 1) + " of " +
               std::to_string(n_windows_));
      code = kInterrupted;
    }
    line_.clear();
    print();
    return code;
  }

 private:
  bool decodes() const { return options_.decode_tokens > 0; }
  // Returns how many tokens of a window count.
  int64_t n_counted() const { return decodes() ? options_.decode_tokens : window_; }

  std::vector<RulePair> rules_to_run() const {
    const ModelInfo& model = engine_->model();
    std::vector<RulePair> pairs;
    if (!decodes()) {
      for (const SparseRule& rule : options_.rules.prompt_rules(model)) pairs.push_back({rule, {}});
      return pairs;
    }
    std::vector<SparseRule> prompts = options_.rules.prompt;
    if (prompts.empty()) prompts.emplace_back();
    for (const SparseRule& rule : prompts)
      for (const SparseDecodeRule& decode : options_.rules.decode_rules(model))
        pairs.push_back({rule, decode});
    return pairs;
  }

  void choose_windows(const std::string& source) {
    const auto n_tokens = static_cast<int64_t>(tokens_.size());
    window_ = options_.window > 0 ? options_.window : std::min(engine_->info().ctx_size, n_tokens - 1);
    if (window_ < 1 || n_tokens < window_ + 1)
      throw Error(ErrorKind::kUsage,
                  source + " has " + std::to_string(n_tokens) + " tokens; a window of " +
                      std::to_string(std::max<int64_t>(window_, 1)) +
                      " needs one more than that, so give a longer text or a smaller --window");
    if (options_.decode_tokens >= window_)
      throw Error(ErrorKind::kUsage, "--decode-tokens: expected fewer than the window's " +
                                         std::to_string(window_) +
                                         " tokens, because the others are the prompt; found " +
                                         std::to_string(options_.decode_tokens));
    n_windows_ = n_tokens / (window_ + 1);
    if (options_.max_windows > 0) n_windows_ = std::min(n_windows_, options_.max_windows);
  }

  // Shows "[3/8] dense 21.5360, threshold=0.01 21.6623; 1.23 s a window, ETA 6 s".
  void show_running(double seconds) {
    const auto n_done = static_cast<double>(totals_.front().n_windows);
    std::string text = format("[%lld/%lld]", static_cast<long long>(totals_.front().n_windows),
                              static_cast<long long>(n_windows_));
    for (size_t i = 0; i < totals_.size(); ++i)
      text += (i == 0 ? " " : ", ") + both_rules(totals_[i].rule.prompt, totals_[i].rule.decode) +
              format(" %.4f", totals_[i].perplexity());
    text += "; " + human_seconds(seconds / n_done) + " a window";
    const auto n_left = static_cast<double>(n_windows_) - n_done;
    if (n_left > 0.0) text += ", ETA " + human_duration(seconds / n_done * n_left);
    line_.clear();
    log_info(text);
  }

  // Runs every rule on one window. All totals change together at its end, so the rules stay comparable after
  // an interrupt.
  void run_window(int64_t index) {
    std::vector<RuleTotals> next = totals_;
    for (RuleTotals& totals : next) {
      totals.losses.resize(static_cast<size_t>((index + 1) * n_counted()));
      evaluate(index, totals);
      ++totals.n_windows;
    }
    totals_ = std::move(next);
  }

  void evaluate(int64_t index, RuleTotals& totals) {
    const int32_t* const window = tokens_.data() + index * (window_ + 1);
    const std::string status = "window " + std::to_string(index + 1) + "/" + std::to_string(n_windows_) +
                               " " + both_rules(totals.rule.prompt, totals.rule.decode) +
                               (totals.n_windows > 0 ? format(" (%.3f so far)", totals.perplexity()) : "");
    double loss = 0.0;
    int64_t n_seen = 0;
    std::chrono::nanoseconds own_time{0};
    EvaluateRequest request;
    request.tokens.assign(window, window + window_);
    request.sparse = totals.rule.prompt;
    request.sparse_decode = totals.rule.decode;
    const int64_t first = window_ - n_counted();  // the first position that counts
    if (decodes()) request.n_prompt = first;
    request.n_last_logits = n_counted();
    request.on_logits = [&](int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits) {
      const Clock::time_point start = Clock::now();
      loss += negative_log_likelihood(logits, window + position + 1, n_rows, n_vocab,
                                      totals.losses.data() + index * n_counted() + position - first);
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
    if (n_seen != n_counted())
      throw Error(ErrorKind::kRuntime, "the engine reported other logits than were asked for");
    totals.loss += loss / static_cast<double>(n_counted());
    totals.density += stats.density;
    totals.decode_density += stats.decode_density;
    totals.seconds += elapsed.count();
  }

  std::vector<Column> columns() const {
    std::vector<Column> columns = {{"rule", 15, false}, {"perplexity", 19}, {"ratio", 15}, {"density", 7},
                                   {"seconds", 9},      {"windows", 7},     {"window", 7}};
    if (!decodes()) return columns;
    columns.insert(columns.begin() + 1, {"decode", 15, false});
    columns.insert(columns.begin() + 5, {"decode density", 14});
    columns.push_back({"decoded", 7});
    return columns;
  }

  void print() const {
    RowWriter writer(options_.output, columns());
    const auto dense = std::find_if(totals_.begin(), totals_.end(),
                                    [](const RuleTotals& totals) { return totals.rule.dense(); });
    for (const RuleTotals& totals : totals_)
      if (totals.n_windows > 0) print_row(writer, totals, dense != totals_.end() ? &*dense : nullptr);
    writer.finish();
  }

  // `dense` is null if no rule is dense.
  void print_row(RowWriter& writer, const RuleTotals& totals, const RuleTotals* dense) const {
    const double ratio = dense != nullptr ? totals.perplexity() / dense->perplexity() : 0.0;
    const double error = totals.perplexity() * standard_error(totals.losses);
    const double of_ratio = dense != nullptr ? ratio_error(totals, *dense) : 0.0;
    const auto n = static_cast<double>(totals.n_windows);
    Json fields = {{"sparse", totals.rule.prompt.to_string()},
                   {"perplexity", totals.perplexity()},
                   {"perplexity_error", error},
                   {"ratio", dense != nullptr ? Json(ratio) : Json()},
                   {"ratio_error", dense != nullptr ? Json(of_ratio) : Json()},
                   {"density", totals.density / n},
                   {"seconds", totals.seconds},
                   {"n_windows", totals.n_windows},
                   {"window", window_},
                   {"model_filename", options_.model.model_dir}};
    std::vector<std::string> cells = {totals.rule.prompt.to_string(),
                                      format("%.4f ± %.4f", totals.perplexity(), error),
                                      dense != nullptr ? format("%.4f ± %.4f", ratio, of_ratio) : "",
                                      format("%.1f%%", 100.0 * totals.density / n),
                                      format("%.2f", totals.seconds),
                                      std::to_string(totals.n_windows),
                                      std::to_string(window_)};
    if (decodes()) {
      fields.update({{"sparse_decode", totals.rule.decode.to_string()},
                     {"decode_density", totals.decode_density / n},
                     {"n_decoded", options_.decode_tokens}});
      cells.insert(cells.begin() + 1, totals.rule.decode.to_string());
      cells.insert(cells.begin() + 5, format("%.1f%%", 100.0 * totals.decode_density / n));
      cells.push_back(std::to_string(options_.decode_tokens));
    }
    writer.write(fields, cells);
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

CommandTable describe_perplexity() { return table_of<PerplexityOptions>(); }

int run_perplexity(const Arguments& arguments) {
  PerplexityOptions options;
  Args args(PerplexityOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  require_model_dir(options.model.model_dir);
  options.rules.require_gates(options.model);
  if (!options.rules.decode.empty() && options.decode_tokens == 0)
    throw Error(ErrorKind::kUsage, "--sparse-decode needs --decode-tokens N, the tokens to decode");
  return Perplexity(std::move(options)).run();
}

}  // namespace seer::cli
