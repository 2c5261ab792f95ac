// The results of an evaluation, kept whole, and the differences that two devices may have.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tests/support/goldens.h"

namespace seer::testing {

// Returns whether this machine has a GPU to test on; if not, marks the case as skipped.
bool have_gpu();
// Must be called before ranks are started on GPUs. If there are fewer GPUs than ranks, the ranks share them.
// To NCCL they are then hosts of their own, so it is told to connect them over the loopback device.
void prepare_gpu_ranks(int n_ranks);

// The demo model with its gates. On a GPU the page pool takes only half of the memory, since others may use
// the GPU too.
EngineOptions demo_options(const std::string& device);
// Returns the first tokens of examples/long-document, which the demo model wrote.
std::vector<int32_t> document_tokens(const Engine& engine, int64_t n);

struct Evaluation {
  int64_t n_vocab = 0;
  std::vector<float> logits;                     // [n_logits, n_vocab]
  std::map<int64_t, std::vector<float>> scores;  // by layer, [n_heads, n_blocks, n_blocks]
  std::map<int64_t, std::vector<uint8_t>> masks;
};

Evaluation evaluate(Engine& engine, const std::vector<int32_t>& tokens, const SparseRule& rule,
                    int64_t n_logits);

// Returns how many entries of a mask contradict the rule, given the scores that it was made from
// (models/DESIGN.md, chapter 2, points 5 to 7).
int64_t count_rule_errors(const SparseRule& rule, bool last_dense, int64_t n_heads,
                          const std::vector<float>& scores, const std::vector<uint8_t>& mask);

// Returns how near to the rule's edge a score must be to fall on the other side if activations are rounded to
// bf16. This was emulated in numpy over all goldens, with rounding in the same places as in the CUDA backend.
// The farthest scores that changed sides were 8% of a threshold off it, and 0.05% of the layer's largest raw
// score off the lowest that a ratio kept. Raw scores were off by 0.9% of the largest, which the second bound
// allows for.
double bf16_reach(const SparseRule& rule, const std::vector<float>& scores);

struct Difference {
  double worst, mean;
  double largest;  // the largest expected value
};
Difference difference(const std::vector<float>& actual, const std::vector<float>& expected);

}  // namespace seer::testing
