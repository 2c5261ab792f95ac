// The tensors about decoded tokens in the file of seer inspect --dump. They have the same names and shapes as
// in the goldens.
#pragma once

#include <cstdint>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/safetensors_writer.h"

namespace seer::cli {

// Collects decode.logits; under a sparse rule decode.score.L and decode.mask.L; with decode gates
// decode.gate_key.L, all of every layer L that has them.
class DecodeDump {
 public:
  // The first n_prompt tokens are the prompt, and the n_steps tokens after them are decoded under `rule`.
  DecodeDump(const ModelInfo& model, const SparseDecodeRule& rule, int64_t n_prompt, int64_t n_steps);
  void take_logits(const float* rows, int64_t n_values) {
    logits_.insert(logits_.end(), rows, rows + n_values);
  }
  // These throw Error{kRuntime} for reports out of order.
  void take_gates(const DecodeGateRows& rows);
  void take_keys(const DecodeGateKeys& keys);
  // Adds the tensors, which must outlive writer.write(). Throws Error{kRuntime} if logits or a layer are
  // incomplete.
  void add_to(SafetensorsWriter& writer);

 private:
  struct Layer {
    std::vector<float> score;   // [n_steps, n_kv_heads, n_blocks]; empty in layers that attend to everything
    std::vector<uint8_t> mask;  // likewise
    std::vector<float> keys;    // [full blocks, n_kv_heads, d_gate]
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
