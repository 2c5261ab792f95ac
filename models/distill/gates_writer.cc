#include "models/distill/gates_writer.h"

#include <bit>
#include <filesystem>

#include "engine/base/output_file.h"
#include "engine/base/safetensors_writer.h"
#include "models/distill/pth_writer.h"

namespace seer {
namespace {

// To the nearest, ties to even. Weights are finite.
uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}

}  // namespace

std::vector<float> rounded_weights(std::vector<float> weights) {
  for (float& value : weights) value = std::bit_cast<float>(uint32_t{to_bf16(value)} << 16U);
  return weights;
}

void write_gates(const std::string& dir, const GatePlan& plan, const std::vector<float>& weights, bool pth) {
  const std::filesystem::path folder = dir;
  std::vector<uint16_t> rounded;
  rounded.reserve(weights.size());
  for (const float value : weights) rounded.push_back(to_bf16(value));

  SafetensorsWriter writer((folder / "attn_gate_weights.safetensors").string());
  writer.add_metadata("format", "pt");
  std::vector<NamedBf16> tensors;
  for (int64_t l = 0; l < plan.n_layers(); ++l)
    for (const PlannedTensor& tensor : plan.layer_tensors()) {
      const auto first = static_cast<size_t>(l * plan.layer_size() + tensor.first);
      tensors.push_back({GatePlan::file_name(l, tensor), tensor.shape,
                         std::span(rounded).subspan(first, static_cast<size_t>(tensor.size()))});
      const NamedBf16& added = tensors.back();
      writer.add(added.name, "BF16", added.shape, added.values.data(), added.values.size_bytes());
    }
  writer.write(Durability::kSynced);
  if (pth) write_pth((folder / "attn_gate_weights.pth").string(), tensors);
  OutputFile config((folder / "config.json").string());
  config.write(plan.config().dump(2) + "\n");
  config.finish(Durability::kSynced);
}

}  // namespace seer
