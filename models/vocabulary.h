// Turns token ids into activations, and activations into logits, for any division of the vocabulary or of the
// rows among ranks.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/context_parallel.h"
#include "models/shard.h"
#include "models/weights.h"
#include "models/workspace.h"

namespace seer {

// One thread at a time. Every rank must make the same calls. The constructor's arguments must outlive it.
class Vocabulary {
 public:
  // `context` is null unless ranks divide prompts by their tokens.
  Vocabulary(Backend* backend, Communicator* comm, const Shard& shard, const ModelWeights& weights,
             Workspace* workspace, ContextParallel* context);

  // Writes the embeddings of the ids that begin_step brought to x [n_tokens, d_model]. `x` may have no rows.
  void embed(const Tensor& x);
  // Applies the norm and lm_head to the step's logit rows first .. first + n. Returns logits f32 [n, n_vocab]
  // on rank 0, valid until the next call, and an empty tensor on the others. `x` has this rank's logit rows;
  // `scratch` has as many rows and is overwritten.
  Tensor project(const Tensor& x, const Tensor& scratch, int64_t first, int64_t n);

 private:
  void norm_and_project(const Tensor& out, const Tensor& x, const Tensor& scratch);
  Tensor project_shard(const Tensor& x, const Tensor& scratch);
  Tensor project_divided(const Tensor& x, const Tensor& scratch, int64_t first, int64_t n);

  Backend* backend_;
  Communicator* comm_;
  const Shard& shard_;
  const ModelWeights& weights_;
  Workspace* workspace_;
  ContextParallel* context_;
};

}  // namespace seer
