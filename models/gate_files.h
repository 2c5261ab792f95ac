// The files of a folder of gates, of either kind: config.json, and attn_gate_weights.safetensors or .pth.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>

#include "kernels/block_mask.h"
#include "models/config.h"
#include "models/json_util.h"
#include "models/safetensors.h"

namespace seer {

constexpr int64_t kMaxGateConfigBytes = int64_t{16} << 20;

// Reads a folder's config.json. Throws Error{kFile} if the path is no folder, or if the file is missing or
// malformed.
JsonReader read_gate_config(const std::string& dir);
// Throws Error{kFile} if the gates' config has another value for a size of the model, such as head_dim. Sizes
// that are not in the config are not checked.
void check_gates_fit(const JsonReader& config, const ModelConfig& model);
// Reads the names of pools, as in "maxminavg". Each may be there once, in any order; pools are always
// concatenated as max, min, avg. Returns false if the text names none, names one twice, or has anything else.
bool parse_pools(std::string_view text, GatePools* pools);

// The tensors of a folder. A caller takes each tensor that the gates need, and then calls finish(), which
// refuses tensors that were not taken.
class GateTensors {
 public:
  // Throws Error{kFile} if the folder has neither file, or if the one it has is malformed.
  explicit GateTensors(const std::string& dir);
  // Throws Error{kFile} if there is no such tensor, if it has another shape or type, or values that are NaN
  // or infinite.
  Tensor take(const std::string& name, std::initializer_list<int64_t> shape);
  // Returns the map, which owns the tensors. Throws Error{kFile} if it has a tensor that was not taken;
  // `owner` names the gates in the message ("Qavg_Kmaxminavg gates").
  TensorMap finish(const std::string& owner);

 private:
  TensorMap tensors_;
  std::set<std::string> taken_;
};

// Adds a bf16 tensor [n_heads, d_in, d_out] of random weights to the map and returns it. The weights have the
// variance 1 / d_in.
Tensor add_random_gate(TensorMap* tensors, const std::string& name, int64_t n_heads, int64_t d_in,
                       int64_t d_out, uint64_t seed);

}  // namespace seer
