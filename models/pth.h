// torch.save files (a zip of stored entries and a pickle), read by an interpreter that knows a handful of
// opcodes and builds only tensors, so that a hostile file can execute nothing.
#pragma once

#include <string>

#include "models/safetensors.h"

namespace seer {

// A flat dictionary of tensors. Throws Error{kFile} for a malformed or hostile file, naming what it asked
// for.
TensorMap read_pth(const std::string& path);

}  // namespace seer
