// One quantised linear layer of a checkpoint, and a rank's part of it as a backend takes it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/linear_weights.h"
#include "models/quant/scheme.h"

namespace seer {

// The tensors as the files have them, whose shapes and types have been checked. Only the scheme's are there.
struct QuantLayer {
  const QuantScheme* scheme = nullptr;
  std::string module;  // for messages: "model.layers.0.mlp.down_proj"
  std::string source;  // the checkpoint
  int64_t d_out = 0, d_in = 0;
  Tensor codes, scales, zeros, group_of_input, input_scale;

  int64_t group() const { return scheme->group == 0 ? d_in : scheme->group; }
  int64_t n_groups() const { return (d_in + group() - 1) / group(); }
};

// Rows and columns of a layer.
struct MatrixRange {
  int64_t row = 0, n_rows = 0, column = 0, n_columns = 0;
};

// Returns the range's codes, scales and zeros as LinearWeights::Part has them, without a bias. They are views
// of the files' memory if they have the same form there, and otherwise copies, which `owners` then keeps
// alive. Throws Error{kFile} for scales that are not positive and finite, codes that are NaN, and groups of
// inputs that make no groups of the scheme's size; Error{kUnsupported} for columns that begin or end within a
// group.
LinearWeights::Part local_part(const QuantLayer& layer, const MatrixRange& range,
                               std::vector<std::shared_ptr<const void>>* owners);

}  // namespace seer
