#include "engine/src/cpu_activations.h"

#include "seer/error.h"

namespace seer {
namespace {

[[noreturn]] void refuse_activations(const std::string& device) {
  throw Error(ErrorKind::kUnsupported, "CPU activations of bf16 are not supported on " + device +
                                           ", whose activations are always bf16: expected the CPU. Use "
                                           "--device cpu, or leave out --cpu-activations.");
}

}  // namespace

DType named_cpu_activations(const std::string& name, const std::string& device) {
  if (name == "f32") return DType::kF32;
  if (name != "bf16")
    throw Error(ErrorKind::kUsage, "expected CPU activations of f32 or bf16, found '" + name + "'");
  if (device.starts_with("cuda")) refuse_activations("device '" + device + "'");
  return DType::kBF16;
}

void check_cpu_activations(DType activations, const Backend& backend) {
  if (activations == DType::kBF16 && backend.has_own_memory()) refuse_activations(backend.description());
}

void check_cpu_activations(DType activations, std::span<const LayerWeights> layers) {
  if (activations != DType::kBF16) return;
  int64_t n_rounding = 0, n_exact = 0;  // the numbers of weights with and without rounding
  DType exact = DType::kF32;
  for (const LayerWeights& layer : layers)
    for (const LinearWeights* w : {&layer.qkv, &layer.output, &layer.gate_up, &layer.down})
      for (const LinearWeights::Part& part : w->parts) {
        const bool rounds = part.quantised() || part.weight.dtype == DType::kBF16;
        (rounds ? n_rounding : n_exact) += part.weight.numel();
        if (!rounds) exact = part.weight.dtype;
      }
  if (n_rounding >= n_exact) return;
  throw Error(ErrorKind::kUnsupported,
              std::string("CPU activations of bf16 are not supported with layers' weights of ") +
                  dtype_name(exact) +
                  ": expected BF16 or quantised ones. Use --weights bf16, or --cpu-activations f32.");
}

}  // namespace seer
