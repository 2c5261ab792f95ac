#include "models/gate_files.h"

#include <cmath>
#include <filesystem>
#include <memory>
#include <vector>

#include "kernels/random_weights.h"
#include "models/checkpoint_folder.h"
#include "models/finite_weights.h"
#include "models/pth.h"
#include "seer/error.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

TensorMap read_tensors(const fs::path& dir) {
  const fs::path safetensors = dir / "attn_gate_weights.safetensors", pth = dir / "attn_gate_weights.pth";
  if (has_entry(safetensors)) return read_safetensors(safetensors.string());
  if (has_entry(pth)) return read_pth(pth.string());
  throw Error(
      ErrorKind::kFile,
      dir.string() + ": expected attn_gate_weights.safetensors or attn_gate_weights.pth, found neither");
}

}  // namespace

JsonReader read_gate_config(const std::string& dir) {
  std::error_code error;
  if (!fs::is_directory(dir, error))
    throw Error(ErrorKind::kFile,
                dir + ": expected a folder with config.json and attn_gate_weights.pth or .safetensors");
  const std::string path = (fs::path(dir) / "config.json").string();
  return JsonReader(read_json_object(path, kMaxGateConfigBytes), path);
}

void check_gates_fit(const JsonReader& r, const ModelConfig& model) {
  const auto check = [&](const char* key, int64_t expected) {
    const auto found = r.optional_integer(key, 0, INT64_MAX);
    if (found && *found != expected)
      throw Error(ErrorKind::kFile, r.origin() + ": these gates belong to another model: expected " + key +
                                        " " + std::to_string(expected) + ", as the model has it, found " +
                                        std::to_string(*found));
  };
  check("num_hidden_layers", model.n_layers);
  check("num_attention_heads", model.n_heads);
  check("num_key_value_heads", model.n_kv_heads);
  check("head_dim", model.d_head);
  check("hidden_size", model.d_model);
  check("vocab_size", model.n_vocab);
}

bool parse_pools(std::string_view text, GatePools* pools) {
  while (!text.empty()) {
    bool* pool = text.starts_with("max")   ? &pools->max
                 : text.starts_with("min") ? &pools->min
                 : text.starts_with("avg") ? &pools->avg
                                           : nullptr;
    if (pool == nullptr || *pool) return false;
    *pool = true;
    text.remove_prefix(3);
  }
  return pools->count() > 0;
}

GateTensors::GateTensors(const std::string& dir) : tensors_(read_tensors(dir)) {}

Tensor GateTensors::take(const std::string& name, std::initializer_list<int64_t> shape) {
  const Tensor expected(nullptr, DType::kF32, shape);
  const Tensor* found = tensors_.find(name);
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::kFile, tensors_.source() + ": " + name + ": expected " + shape_string(expected) +
                                      " of BF16, F16 or F32, found " + what +
                                      ". Use the gates that were trained for this model.");
  };
  if (found == nullptr) fail("no such tensor");
  if (found->rank != expected.rank || found->shape != expected.shape) fail(shape_string(*found));
  if (found->dtype != DType::kF32 && found->dtype != DType::kF16 && found->dtype != DType::kBF16)
    fail(dtype_name(found->dtype));
  require_finite(*found, name, tensors_.source());
  taken_.insert(name);
  return *found;
}

TensorMap GateTensors::finish(const std::string& owner) {
  const auto check_known = [&](const std::string& name, const std::string& what) {
    if (taken_.count(name) == 0)
      throw Error(ErrorKind::kFile, tensors_.source() + ": the tensor " + name + " " + what +
                                        " is not one that " + owner + " of this model have");
  };
  for (const auto& [name, tensor] : tensors_.all()) check_known(name, shape_string(tensor));
  for (const auto& [name, what] : tensors_.foreign()) check_known(name, what);
  return std::move(tensors_);
}

Tensor add_random_gate(TensorMap* tensors, const std::string& name, int64_t n_heads, int64_t d_in,
                       int64_t d_out, uint64_t seed) {
  Tensor t(nullptr, DType::kBF16, {n_heads, d_in, d_out});
  const auto values = std::make_shared<std::vector<uint16_t>>(static_cast<size_t>(t.numel()));
  const float scale = std::sqrt(3.0F / static_cast<float>(d_in));
  for (size_t i = 0; i < values->size(); ++i) (*values)[i] = random_bf16(seed, i, 0.0F, scale);
  t.data = values->data();
  tensors->keep(values);
  tensors->add(name, t, tensors->source());
  return t;
}

}  // namespace seer
