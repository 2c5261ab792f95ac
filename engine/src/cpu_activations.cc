#include "engine/src/cpu_activations.h"

#include "seer/error.h"

namespace seer {
namespace {

[[noreturn]] void refuse_device(const std::string& device) {
  throw Error(ErrorKind::kUnsupported, "CPU activations of bf16 are not supported on " + device +
                                           ", whose activations are always bf16: expected the CPU. Use "
                                           "--device cpu, or leave out --cpu-activations.");
}

}  // namespace

DType named_cpu_activations(const std::string& name, const std::string& device) {
  if (name == "f32") return DType::kF32;
  if (name != "bf16")
    throw Error(ErrorKind::kUsage, "expected CPU activations of f32 or bf16, found '" + name + "'");
  if (device.starts_with("cuda")) refuse_device("device '" + device + "'");
  return DType::kBF16;
}

void check_cpu_activations(DType activations, const Backend& backend) {
  if (activations == DType::kBF16 && backend.has_own_memory()) refuse_device(backend.description());
}

void check_cpu_activations(DType activations, const std::string& weights) {
  if (activations != DType::kBF16 || (weights != "F16" && weights != "F32")) return;
  throw Error(ErrorKind::kUnsupported,
              "CPU activations of bf16 are not supported with weights of " + weights +
                  ": expected BF16 or quantised weights. Use --cpu-activations f32.");
}

}  // namespace seer
