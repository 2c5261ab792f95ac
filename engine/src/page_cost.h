// Estimates what it would cost to compute a page of the KV pool again, so that pages can be compared.
#pragma once

#include <cstdint>

#include "models/config.h"
#include "seer/sparse.h"

namespace seer {

// The unit is the work of the weights for one page, which is the same for every page of a model. So the first
// page of a prompt costs 1. Attention adds work that grows with a page's position in its prompt.
struct PageCost {
  // The number of keys at which attention costs a token as much as the weights. 0: attention is not
  // counted, and all pages cost the same.
  double keys_per_token = 0.0;

  // Returns the cost of a page that `block` pages of the same prompt precede.
  double of_page(const SparseRule& rule, int64_t block, int64_t page_tokens) const;
};

PageCost page_cost(const ModelConfig& config);

}  // namespace seer
