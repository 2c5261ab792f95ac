// Turns the lists of blocks that gates kept into the masks of the public interface.
#pragma once

#include <functional>

#include "models/attn_gate.h"
#include "models/decode_gate.h"
#include "seer/request.h"

namespace seer {

void report_gate_rows(const GateReport& report, const std::function<void(const GateRows&)>& on_gate);

// Calls on_gate with one layer's choice for a decoded token at `position`. The step must have no other
// decode.
void report_decode_gate_rows(const DecodeGateReport& report, int64_t position, int64_t page_tokens,
                             const std::function<void(const DecodeGateRows&)>& on_gate);

}  // namespace seer
