// Which weights a format given by options applies to, and what the model is then.
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

// What the matrices that takes_format() names take in the whole model.
struct FormatSize {
  int64_t n_layers = 0, n_linear = 0;  // matrices that are brought to the format, and all but the embedding
  int64_t n_params = 0, n_bytes = 0;   // of those that are; scales are included
};
FormatSize format_size(WeightFormat format, std::span<const WeightSlot> slots);
// As ModelWeights::quantisation; `model_bytes` and `model_params` are of the whole model in this format.
// Empty for formats that are not codes.
std::string format_text(WeightFormat format, const FormatSize& size, int64_t model_bytes,
                        int64_t model_params);
// As ModelWeights::dtype. `format` is not kStored.
std::string format_dtype(WeightFormat format);

}  // namespace seer
