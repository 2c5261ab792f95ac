// The checks of accepted files, for the targets that read weights.
#pragma once

#include <string>

#include "models/safetensors.h"

namespace seer::fuzz {

// Checks that every tensor's bytes are somewhere in `file`. A mapping can be read to the end of its last
// page, so reading alone does not find a tensor that is a little too long. Also checks that the tensors read
// back the same after they are written as safetensors, except for those of names that this format cannot have
// (a pickle's names are any bytes).
void check_tensors(const TensorMap& map, const std::string& file, const std::string& scratch_path);

}  // namespace seer::fuzz
