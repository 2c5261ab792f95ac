#include "models/weight_binder.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <iomanip>
#include <sstream>

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
  // If the files have an lm_head of a type that cannot be used, it does not count as tied, so that binding it
  // reports the type.
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
    misshapen_.add(name + ": expected F32, F16 or BF16, found " + dtype_name(found->dtype) + " " +
                   shape_string(*found));
    return {};
  }
  // Only norms and biases are tested here, because they are small. Testing a matrix would read all of it from
  // the disk. If a matrix has a value that is not finite, the logits show it, and they are refused then.
  if (found->rank == 1) require_finite(*found, name, tensors_.source());
  bytes_by_dtype_[found->dtype] += found->nbytes();
  n_params_ += found->numel();
  return *found;
}

Tensor WeightBinder::take_as(const std::string& name, std::initializer_list<DType> types,
                             std::initializer_list<std::vector<int64_t>> shapes) {
  std::string expected, shape_names;
  for (const DType t : types) expected += (expected.empty() ? "" : " or ") + std::string(dtype_name(t));
  for (const std::vector<int64_t>& shape : shapes) {
    std::string dims;
    for (const int64_t d : shape) dims += (dims.empty() ? "" : ", ") + std::to_string(d);
    shape_names += (shape_names.empty() ? " [" : " or [") + dims + "]";
  }
  expected += shape_names;
  taken_.insert(name);
  const Tensor* found = tensors_.find(name);
  if (found == nullptr) {
    const auto foreign = tensors_.foreign().find(name);
    if (foreign == tensors_.foreign().end()) {
      missing_.add(name + " " + expected);
    } else {
      misshapen_.add(name + ": expected " + expected + ", found " + foreign->second);
    }
    return {};
  }
  const bool type = std::ranges::find(types, found->dtype) != types.end();
  const bool shape = std::ranges::any_of(shapes, [&](const std::vector<int64_t>& s) {
    return std::equal(s.begin(), s.end(), found->shape.begin(), found->shape.begin() + found->rank);
  });
  if (!type || !shape) {
    misshapen_.add(name + ": expected " + expected + ", found " + dtype_name(found->dtype) + " " +
                   shape_string(*found));
    return {};
  }
  bytes_by_dtype_[found->dtype] += found->nbytes();
  return *found;
}

bool WeightBinder::has_codes(const std::string& module) const {
  using Layout = QuantScheme::Layout;
  if (config_.quant->layout == Layout::kRows) {
    const Tensor* weight = tensors_.find(module + ".weight");
    return weight != nullptr && !is_float(weight->dtype);
  }
  return tensors_.find(module + (config_.quant->layout == Layout::kPacked ? ".weight_packed" : ".qweight")) !=
         nullptr;
}

QuantLayer WeightBinder::take_quantised(const std::string& module, const WeightSlot& slot) {
  using Layout = QuantScheme::Layout;
  const QuantScheme& s = *config_.quant;
  QuantLayer layer;
  layer.scheme = &s;
  layer.module = module;
  layer.source = tensors_.source();
  layer.d_out = slot.rows, layer.d_in = slot.columns;
  const int64_t n_out = slot.rows, n_in = slot.columns, n_groups = layer.n_groups();
  const auto floats = {DType::kF32, DType::kBF16, DType::kF16};
  const auto words = {DType::kI32};
  if (s.codes == DType::kU4) check_words(module, n_out, n_in);
  switch (s.layout) {
    case Layout::kRows: {
      layer.codes = take_as(module + ".weight", {s.codes}, {{n_out, n_in}});
      const std::string name = module + "." + s.scale;
      if (s.row_block == 0) {
        layer.scales = take_as(name, floats, {{1}, {}, {1, 1}});
      } else if (s.row_block > 1) {
        layer.scales = take_as(name, floats, {{(n_out + s.row_block - 1) / s.row_block, n_groups}});
      } else {
        layer.scales = take_as(name, floats, {{n_out, 1}, {n_out}});
      }
      if (s.static_inputs()) layer.input_scale = take_as(module + ".input_scale", floats, {{1}, {}, {1, 1}});
      break;
    }
    case Layout::kPacked:
      layer.codes = take_as(module + ".weight_packed", words, {{n_out, n_in / 8}});
      layer.scales = take_as(module + ".weight_scale", floats, {{n_out, n_groups}});
      check_weight_shape(module, n_out, n_in);
      if (s.asymmetric)
        layer.zeros = take_as(module + ".weight_zero_point", words, {{(n_out + 7) / 8, n_groups}});
      break;
    case Layout::kGptq:
      layer.codes = take_as(module + ".qweight", words, {{n_in / 8, n_out}});
      layer.scales = take_as(module + ".scales", floats, {{n_groups, n_out}});
      layer.zeros = take_as(module + ".qzeros", words, {{n_groups, n_out / 8}});
      if (tensors_.find(module + ".g_idx") != nullptr)
        layer.group_of_input = take_as(module + ".g_idx", words, {{n_in}});
      break;
    case Layout::kAwq:
      layer.codes = take_as(module + ".qweight", words, {{n_in, n_out / 8}});
      layer.scales = take_as(module + ".scales", floats, {{n_groups, n_out}});
      layer.zeros = take_as(module + ".qzeros", words, {{n_groups, n_out / 8}});
      break;
  }
  n_params_ += n_out * n_in;
  ++n_quantised_;
  quantised_params_ += n_out * n_in;
  for (const Tensor* t :
       {&layer.codes, &layer.scales, &layer.zeros, &layer.group_of_input, &layer.input_scale})
    quantised_bytes_ += *t ? t->nbytes() : 0;
  return layer;
}

void WeightBinder::check_words(const std::string& module, int64_t n_out, int64_t n_in) const {
  using Layout = QuantScheme::Layout;
  const QuantScheme& s = *config_.quant;
  const bool outputs = s.layout == Layout::kPacked || n_out % 8 == 0;
  const bool groups = s.group == 0 || n_in % s.group == 0 || s.layout == Layout::kGptq;
  if (outputs && n_in % 8 == 0 && groups) return;
  throw Error(ErrorKind::kUnsupported,
              tensors_.source() + ": " + module + " of " + std::to_string(n_in) + " inputs and " +
                  std::to_string(n_out) + " outputs: expected multiples of 8" +
                  (groups ? "" : ", and inputs that groups of " + std::to_string(s.group) + " divide") +
                  ". Use the model's plain checkpoint, or one with smaller groups.");
}

void WeightBinder::check_weight_shape(const std::string& module, int64_t n_out, int64_t n_in) {
  const std::string name = module + ".weight_shape";
  const Tensor shape = take_as(name, {DType::kI64, DType::kI32}, {{2}});
  if (!shape) return;
  const auto at = [&](int i) {
    return shape.dtype == DType::kI64 ? static_cast<const int64_t*>(shape.data)[i]
                                      : static_cast<const int32_t*>(shape.data)[i];
  };
  if (at(0) != n_out || at(1) != n_in)
    misshapen_.add(name + ": expected " + std::to_string(n_out) + " and " + std::to_string(n_in) +
                   ", found " + std::to_string(at(0)) + " and " + std::to_string(at(1)));
}

// Some GPTQ files have a bias of zeros on layers that have none.
void WeightBinder::take_needless_bias(const std::string& name) {
  const Tensor* bias = tensors_.find(name);
  if (bias == nullptr || !is_float(bias->dtype)) return;
  const auto* bytes = static_cast<const uint8_t*>(bias->data);
  if (std::all_of(bytes, bytes + bias->nbytes(), [](uint8_t b) { return b == 0; })) taken_.insert(name);
}

BoundWeight WeightBinder::bind(const WeightSlot& slot) {
  const std::string module = module_name(slot.role, slot.layer);
  const std::string name = slot.role == WeightRole::kEmbedding ? embedding_ : module + ".weight";
  const bool linear = !slot.is_vector() && slot.role != WeightRole::kEmbedding;
  BoundWeight bound;
  if (slot.is_vector()) {
    bound.plain.weight = take(name, {slot.rows});
  } else if (linear && config_.quant && has_codes(module)) {
    bound.quant = take_quantised(module, slot);
    if (!slot.bias) take_needless_bias(module + ".bias");
  } else {
    if (linear && config_.quant && slot.role != WeightRole::kLmHead && !config_.quant->leaves_plain(module) &&
        !config_.quant->plain_by_pattern)
      missing_.add("the codes of " + module + ", which quantization_config does not leave out");
    bound.plain.weight = take(name, {slot.rows, slot.columns});
    if (linear) plain_linear_.push_back(module);
  }
  if (slot.bias) bound.plain.bias = take(module + ".bias", {slot.rows});
  return bound;
}

// Returns whether a tensor that the model does not use changes nothing of what a decoder computes. Such
// tensors are tables of old checkpoints, scales of quantised KV caches, buffers of 64-bit or boolean type,
// and modules that training adds outside of the decoder, such as the value head of a reward model.
bool WeightBinder::harmless(const std::string& name) const {
  for (const char* end :
       {"rotary_emb.inv_freq", "rotary_emb.cos_cached", "rotary_emb.sin_cached", "attn.k_scale",
        "attn.v_scale", "proj.k_scale", "proj.v_scale", "proj.output_scale", ".kv_scale", ".masked_bias"})
    if (name.ends_with(end)) return true;
  const auto begins = [&](const char* text) { return name.starts_with(text); };
  // A tensor may belong to the decoder if its name begins like one of the decoder's modules, or has "lora_"
  // in it. If names have the prefix "model.", every other tensor lies outside of the decoder. If they have no
  // prefix, any tensor may belong to it.
  const bool decoders = begins("model.") || begins("lm_head") || begins("layers.") ||
                        begins("embed_tokens.") || begins("norm.") || name.find("lora_") != std::string::npos;
  if (!decoders && !prefix_.empty()) return true;
  // These are heads that training adds. The test above has found them already if names have the prefix
  // "model."; this loop finds them if names have no prefix.
  for (const char* text : {"v_head.", "score.", "classifier."})
    if (begins(text)) return true;
  // A decoder has no weights of 64-bit or boolean type, so such tensors are buffers, for example position_ids
  // or the causal mask of old checkpoints.
  if (const Tensor* tensor = tensors_.find(name)) return tensor->dtype == DType::kI64;
  const auto foreign = tensors_.foreign().find(name);
  return foreign != tensors_.foreign().end() &&
         (foreign->second.starts_with("F64") || foreign->second.starts_with("BOOL"));
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
  for (const auto& [name, tensor] : tensors_.all())
    sort(name,
         (is_float(tensor.dtype) ? "" : dtype_name(tensor.dtype) + std::string(" ")) + shape_string(tensor));
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

std::string WeightBinder::quantisation() const {
  if (n_quantised_ == 0) return {};
  constexpr size_t kShown = 3;
  std::ostringstream text;
  text << config_.quant->method << ": " << n_quantised_ << " of "
       << n_quantised_ + static_cast<int64_t>(plain_linear_.size()) << " linear layers, " << std::fixed
       << std::setprecision(2)
       << 8.0 * static_cast<double>(quantised_bytes_) / static_cast<double>(quantised_params_)
       << " bits a weight (" << config_.quant->codes_text() << "), "
       << 8.0 * static_cast<double>(n_bytes()) / static_cast<double>(n_params_)
       << " with embeddings and all else that is plain";
  for (size_t i = 0; i < plain_linear_.size() && i < kShown; ++i)
    text << (i == 0 ? "; plain: " : ", ") << plain_linear_[i];
  if (plain_linear_.size() > kShown) text << " and " << plain_linear_.size() - kShown << " more";
  return text.str();
}

std::string WeightBinder::dtype() const {
  if (2 * quantised_params_ > n_params_)
    return config_.quant->codes == DType::kU4 ? "int4" : dtype_name(config_.quant->codes);
  DType best = DType::kF32;
  int64_t most = -1;
  for (const auto& [dtype, bytes] : bytes_by_dtype_)
    if (bytes > most && is_float(dtype)) best = dtype, most = bytes;
  return dtype_name(best);
}

int64_t WeightBinder::n_bytes() const {
  int64_t n = 0;
  for (const auto& [dtype, bytes] : bytes_by_dtype_) n += bytes;
  return n;
}

}  // namespace seer
