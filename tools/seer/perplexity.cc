// seer perplexity: measures how much quality a sparse rule costs, with all rules on the same windows.
#include <algorithm>
#include <chrono>

#include "seer/engine.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/input.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/row_writer.h"
#include "tools/seer/sparse_options.h"
#include "tools/seer/status_line.h"
#include "tools/seer/window_losses.h"

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
  WindowOptions windows;
  SparseLists rules;
  std::string output = "md";
  bool quiet = false;

  void add_to(Args& args) {
    args.group("Perplexity");
    windows.add_text_to(args);
    windows.add_windows_to(args);
    args.value("--decode-tokens", "N", "0: none",
               "decode the last N tokens of each window under the rules of --sparse-decode, and take the "
               "perplexity of these; --sparse is then dense by default",
               into(windows.decode_tokens, 0));
    rules.add_to(args);
    args.flag("-q,--quiet", quiet, "leave out the figures after each window, and warnings about the load");
    args.choice("--output", "FORMAT", output, kRowFormats, "how rows are written");
    model.add_to(args, "--window, else the model's maximum");
  }
};

class Perplexity {
 public:
  explicit Perplexity(PerplexityOptions options) : options_(std::move(options)) {}

  int run() {
    const Prompt text = read_prompt(options_.windows.text);
    if (options_.model.ctx_size == 0) options_.model.ctx_size = options_.windows.window;
    engine_ = load_engine(options_.model, options_.quiet);
    windows_ =
        std::make_unique<WindowLosses>(engine_, tokens_of(text, *engine_), options_.windows, text.source);
    options_.rules.check(engine_->model());
    for (const RulePair& rule : rules_to_run()) totals_.emplace_back().rule = rule;
    int code = kDone;
    const Clock::time_point start = Clock::now();
    try {
      for (int64_t i = 0; i < windows_->n_windows(); ++i) {
        windows_->run_window(totals_, decodes(), line_);
        if (!options_.quiet) show_running(std::chrono::duration<double>(Clock::now() - start).count());
      }
    } catch (const Error& error) {
      line_.clear();
      if (error.kind() != ErrorKind::kCancelled) throw;
      log_info("interrupted in window " + std::to_string(totals_.back().n_windows + 1) + " of " +
               std::to_string(windows_->n_windows()));
      code = kInterrupted;
    }
    line_.clear();
    print();
    return code;
  }

 private:
  bool decodes() const { return options_.windows.decode_tokens > 0; }

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

  // Shows "[3/8] dense 21.5360, threshold=0.01 21.6623; 1.23 s a window, ETA 6 s".
  void show_running(double seconds) {
    const auto n_done = static_cast<double>(totals_.front().n_windows);
    std::string text = format("[%lld/%lld]", static_cast<long long>(totals_.front().n_windows),
                              static_cast<long long>(windows_->n_windows()));
    for (size_t i = 0; i < totals_.size(); ++i)
      text += (i == 0 ? " " : ", ") + totals_[i].rule.to_string() + format(" %.4f", totals_[i].perplexity());
    text += "; " + human_seconds(seconds / n_done) + " a window";
    const auto n_left = static_cast<double>(windows_->n_windows()) - n_done;
    if (n_left > 0.0) text += ", ETA " + human_duration(seconds / n_done * n_left);
    line_.clear();
    log_info(text);
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
    const double error = perplexity_error(totals);
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
                   {"window", windows_->window()},
                   {"model_filename", options_.model.model_dir}};
    std::vector<std::string> cells = {totals.rule.prompt.to_string(),
                                      format("%.4f ± %.4f", totals.perplexity(), error),
                                      dense != nullptr ? format("%.4f ± %.4f", ratio, of_ratio) : "",
                                      format("%.1f%%", 100.0 * totals.density / n),
                                      format("%.2f", totals.seconds),
                                      std::to_string(totals.n_windows),
                                      std::to_string(windows_->window())};
    if (decodes()) {
      fields.update({{"sparse_decode", totals.rule.decode.to_string()},
                     {"decode_density", totals.decode_density / n},
                     {"n_decoded", options_.windows.decode_tokens}});
      cells.insert(cells.begin() + 1, totals.rule.decode.to_string());
      cells.insert(cells.begin() + 5, format("%.1f%%", 100.0 * totals.decode_density / n));
      cells.push_back(std::to_string(options_.windows.decode_tokens));
    }
    writer.write(fields, cells);
  }

  PerplexityOptions options_;
  std::shared_ptr<Engine> engine_;
  std::unique_ptr<WindowLosses> windows_;
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
  if (!options.rules.decode.empty() && options.windows.decode_tokens == 0)
    throw Error(ErrorKind::kUsage, "--sparse-decode needs --decode-tokens N, the tokens to decode");
  return Perplexity(std::move(options)).run();
}

}  // namespace seer::cli
