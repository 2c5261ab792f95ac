// The format of matrices, as options name it.
#pragma once

#include <string>

#include "kernels/quantise.h"

namespace seer {

// Returns the format that EngineOptions::weights names: "auto" is kStored. Throws Error{kUnsupported} for a
// format that other engines make while loading and Seer does not, and Error{kUsage} for any other name.
WeightFormat named_weight_format(const std::string& name);

}  // namespace seer
