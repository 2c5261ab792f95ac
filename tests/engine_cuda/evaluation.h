// What an evaluation gave, kept whole, and what two of them on different devices may differ in.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tests/support/goldens.h"

namespace seer::testing {

// Whether this machine has a GPU to test on; the case is skipped otherwise.
bool have_gpu();

// The demo model with its gates. A GPU's page pool takes half of the memory only: others may use the GPU too.
EngineOptions demo_options(const std::string& device);
// The first tokens of examples/long-document, which the demo model wrote.
std::vector<int32_t> document_tokens(const Engine& engine, int64_t n);

struct Evaluation {
  int64_t n_vocab = 0;
  std::vector<float> logits;                     // [n_logits, n_vocab]
  std::map<int64_t, std::vector<float>> scores;  // by layer, [n_heads, n_blocks, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;
};

Evaluation evaluate(Engine& engine, const std::vector<int32_t>& tokens, const SparseRule& rule,
                    int64_t n_logits);

// Entries of a mask that are not what the rule says of the scores it was made from, by DESIGN section 2:
// points 5 to 7.
int64_t count_rule_errors(const SparseRule& rule, bool last_dense, int64_t n_heads,
                          const std::vector<float>& scores, const std::vector<uint8_t>& mask);

// How near to the rule a score may lie to fall to its other side where activations are rounded to bf16.
// Emulated in numpy, rounding where the CUDA backend does, over all goldens: the farthest that did was 8% of
// a threshold off it, and 0.05% of the layer's largest raw score off the lowest that a ratio kept. Raw
// scores were off by 0.9% of the largest, which is what the second bound allows.
double bf16_reach(const SparseRule& rule, const std::vector<float>& scores);

struct Difference {
  double worst, mean;
  double largest;  // of the expected
};
Difference difference(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace seer::testing
