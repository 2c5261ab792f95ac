#include "models/config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "models/checkpoint_folder.h"
#include "models/family.h"
#include "models/json_util.h"
#include "models/rope_config.h"
#include "models/shown_name.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kMaxConfigBytes = int64_t{16} << 20;
// This limit is far beyond any model, and small enough that products of two dimensions, and sums of such
// products, stay within 63 bits.
constexpr int64_t kMaxDimension = int64_t{1} << 24;
constexpr int64_t kMaxLayers = 1 << 12;
constexpr int64_t kMaxHead = 4096;

[[noreturn]] void unsupported(const std::string& origin, const std::string& what) {
  throw Error(ErrorKind::kUnsupported, origin + ": " + what);
}

void check_supported(const JsonReader& r) {
  const std::string activation = r.optional_string("hidden_act").value_or("silu");
  if (activation != "silu" && activation != "swish")
    unsupported(r.origin(), "hidden_act '" + shown_name(activation) + "' is not supported; expected silu");
}

const Family* family_of_architecture(const std::string& name) {
  for (const Family* family : families())
    if (std::ranges::find(family->architectures, name) != family->architectures.end()) return family;
  return nullptr;
}

const Family* family_of_type(const std::string& model_type) {
  for (const Family* family : families())
    if (family->model_type == model_type) return family;
  return nullptr;
}

// Finds the family. transformers reads model_type and other programs read architectures, so if both name
// families that are supported, they must agree.
void find_family(const JsonReader& r, ModelConfig* c) {
  const std::optional<std::string> type = r.optional_string("model_type");
  const Json* list = r.find("architectures");
  if (list != nullptr && (!list->is_array() || (!list->empty() && !list->front().is_string())))
    r.fail("architectures", "a list of names", *list);
  if (list != nullptr && !list->empty()) {
    c->architecture = list->front().get<std::string>();
    c->family = family_of_architecture(c->architecture);
  } else if (type) {
    c->architecture = *type;
    c->family = family_of_type(*type);
    if (c->family != nullptr) c->architecture = c->family->architectures.front();
  } else {
    throw Error(ErrorKind::kFile,
                r.origin() +
                    ": the keys architectures and model_type are missing or empty, one of which must say " +
                    "what the model is. Expected architectures with " + family_architectures() + ".");
  }
  if (c->family == nullptr)
    unsupported(r.origin(), "the architecture '" + shown_name(c->architecture) +
                                "' is not supported; expected " + family_architectures());
  if (!type || *type == c->family->model_type) return;
  const std::string both =
      "model_type '" + shown_name(*type) + "' and architectures '" + c->architecture + "'";
  if (family_of_type(*type) != nullptr)
    throw Error(ErrorKind::kFile, r.origin() + ": " + both + " name different families. Make them agree.");
  c->notes.push_back(both + " differ: the model is read by its architectures");
}

// Returns a size, or `usual` with a note if the key is absent.
int64_t read_size(const JsonReader& r, const char* key, int64_t high, int64_t usual, ModelConfig* c) {
  if (const auto value = r.optional_integer(key, 1, high)) return *value;
  c->note_default(key, usual);
  return usual;
}

int64_t read_kv_heads(const JsonReader& r, ModelConfig* c) {
  const char* key = "num_key_value_heads";
  int64_t n = c->n_heads;
  if (const auto value = r.optional_integer(key, 1, kMaxDimension)) {
    n = *value;
  } else if (c->family->defaults.n_kv_heads && !r.is_null(key)) {
    n = *c->family->defaults.n_kv_heads;
    c->note_default(key, n);
  }
  if (c->n_heads % n != 0)
    throw Error(ErrorKind::kFile,
                r.origin() + ": expected num_attention_heads (" + std::to_string(c->n_heads) +
                    ") to be a multiple of num_key_value_heads (" + std::to_string(n) + ")");
  return n;
}

int64_t read_head_size(const JsonReader& r, const ModelConfig& c) {
  int64_t d_head = 0;
  if (const auto value = r.optional_integer("head_dim", 1, kMaxHead)) {
    d_head = *value;
  } else if (c.family->defaults.d_head) {
    d_head = *c.family->defaults.d_head;
  } else {
    if (c.d_model % c.n_heads != 0)
      throw Error(ErrorKind::kFile,
                  r.origin() + ": without head_dim, expected hidden_size (" + std::to_string(c.d_model) +
                      ") to be a multiple of num_attention_heads (" + std::to_string(c.n_heads) + ")");
    d_head = c.d_model / c.n_heads;
  }
  if (d_head % 2 != 0 || d_head > kMaxHead)
    throw Error(ErrorKind::kFile, r.origin() + ": expected an even head size of at most " +
                                      std::to_string(kMaxHead) + ", found " + std::to_string(d_head));
  if (c.n_heads * d_head > kMaxDimension)
    throw Error(ErrorKind::kFile,
                r.origin() + ": num_attention_heads * head_dim is beyond " + std::to_string(kMaxDimension));
  return d_head;
}

// Returns the ids of a key: none if it is null, and the family's default if it is absent.
std::vector<int32_t> read_ids(const JsonReader& r, const char* key, std::optional<int32_t> usual,
                              const ModelConfig& c) {
  std::vector<int32_t> ids = r.ids(key);
  if (r.has(key) || r.is_null(key) || !usual || *usual >= c.n_vocab) return ids;
  return {*usual};
}

ModelConfig read_config(const JsonReader& r) {
  ModelConfig c;
  find_family(r, &c);
  check_supported(r);
  const Family::Defaults& usual = c.family->defaults;
  c.n_layers = read_size(r, "num_hidden_layers", kMaxLayers, usual.n_layers, &c);
  c.n_heads = read_size(r, "num_attention_heads", kMaxDimension, usual.n_heads, &c);
  c.n_kv_heads = read_kv_heads(r, &c);
  c.d_model = read_size(r, "hidden_size", kMaxDimension, usual.d_model, &c);
  c.d_ff = read_size(r, "intermediate_size", kMaxDimension, usual.d_ff, &c);
  c.n_vocab_given = r.has("vocab_size");
  c.n_vocab = read_size(r, "vocab_size", kMaxDimension, usual.n_vocab, &c);
  c.max_positions =
      read_size(r, "max_position_embeddings", ModelConfig::kMaxPositions, usual.max_positions, &c);
  c.d_head = read_head_size(r, c);
  c.rms_norm_eps = r.number("rms_norm_eps", 1e-6, 0.0, 1.0);
  c.tied_embeddings = r.boolean("tie_word_embeddings", false);
  c.dtype = r.optional_string("dtype").value_or(r.optional_string("torch_dtype").value_or(""));
  c.rope = read_rope(r, c.max_positions, &c.notes);
  if (c.rope.type == RopeConfig::Type::kDynamic && c.d_head == 2)
    unsupported(r.origin(), "dynamic rope scaling with a head size of 2 is not defined");
  c.bos_ids = read_ids(r, "bos_token_id", usual.bos_id, c);
  c.eos_ids = read_ids(r, "eos_token_id", usual.eos_id, c);
  c.quant = QuantScheme::read(r);
  if (c.quant) c.notes.insert(c.notes.end(), c.quant->notes.begin(), c.quant->notes.end());
  c.default_eos = !c.eos_ids.empty() && !r.has("eos_token_id");
  c.family->read(r, &c);
  return c;
}

}  // namespace

ModelConfig ModelConfig::parse(const std::string& json_text, const std::string& origin) {
  return read_config(JsonReader(parse_json_object(json_text, origin), origin));
}

ModelConfig ModelConfig::load(const std::string& model_dir) {
  require_checkpoint_folder(model_dir);
  return load_file((std::filesystem::path(model_dir) / "config.json").string());
}

ModelConfig ModelConfig::load_file(const std::string& path) {
  return read_config(JsonReader(read_json_object(path, kMaxConfigBytes), path));
}

void ModelConfig::note_default(const std::string& key, int64_t value) {
  notes.push_back(key + " is absent: it is " + std::to_string(value) + ", as transformers has it for " +
                  std::string(family->model_type));
}

void ModelConfig::set_vocabulary(int64_t n) {
  std::erase_if(notes, [](const std::string& note) { return note.starts_with("vocab_size "); });
  notes.push_back("vocab_size is absent: it is " + std::to_string(n) + ", as the saved embedding has it");
  n_vocab = n;
  n_vocab_given = true;
}

}  // namespace seer
