// seer inspect: describes a model, its cache and its gates. inspect_prompt.cc has the part about a prompt.
#include <algorithm>

#include "seer/engine.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/inspect_prompt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

using Json = OrderedJson;

constexpr const char* kInspectDescription =
    "Describes a model, its KV cache and its gates. With a prompt it says which blocks the gates chose: "
    "density by "
    "layer and head, how much adjacent rows and the heads of a group share, and pictures of block masks and "
    "gate "
    "scores. --dump writes all of it, and logits, as safetensors: input_ids, logits and, under a sparse "
    "rule, "
    "score.L and mask.L of every layer L; with --prompt-tokens also decode.logits, decode.score.L, "
    "decode.mask.L "
    "and decode.gate_key.L of the tokens that are decoded.";

struct InspectOptions {
  static constexpr CommandHead kHead = {"inspect", "-m DIR [-g DIR] [-p TEXT | -f FILE] [options]",
                                        kInspectDescription};

  ModelOptions model;
  PromptInspection prompt;
  std::string output = "text";

  void add_to(Args& args) {
    args.group("Output");
    args.choice("--output", "FORMAT", output, {"text", "json"}, "how the description is written");
    prompt.add_to(args);
    model.add_to(args);
  }
};

Json as_json(const SamplingParams& sampling) {
  return {{"temperature", sampling.temperature},
          {"top_k", sampling.top_k},
          {"top_p", sampling.top_p},
          {"min_p", sampling.min_p},
          {"repeat_penalty", sampling.repeat_penalty},
          {"presence_penalty", sampling.presence_penalty},
          {"frequency_penalty", sampling.frequency_penalty},
          {"repeat_last_n", sampling.repeat_last_n}};
}

Json as_json(const GateInfo& gates) {
  return {{"source", gates.source},
          {"gate_type", gates.gate_type},
          {"gate_block", gates.gate_block},
          {"d_gate", gates.d_gate},
          {"double_linear", gates.double_linear},
          {"last_block_dense", gates.last_block_dense},
          {"default_rule", gates.default_rule.to_string()},
          {"n_params", gates.n_params}};
}

Json as_json(const DecodeGateInfo& gates) {
  return {{"source", gates.source},
          {"gate_type", gates.gate_type},
          {"gate_block", gates.gate_block},
          {"d_gate", gates.d_gate},
          {"norms", gates.has_norms},
          {"start_layer", gates.start_layer},
          {"default_rule", gates.default_rule.to_string()},
          {"n_params", gates.n_params}};
}

Json describe_template(const Tokenizer& tokenizer) {
  try {
    const auto chat_template = tokenizer.chat_template();
    if (!chat_template) return nullptr;
    return {{"source", chat_template->name()}, {"takes_tools", chat_template->takes_tools()}};
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
}

Json describe_tokenizer(const Engine& engine) {
  try {
    const Tokenizer& tokenizer = engine.tokenizer();
    const TokenizerInfo info = tokenizer.info();
    Json described = {{"kind", info.kind},
                      {"n_vocab", tokenizer.n_vocab()},
                      {"normalizer", info.normalizer},
                      {"splits", info.splits},
                      {"n_added_tokens", info.n_added},
                      {"n_special_tokens", info.n_special},
                      {"bos_id", tokenizer.bos_id()},
                      {"adds_bos", info.adds_bos},
                      {"eos_id", tokenizer.eos_id()},
                      {"adds_eos", info.adds_eos},
                      {"chat_template", describe_template(tokenizer)}};
    if (!info.note.empty()) described["note"] = info.note;
    return described;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFile && error.kind() != ErrorKind::kUnsupported) throw;
    return Json::object({{"error", error.what()}});  // the model can still be used with ids
  }
}

// Returns the token's text, if there is a tokenizer that knows it and the text can be shown.
std::string token_name(const Engine& engine, int32_t id) {
  try {
    const std::string bytes = engine.tokenizer().token_bytes(id);
    const bool printable = std::all_of(bytes.begin(), bytes.end(), [](char c) { return c > ' ' && c < 127; });
    return printable ? bytes : "";
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFile && error.kind() != ErrorKind::kUnsupported) throw;
    return "";
  }
}

Json describe_stop_ids(const Engine& engine) {
  Json list = Json::array();
  for (const StopId& stop : engine.model().stop_ids)
    list.push_back({{"id", stop.id}, {"token", token_name(engine, stop.id)}, {"source", stop.source}});
  return list;
}

Json as_json(const Engine& engine, const std::string& dir) {
  const ModelInfo& model = engine.model();
  return {{"path", dir},
          {"architecture", model.architecture},
          {"dtype", model.dtype},
          {"quantisation", model.quantisation.empty() ? Json() : Json(model.quantisation)},
          {"n_params", model.n_params},
          {"n_bytes", model.n_bytes},
          {"n_layers", model.n_layers},
          {"n_heads", model.n_heads},
          {"n_kv_heads", model.n_kv_heads},
          {"d_head", model.d_head},
          {"d_model", model.d_model},
          {"d_ff", model.d_ff},
          {"n_vocab", model.n_vocab},
          {"max_positions", model.max_positions},
          {"window", model.window ? Json(*model.window) : Json()},
          {"rope", model.rope},
          {"rope_theta", model.rope_theta},
          {"rms_norm_eps", model.rms_norm_eps},
          {"tied_embeddings", model.tied_embeddings},
          {"eos_ids", model.eos_ids},
          {"stop_ids", describe_stop_ids(engine)},
          {"config_notes", model.config_notes}};
}

Json as_json(const EngineInfo& info) {
  return {{"device", info.device},         {"ctx_size", info.ctx_size},
          {"chunk_size", info.chunk_size}, {"page_tokens", info.page_tokens},
          {"n_pages", info.n_pages},       {"kv_cache_dtype", info.kv_cache_dtype},
          {"kv_bytes", info.kv_bytes},     {"activations", info.activations},
          {"step_bytes", info.step_bytes}};
}

// Returns the text of a value, for example "5774592 (5.77 M)" for n_params: the exact number, and a rounded
// one for people.
std::string value_text(const std::string& key, const Json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    return text.empty() ? "none" : text;
  }
  if (value.is_null()) return "none";
  if (key == "stop_ids" && value.is_object()) {
    const auto token = value["token"].get<std::string>();
    return std::to_string(value["id"].get<int32_t>()) + (token.empty() ? "" : " " + token) + ", by " +
           value["source"].get<std::string>();
  }
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) return format("%g", value.get<double>());
  if (value.is_array()) {
    std::string text;
    for (const Json& item : value) text += (text.empty() ? "" : " ") + to_text(item);
    return text.empty() ? "none" : text;
  }
  std::string text = to_text(value);
  if (key == "n_params") text += " (" + human_count(value.get<int64_t>()) + ")";
  if (key.ends_with("_bytes")) text += " (" + human_bytes(value.get<int64_t>()) + ")";
  if (key.ends_with("_id") && value.get<int64_t>() < 0) return "none";
  return text;
}

std::string readable(const Json& summary) {
  std::string text;
  for (const auto& [section, fields] : summary.items()) {
    text += (text.empty() ? "" : "\n") + section + "\n";
    if (!fields.is_object()) {
      text += "  none\n";
      continue;
    }
    for (const auto& [key, value] : fields.items()) {
      // Notes are sentences, so each gets a line of its own; an ordinary model has none.
      const bool a_line_each = key == "config_notes" || (key == "stop_ids" && !value.empty());
      const Json lines = a_line_each ? value : Json::array({value});
      for (const Json& line : lines) text += format("  %-18s ", key.c_str()) + value_text(key, line) + "\n";
    }
  }
  return text;
}

}  // namespace

CommandTable describe_inspect() { return table_of<InspectOptions>(); }

int run_inspect(const Arguments& arguments) {
  InspectOptions options;
  Args args(InspectOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  require_model_dir(options.model.model_dir);
  if (options.prompt.is_wanted()) return inspect_prompt(options.prompt, options.model, options.output);
  options.prompt.check_unused();

  const std::shared_ptr<Engine> engine = load_engine(options.model);
  Json summary;
  summary["model"] = as_json(*engine, options.model.model_dir);
  summary["sampling"] = as_json(engine->model().default_sampling);
  summary["tokenizer"] = describe_tokenizer(*engine);
  summary["engine"] = as_json(engine->info());
  summary["gates"] = engine->model().gates ? as_json(*engine->model().gates) : Json();
  summary["decode_gates"] = engine->model().decode_gates ? as_json(*engine->model().decode_gates) : Json();
  write_stdout(options.output == "json" ? to_text(summary, 2) + "\n" : readable(summary));
  return kDone;
}

}  // namespace seer::cli
