// SeerAttention's prefill gate in the forward pass (Gao et al., 2024, arXiv:2410.13276, section 3). It
// chooses the key blocks to which each query block of each head attends.
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

// How the prompt of a prefill segment is to be computed.
struct PrefillPlan {
  int64_t n_prompt_tokens = 0;       // of the whole prompt, not only of the chunk
  std::optional<SelectRule> select;  // absent: dense
  // The factors of kHeadThreshold, [n_layers, n_heads] in the device's memory, in place of those of the
  // gates; null: those of the gates.
  const float* head_factors = nullptr;
};

// One layer's choice of blocks for a segment, on the host. Valid during the callback.
struct GateReport {
  int64_t layer, first_row, n_rows, n_heads, n_blocks;  // n_blocks: of the whole prompt
  const float* scores;    // [n_heads, n_rows, n_blocks], as Backend::select_blocks writes them
  const int32_t* counts;  // [n_heads, n_rows]
  const int32_t* blocks;  // [n_heads, n_rows, n_blocks]; the first counts[h, r] of a row are valid
};
using GateObserver = std::function<void(const GateReport&)>;

class AttnGate {
 public:
  // `model` is this rank's. If each rank has some of the heads, `comm` gathers their reports; if it is null,
  // every rank reports by itself.
  AttnGate(Backend* backend, Communicator* comm, const ModelConfig& model, const GateWeights& weights,
           Workspace* workspace);

  // Projects and rotates the pooled block rows of a segment, and writes its gate keys to its pages.
  // `first_row` is the segment's first row among the step's block rows.
  void project(int64_t layer, const PagedKv& kv, const Segment& segment, int64_t first_row,
               const RopeTable& block_rope);
  // Scores blocks and selects them by the plan, which must not be dense. The observer is called on rank 0,
  // with the heads of all ranks. The mask is valid until the next layer's selection, and its counts until the
  // step ends.
  BlockMask select(int64_t layer, const PagedKv& kv, const Segment& segment, int64_t first_row,
                   const PrefillPlan& plan, const GateObserver& observer);
  // Waits for the step, and reads how many blocks each of its rows kept.
  void read_counts();
  // Returns how many blocks a segment of `n_rows` block rows kept, summed over layers and this rank's heads,
  // by the counts read last.
  int64_t count_kept(int64_t first_row, int64_t n_rows) const;

 private:
  void report(int64_t layer, int64_t first_row, const BlockMask& mask, const Tensor& scores,
              const GateObserver& observer);

  Backend* backend_;
  Communicator* comm_;
  Workspace* workspace_;
  int64_t n_layers_, n_heads_;
  std::vector<GateView> layers_;
  Tensor head_factors_;          // the gates' own, [n_layers, n_heads]; empty if they have none
  std::vector<int32_t> counts_;  // [n_layers, n_heads * rows of a step]
  std::vector<Buffer> buffers_;
};

}  // namespace seer
