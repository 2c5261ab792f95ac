// How a checkpoint's matrices are quantised, as config.json's quantization_config says it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/linear_weights.h"

namespace seer {

class JsonReader;

struct QuantScheme {
  // Which tensors a quantised linear layer has in the place of its weight.
  enum class Layout : uint8_t {
    kRows,    // weight: codes [d_out, d_in], F8_E4M3 or I8; weight_scale or weight_scale_inv
    kPacked,  // weight_packed, weight_scale, weight_shape: compressed-tensors' 4 bits
    kGptq,    // qweight, qzeros, scales, g_idx
    kAwq,     // qweight, qzeros, scales
  };

  Layout layout = Layout::kRows;
  std::string method;        // for people: "compressed-tensors, float-quantized"
  DType codes = DType::kU4;  // kF8E4M3, kI8 or kU4
  int64_t group = 0;         // inputs that share a scale; 0: all inputs of an output
  int64_t row_block = 1;     // outputs that share a scale; 0: all outputs
  bool asymmetric = false;   // whether the tensors include zeros
  int zero_offset = 0;       // what is added to a stored zero: GPTQ's first version stores zero - 1
  const char* scale = "weight_scale";
  InputCodes input_codes = InputCodes::kNone;
  std::vector<std::string> plain;  // modules that are not quantised, by whole name or by its last parts
  bool plain_by_pattern = false;   // more are named by regular expressions, which are not read
  std::vector<std::string> notes;  // sentences about keys that were read in a way that may surprise

  // Bits of a code: 4 or 8.
  int64_t bits() const { return dtype_bits(codes); }
  bool static_inputs() const { return input_codes == InputCodes::kE4M3Static; }
  // Returns what the codes are, for people: "int4 in groups of 128 inputs, in words of I32".
  std::string codes_text() const;
  // Returns whether the config says that this module keeps its plain weight.
  bool leaves_plain(const std::string& module) const;

  // Reads the quantization_config of config.json. Absent: the checkpoint is not quantised. Throws
  // Error{kUnsupported} that names the key for a method or scheme that is not handled, and Error{kFile} for
  // malformed values.
  static std::optional<QuantScheme> read(const JsonReader& config);
};

}  // namespace seer
