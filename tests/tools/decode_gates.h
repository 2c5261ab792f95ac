// Gates for decoding of the demo model with random weights, for tests of the program.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace seer::testing {

struct DecodeGateShape {
  int64_t block = 64;
  int64_t start_layer = 0;
  std::string method = "token_budget";
  int64_t budget = 256;
};

// Writes config.json and attn_gate_weights.safetensors into a new folder.
void write_decode_gates(const std::filesystem::path& dir, const DecodeGateShape& shape = {});

}  // namespace seer::testing
