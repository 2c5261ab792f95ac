// The type that inputs of matrix products are rounded to on a CPU, as options name it.
#pragma once

#include <string>

#include "kernels/backend.h"

namespace seer {

// Returns the type that EngineOptions::cpu_activations names: kF32, which rounds nothing, or kBF16. Throws
// Error{kUsage} for any other name, and Error{kUnsupported} for bf16 if `device` names a GPU.
DType named_cpu_activations(const std::string& name, const std::string& device);
// Throws Error{kUnsupported} for bf16 if `backend` is a GPU, which "auto" may have chosen.
void check_cpu_activations(DType activations, const Backend& backend);
// Throws Error{kUnsupported} for bf16 if `weights`, the type of most weights as ModelInfo::dtype names it, is
// one whose products round no inputs.
void check_cpu_activations(DType activations, const std::string& weights);

}  // namespace seer
