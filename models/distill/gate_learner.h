// One layer's gate while it learns: its scores, and the gradient of its weights. Both forms of gates for
// prompts and all forms of gates for decoding are made of the same few operations of the device.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/backend.h"
#include "models/distill/gate_plan.h"

namespace seer {

// What a gate sees of a window in one layer.
struct GateInputs {
  // Of all blocks of the window, before RoPE. Gates for decoding read only the keys' pools.
  PooledBlocks pooled;
  Tensor qkv;  // [n_tokens, (n_heads + 2 n_kv_heads) * d_head]
  HeadNorms norms;
  RopeTable row_rope;    // a row for each scored row
  RopeTable block_rope;  // a row for each block
};

// One thread at a time.
class GateLearner {
 public:
  virtual ~GateLearner() = default;

  // Returns the scores of the rows before the softmax, [n_score_heads, rows.n, n_blocks]. Scores of blocks
  // that a row does not see mean nothing. The tensor is valid until the next call. Before a call of learn(),
  // the caller must replace the scores by their gradient.
  virtual Tensor score(const Tensor& weights, const GateInputs& inputs) = 0;
  // Adds the gradient of the weights to `gradients`, from the gradient that has replaced the scores of the
  // last score().
  virtual void learn(const Tensor& gradients, const Tensor& weights) = 0;
  // Returns how many heads have scores of their own: these are query heads, or KV heads for decoding.
  virtual int64_t n_score_heads() const = 0;
};

// `weights` and `gradients` above are a layer's list of numbers, as the plan lays them out. `backend` must
// have a Distillation and outlive the result. Throws Error{kMemory}.
std::unique_ptr<GateLearner> make_gate_learner(Backend* backend, const GatePlan& plan,
                                               const ModelConfig& model, const ScoredRows& rows,
                                               int64_t n_blocks);

}  // namespace seer
