// What the targets that read weights check of what was accepted.
#pragma once

#include <string>

#include "models/safetensors.h"

namespace seer::fuzz {

// Every tensor's bytes are somewhere in `file`: a mapping may be read to the end of its last page, so that
// reading alone does not find a tensor that is a little too long. Written again as safetensors, the tensors
// read back the same, except those of names that this format cannot have (a pickle's are any bytes).
void check_tensors(const TensorMap& map, const std::string& file, const std::string& scratch_path);

}  // namespace seer::fuzz
