#include "tools/seer/dump.h"

#include <algorithm>

#include "seer/error.h"

namespace seer::cli {

void LayerGates::add(const GateRows& rows) {
  if (score.empty()) {
    n_heads = rows.n_heads;
    n_blocks = rows.n_blocks;
    const size_t size =
        static_cast<size_t>(n_heads) * static_cast<size_t>(n_blocks) * static_cast<size_t>(n_blocks);
    score.resize(size);
    mask.resize(size);
  }
  if (rows.n_heads != n_heads || rows.n_blocks != n_blocks || rows.first_row != n_rows ||
      rows.first_row + rows.n_rows > n_blocks)
    throw Error(ErrorKind::kRuntime, "the engine reported gate rows out of order");
  for (int64_t head = 0; head < n_heads; ++head) {
    const int64_t from = head * rows.n_rows * n_blocks;
    const int64_t to = (head * n_blocks + rows.first_row) * n_blocks;
    std::copy_n(rows.scores + from, rows.n_rows * n_blocks, score.begin() + to);
    std::copy_n(rows.mask + from, rows.n_rows * n_blocks, mask.begin() + to);
  }
  n_rows += rows.n_rows;
}

Dump::Dump(const std::string& path, int64_t n_layers)
    : writer_(path), layers_(static_cast<size_t>(n_layers)) {}

bool Dump::has_gates() const {
  return std::any_of(layers_.begin(), layers_.end(), [](const LayerGates& l) { return l.n_rows > 0; });
}

void Dump::write(const std::vector<int32_t>& input_ids, int64_t n_logits, int64_t n_vocab,
                 DecodeDump* decoded) {
  if (logits_.size() != static_cast<size_t>(n_logits) * static_cast<size_t>(n_vocab))
    throw Error(ErrorKind::kRuntime, "the engine reported other logits than were asked for");
  const bool gates = has_gates();
  writer_.add("input_ids", "I32", {static_cast<int64_t>(input_ids.size())}, input_ids.data(),
              input_ids.size() * sizeof(int32_t));
  writer_.add("logits", "F32", {n_logits, n_vocab}, logits_.data(), logits_.size() * sizeof(float));
  for (size_t i = 0; gates && i < layers_.size(); ++i) {
    const LayerGates& layer = layers_[i];
    if (layer.n_rows == 0 || layer.n_rows != layer.n_blocks)
      throw Error(ErrorKind::kRuntime,
                  "the engine reported only some gate rows of layer " + std::to_string(i));
    writer_.add("score." + std::to_string(i), "F32", {layer.n_heads, layer.n_blocks, layer.n_blocks},
                layer.score.data(), layer.score.size() * sizeof(float));
  }
  for (size_t i = 0; gates && i < layers_.size(); ++i) {
    const LayerGates& layer = layers_[i];
    writer_.add("mask." + std::to_string(i), "U8", {layer.n_heads, layer.n_blocks, layer.n_blocks},
                layer.mask.data(), layer.mask.size());
  }
  if (decoded != nullptr) decoded->add_to(writer_);
  writer_.write();
}

}  // namespace seer::cli
