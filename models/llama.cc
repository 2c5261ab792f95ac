#include "models/llama.h"

#include <map>
#include <set>

#include "seer/error.h"

namespace seer {
namespace {

// Takes tensors by name and expected shape, and remembers what was wrong and what was asked for.
class Binder {
 public:
  Binder(const TensorMap& tensors, Backend* backend, std::vector<Buffer>* buffers,
         const LlamaWeights::Progress& on_progress)
      : tensors_(tensors),
        backend_(backend),
        buffers_(buffers),
        on_progress_(on_progress),
        bytes_total_(tensors.nbytes()) {}

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
    bytes_done_ += found->nbytes();
    if (on_progress_ && !on_progress_(bytes_done_, bytes_total_))
      throw Error(ErrorKind::kCancelled, "loading " + tensors_.source() + " was cancelled");
    bytes_by_dtype_[found->dtype] += found->nbytes();
    return backend_->to_device(*found, buffers_);
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
  int64_t bytes_done() const { return bytes_done_; }
  int64_t params_done() const {
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
  Backend* backend_;
  std::vector<Buffer>* buffers_;
  const LlamaWeights::Progress& on_progress_;
  int64_t bytes_total_, bytes_done_ = 0;
  std::map<DType, int64_t> bytes_by_dtype_;
  std::set<std::string> taken_;
  Notes missing_, misshapen_, unexpected_;
};

}  // namespace

LlamaWeights LlamaWeights::load(const std::string& model_dir, const ModelConfig& config, Backend* backend,
                                const Progress& on_progress) {
  LlamaWeights w;
  w.tensors = read_checkpoint(model_dir);
  Binder binder(w.tensors, backend, &w.buffers, on_progress);
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
    w.lm_head.parts = {{w.embedding, {}}};
    binder.ignore("lm_head.weight");  // some exports save the tied tensor twice
  } else {
    w.lm_head.parts = {binder.part("lm_head", n_vocab, d_model, false)};
  }
  binder.finish();
  w.dtype = dtype_name(binder.main_dtype());
  w.n_params = binder.params_done();
  w.n_bytes = binder.bytes_done();
  return w;
}

}  // namespace seer
