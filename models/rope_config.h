// Reads the keys of config.json that describe rotary positions: rope_theta and rope_scaling, which
// transformers 4 writes, or rope_parameters, which transformers 5 writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config.h"

namespace seer {

class JsonReader;

// Returns the values of the keys. Appends a sentence to `notes` for each key that is read in a way that may
// surprise. Throws Error{kFile} or Error{kUnsupported} that names the key.
RopeConfig read_rope(const JsonReader& config, int64_t max_positions, std::vector<std::string>* notes);

}  // namespace seer
