// Reads files of torch.save (a zip of stored entries and a pickle). A hostile file can execute nothing,
// because the interpreter knows a handful of opcodes and builds only tensors.
#pragma once

#include <string>

#include "models/safetensors.h"

namespace seer {

// Reads a flat dictionary of tensors. Throws Error{kFile} for a malformed or hostile file; the message names
// the construct.
TensorMap read_pth(const std::string& path);

}  // namespace seer
