#include "models/page_fingerprint.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <span>
#include <system_error>
#include <thread>

#include "models/family.h"

namespace seer {
namespace {

constexpr int64_t kPiece = int64_t{16} << 20;  // bytes that one thread reads at a time

std::string number(double x) {
  char text[32];
  const std::to_chars_result end = std::to_chars(text, text + sizeof text, x);
  return {text, end.ptr};
}

std::string number(const std::optional<double>& x) { return x ? number(*x) : "none"; }

// "a 1, b 2".
class Description {
 public:
  template <class Value>
  Description& with(const char* name, const Value& value) {
    text_ += (text_.empty() ? "" : ", ") + std::string(name) + " ";
    if constexpr (std::is_integral_v<Value>) {
      text_ += std::to_string(value);
    } else if constexpr (std::is_convertible_v<Value, std::string>) {
      text_ += value;
    } else {
      text_ += number(value);
    }
    return *this;
  }
  std::string text() const { return text_; }

 private:
  std::string text_;
};

std::string describe(const ModelConfig& c) {
  return Description()
      .with("family", std::string(c.family->model_type))
      .with("layers", c.n_layers)
      .with("heads", c.n_heads)
      .with("KV heads", c.n_kv_heads)
      .with("d_head", c.d_head)
      .with("d_model", c.d_model)
      .with("d_ff", c.d_ff)
      .with("vocabulary", c.n_vocab)
      .with("eps", c.rms_norm_eps)
      .with("norms of heads", c.head_norms)
      .with("biases", int{c.biases.qkv} + 2 * int{c.biases.output} + 4 * int{c.biases.mlp})
      .text();
}

std::string describe(const RopeConfig& r) {
  return Description()
      .with("type", static_cast<int>(r.type))
      .with("theta", r.theta)
      .with("factor", r.factor)
      .with("low_freq_factor", r.low_freq_factor)
      .with("high_freq_factor", r.high_freq_factor)
      .with("beta_fast", r.beta_fast)
      .with("beta_slow", r.beta_slow)
      .with("truncate", r.truncate)
      .with("attention_factor", r.attention_factor)
      .with("mscale", r.mscale)
      .with("mscale_all_dim", r.mscale_all_dim)
      .with("original positions", r.original_max_positions)
      .text();
}

std::string describe(const GateConfig& g) {
  return Description()
      .with("type", g.gate_type)
      .with("block", g.gate_block)
      .with("d_gate", g.d_gate)
      .with("double linear", g.double_linear)
      .with("last block dense", g.rule.last_block_dense)
      .text();
}

std::string describe(const DecodeGateConfig& g) {
  return Description()
      .with("type", g.gate_type)
      .with("block", g.gate_block)
      .with("d_gate", g.d_gate)
      .with("norms", g.has_norms)
      .with("rotates", g.rotates)
      .with("first layer", g.start_layer)
      .text();
}

// Collects tensors, and makes one checksum of their types, shapes and bytes.
class TensorChecksum {
 public:
  void add(const Tensor& t) {
    shape_.put(static_cast<uint64_t>(t ? static_cast<int>(t.dtype) + 1 : 0));
    for (int i = 0; i < t.rank; ++i) shape_.put(t.dim(i));
    if (!t) return;
    for (int64_t at = 0; at < t.nbytes(); at += kPiece)
      pieces_.push_back({static_cast<const std::byte*>(t.data) + at,
                         static_cast<size_t>(std::min(kPiece, t.nbytes() - at))});
  }

  void add(const LinearWeights& product) {
    for (const LinearWeights::Part& part : product.parts) {
      for (const Tensor* t : {&part.weight, &part.bias, &part.scale, &part.zero, &part.input_order}) add(*t);
      shape_.put(part.group);
      shape_.put(static_cast<uint64_t>(part.input_codes));
      shape_.put_text(number(static_cast<double>(part.input_scale)));
    }
  }

  // `device` has the tensors in memory of its own; null if they lie on the host.
  std::string result(Backend* device, int n_threads) {
    std::vector<Checksum> sums(pieces_.size());
    if (device != nullptr) {
      read_pieces(device, &sums);
    } else {
      on_threads(n_threads, &sums);
    }
    for (const Checksum& sum : sums) shape_.put(sum);
    return shape_.result().to_hex();
  }

 private:
  void read_pieces(Backend* device, std::vector<Checksum>* sums) const {
    std::vector<std::byte> host(static_cast<size_t>(kPiece));
    for (size_t i = 0; i < pieces_.size(); ++i) {
      device->read(host.data(), Tensor(const_cast<std::byte*>(pieces_[i].data()), DType::kU8,
                                       {static_cast<int64_t>(pieces_[i].size())}));
      (*sums)[i] = checksum_of(std::span(host).first(pieces_[i].size()));
    }
  }

  void on_threads(int n_threads, std::vector<Checksum>* sums) const {
    std::atomic<size_t> next{0};
    const auto work = [&] {
      for (size_t i = next++; i < pieces_.size(); i = next++) (*sums)[i] = checksum_of(pieces_[i]);
    };
    std::vector<std::jthread> threads;
    const size_t most = std::min(static_cast<size_t>(std::max(n_threads, 1)), pieces_.size());
    try {
      for (size_t t = 1; t < most; ++t) threads.emplace_back(work);
    } catch (const std::system_error&) {  // no more threads; this one does what is left
    }
    work();
  }

  ChecksumStream shape_;
  std::vector<std::span<const std::byte>> pieces_;
};

std::string weights_checksum(const Model& model, int n_threads) {
  const ModelWeights& w = model.weights();
  TensorChecksum sum;
  sum.add(w.embedding);
  for (const LayerWeights& layer : w.layers) {
    for (const Tensor* t : {&layer.attention_norm, &layer.query_norm, &layer.key_norm, &layer.mlp_norm})
      sum.add(*t);
    for (const LinearWeights* product : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down})
      sum.add(*product);
  }
  sum.add(w.norm);
  if (!w.tied) sum.add(w.lm_head);
  return sum.result(model.backend().has_own_memory() ? &model.backend() : nullptr, n_threads);
}

// Gates are loaded on the host, whatever the device is.
std::string with_checksum(const GateWeights& gates, int n_threads) {
  TensorChecksum sum;
  for (const GateLayer& layer : gates.layers)
    for (const Tensor* t : {&layer.linear_q, &layer.linear_k}) sum.add(*t);
  const std::vector<float>& factors = gates.config.head_factors;
  if (!factors.empty())
    sum.add(Tensor(const_cast<float*>(factors.data()), DType::kF32, {static_cast<int64_t>(factors.size())}));
  return describe(gates.config) + ", " + sum.result(nullptr, n_threads);
}

std::string with_checksum(const DecodeGateWeights& gates, int n_threads) {
  TensorChecksum sum;
  for (const DecodeGateLayer& layer : gates.layers)
    for (const Tensor* t : {&layer.linear_q, &layer.linear_k, &layer.q_norm, &layer.k_norm}) sum.add(*t);
  return describe(gates.config) + ", " + sum.result(nullptr, n_threads);
}

}  // namespace

PageFingerprint page_fingerprint(const Model& model, int64_t page_tokens, int n_threads,
                                 int64_t page_format) {
  const ModelWeights& weights = model.weights();
  const GateSet gates = model.gates().set();
  return {
      {"the format of pages", std::to_string(page_format)},
      {"the model's shape", describe(model.shard().local), "-m"},
      {"RoPE", describe(model.config().rope), "-m"},
      {"the types of weights",
       weights.dtype + (weights.quantisation.empty() ? "" : ", " + weights.quantisation), "--weights"},
      {"the weights", weights_checksum(model, n_threads), "-m"},
      {"the gates for prompts", gates.prefill == nullptr ? "none" : with_checksum(*gates.prefill, n_threads),
       "-g"},
      {"the gates for decoding", gates.decode == nullptr ? "none" : with_checksum(*gates.decode, n_threads),
       "-g"},
      {"the type of keys and values", dtype_name(model.kv_dtype()), "--kv-cache-dtype"},
      {"the type of activations", dtype_name(model.backend().activation_dtype()), "--device"},
      {"a page",
       std::to_string(page_tokens) + " tokens, " + std::to_string(model.page_bytes(page_tokens)) + " bytes"},
  };
}

Checksum checksum_of(const PageFingerprint& fingerprint) {
  ChecksumStream sum;
  for (const FingerprintItem& item : fingerprint) {
    sum.put_text(item.name);
    sum.put_text(item.value);
  }
  return sum.result();
}

}  // namespace seer
