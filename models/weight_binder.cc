#include "models/weight_binder.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "models/family.h"
#include "models/finite_weights.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr const char* kHeadWeight = "lm_head.weight";

bool same_values(const Tensor& a, const Tensor& b) {
  return a.dtype == b.dtype && a.rank == b.rank && a.shape == b.shape &&
         (a.data == b.data || std::memcmp(a.data, b.data, static_cast<size_t>(a.nbytes())) == 0);
}

bool is_float(DType dtype) { return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16; }

}  // namespace

void WeightBinder::Problems::add(std::string text) {
  if (count++ < kShown) shown.push_back(std::move(text));
}

std::string WeightBinder::Problems::text() const {
  std::string out;
  for (const std::string& line : shown) out += std::string(" ") + kind + ": " + line + ";";
  if (count > shown.size())
    out += " " + std::string(kind) + ": and " + std::to_string(count - shown.size()) + " more;";
  return out;
}

WeightBinder::WeightBinder(const TensorMap& tensors, const ModelConfig& config)
    : tensors_(tensors), config_(config) {
  const auto starts_with_model = [](const auto& entry) { return entry.first.starts_with("model."); };
  const bool prefixed = std::ranges::any_of(tensors.all(), starts_with_model) ||
                        std::ranges::any_of(tensors.foreign(), starts_with_model);
  prefix_ = prefixed || tensors.all().empty() ? "model." : "";
  embedding_ = module_name(WeightRole::kEmbedding, WeightSlot::kNoLayer) + ".weight";
  decide_head();
}

std::string WeightBinder::module_name(WeightRole role, int64_t layer) const {
  std::span<const WeightName> names = config_.family->own_weights;
  auto found = std::ranges::find(names, role, &WeightName::role);
  if (found == names.end()) {
    names = kLlamaWeightNames;
    found = std::ranges::find(names, role, &WeightName::role);
  }
  assert(found != names.end());
  if (role == WeightRole::kLmHead) return found->name;
  if (layer == WeightSlot::kNoLayer) return prefix_ + found->name;
  return prefix_ + "layers." + std::to_string(layer) + "." + found->name;
}

void WeightBinder::decide_head() {
  const Tensor *embedding = tensors_.find(embedding_), *head = tensors_.find(kHeadWeight);
  // A saved head of a type that cannot be used is not tied either: binding it is the error.
  tied_ = config_.tied_embeddings && tensors_.foreign().count(kHeadWeight) == 0;
  if (!tied_ || head == nullptr) return;
  if (embedding == nullptr) {  // either tensor of a tied pair may be the saved one
    embedding_ = kHeadWeight;
  } else if (same_values(*embedding, *head)) {
    taken_.insert(kHeadWeight);
  } else {
    tied_ = false;
    notes_.push_back(
        "config.json ties lm_head to the embedding (tie_word_embeddings), but another lm_head.weight is "
        "saved, which is used, as transformers 5 does");
  }
}

Tensor WeightBinder::take(const std::string& name, std::initializer_list<int64_t> shape) {
  const Tensor expected(nullptr, DType::kF32, shape);
  taken_.insert(name);
  const Tensor* found = tensors_.find(name);
  if (found == nullptr) {
    const auto foreign = tensors_.foreign().find(name);
    if (foreign == tensors_.foreign().end()) {
      missing_.add(name + " " + shape_string(expected));
    } else {
      wrong_type_ = true;
      misshapen_.add(name + ": expected F32, F16 or BF16, found " + foreign->second);
    }
    return {};
  }
  if (found->rank != expected.rank || found->shape != expected.shape) {
    misshapen_.add(name + ": expected " + shape_string(expected) + ", found " + shape_string(*found));
    return {};
  }
  if (!is_float(found->dtype)) {
    wrong_type_ = true;
    misshapen_.add(name + ": expected F32, F16 or BF16, found " + dtype_name(found->dtype));
    return {};
  }
  // Norms and biases are small. Matrices are not read at the start, for they would be read from the disk
  // whole: what is not finite in one shows in the logits, which are refused then.
  if (found->rank == 1) require_finite(*found, name, tensors_.source());
  bytes_by_dtype_[found->dtype] += found->nbytes();
  return *found;
}

LinearWeights::Part WeightBinder::bind(const WeightSlot& slot) {
  const std::string module = module_name(slot.role, slot.layer);
  const std::string name = slot.role == WeightRole::kEmbedding ? embedding_ : module + ".weight";
  LinearWeights::Part part;
  if (slot.is_vector()) {
    part.weight = take(name, {slot.rows});
  } else {
    part.weight = take(name, {slot.rows, slot.columns});
  }
  if (slot.bias) part.bias = take(module + ".bias", {slot.rows});
  return part;
}

// Returns whether a tensor that the model does not use changes nothing of what a decoder computes. Such
// tensors are tables of old checkpoints, scales of quantised KV caches, buffers of 64-bit or boolean type,
// and modules that training adds outside of the decoder, such as the value head of a reward model.
bool WeightBinder::harmless(const std::string& name) const {
  for (const char* end : {"rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached",
                          "attn.k_scale", "attn.v_scale", "proj.k_scale", "proj.v_scale", ".masked_bias"})
    if (name.ends_with(end)) return true;
  const auto begins = [&](const char* text) { return name.starts_with(text); };
  // A tensor may belong to the decoder if its name begins like one of the decoder's modules, or has "lora_"
  // in it. If names have the prefix "model.", every other tensor lies outside of the decoder. If they have no
  // prefix, any tensor may belong to it.
  const bool decoders = begins("model.") || begins("lm_head") || begins("layers.") ||
                        begins("embed_tokens.") || begins("norm.") || name.find("lora_") != std::string::npos;
  if (!decoders && !prefix_.empty()) return true;
  // If names have the prefix, the test above accepts these heads too. So this loop matters only if names have
  // no "model." prefix.
  for (const char* text : {"v_head.", "score.", "classifier."})
    if (begins(text)) return true;
  // A decoder has no weights of 64-bit or boolean type, so such tensors are buffers, for example position_ids
  // or the causal mask of old checkpoints.
  const auto foreign = tensors_.foreign().find(name);
  return foreign != tensors_.foreign().end() &&
         (foreign->second.starts_with("I64") || foreign->second.starts_with("F64") ||
          foreign->second.starts_with("BOOL"));
}

// Sorts the tensors that bind() did not take into skipped_ and unexpected_.
void WeightBinder::sort_untaken() {
  const auto sort = [&](const std::string& name, const std::string& what) {
    if (taken_.count(name) != 0) return;
    if (harmless(name)) {
      skipped_.push_back(name + " " + what);
    } else {
      unexpected_.add(name + " " + what);
    }
  };
  for (const auto& [name, tensor] : tensors_.all()) sort(name, shape_string(tensor));
  for (const auto& [name, what] : tensors_.foreign()) sort(name, what);
}

void WeightBinder::finish() {
  sort_untaken();
  const std::string problems = missing_.text() + misshapen_.text() + unexpected_.text();
  if (problems.empty()) return;
  std::string notes;  // the reason may be a key that config.json lacks
  for (const std::string& note : config_.notes) notes += " config.json: " + note + ";";
  throw Error(ErrorKind::kFile, tensors_.source() + " does not hold the tensors that config.json describes:" +
                                    problems + notes +
                                    (wrong_type_ ? " convert the weights to BF16, F16 or F32."
                                                 : " use the config.json that belongs to these weights."));
}

DType WeightBinder::main_dtype() const {
  DType best = DType::kF32;
  int64_t most = -1;
  for (const auto& [dtype, bytes] : bytes_by_dtype_)
    if (bytes > most) best = dtype, most = bytes;
  return best;
}

int64_t WeightBinder::n_bytes() const {
  int64_t n = 0;
  for (const auto& [dtype, bytes] : bytes_by_dtype_) n += bytes;
  return n;
}

int64_t WeightBinder::n_params() const {
  int64_t n = 0;
  for (const auto& [dtype, bytes] : bytes_by_dtype_) n += bytes / dtype_bytes(dtype);
  return n;
}

}  // namespace seer
