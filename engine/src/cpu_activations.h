// The type to which a CPU rounds inputs of matrix products, as options name it.
#pragma once

#include <span>
#include <string>

#include "kernels/backend.h"
#include "models/weights.h"

namespace seer {

// Returns the type that EngineOptions::cpu_activations names: kF32, which rounds nothing, or kBF16. Throws
// Error{kUsage} for any other name, and Error{kUnsupported} for bf16 if `device` names a GPU.
DType named_cpu_activations(const std::string& name, const std::string& device);
// Throws Error{kUnsupported} for bf16 if `backend` is a GPU, which "auto" may have chosen.
void check_cpu_activations(DType activations, const Backend& backend);
// Throws Error{kUnsupported} for bf16 if most of the layers' weights are F32 or F16, whose products round no
// inputs. The type of lm_head does not matter: if it is one of these two, its products alone stay exact.
void check_cpu_activations(DType activations, std::span<const LayerWeights> layers);

}  // namespace seer
