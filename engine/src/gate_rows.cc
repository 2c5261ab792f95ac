#include "engine/src/gate_rows.h"

#include <vector>

namespace seer {

void report_gate_rows(const GateReport& report, const std::function<void(const GateRows&)>& on_gate) {
  const int64_t n_lists = report.n_heads * report.n_rows;
  std::vector<uint8_t> mask(static_cast<size_t>(n_lists * report.n_blocks), 0);
  for (int64_t list = 0; list < n_lists; ++list)
    for (int64_t i = 0; i < report.counts[list]; ++i)
      mask[static_cast<size_t>(list * report.n_blocks + report.blocks[list * report.n_blocks + i])] = 1;
  on_gate({report.layer, report.first_row, report.n_rows, report.n_heads, report.n_blocks, report.scores,
           mask.data()});
}

}  // namespace seer
