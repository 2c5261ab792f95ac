#include "tools/seer/decode_dump.h"

#include <algorithm>
#include <string>

#include "seer/error.h"
#include "tools/seer/sparse_options.h"

namespace seer::cli {

DecodeDump::DecodeDump(const ModelInfo& model, const SparseDecodeRule& rule, int64_t n_prompt,
                       int64_t n_steps)
    : sparse_(!is_dense(rule)),
      n_prompt_(n_prompt),
      n_steps_(n_steps),
      n_vocab_(model.n_vocab),
      n_kv_heads_(model.n_kv_heads),
      layers_(static_cast<size_t>(model.n_layers)) {
  if (!model.decode_gates) return;
  block_ = model.decode_gates->gate_block;
  n_blocks_ = (n_prompt + n_steps + block_ - 1) / block_;
  d_gate_ = model.decode_gates->d_gate;
  start_layer_ = model.decode_gates->start_layer;
}

void DecodeDump::take_gates(const DecodeGateRows& rows) {
  Layer& layer = layers_.at(static_cast<size_t>(rows.layer));
  if (rows.n_kv_heads != n_kv_heads_ || rows.position != n_prompt_ + layer.n_taken ||
      layer.n_taken == n_steps_ || rows.n_blocks > n_blocks_)
    throw Error(ErrorKind::kRuntime, "the engine reported rows of decode gates out of order");
  const auto size = static_cast<size_t>(n_steps_ * n_kv_heads_ * n_blocks_);
  layer.score.resize(size);
  layer.mask.resize(size);
  for (int64_t head = 0; head < n_kv_heads_; ++head) {
    const int64_t to = (layer.n_taken * n_kv_heads_ + head) * n_blocks_;
    std::copy_n(rows.scores + head * rows.n_blocks, rows.n_blocks, layer.score.begin() + to);
    std::copy_n(rows.mask + head * rows.n_blocks, rows.n_blocks, layer.mask.begin() + to);
  }
  ++layer.n_taken;
}

void DecodeDump::take_keys(const DecodeGateKeys& keys) {
  if (keys.n_kv_heads != n_kv_heads_ || keys.d_gate != d_gate_ ||
      keys.n_blocks != (n_prompt_ + n_steps_) / block_)
    throw Error(ErrorKind::kRuntime, "the engine reported other keys of decode gates than expected");
  layers_.at(static_cast<size_t>(keys.layer))
      .keys.assign(keys.keys, keys.keys + keys.n_blocks * keys.n_kv_heads * keys.d_gate);
}

void DecodeDump::keep_all(Layer& layer) const {
  layer.mask.resize(static_cast<size_t>(n_steps_ * n_kv_heads_ * n_blocks_));
  for (int64_t row = 0; row < n_steps_ * n_kv_heads_; ++row) {
    const int64_t n = (n_prompt_ + row / n_kv_heads_) / block_ + 1;  // up to the token's own block
    std::fill_n(layer.mask.begin() + row * n_blocks_, n, uint8_t{1});
  }
}

void DecodeDump::add_gates(SafetensorsWriter& writer) {
  const std::vector<int64_t> shape = {n_steps_, n_kv_heads_, n_blocks_};
  for (size_t i = 0; i < layers_.size(); ++i) {
    Layer& layer = layers_[i];
    const bool chooses = static_cast<int64_t>(i) >= start_layer_;
    if (layer.n_taken != (chooses ? n_steps_ : 0))
      throw Error(ErrorKind::kRuntime,
                  "the engine reported only some rows of decode gates of layer " + std::to_string(i));
    if (!chooses) keep_all(layer);
    if (chooses)
      writer.add("decode.score." + std::to_string(i), "F32", shape, layer.score.data(),
                 layer.score.size() * sizeof(float));
    writer.add("decode.mask." + std::to_string(i), "U8", shape, layer.mask.data(), layer.mask.size());
  }
}

void DecodeDump::add_keys(SafetensorsWriter& writer) const {
  const std::vector<int64_t> shape = {(n_prompt_ + n_steps_) / block_, n_kv_heads_, d_gate_};
  for (size_t i = 0; i < layers_.size(); ++i)
    writer.add("decode.gate_key." + std::to_string(i), "F32", shape, layers_[i].keys.data(),
               layers_[i].keys.size() * sizeof(float));
}

void DecodeDump::add_to(SafetensorsWriter& writer) {
  if (logits_.size() != static_cast<size_t>(n_steps_ * n_vocab_))
    throw Error(ErrorKind::kRuntime, "the engine reported other logits than were asked for");
  writer.add("decode.logits", "F32", {n_steps_, n_vocab_}, logits_.data(), logits_.size() * sizeof(float));
  if (sparse_) add_gates(writer);
  const bool has_keys =
      block_ > 0 && (n_prompt_ + n_steps_) / block_ > 0 &&
      std::all_of(layers_.begin(), layers_.end(), [](const Layer& l) { return !l.keys.empty(); });
  if (has_keys) add_keys(writer);
}

}  // namespace seer::cli
