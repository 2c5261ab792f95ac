// Says which weights the format of EngineOptions::weights applies to, and describes the resulting model.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/quantise.h"
#include "models/config.h"
#include "models/shard.h"
#include "models/weight_slots.h"

namespace seer {

// Returns whether the weight is brought to the format: matrices of layers are. The embedding, lm_head and
// norms stay as they are stored.
bool takes_format(const WeightSlot& slot, WeightFormat format);

// Returns if the model's weights can be brought to the format. Throws Error{kUnsupported} if the checkpoint
// is quantised already, or if a matrix's inputs on this rank make no groups.
void check_format(WeightFormat format, const ModelConfig& config, const Shard& shard,
                  const std::string& source);

// Sizes, over the whole model, of the matrices for which takes_format() is true.
struct FormatSize {
  // How many matrices are brought to the format, and how many there are without the embedding.
  int64_t n_layers = 0, n_linear = 0;
  int64_t n_params = 0, n_bytes = 0;  // of the matrices that are brought to the format, with scales
};
FormatSize format_size(WeightFormat format, std::span<const WeightSlot> slots);
// Returns the text for ModelWeights::quantisation. `model_bytes` and `model_params` are of the whole model in
// this format. Empty if the format has no codes.
std::string format_text(WeightFormat format, const FormatSize& size, int64_t model_bytes,
                        int64_t model_params);
// Returns the text for ModelWeights::dtype. `format` must not be kStored.
std::string format_dtype(WeightFormat format);

}  // namespace seer
