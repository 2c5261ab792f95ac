#include "engine/src/gate_rows.h"

#include <cassert>
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

void report_decode_gate_rows(const DecodeGateReport& report, int64_t position, int64_t page_tokens,
                             const std::function<void(const DecodeGateRows&)>& on_gate) {
  assert(report.n_decodes == 1);
  const int64_t n_blocks = position / page_tokens + 1, n_heads = report.n_kv_heads;
  std::vector<float> scores;
  std::vector<uint8_t> mask(static_cast<size_t>(n_heads * n_blocks), 0);
  for (int64_t h = 0; h < n_heads; ++h) {
    const float* row = report.scores + h * report.capacity;
    scores.insert(scores.end(), row, row + n_blocks);
    for (int64_t i = 0; i < report.counts[h]; ++i)
      mask[static_cast<size_t>(h * n_blocks + report.blocks[h * report.capacity + i])] = 1;
  }
  on_gate({report.layer, position, n_heads, n_blocks, scores.data(), mask.data()});
}

}  // namespace seer
