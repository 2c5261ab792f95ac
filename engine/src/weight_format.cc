#include "engine/src/weight_format.h"

#include <algorithm>
#include <array>

#include "seer/error.h"

namespace seer {

WeightFormat named_weight_format(const std::string& name) {
  if (name == "auto") return WeightFormat::kStored;
  if (name == "bf16") return WeightFormat::kBF16;
  if (name == "fp8") return WeightFormat::kE4M3;
  if (name == "int4") return WeightFormat::kU4;
  constexpr std::array kOthers = {"int8", "fp4", "nf4", "f16", "f32"};
  if (std::ranges::find(kOthers, name) != kOthers.end())
    throw Error(ErrorKind::kUnsupported,
                "weights as " + name + " are not made while loading: expected bf16, fp8 or int4");
  throw Error(ErrorKind::kUsage, "expected weights as auto, bf16, fp8 or int4, found '" + name + "'");
}

}  // namespace seer
