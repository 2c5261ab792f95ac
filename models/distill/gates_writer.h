// Writes trained gates as upstream's files: config.json, attn_gate_weights.safetensors in bf16 and, if asked
// for, attn_gate_weights.pth.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/distill/gate_plan.h"

namespace seer {

// Returns the weights rounded to bf16, as they will be in the file.
std::vector<float> rounded_weights(std::vector<float> weights);
// Writes the gates' weights, and config.json last, so that a folder with a config.json has whole gates. With
// `pth`, the weights are also written as torch.save writes them. `weights` are those of all layers. Throws
// Error{kRuntime}.
void write_gates(const std::string& dir, const GatePlan& plan, const std::vector<float>& weights, bool pth);

}  // namespace seer
