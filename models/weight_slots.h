// The one table of the weights that a decoder has. Loading, slicing for ranks, placing on a device, counting
// bytes and making random weights all go through it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/shard.h"
#include "models/weight_role.h"
#include "models/weights.h"

namespace seer {

// Says where a weight goes: either it is a tensor of its own, or it is one part of a product's weights.
// Exactly one pointer is set.
struct WeightTarget {
  Tensor* tensor = nullptr;
  LinearWeights* product = nullptr;
};

struct WeightSlot {
  static constexpr int64_t kNoLayer = -1;
  // How ranks divide a weight. If the rows are divided, each rank has the biases of its rows. If the columns
  // are divided, rank 0 alone has the bias, so that the sum over ranks includes it once.
  enum class Split : uint8_t { kWhole, kRows, kColumns };

  WeightRole role;
  int64_t rows = 0, columns = 0;  // of the whole model; 0 columns mean a vector
  Split split = Split::kWhole;
  int64_t first = 0, count = 0;  // the rank's rows or columns; unused if kWhole
  bool bias = false;             // whether the weight has a bias [rows]
  // Returns the place of this weight in `weights`.
  WeightTarget (*target)(ModelWeights& weights, int64_t layer) = nullptr;
  int64_t layer = kNoLayer;

  bool is_vector() const { return columns == 0; }
  int64_t local_rows() const { return split == Split::kRows ? count : rows; }
  int64_t local_columns() const { return split == Split::kColumns ? count : columns; }
  int64_t numel() const { return rows * (is_vector() ? 1 : columns) + (bias ? rows : 0); }
};

// Returns a slot for each weight of the model, in the order of the forward pass. The parts of one product
// follow one another. There is no slot for lm_head if it is tied to the embedding.
std::vector<WeightSlot> weight_slots(const ModelConfig& config, const Shard& shard, bool tied);

// Calls `visit` once for each tensor and for each product, in the order of `slots`, with the slots of its
// parts.
void for_each_target(
    std::span<const WeightSlot> slots, ModelWeights* weights,
    const std::function<void(const WeightTarget& target, std::span<const WeightSlot> slots)>& visit);

}  // namespace seer
