// The keys of config.json that describe rotary positions: rope_theta and rope_scaling as transformers 4
// writes them, rope_parameters as transformers 5 does.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/config.h"

namespace seer {

class JsonReader;

// Appends to `notes` what may surprise. Throws Error{kFile} or Error{kUnsupported} that names the key.
RopeConfig read_rope(const JsonReader& config, int64_t max_positions, std::vector<std::string>* notes);

}  // namespace seer
