// The type to which inputs of matrix products are rounded in steps that compute a prompt, as options name it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/backend.h"
#include "models/weights.h"

namespace seer {

// kAuto: a CPU rounds nothing, and a GPU rounds as the weights' format says. kF32: a CPU rounds nothing.
// kBF16: a CPU rounds to bf16; a GPU, whose activations are bf16, rounds no further.
enum class Activations : uint8_t { kAuto, kF32, kBF16 };

// Returns what EngineOptions::activations names. Throws Error{kUsage} for any other name, and
// Error{kUnsupported} for f32 if `device` names a GPU.
Activations named_activations(const std::string& name, const std::string& device);
// Throws Error{kUnsupported} for f32 if `backend` is a GPU, which "auto" may have chosen.
void check_activations(Activations activations, const Backend& backend);
// Throws Error{kUnsupported} for bf16 on a CPU if most of the layers' weights are F32 or F16, whose products
// round no inputs. The type of lm_head does not matter: if it is one of these two, its products alone stay
// exact.
void check_activations(Activations activations, const Backend& backend, std::span<const LayerWeights> layers);
// Returns EngineInfo::activations of a model whose layers are on `backend`.
std::string activations_used(Activations activations, const Backend& backend,
                             std::span<const LayerWeights> layers);

}  // namespace seer
