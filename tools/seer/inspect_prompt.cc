#include "tools/seer/inspect_prompt.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "tools/seer/dump.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/gate_maps.h"
#include "tools/seer/inspect_decode.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"
#include "tools/seer/status_line.h"

namespace seer::cli {
namespace {

using Json = OrderedJson;

// These keep a page of maps below a few thousand pixels, and all pages together below a gigabyte.
constexpr int64_t kMapSide = 384, kMapSideOfMany = 192, kManyHeads = 256;
constexpr int64_t kPlainColumns = 80;

struct LayerAndHead {
  int64_t layer, head;
};

LayerAndHead parse_layer_and_head(const std::string& text) {
  LayerAndHead at = {-1, -1};
  const char* const end = text.data() + text.size();
  const auto [dot, error] = std::from_chars(text.data(), end, at.layer);
  if (error == std::errc() && dot != end && *dot == '.') {
    const auto [stop, again] = std::from_chars(dot + 1, end, at.head);
    if (again == std::errc() && stop == end && at.layer >= 0 && at.head >= 0) return at;
  }
  throw Error(ErrorKind::kUsage, "expected LAYER.HEAD, two numbers from 0 on (0.3), found '" + text + "'");
}

void check_layer_and_head(const LayerAndHead& at, const ModelInfo& model) {
  if (at.layer < model.n_layers && at.head < model.n_heads) return;
  throw Error(ErrorKind::kUsage,
              format("--show: the model has layers 0 to %lld and heads 0 to %lld; found %lld.%lld",
                     static_cast<long long>(model.n_layers - 1), static_cast<long long>(model.n_heads - 1),
                     static_cast<long long>(at.layer), static_cast<long long>(at.head)));
}

std::vector<int32_t> encode(const Prompt& prompt, bool parse_special, const Engine& engine) {
  if (!prompt.ids)
    return encode_prompt(engine.info(), [&](const EncodeLimits& limits) {
      return engine.tokenizer().encode(prompt.text, true, parse_special, limits);
    });
  check_ids(*prompt.ids, engine.model().n_vocab, prompt.source);
  return *prompt.ids;
}

bool draws_in_color() { return stdout_is_terminal() && std::getenv("NO_COLOR") == nullptr; }

int64_t columns() {
  winsize size = {};
  if (!stdout_is_terminal() || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return kPlainColumns;
  return size.ws_col;
}

std::string percent_column(double share) { return format("%7.1f", 100.0 * share); }

std::string density_table(const std::vector<GateSummary>& layers) {
  std::string text = "density, % of causal blocks\n  layer     all";
  for (int64_t head = 0; head < layers.front().n_heads(); ++head)
    text += format("%7s", ("h" + std::to_string(head)).c_str());
  text += "\n";
  for (size_t i = 0; i < layers.size(); ++i) {
    text += format("  %5zu ", i) + percent_column(layers[i].density());
    for (int64_t head = 0; head < layers[i].n_heads(); ++head)
      text += percent_column(layers[i].density(head));
    text += "\n";
  }
  return text;
}

std::string sharing_table(const std::vector<GateSummary>& layers) {
  std::string text =
      "queries that one load of a key block serves, and blocks in a row\n"
      "  layer   2 rows    group     both   median      99%\n";
  for (size_t i = 0; i < layers.size(); ++i)
    text += format("  %5zu %8.2f %8.2f %8.2f %8lld %8lld\n", i, layers[i].shared_by_rows(),
                   layers[i].shared_by_group(), layers[i].shared_by_both(),
                   static_cast<long long>(layers[i].row_length(0.5)),
                   static_cast<long long>(layers[i].row_length(0.99)));
  return text;
}

Json to_json(const std::vector<GateSummary>& layers) {
  Json rows = Json::array();
  for (size_t i = 0; i < layers.size(); ++i) {
    const GateSummary& layer = layers[i];
    Json heads = Json::array();
    for (int64_t head = 0; head < layer.n_heads(); ++head) heads.push_back(layer.density(head));
    rows.push_back({{"layer", i},
                    {"density", layer.density()},
                    {"head_density", heads},
                    {"shared_by_rows", layer.shared_by_rows()},
                    {"shared_by_group", layer.shared_by_group()},
                    {"shared_by_both", layer.shared_by_both()},
                    {"row_blocks_median", layer.row_length(0.5)},
                    {"row_blocks_p99", layer.row_length(0.99)}});
  }
  return rows;
}

class Inspection {
 public:
  Inspection(const PromptInspection& options, const ModelOptions& model, std::string output)
      : options_(options), model_(model), output_(std::move(output)) {}

  int run() {
    if (options_.show) shown_ = parse_layer_and_head(*options_.show);
    const Prompt prompt = read_prompt(options_.prompt);
    engine_ = load_engine(model_);
    const ModelInfo& model = engine_->model();
    options_.sparse.check(model);
    rule_ = effective_rule(options_.sparse.prompt, model);
    if (options_.prompt_tokens) decode_rule_ = effective_rule(options_.sparse.decode, model);
    check_choices();
    if (shown_) check_layer_and_head(*shown_, model);
    tokens_ = encode(prompt, options_.parse_special, *engine_);
    if (options_.prompt_tokens)
      decoded_.emplace(*engine_, decode_rule_, *options_.prompt_tokens, static_cast<int64_t>(tokens_.size()),
                       options_.dump.has_value());
    if (options_.dump) dump_.emplace(*options_.dump, model.n_layers);
    if (needs_gates() && !is_dense(rule_)) prepare_summaries();
    evaluate();
    if (dump_) write_dump();
    if (needs_gates()) report();
    return kDone;
  }

 private:
  bool needs_gates() const { return !options_.dump || options_.maps || options_.show; }

  // Refuses to show choices of gates if none choose.
  void check_choices() const {
    if (needs_gates() && is_dense(rule_) && is_dense(decode_rule_))
      throw Error(
          ErrorKind::kUsage,
          "the prompt would run dense, so there are no blocks to show: give -g DIR and a sparse rule, or "
          "--dump FILE for logits alone");
    if (options_.show && is_dense(rule_))
      throw Error(ErrorKind::kUsage,
                  "--show draws what gates choose for a prompt, and the prompt would run dense");
  }

  void prepare_summaries() {
    const ModelInfo& model = engine_->model();
    const bool softmaxed = rule_.by_threshold();
    const bool many = model.n_layers * model.n_heads > kManyHeads;
    layers_.assign(static_cast<size_t>(model.n_layers),
                   GateSummary(model.n_kv_heads, softmaxed, many ? kMapSideOfMany : kMapSide));
  }

  int64_t n_prompt() const { return decoded_ ? decoded_->n_prompt() : static_cast<int64_t>(tokens_.size()); }

  void evaluate() {
    EvaluateRequest request;
    request.tokens = tokens_;
    request.sparse = options_.sparse.prompt;
    const int64_t wanted = options_.last_logits.value_or(1);
    n_logits_ = wanted == 0 ? n_prompt() : std::min(wanted, n_prompt());
    request.n_last_logits = n_logits_;
    if (decoded_) {
      decoded_->prepare(&request);
      request.n_last_logits += decoded_->n_steps();
    }
    StatusLine line;
    request.on_logits = [&](int64_t position, int64_t n_rows, int64_t width, const float* rows) {
      if (position >= n_prompt()) {
        decoded_->take_logits(rows, n_rows * width);
      } else if (dump_) {
        dump_->add_logits(rows, n_rows * width);
      }
      return !interrupted();
    };
    request.on_gate = [&](const GateRows& rows) {
      if (dump_) dump_->add_gates(rows);
      if (!layers_.empty()) layers_.at(static_cast<size_t>(rows.layer)).add(rows);
    };
    request.on_progress = [&](const PrefillProgress& progress) {
      line.update(describe(progress));
      return !interrupted();
    };
    const RequestStats stats = engine_->new_session()->evaluate(request);
    density_ = stats.density;
    decode_density_ = stats.decode_density;
    throw_if_interrupted();
  }

  void write_dump() {
    dump_->add_metadata("rule", rule_.to_string());
    dump_->add_metadata("model", model_.model_dir);
    dump_->add_metadata("density", format("%.17g", density_));
    if (decoded_) {
      dump_->add_metadata("n_prompt", std::to_string(decoded_->n_prompt()));
      dump_->add_metadata("rule_decode", decode_rule_.to_string());
      dump_->add_metadata("density_decode", format("%.17g", decode_density_));
    }
    dump_->write(tokens_, n_logits_, engine_->model().n_vocab, decoded_ ? decoded_->dump() : nullptr);
    std::string text = *options_.dump + ": " + std::to_string(n_prompt()) + " tokens, logits of the last " +
                       std::to_string(n_logits_) + (is_dense(rule_) ? "" : ", gate scores and masks") +
                       format(", density %.1f%% (", 100.0 * density_) + rule_.to_string() + ")";
    if (decoded_)
      text += format("; %lld tokens decoded, density %.1f%% (", static_cast<long long>(decoded_->n_steps()),
                     100.0 * decode_density_) +
              decode_rule_.to_string() + ")";
    log_info(text);
  }

  void report() {
    Json summary = {{"n_tokens", n_prompt()}};
    std::string text;
    if (!layers_.empty()) report_prompt(&summary, &text);
    if (decoded_ && !is_dense(decode_rule_)) report_decoded(&summary, &text);
    write_stdout(output_ == "json" ? to_text(summary, 2) + "\n" : text);
    if (output_ == "json" || !shown_) return;
    const GateSummary& layer = layers_[static_cast<size_t>(shown_->layer)];
    text = format("\nlayer %lld head %lld: blocks kept, and gate scores from 0.0001 to 1\n",
                  static_cast<long long>(shown_->layer), static_cast<long long>(shown_->head)) +
           draw_map(layer.map(shown_->head), columns(), draws_in_color());
    write_stdout_as_it_is(text);
  }

  void report_prompt(Json* summary, std::string* text) {
    for (const GateSummary& layer : layers_)
      if (layer.n_rows() == 0 || layer.n_rows() != layer.n_blocks())
        throw Error(ErrorKind::kUsage, "the gates chose nothing: the prompt is shorter than one block");
    const int64_t n_blocks = layers_.front().n_blocks();
    const std::string title = format("%lld tokens in %lld blocks, ", static_cast<long long>(n_prompt()),
                                     static_cast<long long>(n_blocks)) +
                              rule_.to_string();
    if (options_.maps)
      say_written(write_maps(*options_.maps, title, engine_->model().gates.value().gate_block, layers_));
    summary->update({{"n_blocks", n_blocks},
                     {"sparse", rule_.to_string()},
                     {"density", density_},
                     {"layers", to_json(layers_)}});
    *text += title + format(", density %.1f%%\n\n", 100.0 * density_) + density_table(layers_) + "\n" +
             sharing_table(layers_);
  }

  void report_decoded(Json* summary, std::string* text) {
    if (options_.maps) say_written(decoded_->write_maps(*options_.maps));
    (*summary)["decode"] = decoded_->json(decode_density_);
    *text += (text->empty() ? "" : "\n") + decoded_->table(decode_density_);
  }

  void say_written(int64_t n_files) const {
    log_info(*options_.maps + ": " + std::to_string(n_files) + " pictures");
  }

  const PromptInspection& options_;
  const ModelOptions& model_;
  std::string output_;
  std::optional<LayerAndHead> shown_;
  std::shared_ptr<Engine> engine_;
  SparseRule rule_;
  SparseDecodeRule decode_rule_;
  std::optional<Dump> dump_;
  std::optional<DecodeInspection> decoded_;  // with --prompt-tokens
  std::vector<GateSummary> layers_;
  std::vector<int32_t> tokens_;
  int64_t n_logits_ = 0;
  double density_ = 1.0, decode_density_ = 1.0;
};

}  // namespace

void PromptInspection::add_to(Args& args) {
  args.group("Prompt");
  prompt.add_to(args);
  prompt.add_tokens_file_to(args);
  args.flag("--parse-special", parse_special, "special tokens written out in the prompt become those tokens");
  args.value(
      "--prompt-tokens", "P", "all of them",
      "only the first P tokens are the prompt, and each of the others is decoded by itself, as if it had "
      "been chosen",
      into(prompt_tokens, 1));
  sparse.add_to(args);
  args.value(
      "--maps", "DIR", "none",
      "write pictures of the block masks and gate scores into DIR: overview.png, layer-00.png and so on, and "
      "decode-layer-00.png and so on of decoded tokens",
      into(maps));
  args.value("--show", "LAYER.HEAD", "none", "draw one head's block mask and gate scores in the terminal",
             into(show));
  args.value("--dump", "FILE", "none", "write logits, gate scores and masks to FILE (safetensors)",
             into(dump));
  args.value("--logits-last", "K", "1", "with --dump: logits of the prompt's last K positions; 0 is all",
             into(last_logits, 0));
}

bool PromptInspection::is_wanted() const {
  return prompt.text || prompt.file || prompt.tokens_file || dump || maps || show;
}

void PromptInspection::check_unused() const {
  if (sparse.prompt || sparse.decode || prompt_tokens || last_logits || parse_special)
    throw Error(
        ErrorKind::kUsage,
        "--sparse, --sparse-decode, --prompt-tokens, --logits-last and --parse-special need a prompt; "
        "see 'seer inspect --help'");
}

int inspect_prompt(const PromptInspection& options, const ModelOptions& model, const std::string& output) {
  options.sparse.require_gates(model);
  if (options.sparse.decode && !options.prompt_tokens)
    throw Error(ErrorKind::kUsage,
                "--sparse-decode needs --prompt-tokens P: the tokens after the first P are decoded");
  if (options.last_logits && !options.dump)
    throw Error(ErrorKind::kUsage, "--logits-last needs --dump FILE, where the logits go");
  return Inspection(options, model, output).run();
}

}  // namespace seer::cli
