// Turns the gates' lists of blocks into the masks of the public interface.
#pragma once

#include <functional>

#include "models/attn_gate.h"
#include "seer/request.h"

namespace seer {

void report_gate_rows(const GateReport& report, const std::function<void(const GateRows&)>& on_gate);

}  // namespace seer
