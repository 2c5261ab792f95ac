// The tensors about decoded tokens in the file of seer inspect --dump. They have the names and shapes of the
// goldens' tensors (tests/support/decode_goldens.h).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/safetensors_writer.h"
#include "seer/engine.h"

namespace seer::cli {

// Collects decode.logits; under a sparse rule decode.score.L of each layer L in which gates choose, and
// decode.mask.L of every layer; and decode.gate_key.L of every layer if the engine reports gate keys and a
// block is full.
class DecodeDump {
 public:
  // The first n_prompt tokens are the prompt, and the n_steps tokens after them are decoded under `rule`.
  DecodeDump(const ModelInfo& model, const SparseDecodeRule& rule, int64_t n_prompt, int64_t n_steps);
  void take_logits(const float* rows, int64_t n_values) {
    logits_.insert(logits_.end(), rows, rows + n_values);
  }
  // Take the engine's reports. They throw Error{kRuntime} if reports are out of order or of another size.
  void take_gates(const DecodeGateRows& rows);
  void take_keys(const DecodeGateKeys& keys);
  // Adds the tensors, which must outlive writer.write(). Throws Error{kRuntime} if logits or a layer are
  // incomplete.
  void add_to(SafetensorsWriter& writer);

 private:
  struct Layer {
    // [n_steps, n_kv_heads, n_blocks]. In layers that attend to everything, there are no scores, and add_to()
    // fills the mask.
    std::vector<float> score;
    std::vector<uint8_t> mask;
    std::vector<float> keys;  // [full blocks, n_kv_heads, d_gate]
    int64_t n_taken = 0;
  };

  void keep_all(Layer& layer) const;
  void add_gates(SafetensorsWriter& writer);
  void add_keys(SafetensorsWriter& writer) const;

  bool sparse_;
  int64_t n_prompt_, n_steps_, n_vocab_, n_kv_heads_;
  int64_t block_ = 0, n_blocks_ = 0, d_gate_ = 0, start_layer_ = 0;  // of the gates
  std::vector<float> logits_;                                        // [n_steps, n_vocab]
  std::vector<Layer> layers_;
};

}  // namespace seer::cli
