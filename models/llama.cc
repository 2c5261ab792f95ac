#include "models/llama.h"

#include <cmath>
#include <map>
#include <set>

#include "seer/error.h"

namespace seer {
namespace {

// Takes tensors by name and expected shape, and remembers what was wrong and what was asked for.
class Binder {
 public:
  explicit Binder(const TensorMap& tensors) : tensors_(tensors) {}

  Tensor take(const std::string& name, std::initializer_list<int64_t> shape) {
    const Tensor* found = tensors_.find(name);
    const Tensor expected(nullptr, DType::kF32, shape);
    taken_.insert(name);
    if (found == nullptr) {
      note(missing_, name + " " + shape_string(expected));
      return {};
    }
    if (found->rank != expected.rank || found->shape != expected.shape) {
      note(misshapen_, name + ": expected " + shape_string(expected) + ", found " + shape_string(*found));
      return {};
    }
    if (found->dtype != DType::kF32 && found->dtype != DType::kF16 && found->dtype != DType::kBF16) {
      note(misshapen_, name + ": expected F32, F16 or BF16, found " + dtype_name(found->dtype));
      return {};
    }
    bytes_by_dtype_[found->dtype] += found->nbytes();
    return *found;
  }
  LinearWeights::Part part(const std::string& name, int64_t d_out, int64_t d_in, bool bias) {
    LinearWeights::Part p;
    p.weight = take(name + ".weight", {d_out, d_in});
    if (bias) p.bias = take(name + ".bias", {d_out});
    return p;
  }
  void ignore(const std::string& name) { taken_.insert(name); }

  // Throws for everything that was noted, and for tensors nobody asked for.
  void finish() {
    for (const auto& [name, tensor] : tensors_.all())
      if (taken_.count(name) == 0) note(unexpected_, name + " " + shape_string(tensor));
    std::string problems;
    append(&problems, "missing", missing_);
    append(&problems, "misshapen", misshapen_);
    append(&problems, "unexpected", unexpected_);
    if (!problems.empty())
      throw Error(ErrorKind::kFile, tensors_.source() +
                                        " does not hold the tensors that config.json describes:" + problems +
                                        "\nUse the config.json that belongs to these weights.");
  }
  DType main_dtype() const {
    DType best = DType::kF32;
    int64_t most = -1;
    for (const auto& [dtype, bytes] : bytes_by_dtype_)
      if (bytes > most) best = dtype, most = bytes;
    return best;
  }
  int64_t n_bytes() const {
    int64_t n = 0;
    for (const auto& [dtype, bytes] : bytes_by_dtype_) n += bytes;
    return n;
  }
  int64_t n_params() const {
    int64_t n = 0;
    for (const auto& [dtype, bytes] : bytes_by_dtype_) n += bytes / dtype_bytes(dtype);
    return n;
  }

 private:
  struct Notes {
    static constexpr size_t kShown = 4;
    std::vector<std::string> shown;
    size_t count = 0;
  };
  static void note(Notes& notes, std::string text) {
    if (notes.count++ < Notes::kShown) notes.shown.push_back(std::move(text));
  }
  static void append(std::string* out, const char* kind, const Notes& notes) {
    for (const std::string& text : notes.shown) *out += std::string("\n  ") + kind + ": " + text;
    if (notes.count > notes.shown.size())
      *out +=
          "\n  " + std::string(kind) + ": and " + std::to_string(notes.count - notes.shown.size()) + " more";
  }

  const TensorMap& tensors_;
  std::map<DType, int64_t> bytes_by_dtype_;
  std::set<std::string> taken_;
  Notes missing_, misshapen_, unexpected_;
};

// Moves bound weights to where the backend uses them, in the order of the forward pass.
class Placer {
 public:
  Placer(LlamaWeights* weights, Backend* backend, const LlamaWeights::Progress& on_progress)
      : weights_(*weights), backend_(backend), on_progress_(on_progress) {}

  void run(bool tied) {
    place(&weights_.embedding);
    for (LayerWeights& layer : weights_.layers) {
      place(&layer.attention_norm);
      place(&layer.qkv);
      place(&layer.output);
      place(&layer.mlp_norm);
      place(&layer.gate_up);
      place(&layer.down);
    }
    place(&weights_.norm);
    if (tied) {
      weights_.lm_head.parts = {{weights_.embedding, {}}};
    } else {
      place(&weights_.lm_head);
    }
  }

 private:
  template <class Weights>
  void place(Weights* weights) {
    bytes_done_ += n_bytes(*weights);
    if (on_progress_ && !on_progress_(bytes_done_, weights_.n_bytes))
      throw Error(ErrorKind::kCancelled, "loading " + weights_.tensors.source() + " was cancelled");
    *weights = backend_->to_device(*weights, &weights_.buffers);
  }
  static int64_t n_bytes(const Tensor& t) { return t ? t.nbytes() : 0; }
  static int64_t n_bytes(const LinearWeights& w) {
    int64_t n = 0;
    for (const LinearWeights::Part& part : w.parts) n += n_bytes(part.weight) + n_bytes(part.bias);
    return n;
  }

  LlamaWeights& weights_;
  Backend* backend_;
  const LlamaWeights::Progress& on_progress_;
  int64_t bytes_done_ = 0;
};

}  // namespace

LlamaWeights LlamaWeights::load(const std::string& model_dir, const ModelConfig& config, Backend* backend,
                                const Progress& on_progress) {
  LlamaWeights w;
  w.tensors = read_checkpoint(model_dir);
  Binder binder(w.tensors);
  const int64_t d_model = config.d_model, d_ff = config.d_ff, n_vocab = config.n_vocab;
  const int64_t d_q = config.n_heads * config.d_head, d_kv = config.n_kv_heads * config.d_head;
  const bool attention_bias = config.attention_bias, mlp_bias = config.mlp_bias;

  w.embedding = binder.take("model.embed_tokens.weight", {n_vocab, d_model});
  for (int64_t l = 0; l < config.n_layers; ++l) {
    const std::string name = "model.layers." + std::to_string(l) + ".";
    const std::string attention = name + "self_attn.", mlp = name + "mlp.";
    LayerWeights& layer = w.layers.emplace_back();
    layer.attention_norm = binder.take(name + "input_layernorm.weight", {d_model});
    layer.qkv.parts = {binder.part(attention + "q_proj", d_q, d_model, attention_bias),
                       binder.part(attention + "k_proj", d_kv, d_model, attention_bias),
                       binder.part(attention + "v_proj", d_kv, d_model, attention_bias)};
    layer.output.parts = {binder.part(attention + "o_proj", d_model, d_q, attention_bias)};
    layer.mlp_norm = binder.take(name + "post_attention_layernorm.weight", {d_model});
    layer.gate_up.parts = {binder.part(mlp + "gate_proj", d_ff, d_model, mlp_bias),
                           binder.part(mlp + "up_proj", d_ff, d_model, mlp_bias)};
    layer.down.parts = {binder.part(mlp + "down_proj", d_model, d_ff, mlp_bias)};
    binder.ignore(attention +
                  "rotary_emb.inv_freq");  // a buffer that old checkpoints saved; config.json rules
  }
  w.norm = binder.take("model.norm.weight", {d_model});
  if (config.tied_embeddings) {
    binder.ignore("lm_head.weight");  // some exports save the tied tensor twice
  } else {
    w.lm_head.parts = {binder.part("lm_head", n_vocab, d_model, false)};
  }
  binder.finish();
  w.dtype = dtype_name(binder.main_dtype());
  w.n_params = binder.n_params();
  w.n_bytes = binder.n_bytes();
  Placer(&w, backend, on_progress).run(config.tied_embeddings);
  if (backend->memory()) w.tensors = {};  // everything was copied
  return w;
}

LlamaWeights LlamaWeights::random(const ModelConfig& config, Backend* backend, uint64_t seed) {
  LlamaWeights w;
  const auto make = [&](std::initializer_list<int64_t> shape, float mean, float scale) {
    Tensor t(nullptr, DType::kBF16, shape);
    w.buffers.push_back(backend->allocate(t.nbytes(), "random weights"));
    t.data = w.buffers.back().get();
    backend->fill_random(t, seed++, mean, scale);
    w.n_params += t.numel();
    w.n_bytes += t.nbytes();
    return t;
  };
  // Uniform in +-sqrt(3 / d_in): products of unit variance from inputs of unit variance.
  const auto linear = [&](int64_t d_out, int64_t d_in) {
    return LinearWeights{{{make({d_out, d_in}, 0.0F, std::sqrt(3.0F / static_cast<float>(d_in))), {}}}};
  };
  const auto norm = [&] { return make({config.d_model}, 1.0F, 0.0F); };
  const int64_t d_model = config.d_model, d_q = config.n_heads * config.d_head;
  const int64_t d_kv = config.n_kv_heads * config.d_head;
  w.embedding = make({config.n_vocab, d_model}, 0.0F, 1.0F);
  for (int64_t l = 0; l < config.n_layers; ++l) {
    LayerWeights layer;
    layer.attention_norm = norm();
    layer.qkv = linear(d_q + 2 * d_kv, d_model);
    layer.output = linear(d_model, d_q);
    layer.mlp_norm = norm();
    layer.gate_up = linear(2 * config.d_ff, d_model);
    layer.down = linear(d_model, config.d_ff);
    w.layers.push_back(layer);
  }
  w.norm = norm();
  w.lm_head = config.tied_embeddings ? LinearWeights{{{w.embedding, {}}}} : linear(config.n_vocab, d_model);
  w.dtype = dtype_name(DType::kBF16);
  return w;
}

}  // namespace seer
