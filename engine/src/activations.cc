#include "engine/src/activations.h"

#include <algorithm>
#include <array>

#include "seer/error.h"

namespace seer {
namespace {

[[noreturn]] void refuse_f32(const std::string& device) {
  throw Error(ErrorKind::kUnsupported, "activations of f32 are not supported on " + device +
                                           ", whose activations are bf16: expected auto or bf16. Leave out "
                                           "--activations, or use --device cpu.");
}

std::array<const LinearWeights*, 4> products(const LayerWeights& layer) {
  return {&layer.qkv, &layer.output, &layer.gate_up, &layer.down};
}

}  // namespace

Activations named_activations(const std::string& name, const std::string& device) {
  if (name == "auto") return Activations::kAuto;
  if (name == "bf16") return Activations::kBF16;
  if (name != "f32")
    throw Error(ErrorKind::kUsage, "expected activations of auto, f32 or bf16, found '" + name + "'");
  if (device.starts_with("cuda")) refuse_f32("device '" + device + "'");
  return Activations::kF32;
}

void check_activations(Activations activations, const Backend& backend) {
  if (activations == Activations::kF32 && backend.has_own_memory()) refuse_f32(backend.description());
}

void check_activations(Activations activations, const Backend& backend,
                       std::span<const LayerWeights> layers) {
  if (activations != Activations::kBF16 || backend.has_own_memory()) return;
  int64_t n_rounding = 0, n_exact = 0;  // the numbers of weights with and without rounding
  DType exact = DType::kF32;
  for (const LayerWeights& layer : layers)
    for (const LinearWeights* w : products(layer))
      for (const LinearWeights::Part& part : w->parts) {
        const bool rounds = part.quantised() || part.weight.dtype == DType::kBF16;
        (rounds ? n_rounding : n_exact) += part.weight.numel();
        if (!rounds) exact = part.weight.dtype;
      }
  if (n_rounding >= n_exact) return;
  throw Error(ErrorKind::kUnsupported,
              std::string("activations of bf16 are not supported on a CPU with layers' weights of ") +
                  dtype_name(exact) +
                  ": expected BF16 or quantised ones. Use --weights bf16, or --activations f32.");
}

std::string activations_used(Activations activations, const Backend& backend,
                             std::span<const LayerWeights> layers) {
  if (!backend.has_own_memory()) return activations == Activations::kBF16 ? "bf16" : "f32";
  const bool rounds = std::ranges::any_of(layers, [&](const LayerWeights& layer) {
    return std::ranges::any_of(products(layer), [&](const auto* w) { return backend.rounds_inputs(*w); });
  });
  return rounds ? "fp8" : "bf16";
}

}  // namespace seer
