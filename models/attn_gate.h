// SeerAttention's prefill gate in the forward pass (Gao et al., 2024, arXiv:2410.13276, section 3): which key
// blocks each query block of each head attends to.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/config.h"
#include "models/gate_weights.h"
#include "models/workspace.h"

namespace seer {

// What a prefill segment's prompt asks of the forward pass.
struct PrefillPlan {
  int64_t n_prompt_tokens = 0;       // of the whole prompt, whatever the chunk
  std::optional<SelectRule> select;  // absent: dense
};

// One layer's choice for a segment, on the host. Valid during the callback.
struct GateReport {
  int64_t layer, first_row, n_rows, n_heads, n_blocks;  // n_blocks: of the whole prompt
  const float* scores;    // [n_heads, n_rows, n_blocks], as Backend::select_blocks writes them
  const int32_t* counts;  // [n_heads, n_rows]
  const int32_t* blocks;  // [n_heads, n_rows, n_blocks], the first counts[h, r] of a row
};
using GateObserver = std::function<void(const GateReport&)>;

class AttnGate {
 public:
  // `model`: of this rank. `comm` joins the reports of ranks that have some of the heads each; null: every
  // rank reports by itself.
  AttnGate(Backend* backend, Communicator* comm, const ModelConfig& model, const GateWeights& weights,
           Workspace* workspace);

  // Projects and rotates the pooled block rows of a segment; its gate keys go to its pages. `first_row` is
  // where the segment's block rows begin in the step's.
  void project(int64_t layer, const PagedKv& kv, const Segment& segment, int64_t first_row,
               const RopeTable& block_rope);
  // Scores and selects; the observer is called on rank 0, with the heads of all ranks. The mask is valid
  // until the next layer's, its counts until the step ends.
  BlockMask select(int64_t layer, const PagedKv& kv, const Segment& segment, int64_t first_row,
                   const SelectRule& rule, const GateObserver& observer);
  // Reads how many blocks each row of the step kept, and waits for the step.
  void read_counts();
  // Kept blocks of a segment of `n_rows` block rows, summed over layers and this rank's heads, as last read.
  int64_t count_kept(int64_t first_row, int64_t n_rows) const;

 private:
  void report(int64_t layer, int64_t first_row, const BlockMask& mask, const Tensor& scores,
              const GateObserver& observer);

  Backend* backend_;
  Communicator* comm_;
  Workspace* workspace_;
  int64_t n_layers_, n_heads_;
  std::vector<GateView> layers_;
  std::vector<int32_t> counts_;  // [n_layers, n_heads * rows of a step]
  std::vector<Buffer> buffers_;
};

}  // namespace seer
