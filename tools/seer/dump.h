// The file that seer inspect --dump writes about a prompt. Its tensors have the same names as in the goldens.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/safetensors_writer.h"
#include "seer/request.h"
#include "tools/seer/decode_dump.h"

namespace seer::cli {

// One layer's scores and mask, put together from the pieces that a chunked prefill reports.
struct LayerGates {
  std::vector<float> score;   // [n_heads, n_blocks, n_blocks]
  std::vector<uint8_t> mask;  // [n_heads, n_blocks, n_blocks]
  int64_t n_heads = 0, n_blocks = 0, n_rows = 0;

  void add(const GateRows& rows);  // throws Error{kRuntime} for rows out of order
};

// Collects input_ids and logits, and under a sparse rule score.L and mask.L of every layer L. The constructor
// opens the file, so that a path that cannot be written is reported before the prompt is computed.
class Dump {
 public:
  Dump(const std::string& path, int64_t n_layers);
  void add_logits(const float* rows, int64_t n_values) {
    logits_.insert(logits_.end(), rows, rows + n_values);
  }
  void add_gates(const GateRows& rows) { layers_.at(static_cast<size_t>(rows.layer)).add(rows); }
  void add_metadata(const std::string& key, const std::string& value) { writer_.add_metadata(key, value); }
  // Throws Error{kRuntime} if the logits taken are not n_logits x n_vocab values, or if a layer is
  // incomplete. `decoded` may be null.
  void write(const std::vector<int32_t>& input_ids, int64_t n_logits, int64_t n_vocab,
             DecodeDump* decoded = nullptr);

 private:
  bool has_gates() const;

  SafetensorsWriter writer_;
  std::vector<float> logits_;  // [n_logits, n_vocab]
  std::vector<LayerGates> layers_;
};

}  // namespace seer::cli
