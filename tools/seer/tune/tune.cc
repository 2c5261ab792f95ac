// seer tune: what each sparse rule of the gates costs on a text, and which one to take.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include "engine/base/output_file.h"
#include "seer/engine.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/row_writer.h"
#include "tools/seer/tune/head_search.h"
#include "tools/seer/tune/rule_trial.h"
#include "tools/seer/tune/trade_off_plot.h"
#include "tools/seer/tune/tune_report.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;
using Json = OrderedJson;

constexpr const char* kTuneDescription =
    "Tries a grid of sparse rules of the gates on a text: the share of blocks that each keeps, its "
    "perplexity "
    "with that of dense attention (as perplexity measures it), how many look-ups it finds (numbers that are "
    "planted in the text and asked for), and its speed. Recommends the rule that meets a target and costs "
    "least, and with --write makes it the gates' own. Gates for prompts and gates for decoding are tried one "
    "after the other, whichever -g gives. Prefill seconds are those of look-ups, or of the windows' prompts "
    "with --look-ups 0, which compute the logits of all tokens as well. Ctrl-C prints what is done so far.";

struct TuneOptions {
  static constexpr CommandHead kHead = {"tune", "-m DIR -g DIR -f FILE [options]", kTuneDescription};

  ModelOptions model;
  WindowOptions windows;
  SparseLists rules;
  LookUpOptions look_ups;
  TuneTarget target;
  std::optional<std::string> report;
  int64_t n_head_windows = 0;  // windows by which the factors of heads are found; 0: none
  std::optional<double> head_threshold = 0.01;
  bool write = false, quiet = false;
  std::string output = "md";

  TuneOptions() { windows.decode_tokens = 128; }

  void add_to(Args& args) {
    args.group("Text");
    windows.add_text_to(args);
    windows.add_windows_to(args);
    args.value("--decode-tokens", "N", "128",
               "decode the last N tokens of each window to try rules for decoding",
               into(windows.decode_tokens, 1));
    args.group("Look-ups");
    look_ups.add_to(args);
    args.group("Rules");
    args.values("--sparse", "RULES", "a grid of threshold=T and nz_ratio=R",
                "rules for prompts to try, separated by commas or given one by one; dense is always among "
                "them, and dense alone leaves the gates for prompts out",
                [this](const std::string& value) { append_rules(rules.prompt, value); });
    args.values("--sparse-decode", "RULES", "a grid of budget=N, threshold=T and ratio=R",
                "rules for decoding to try, in the same way",
                [this](const std::string& value) { append_rules(rules.decode, value); });
    args.value(
        "--per-head", "N", "0: none",
        "find a factor for each head on the last N windows, at least 2, and try the rules head_threshold=T "
        "with them on the others",
        into(n_head_windows, 0));
    args.value("--per-head-at", "T", "0.01", "the threshold around which --per-head measures heads",
               into(head_threshold));
    args.value("--target-density", "D", "none",
               "recommend a rule that keeps at most the share D of the blocks", into(target.density));
    args.value("--max-ppl-ratio", "R", "1.01, or none with --target-density",
               "recommend a rule whose perplexity is at most R times that of dense attention",
               into(target.ppl_ratio));
    args.value("--max-lost-look-ups", "N", "0",
               "recommend a rule that finds at most N look-ups fewer than dense attention",
               into(target.lost_look_ups, 0));
    args.flag("--write", write, "write the recommended rule into the config.json of the gates");
    args.group("Output");
    args.value("--report", "DIR", "none",
               "write the trade-off curve as DIR/trade-off.png, and a page with curve and table as "
               "DIR/report.html",
               into(report));
    args.flag("-q,--quiet", quiet, "leave out the lines about progress, and warnings about the load");
    args.choice("--output", "FORMAT", output, kRowFormats, "how rows are written");
    model.add_to(args, "--window, else the model's maximum");
  }

  void check() {
    require_model_dir(model.model_dir);
    if (model.gates_dir.empty())
      throw Error(ErrorKind::kUsage, "no gates, whose rules could be tried: give -g DIR or set SEER_GATES");
    if (target.density && (*target.density <= 0.0 || *target.density > 1.0))
      throw Error(
          ErrorKind::kUsage,
          format("--target-density: expected a share above 0 and up to 1, found %g", *target.density));
    if (target.ppl_ratio && *target.ppl_ratio <= 0.0)
      throw Error(
          ErrorKind::kUsage,
          format("--max-ppl-ratio: expected a ratio above 0, such as 1.01, found %g", *target.ppl_ratio));
    if (!target.density && !target.ppl_ratio) target.ppl_ratio = 1.01;
    if (look_ups.n > 0) look_ups.check();
    if (n_head_windows == 1)
      throw Error(
          ErrorKind::kUsage,
          "--per-head: expected at least 2 windows, because the differences between windows say how far "
          "a head's figures can be trusted; found 1");
    if (!(*head_threshold > 0.0 && *head_threshold < 0.5))
      throw Error(
          ErrorKind::kUsage,
          format("--per-head-at: expected a threshold above 0 and below 0.5, found %g", *head_threshold));
  }
};

class Tune {
 public:
  explicit Tune(TuneOptions options) : options_(std::move(options)) {}

  int run() {
    const Prompt text = read_prompt(options_.windows.text);
    if (options_.model.ctx_size == 0) options_.model.ctx_size = options_.windows.window;
    engine_ = load_engine(options_.model, options_.quiet);
    check_rules();
    if (!tries_decoding()) options_.windows.decode_tokens = 0;
    windows_ =
        std::make_unique<WindowLosses>(engine_, tokens_of(text, *engine_), options_.windows, text.source);
    choose_trials();
    open_files();
    source_ = text.source;
    const int code = measure(text);
    line_.clear();
    finish(code == kInterrupted);
    return code;
  }

 private:
  struct Tried {
    RuleTrial trial;
    TuneTable table = {};
    std::unique_ptr<GateRuleFile> file = nullptr;  // with --write
  };

  bool tries_decoding() const {
    const std::vector<SparseDecodeRule>& given = options_.rules.decode;
    return engine_->model().decode_gates &&
           (given.empty() || std::any_of(given.begin(), given.end(),
                                         [](const SparseDecodeRule& rule) { return !is_dense(rule); }));
  }

  // Once --per-head has found factors, gates need none of their own.
  void check_rules() const {
    ModelInfo model = engine_->model();
    if (options_.n_head_windows > 0) {
      if (!model.gates)
        throw Error(ErrorKind::kUsage,
                    "--per-head needs gates for prompts, and only gates for decoding were loaded");
      if (engine_->info().n_ranks > 1)
        throw Error(ErrorKind::kUsage, "--per-head needs one rank, found " +
                                           std::to_string(engine_->info().n_ranks) +
                                           ". Tune with one rank; the factors hold for any number of them.");
      model.gates->has_head_factors = true;
    }
    options_.rules.check(model);
  }

  // Returns how many windows rules are tried on: those that --per-head does not use.
  int64_t n_windows() const { return windows_->n_windows() - options_.n_head_windows; }

  void choose_trials() {
    if (n_windows() < 1)
      throw Error(ErrorKind::kUsage,
                  "--per-head " + std::to_string(options_.n_head_windows) +
                      " leaves no window to try rules on: expected more windows than that, found " +
                      std::to_string(windows_->n_windows()) +
                      ". Give a longer text, a smaller --window or a larger --max-windows.");
    const ModelInfo& model = engine_->model();
    const auto add = [&](bool decodes, const std::vector<RulePair>& rules) {
      if (rules.size() > 1) tried_.push_back({RuleTrial(decodes, rules)});
    };
    const bool by_head = options_.n_head_windows > 0 || (model.gates && model.gates->has_head_factors);
    if (model.gates) add(false, prompt_grid(options_.rules.prompt, by_head));
    if (tries_decoding())
      add(true, decode_grid(options_.rules.decode, model.decode_gates->gate_block, windows_->window()));
    if (tried_.empty())
      throw Error(ErrorKind::kUsage,
                  "no rule to try: give another one than dense to --sparse or --sparse-decode");
  }

  // Opens what will be written, so that a folder which cannot be written to is reported before the work.
  void open_files() {
    const ModelInfo& model = engine_->model();
    for (Tried& tried : tried_)
      if (options_.write)
        tried.file = std::make_unique<GateRuleFile>(tried.trial.decodes() ? model.decode_gates->source
                                                                          : model.gates->source);
    if (!options_.report) return;
    std::error_code error;
    std::filesystem::create_directories(*options_.report, error);
    if (error)
      throw Error(ErrorKind::kRuntime, "cannot make the folder " + *options_.report + ": " + error.message());
    page_ = std::make_unique<OutputFile>(*options_.report + "/report.html");
  }

  // Returns kDone, or kInterrupted after a Ctrl-C.
  int measure(const Prompt& text) {
    try {
      const std::vector<LookUp> look_ups = look_ups_in(text);
      search_heads();
      for (Tried& tried : tried_) {
        RuleTrial& trial = tried.trial;
        repeat(trial.purpose(), "window", n_windows(), [&](int64_t) { trial.run_window(*windows_, line_); });
        repeat(trial.purpose(), "look-up", static_cast<int64_t>(look_ups.size()), [&](int64_t i) {
          trial.run_look_up(look_ups[static_cast<size_t>(i)], windows_->session(), line_);
        });
      }
    } catch (const Error& error) {
      line_.clear();
      if (error.kind() != ErrorKind::kCancelled) throw;
      log_info("interrupted");
      return kInterrupted;
    }
    return kDone;
  }

  // Finds the factors of head_threshold=T on the last windows.
  void search_heads() {
    const auto tried =
        std::find_if(tried_.begin(), tried_.end(), [](const Tried& t) { return !t.trial.decodes(); });
    if (options_.n_head_windows == 0 || tried == tried_.end()) return;
    HeadSearch search(engine_->model(), *options_.head_threshold, options_.look_ups.seed);
    if (!options_.quiet)
      log_info("heads: " + std::to_string(options_.n_head_windows) + " windows, each with " +
               std::to_string(search.n_runs()) + " runs and a dense one");
    repeat("heads", "window", options_.n_head_windows,
           [&](int64_t i) { search.run_window(*windows_, n_windows() + i, line_); });
    tried->trial.set_head_factors(search.factors(), engine_->model().n_heads);
  }

  std::vector<LookUp> look_ups_in(const Prompt& text) const {
    if (options_.look_ups.n == 0) return {};
    const std::string whole = text.ids ? engine_->tokenizer().decode(*text.ids) : text.text;
    return make_look_ups(options_.look_ups, whole, static_cast<int64_t>(windows_->tokens().size()),
                         windows_->window(), engine_->tokenizer());
  }

  // Shows "prompts: window 3/8; 12.30 s each, ETA 1 min 2 s" after each step.
  template <class Step>
  void repeat(const std::string& purpose, const char* what, int64_t n, const Step& step) {
    const Clock::time_point start = Clock::now();
    for (int64_t i = 0; i < n; ++i) {
      step(i);
      if (options_.quiet) continue;
      const double each =
          std::chrono::duration<double>(Clock::now() - start).count() / static_cast<double>(i + 1);
      line_.clear();
      log_info(purpose + ": " + what + " " + std::to_string(i + 1) + "/" + std::to_string(n) + "; " +
               human_seconds(each) + " each" +
               (i + 1 < n ? ", ETA " + human_duration(each * static_cast<double>(n - i - 1)) : ""));
    }
  }

  // Chooses, prints and writes. An interrupted run changes no gates. Throws Error{kUsage} in the end if a
  // target was not met.
  void finish(bool interrupted) {
    std::string failure;
    for (Tried& tried : tried_) {
      if (tried.trial.n_windows() == 0) continue;
      tried.table = tried.trial.table(options_.windows.decode_tokens, options_.write);
      try {
        for (std::string& sentence : choose_rule(tried.table, options_.target))
          sentences_.push_back(std::move(sentence));
      } catch (const Error& error) {
        failure += (failure.empty() ? "" : "; ") + std::string(error.what());
      }
    }
    print();
    if (options_.report) write_report(failure, interrupted);
    if (options_.write && interrupted)
      sentences_.emplace_back("interrupted, so the gates' rules stay as they were");
    for (const Tried& tried : tried_)
      if (const TuneRow* const row = tried.table.chosen(); tried.file && row != nullptr && !interrupted) {
        tried.file->write(tried.trial.members(tried.table, *row));
        sentences_.push_back(tried.file->path() + " has " + row->rule + " now");
      }
    for (const std::string& sentence : sentences_) log_info(sentence);
    if (failure.empty()) return;
    if (!interrupted) throw Error(ErrorKind::kUsage, failure);
    log_info(failure);
  }

  bool decodes() const {
    return std::any_of(tried_.begin(), tried_.end(),
                       [](const Tried& tried) { return tried.trial.decodes(); });
  }

  void print() const {
    size_t widest = 16;
    for (const Tried& tried : tried_)
      for (const TuneRow& row : tried.table.rows) widest = std::max(widest, row.rule.size());
    std::vector<Column> columns = {{"for", 8, false},  {"rule", widest, false}, {"density", 7},
                                   {"perplexity", 19}, {"ratio", 15},           {"look-ups", 8},
                                   {"prefill s", 9}};
    if (decodes()) columns.push_back({"t/s", 8});
    columns.push_back({"", 11, false});
    RowWriter writer(options_.output, columns);
    for (const Tried& tried : tried_)
      for (const TuneRow& row : tried.table.rows) print_row(writer, tried.table, row);
    writer.finish();
  }

  void print_row(RowWriter& writer, const TuneTable& table, const TuneRow& row) const {
    const std::string asked = std::to_string(row.n_look_ups);
    const Json rate = table.decodes ? Json(row.tokens_per_second) : Json();
    const Json fields = {{"purpose", table.purpose()},
                         {"rule", row.rule},
                         {"density", row.density},
                         {"perplexity", row.perplexity},
                         {"perplexity_error", row.perplexity_error},
                         {"ratio", row.ratio},
                         {"ratio_error", row.ratio_error},
                         {"n_found", row.n_found},
                         {"n_look_ups", row.n_look_ups},
                         {"prefill_seconds", row.prefill_seconds},
                         {"tokens_per_second", rate},
                         {"recommended", row.chosen},
                         {"n_windows", row.n_windows},
                         {"window", windows_->window()},
                         {"n_decoded", table.decodes ? Json(options_.windows.decode_tokens) : Json()},
                         {"model_filename", options_.model.model_dir}};
    std::vector<std::string> cells = {table.purpose(),
                                      row.rule,
                                      format("%.1f%%", 100.0 * row.density),
                                      format("%.4f ± %.4f", row.perplexity, row.perplexity_error),
                                      ratio_text(row),
                                      row.n_look_ups == 0 ? "" : std::to_string(row.n_found) + "/" + asked,
                                      format("%.3f", row.prefill_seconds)};
    if (decodes()) cells.push_back(table.decodes ? format("%.1f", row.tokens_per_second) : "");
    cells.emplace_back(row.chosen ? "recommended" : "");
    writer.write(fields, cells);
  }

  void write_report(const std::string& failure, bool interrupted) {
    TuneReport report;
    report.target = options_.target;
    report.sentences = sentences_;
    if (!failure.empty()) report.sentences.push_back(failure);
    std::vector<TradeOffPlot> plots;
    const ModelInfo& model = engine_->model();
    report.facts = {{"model", options_.model.model_dir + " (" + model_type(model) + ")"}};
    for (const Tried& tried : tried_) {
      if (tried.table.rows.empty()) continue;
      report.facts.emplace_back(std::string("gates for ") + tried.trial.purpose(),
                                tried.trial.decodes() ? model.decode_gates->source : model.gates->source);
      report.tables.push_back(&tried.table);
      plots.push_back(plot_trade_off(tried.table, options_.target));
    }
    if (plots.empty()) return;
    const std::string planned = std::to_string(n_windows()) + " windows of " +
                                std::to_string(windows_->window()) + " tokens, " +
                                std::to_string(options_.look_ups.n) + " look-ups";
    report.facts.insert(report.facts.end(), {{"device", engine_->info().device},
                                             {"text", source_},
                                             {"measured on", (interrupted ? "a part of " : "") + planned},
                                             {"target", options_.target.to_string()}});
    draw_trade_offs(plots).write_png(*options_.report + "/trade-off.png");
    page_->write(html_page(report));
    page_->finish();
  }

  TuneOptions options_;
  std::shared_ptr<Engine> engine_;
  std::unique_ptr<WindowLosses> windows_;
  std::vector<Tried> tried_;
  std::unique_ptr<OutputFile> page_;  // of --report
  std::string source_;                // of the text
  std::vector<std::string> sentences_;
  StatusLine line_;
};

}  // namespace

CommandTable describe_tune() { return table_of<TuneOptions>(); }

int run_tune(const Arguments& arguments) {
  TuneOptions options;
  Args args(TuneOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  options.check();
  return Tune(std::move(options)).run();
}

}  // namespace seer::cli
