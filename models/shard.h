// The part of a model that one rank holds under tensor parallelism (Shoeybi et al., 2019, arXiv:1909.08053,
// section 3): q, k, v, gate and up are split by rows, output and down by columns, gates go with their heads,
// and embedding and logits are split by the vocabulary. Activations between layers are whole on every rank.
#pragma once

#include <cstdint>
#include <vector>

#include "models/config.h"

namespace seer {

struct Shard {
  int rank = 0, size = 1;
  ModelConfig local;           // the model's, with this rank's n_heads, n_kv_heads and d_ff
  int64_t first_head = 0;      // this rank's query heads: [first_head, first_head + local.n_heads)
  int64_t first_kv_head = 0;   // several ranks have the same one if there are more ranks than KV heads
  int64_t first_ff = 0;        // of d_ff
  std::vector<int64_t> vocab;  // [size]: how many ids each rank has, in the order of ranks

  int64_t first_id() const;
  int64_t n_ids() const { return vocab[static_cast<size_t>(rank)]; }

  // Throws Error{kUnsupported} if heads or MLP cannot be divided among so many ranks. The message has the
  // numbers, and says which counts of ranks are possible.
  Shard(const ModelConfig& model, int rank, int size);
  explicit Shard(const ModelConfig& model) : Shard(model, 0, 1) {}
};

}  // namespace seer
