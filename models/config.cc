#include "models/config.h"

#include <algorithm>
#include <filesystem>

#include "models/family.h"
#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
// Far beyond any model; small enough that products of two of them, and sums of those, stay within 63 bits.
constexpr int64_t kMaxDimension = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 1 << 16;
constexpr int64_t kMaxPositions = int64_t{1} << 31;

[[noreturn]] void unsupported(const std::string& origin, const std::string& what) {
  throw Error(ErrorKind::kUnsupported, origin + ": " + what);
}

// transformers 4 writes rope_theta beside rope_scaling; transformers 5 puts everything into rope_parameters.
RopeConfig parse_rope(const JsonReader& config, int64_t max_positions) {
  RopeConfig rope;
  rope.theta = config.number("rope_theta", 10000.0, 1.0, 1e15);
  rope.original_max_positions = max_positions;
  const char* key = config.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  const nlohmann::json* found = config.find(key);
  if (found == nullptr) return rope;
  if (!found->is_object()) config.fail(key, "an object", *found);
  const JsonReader r(*found, config.origin() + ": " + key);

  rope.theta = r.number("rope_theta", rope.theta, 1.0, 1e15);
  const std::string type =
      r.optional_string("rope_type").value_or(r.optional_string("type").value_or("default"));
  if (type == "default") {
    rope.type = RopeConfig::Type::kDefault;
  } else if (type == "linear") {
    rope.type = RopeConfig::Type::kLinear;
  } else if (type == "dynamic") {
    rope.type = RopeConfig::Type::kDynamic;
  } else if (type == "yarn") {
    rope.type = RopeConfig::Type::kYarn;
  } else if (type == "llama3") {
    rope.type = RopeConfig::Type::kLlama3;
  } else {
    unsupported(config.origin(), "the rope type '" + type +
                                     "' is not supported; expected default, linear, dynamic, yarn or llama3");
  }
  if (r.number("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0)
    unsupported(config.origin(), "partial_rotary_factor other than 1 is not supported");
  if (rope.type == RopeConfig::Type::kDefault) return rope;

  const auto required = [&](const char* name, double low, double high) {
    if (const auto value = r.optional_number(name, low, high)) return *value;
    throw Error(ErrorKind::kFile,
                r.origin() + ": the key " + name + " is missing, which rope type '" + type + "' needs");
  };
  rope.factor = required("factor", 1.0, 1e6);
  const auto original = r.optional_integer("original_max_position_embeddings", 1, kMaxPositions);
  // Dynamic scaling grows from max_position_embeddings, whatever the key says: so does transformers.
  if (rope.type == RopeConfig::Type::kYarn || rope.type == RopeConfig::Type::kLlama3)
    rope.original_max_positions = original.value_or(max_positions);
  if (rope.type == RopeConfig::Type::kLlama3) {
    rope.low_freq_factor = required("low_freq_factor", 1e-6, 1e6);
    rope.high_freq_factor = required("high_freq_factor", 1e-6, 1e6);
    if (rope.high_freq_factor <= rope.low_freq_factor)
      throw Error(ErrorKind::kFile, r.origin() + ": expected high_freq_factor to be above low_freq_factor");
  }
  if (rope.type == RopeConfig::Type::kYarn) {
    rope.beta_fast = r.number("beta_fast", 32.0, 1e-6, 1e6);
    rope.beta_slow = r.number("beta_slow", 1.0, 1e-6, 1e6);
    rope.truncate = r.boolean("truncate", true);
    rope.attention_factor = r.optional_number("attention_factor", 1e-6, 1e6);
    rope.mscale = r.optional_number("mscale", 0.0, 1e6);
    rope.mscale_all_dim = r.optional_number("mscale_all_dim", 0.0, 1e6);
  }
  return rope;
}

void check_supported(const JsonReader& r) {
  const std::string activation = r.optional_string("hidden_act").value_or("silu");
  if (activation != "silu" && activation != "swish")
    unsupported(r.origin(), "hidden_act '" + activation + "' is not supported; expected silu");
  if (r.has("quantization_config"))
    unsupported(r.origin(),
                "quantized weights (quantization_config) are not supported; use BF16, F16 or F32 weights");
  if (r.optional_integer("sliding_window", 0, kMaxPositions).value_or(0) != 0 &&
      r.boolean("use_sliding_window", true))
    unsupported(r.origin(), "sliding-window attention (sliding_window) is not supported");
  if (r.number("partial_rotary_factor", 1.0, 0.0, 1.0) != 1.0)
    unsupported(r.origin(), "partial_rotary_factor other than 1 is not supported");
  if (r.optional_integer("pretraining_tp", 1, 1024).value_or(1) != 1)
    unsupported(r.origin(), "pretraining_tp other than 1 is not supported");
}

const Family& find_family(const JsonReader& r, std::string* architecture) {
  if (const nlohmann::json* list = r.find("architectures")) {
    if (!list->is_array() || list->empty() || !list->front().is_string())
      r.fail("architectures", "a list of names", *list);
    *architecture = list->front().get<std::string>();
    for (const Family* family : families())
      if (std::ranges::find(family->architectures, *architecture) != family->architectures.end())
        return *family;
  } else if (const auto type = r.optional_string("model_type")) {
    *architecture = *type;
    for (const Family* family : families())
      if (family->model_type == *type) {
        *architecture = family->architectures.front();
        return *family;
      }
  } else {
    throw Error(ErrorKind::kFile, r.origin() + ": the key architectures is missing");
  }
  unsupported(r.origin(), "the architecture '" + *architecture + "' is not supported; expected " +
                              family_architectures());
}

ModelConfig read_config(const JsonReader& r) {
  const std::string& origin = r.origin();
  ModelConfig c;
  c.family = &find_family(r, &c.architecture);
  check_supported(r);
  c.n_layers = r.integer({"num_hidden_layers"}, 1, kMaxLayers);
  c.n_heads = r.integer({"num_attention_heads"}, 1, kMaxDimension);
  c.n_kv_heads = r.optional_integer("num_key_value_heads", 1, kMaxDimension).value_or(c.n_heads);
  c.d_model = r.integer({"hidden_size"}, 1, kMaxDimension);
  c.d_ff = r.integer({"intermediate_size"}, 1, kMaxDimension);
  c.n_vocab = r.integer({"vocab_size"}, 1, kMaxDimension);
  c.max_positions = r.integer({"max_position_embeddings"}, 1, kMaxPositions);
  if (c.n_heads % c.n_kv_heads != 0)
    throw Error(ErrorKind::kFile, origin + ": expected num_attention_heads (" + std::to_string(c.n_heads) +
                                      ") to be a multiple of num_key_value_heads (" +
                                      std::to_string(c.n_kv_heads) + ")");
  if (const auto d_head = r.optional_integer("head_dim", 1, 4096)) {
    c.d_head = *d_head;
  } else {
    if (c.d_model % c.n_heads != 0)
      throw Error(ErrorKind::kFile,
                  origin + ": without head_dim, expected hidden_size (" + std::to_string(c.d_model) +
                      ") to be a multiple of num_attention_heads (" + std::to_string(c.n_heads) + ")");
    c.d_head = c.d_model / c.n_heads;
  }
  if (c.d_head % 2 != 0 || c.d_head > 4096)
    throw Error(ErrorKind::kFile,
                origin + ": expected an even head size of at most 4096, found " + std::to_string(c.d_head));
  if (c.n_heads * c.d_head > kMaxDimension)
    throw Error(ErrorKind::kFile,
                origin + ": num_attention_heads * head_dim is beyond " + std::to_string(kMaxDimension));

  c.rms_norm_eps = r.number("rms_norm_eps", 1e-6, 0.0, 1.0);
  c.tied_embeddings = r.boolean("tie_word_embeddings", false);
  c.dtype = r.optional_string("torch_dtype").value_or(r.optional_string("dtype").value_or(""));
  c.rope = parse_rope(r, c.max_positions);
  if (c.rope.type == RopeConfig::Type::kDynamic && c.d_head == 2)
    unsupported(origin, "dynamic rope scaling with a head size of 2 is not defined");
  c.bos_ids = r.ids("bos_token_id");
  c.eos_ids = r.ids("eos_token_id");
  c.family->read(r, &c);
  return c;
}

}  // namespace

ModelConfig ModelConfig::parse(const std::string& json_text, const std::string& origin) {
  return read_config(JsonReader(parse_json_object(json_text, origin), origin));
}

ModelConfig ModelConfig::load(const std::string& model_dir) {
  const std::string path = (std::filesystem::path(model_dir) / "config.json").string();
  std::error_code error;
  if (!std::filesystem::is_directory(model_dir, error))
    throw Error(ErrorKind::kFile, model_dir +
                                      ": expected a folder with a Hugging Face checkpoint (config.json, "
                                      "*.safetensors and tokenizer files)");
  return load_file(path);
}

ModelConfig ModelConfig::load_file(const std::string& path) {
  return read_config(JsonReader(read_json_object(path, kMaxConfigBytes), path));
}

GenerationConfig GenerationConfig::load(const std::string& model_dir) {
  GenerationConfig g;
  const std::string path = (std::filesystem::path(model_dir) / "generation_config.json").string();
  if (!std::filesystem::exists(path)) return g;
  const JsonReader r(read_json_object(path, kMaxConfigBytes), path);
  g.eos_ids = r.ids("eos_token_id");
  if (r.has("do_sample")) g.do_sample = r.boolean("do_sample", false);
  g.temperature = r.optional_number("temperature", 0.0, 1e6);
  g.top_p = r.optional_number("top_p", 0.0, 1.0);
  g.min_p = r.optional_number("min_p", 0.0, 1.0);
  g.repetition_penalty = r.optional_number("repetition_penalty", 1e-6, 1e6);
  g.top_k = r.optional_integer("top_k", 0, kMaxDimension);
  return g;
}

}  // namespace seer
