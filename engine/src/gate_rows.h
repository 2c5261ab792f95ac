// Gate decisions for the public interface: lists become a mask.
#pragma once

#include <functional>

#include "models/attn_gate.h"
#include "seer/request.h"

namespace seer {

void report_gate_rows(const GateReport& report, const std::function<void(const GateRows&)>& on_gate);

}  // namespace seer
