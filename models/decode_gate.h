// SeerAttention-R's decode gate in the forward pass (Gao et al., 2025, arXiv:2506.08889). It keeps a key for
// every full page, and chooses the pages to which each decoded token attends, for each KV head.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/config.h"
#include "models/decode_gate_weights.h"
#include "models/workspace.h"

namespace seer {

// One layer's choice of blocks for the decodes of a step, on the host. Valid during the callback. There is a
// report for each layer from the gates' start layer on.
struct DecodeGateReport {
  int64_t layer, n_decodes, n_kv_heads, capacity;
  const float* scores;    // [n_kv_heads, n_decodes, capacity], as Backend::select_decode_blocks writes them
  const int32_t* counts;  // [n_kv_heads, n_decodes]
  const int32_t* blocks;  // [n_kv_heads, n_decodes, capacity]; the first counts[h, i] of a row are valid
};
using DecodeGateObserver = std::function<void(const DecodeGateReport&)>;

class DecodeGate {
 public:
  // `model` is this rank's. `comm` gathers the reports of ranks that have some of the KV heads each; it is
  // null if every rank has all of them.
  DecodeGate(Backend* backend, Communicator* comm, const ModelConfig& model, const DecodeGateWeights& weights,
             Workspace* workspace);

  // Writes the gate keys of the pages that the step fills. append_kv must have put the step's keys there.
  void store_keys(int64_t layer, const PagedKv& kv, const BlockRopes& ropes, const Step& step);
  // Returns whether a layer's decodes attend to chosen blocks. Layers before the gates' start layer do not.
  bool chooses(int64_t layer) const { return layer >= start_layer_; }
  // Chooses the blocks of all n_decodes decodes of the step. The observer is called on rank 0, with the heads
  // of all ranks. The mask is valid until the next layer's selection, and its counts until the step ends.
  BlockMask select(int64_t layer, int64_t n_decodes, const Tensor& qkv, const HeadNorms& norms,
                   const RopeTable& rope, const PagedKv& kv, const DecodeGateObserver& observer);
  // Does the same if each rank has some of the pages, and all heads. `scores` is scratch, f32 [n_kv_heads,
  // n_decodes, capacity of the mask]. The observer is called on every rank that gives one.
  BlockMask select_divided(int64_t layer, const Tensor& scores, const Tensor& qkv, const HeadNorms& norms,
                           const RopeTable& rope, const PagedKv& kv, Communicator* ranks,
                           const DecodeGateObserver& observer);
  // Waits for the step, and reads how many blocks each of its decodes kept.
  void read_counts();
  // Returns how many blocks decode i of n_decodes kept, summed over the layers that choose and this rank's
  // heads. read_counts() must have been called for the step.
  int64_t count_kept(int64_t i, int64_t n_decodes) const;
  // Returns how many lists of blocks a decode has: the layers that choose, times this rank's heads.
  int64_t n_lists() const { return (n_layers_ - start_layer_) * n_kv_heads_; }

 private:
  BlockMask mask_of(int64_t layer, int64_t n_decodes) const;
  void report(int64_t layer, const BlockMask& mask, const Tensor& scores, const DecodeGateObserver& observer);

  Backend* backend_;
  Communicator* comm_;
  Workspace* workspace_;
  int64_t n_layers_, n_kv_heads_, start_layer_;
  std::vector<DecodeGateView> layers_;
  std::vector<int32_t> counts_;  // [n_layers, n_kv_heads * decodes of a step]
  std::vector<Buffer> buffers_;
};

}  // namespace seer
