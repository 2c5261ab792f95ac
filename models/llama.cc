#include "models/llama.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

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

// A rank's part of the bound tensors: views of rows, and copies of columns, which lie apart in memory. Of a
// mapped file only what is looked at is read.
class Slicer {
 public:
  explicit Slicer(const Shard& shard) : shard_(shard) {}

  LayerWeights layer(const LayerWeights& whole) const {
    const ModelConfig& local = shard_.local;
    const int64_t d_head = local.d_head;
    LayerWeights part = whole;
    take_rows(&part.qkv.parts[0], shard_.first_head * d_head, local.n_heads * d_head);
    for (size_t i = 1; i < 3; ++i)
      take_rows(&part.qkv.parts[i], shard_.first_kv_head * d_head, local.n_kv_heads * d_head);
    for (LinearWeights::Part& p : part.gate_up.parts) take_rows(&p, shard_.first_ff, local.d_ff);
    return part;  // output and down: see columns()
  }
  Tensor vocabulary(const Tensor& table) const { return table.rows(shard_.first_id(), shard_.n_ids()); }

  // Of output and down. The bias is added once: by rank 0.
  int64_t column_bytes(const LinearWeights& whole) const {
    const LinearWeights::Part& part = whole.parts.front();
    return part.weight.nbytes() / shard_.size + (shard_.rank == 0 && part.bias ? part.bias.nbytes() : 0);
  }
  LinearWeights columns(const LinearWeights& whole, std::shared_ptr<const void>* owner) const {
    if (shard_.size == 1) return whole;
    LinearWeights::Part part = whole.parts.front();
    if (shard_.rank != 0) part.bias = {};
    const int64_t n_rows = part.weight.dim(0), n_columns = part.weight.dim(1) / shard_.size;
    const auto size = static_cast<size_t>(n_columns * dtype_bytes(part.weight.dtype));
    const auto copy = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(n_rows) * size);
    const auto* from =
        static_cast<const std::byte*>(part.weight.data) + static_cast<size_t>(shard_.rank) * size;
    const size_t pitch = size * static_cast<size_t>(shard_.size);
    for (int64_t r = 0; r < n_rows; ++r)
      std::memcpy(copy->data() + static_cast<size_t>(r) * size, from + static_cast<size_t>(r) * pitch, size);
    part.weight = Tensor(copy->data(), part.weight.dtype, {n_rows, n_columns});
    *owner = copy;
    return {{part}};
  }

 private:
  static void take_rows(LinearWeights::Part* part, int64_t first, int64_t n) {
    part->weight = part->weight.rows(first, n);
    if (part->bias) part->bias = part->bias.rows(first, n);
  }
  const Shard& shard_;
};

// Moves a rank's part of the bound weights to where the backend uses them, in the order of the forward pass.
class Placer {
 public:
  Placer(LlamaWeights* weights, const Shard& shard, Backend* backend,
         const LlamaWeights::Progress& on_progress)
      : weights_(*weights), slicer_(shard), backend_(backend), on_progress_(on_progress) {
    weights_.embedding = slicer_.vocabulary(weights_.embedding);
    for (LayerWeights& layer : weights_.layers) layer = slicer_.layer(layer);
    bytes_total_ = n_bytes(weights_.embedding) + n_bytes(weights_.norm);
    for (const LayerWeights& layer : weights_.layers)
      bytes_total_ += n_bytes(layer.attention_norm) + n_bytes(layer.qkv) + n_bytes(layer.mlp_norm) +
                      n_bytes(layer.gate_up) + slicer_.column_bytes(layer.output) +
                      slicer_.column_bytes(layer.down);
    if (weights_.lm_head.parts.empty()) return;
    LinearWeights::Part& head = weights_.lm_head.parts.front();
    head.weight = slicer_.vocabulary(head.weight);
    bytes_total_ += n_bytes(weights_.lm_head);
  }

  void run() {
    place(&weights_.embedding);
    for (LayerWeights& layer : weights_.layers) {
      place(&layer.attention_norm);
      place(&layer.qkv);
      place_columns(&layer.output);
      place(&layer.mlp_norm);
      place(&layer.gate_up);
      place_columns(&layer.down);
    }
    place(&weights_.norm);
    if (weights_.lm_head.parts.empty()) {  // tied
      weights_.lm_head.parts = {{weights_.embedding, {}}};
    } else {
      place(&weights_.lm_head);
    }
  }

 private:
  template <class Weights>
  void place(Weights* weights) {
    bytes_done_ += n_bytes(*weights);
    if (on_progress_ && !on_progress_(std::min(bytes_done_, bytes_total_), bytes_total_))
      throw Error(ErrorKind::kCancelled, "loading " + weights_.tensors.source() + " was cancelled");
    *weights = backend_->to_device(*weights, &weights_.buffers);
  }
  void place_columns(LinearWeights* weights) {
    std::shared_ptr<const void> owner;
    *weights = slicer_.columns(*weights, &owner);
    place(weights);
    if (owner && !backend_->memory())
      weights_.tensors.keep(owner);  // else the device has its own copy by now
  }
  static int64_t n_bytes(const Tensor& t) { return t ? t.nbytes() : 0; }
  static int64_t n_bytes(const LinearWeights& w) {
    int64_t n = 0;
    for (const LinearWeights::Part& part : w.parts) n += n_bytes(part.weight) + n_bytes(part.bias);
    return n;
  }

  LlamaWeights& weights_;
  Slicer slicer_;
  Backend* backend_;
  const LlamaWeights::Progress& on_progress_;
  int64_t bytes_done_ = 0, bytes_total_ = 0;
};

}  // namespace

LlamaWeights LlamaWeights::load(const std::string& model_dir, const ModelConfig& config, const Shard& shard,
                                Backend* backend, const Progress& on_progress) {
  LlamaWeights w;
  w.tensors = read_checkpoint(model_dir);
  Binder binder(w.tensors);
  const int64_t d_model = config.d_model, d_ff = config.d_ff, n_vocab = config.n_vocab;
  const int64_t d_q = config.n_heads * config.d_head, d_kv = config.n_kv_heads * config.d_head;
  const bool qkv_bias = config.biases.qkv, mlp_bias = config.biases.mlp;

  w.embedding = binder.take("model.embed_tokens.weight", {n_vocab, d_model});
  for (int64_t l = 0; l < config.n_layers; ++l) {
    const std::string name = "model.layers." + std::to_string(l) + ".";
    const std::string attention = name + "self_attn.", mlp = name + "mlp.";
    LayerWeights& layer = w.layers.emplace_back();
    layer.attention_norm = binder.take(name + "input_layernorm.weight", {d_model});
    layer.qkv.parts = {binder.part(attention + "q_proj", d_q, d_model, qkv_bias),
                       binder.part(attention + "k_proj", d_kv, d_model, qkv_bias),
                       binder.part(attention + "v_proj", d_kv, d_model, qkv_bias)};
    layer.output.parts = {binder.part(attention + "o_proj", d_model, d_q, config.biases.output)};
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
  Placer(&w, shard, backend, on_progress).run();
  if (backend->memory()) w.tensors = {};  // everything was copied
  return w;
}

LlamaWeights LlamaWeights::random(const ModelConfig& config, const Shard& shard, Backend* backend,
                                  uint64_t seed) {
  LlamaWeights w;
  const auto allocate = [&](std::initializer_list<int64_t> shape) {
    Tensor t(nullptr, DType::kBF16, shape);
    w.buffers.push_back(backend->allocate(t.nbytes(), "random weights"));
    t.data = w.buffers.back().get();
    return t;
  };
  const auto count = [&](int64_t n_values) {
    w.n_params += n_values;
    w.n_bytes += n_values * dtype_bytes(DType::kBF16);
  };
  // Of a matrix that is one random tensor in the whole model, the rows of `runs` (first, n) and the columns
  // from first_column on: one matrix again. Uniform in +-sqrt(3 / d_in): products of unit variance from
  // inputs of unit variance.
  using Runs = std::initializer_list<std::pair<int64_t, int64_t>>;
  const auto matrix = [&](int64_t d_out, int64_t d_in, float scale, Runs runs, int64_t first_column,
                          int64_t n_columns) {
    int64_t n_rows = 0, row = 0;
    for (const auto& [first, n] : runs) n_rows += n;
    const Tensor t = allocate({n_rows, n_columns});
    for (const auto& [first, n] : runs) {
      backend->fill_random(t.rows(row, n), seed, 0.0F, scale, {first * d_in + first_column, d_in});
      row += n;
    }
    ++seed;
    count(d_out * d_in);
    return t;
  };
  const auto linear = [&](int64_t d_out, int64_t d_in, Runs runs, int64_t first_column, int64_t n_columns) {
    const float scale = std::sqrt(3.0F / static_cast<float>(d_in));
    return LinearWeights{{{matrix(d_out, d_in, scale, runs, first_column, n_columns), {}}}};
  };
  const auto norm = [&] {
    const Tensor t = allocate({config.d_model});
    backend->fill_random(t, seed++, 1.0F, 0.0F, {});
    count(config.d_model);
    return t;
  };
  const ModelConfig& local = shard.local;
  const int64_t d_model = config.d_model, d_head = config.d_head, d_ff = config.d_ff;
  const int64_t d_q = config.n_heads * d_head, d_kv = config.n_kv_heads * d_head;
  const int64_t first_q = shard.first_head * d_head, local_q = local.n_heads * d_head;
  const int64_t first_kv = shard.first_kv_head * d_head, local_kv = local.n_kv_heads * d_head;
  const Runs ids = {{shard.first_id(), shard.n_ids()}};
  w.embedding = matrix(config.n_vocab, d_model, 1.0F, ids, 0, d_model);
  for (int64_t l = 0; l < config.n_layers; ++l) {
    LayerWeights layer;
    layer.attention_norm = norm();
    layer.qkv = linear(d_q + 2 * d_kv, d_model,
                       {{first_q, local_q}, {d_q + first_kv, local_kv}, {d_q + d_kv + first_kv, local_kv}}, 0,
                       d_model);
    layer.output = linear(d_model, d_q, {{0, d_model}}, first_q, local_q);
    layer.mlp_norm = norm();
    layer.gate_up = linear(2 * d_ff, d_model,
                           {{shard.first_ff, local.d_ff}, {d_ff + shard.first_ff, local.d_ff}}, 0, d_model);
    layer.down = linear(d_model, d_ff, {{0, d_model}}, shard.first_ff, local.d_ff);
    w.layers.push_back(layer);
  }
  w.norm = norm();
  w.lm_head = config.tied_embeddings ? LinearWeights{{{w.embedding, {}}}}
                                     : linear(config.n_vocab, d_model, ids, 0, d_model);
  w.dtype = dtype_name(DType::kBF16);
  return w;
}

}  // namespace seer
