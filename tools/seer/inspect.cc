// seer inspect: what a model, its cache and its gates are; --dump is in dump.cc.
#include "seer/engine.h"
#include "tools/seer/commands.h"
#include "tools/seer/dump.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDescription =
    "Describes a model, its KV cache and its gates. With --dump FILE it computes a prompt instead and writes "
    "a safetensors file: input_ids, logits and, under a sparse rule, score.L and mask.L of every layer L.";

Json describe(const SamplingParams& sampling) {
  return {{"temperature", sampling.temperature},
          {"top_k", sampling.top_k},
          {"top_p", sampling.top_p},
          {"min_p", sampling.min_p},
          {"repeat_penalty", sampling.repeat_penalty},
          {"presence_penalty", sampling.presence_penalty},
          {"frequency_penalty", sampling.frequency_penalty},
          {"repeat_last_n", sampling.repeat_last_n}};
}

Json describe(const GateInfo& gates) {
  return {{"source", gates.source},
          {"gate_type", gates.gate_type},
          {"gate_block", gates.gate_block},
          {"d_gate", gates.d_gate},
          {"double_linear", gates.double_linear},
          {"last_block_dense", gates.last_block_dense},
          {"default_rule", gates.default_rule.to_string()},
          {"n_params", gates.n_params}};
}

Json describe_tokenizer(const Engine& engine) {
  try {
    const Tokenizer& tokenizer = engine.tokenizer();
    return {{"kind", tokenizer.kind()},
            {"n_vocab", tokenizer.n_vocab()},
            {"bos_id", tokenizer.bos_id()},
            {"eos_id", tokenizer.eos_id()},
            {"chat_template", tokenizer.chat_template()}};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kFile && error.kind() != ErrorKind::kUnsupported) throw;
    return Json::object({{"error", error.what()}});  // the model can still be run by ids
  }
}

Json describe(const ModelInfo& model, const std::string& dir) {
  return {{"path", dir},
          {"architecture", model.architecture},
          {"dtype", model.dtype},
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
          {"rope", model.rope},
          {"rope_theta", model.rope_theta},
          {"rms_norm_eps", model.rms_norm_eps},
          {"tied_embeddings", model.tied_embeddings},
          {"eos_ids", model.eos_ids}};
}

Json describe(const EngineInfo& info) {
  return {{"device", info.device},           {"ctx_size", info.ctx_size}, {"chunk_size", info.chunk_size},
          {"page_tokens", info.page_tokens}, {"n_pages", info.n_pages},   {"kv_bytes", info.kv_bytes}};
}

// "n_params  5774592 (5.77 M)": the number as it is, and as people say it.
std::string value_text(const std::string& key, const Json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    return text.empty() ? "none" : text;
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
    for (const auto& [key, value] : fields.items())
      text += format("  %-18s ", key.c_str()) + value_text(key, value) + "\n";
  }
  return text;
}

}  // namespace

int run_inspect(const Arguments& arguments) {
  ModelOptions model;
  DumpOptions dump;
  std::string output = "text";
  Args args("inspect", "-m DIR [-g DIR] [--dump FILE -p TEXT] [options]", kDescription);
  args.value("--output", "FORMAT", output, "of the description: text or json",
             into(output, {"text", "json"}));
  dump.add_to(args);
  model.add_to(args);
  if (!args.parse(arguments)) return kDone;
  require_model_dir(model.model_dir);
  if (dump.file) return run_dump(dump, model);
  dump.check_unused();

  const std::shared_ptr<Engine> engine = load_engine(model);
  Json summary;
  summary["model"] = describe(engine->model(), model.model_dir);
  summary["sampling"] = describe(engine->model().default_sampling);
  summary["tokenizer"] = describe_tokenizer(*engine);
  summary["engine"] = describe(engine->info());
  summary["gates"] = engine->model().gates ? describe(*engine->model().gates) : Json();
  write_stdout(output == "json" ? to_text(summary, 2) + "\n" : readable(summary));
  return kDone;
}

}  // namespace seer::cli
