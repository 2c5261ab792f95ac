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

// Where a weight goes: a vector or table of its own, or one part of a product's weights.
struct WeightTarget {
  Tensor* tensor = nullptr;
  LinearWeights* product = nullptr;
};

struct WeightSlot {
  static constexpr int64_t kNoLayer = -1;
  // How ranks divide a weight. The bias of rows goes with them; that of columns is added once, by rank 0.
  enum class Split : uint8_t { kWhole, kRows, kColumns };

  WeightRole role;
  int64_t rows = 0, columns = 0;  // of the whole model; no columns: a vector
  Split split = Split::kWhole;
  int64_t first = 0, count = 0;  // the rank's rows or columns; of kWhole: unused
  bool bias = false;             // [rows], beside the weight
  WeightTarget (*target)(ModelWeights& weights, int64_t layer) = nullptr;
  int64_t layer = kNoLayer;

  bool is_vector() const { return columns == 0; }
  int64_t local_rows() const { return split == Split::kRows ? count : rows; }
  int64_t local_columns() const { return split == Split::kColumns ? count : columns; }
  int64_t numel() const { return rows * (is_vector() ? 1 : columns) + (bias ? rows : 0); }
};

// In the order of the forward pass; parts of one product follow one another. lm_head is among them unless it
// is tied to the embedding.
std::vector<WeightSlot> weight_slots(const ModelConfig& config, const Shard& shard, bool tied);

// Calls `visit` for each tensor and for each product, with the slots that make it up.
void for_each_target(
    std::span<const WeightSlot> slots, ModelWeights* weights,
    const std::function<void(const WeightTarget& target, std::span<const WeightSlot> slots)>& visit);

}  // namespace seer
