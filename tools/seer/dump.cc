#include "tools/seer/dump.h"

#include <algorithm>

#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"
#include "tools/seer/safetensors_writer.h"
#include "tools/seer/status_line.h"

namespace seer::cli {
namespace {

// One layer's scores and mask, put together from the pieces a chunked prefill reports.
struct LayerGates {
  std::vector<float> score;   // [n_heads, n_blocks, n_blocks]
  std::vector<uint8_t> mask;  // [n_heads, n_blocks, n_blocks]
  int64_t n_heads = 0, n_blocks = 0, n_rows = 0;

  void take(const GateRows& rows) {
    if (score.empty()) {
      n_heads = rows.n_heads;
      n_blocks = rows.n_blocks;
      const size_t size =
          static_cast<size_t>(n_heads) * static_cast<size_t>(n_blocks) * static_cast<size_t>(n_blocks);
      score.resize(size);
      mask.resize(size);
    }
    if (rows.n_heads != n_heads || rows.n_blocks != n_blocks || rows.first_row != n_rows ||
        rows.first_row + rows.n_rows > n_blocks)
      throw Error(ErrorKind::kRuntime, "the engine reported gate rows out of order");
    for (int64_t head = 0; head < n_heads; ++head) {
      const int64_t from = head * rows.n_rows * n_blocks;
      const int64_t to = (head * n_blocks + rows.first_row) * n_blocks;
      std::copy_n(rows.scores + from, rows.n_rows * n_blocks, score.begin() + to);
      std::copy_n(rows.mask + from, rows.n_rows * n_blocks, mask.begin() + to);
    }
    n_rows += rows.n_rows;
  }
};

std::vector<int32_t> encode(const Prompt& prompt, bool parse_special, const Engine& engine) {
  if (!prompt.ids) return engine.tokenizer().encode(prompt.text, true, parse_special);
  check_ids(*prompt.ids, engine.model().n_vocab, prompt.source);
  return *prompt.ids;
}

}  // namespace

void DumpOptions::add_to(Args& args) {
  args.group("Dump");
  args.value("--dump", "FILE", "none: describe the model", "compute the prompt and write FILE (safetensors)",
             into(file));
  prompt.add_to(args);
  prompt.add_tokens_file_to(args);
  args.flag("--parse-special", parse_special, "special tokens written out in the prompt become those tokens");
  args.value("--logits-last", "K", "1", "write the logits of the last K positions; 0 is all",
             into(last_logits, 0));
  add_sparse(args, sparse);
}

void DumpOptions::check_unused() const {
  if (prompt.text || prompt.file || prompt.tokens_file || sparse || last_logits || parse_special)
    throw Error(ErrorKind::kUsage,
                "a prompt, --logits-last and --sparse belong to --dump FILE; see 'seer inspect --help'");
}

int run_dump(const DumpOptions& options, const ModelOptions& model) {
  require_gates(options.sparse, model);
  const Prompt prompt = read_prompt(options.prompt);
  const std::shared_ptr<Engine> engine = load_engine(model);
  SafetensorsWriter writer(*options.file);

  EvaluateRequest request;
  request.tokens = encode(prompt, options.parse_special, *engine);
  request.sparse = options.sparse;
  request.n_last_logits = options.last_logits.value_or(1);
  const auto n_tokens = static_cast<int64_t>(request.tokens.size());
  const int64_t n_vocab = engine->model().n_vocab;
  const int64_t n_logits = request.n_last_logits == 0 ? n_tokens : std::min(request.n_last_logits, n_tokens);
  request.n_last_logits = n_logits;

  StatusLine line;
  std::vector<float> logits;  // [n_logits, n_vocab]
  std::vector<LayerGates> layers(static_cast<size_t>(engine->model().n_layers));
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t width, const float* rows) {
    logits.insert(logits.end(), rows, rows + n_rows * width);
    return !interrupted();
  };
  request.on_gate = [&](const GateRows& rows) { layers.at(static_cast<size_t>(rows.layer)).take(rows); };
  request.on_progress = [&](const PrefillProgress& progress) {
    line.update(describe(progress));
    return !interrupted();
  };
  const RequestStats stats = engine->new_session()->evaluate(request);
  throw_if_interrupted();
  line.clear();

  if (logits.size() != static_cast<size_t>(n_logits) * static_cast<size_t>(n_vocab))
    throw Error(ErrorKind::kRuntime, "the engine reported other logits than were asked for");
  const SparseRule rule = effective_rule(options.sparse, engine->model());
  writer.add_metadata("rule", rule.to_string());
  writer.add_metadata("model", model.model_dir);
  writer.add_metadata("density", format("%.17g", stats.density));
  writer.add("input_ids", "I32", {n_tokens}, request.tokens.data(), request.tokens.size() * sizeof(int32_t));
  writer.add("logits", "F32", {n_logits, n_vocab}, logits.data(), logits.size() * sizeof(float));
  const bool has_gates =
      std::any_of(layers.begin(), layers.end(), [](const LayerGates& l) { return l.n_rows > 0; });
  for (size_t i = 0; has_gates && i < layers.size(); ++i) {
    const LayerGates& layer = layers[i];
    if (layer.n_rows == 0 || layer.n_rows != layer.n_blocks)
      throw Error(ErrorKind::kRuntime,
                  "the engine reported only some gate rows of layer " + std::to_string(i));
    writer.add("score." + std::to_string(i), "F32", {layer.n_heads, layer.n_blocks, layer.n_blocks},
               layer.score.data(), layer.score.size() * sizeof(float));
  }
  for (size_t i = 0; has_gates && i < layers.size(); ++i) {
    const LayerGates& layer = layers[i];
    writer.add("mask." + std::to_string(i), "U8", {layer.n_heads, layer.n_blocks, layer.n_blocks},
               layer.mask.data(), layer.mask.size());
  }
  writer.write();
  log_info(*options.file + ": " + std::to_string(n_tokens) + " tokens, logits of the last " +
           std::to_string(n_logits) + (has_gates ? ", gate scores and masks" : "") +
           format(", density %.1f%% (", 100.0 * stats.density) + rule.to_string() + ")");
  return kDone;
}

}  // namespace seer::cli
