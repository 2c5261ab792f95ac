// The rules by which a prefill, and a decoded token, choose the key blocks that they attend to.
#pragma once

#include <string>
#include <string_view>

#include "seer/error.h"

namespace seer {

// A selection rule of SeerAttention's prefill gate (Gao et al., 2024, arXiv:2410.13276, section 3), or
// kHeadThreshold or kNzRatioRow, which are Seer's own. A row is a query block of the prompt, and its causal
// blocks are the key blocks up to its own.
struct SEER_API SparseRule {
  enum class Method {
    kDense,      // every causal block
    kThreshold,  // blocks whose softmaxed gate score is above `value`
    // Blocks whose softmaxed gate score is above `value` times the factor of the head. The gates' config.json
    // gives a factor for each head of each layer (GateInfo::has_head_factors).
    kHeadThreshold,
    // The k best blocks of a row, k = max(1, int((1 - sqrt(1 - value)) * n)) of the prompt's n blocks. In a
    // longer prompt the same row keeps more, so a second turn computes the first one again.
    kNzRatio,
    // The k best blocks of a row, k = max(1, int(value * n)) of the row's own n causal blocks. All rows
    // together keep as many as under kNzRatio, and a row keeps the same however long the prompt becomes.
    kNzRatioRow,
  };
  Method method = Method::kDense;
  double value = 0.0;

  // "dense", "threshold=T" or "head_threshold=T" with 0 <= T < 1, "nz_ratio=R" or "nz_ratio_row=R" with
  // 0 < R <= 1. Throws Error{kUsage} otherwise.
  static SparseRule parse(std::string_view text);
  std::string to_string() const;  // returns a text that parse() reads as an equal rule; never fails
  // Returns whether the rule compares softmaxed scores with a threshold. The other sparse rules rank raw
  // scores.
  bool by_threshold() const { return method == Method::kThreshold || method == Method::kHeadThreshold; }

  friend bool operator==(const SparseRule&, const SparseRule&) = default;
};

// A selection rule of SeerAttention-R's gate for decoding (Gao et al., 2025, arXiv:2506.08889, section 3), or
// kRatio, which is Seer's own. A decoded token has n key blocks, from the first one to its own. The rule
// says, for each KV head, to which of them the token attends. The first block and the token's own block are
// always kept, besides those that the rule keeps.
struct SEER_API SparseDecodeRule {
  enum class Method {
    kDense,      // every block
    kThreshold,  // blocks whose softmaxed gate score is above `value`
    kBudget,     // the k best blocks, k = int(value / B) for blocks of B tokens; `value` is a whole number
    kRatio,      // the k best blocks, k = max(1, int(value * n))
  };
  Method method = Method::kDense;
  double value = 0.0;

  // Reads "dense", "threshold=T" with 0 <= T < 1, "budget=N" with a whole number N of tokens, 1 <= N <= 1e9,
  // or "ratio=R" with 0 < R <= 1. Throws Error{kUsage} for any other text. An engine also refuses a budget
  // below one block of its gates (check_rule()).
  static SparseDecodeRule parse(std::string_view text);
  std::string to_string() const;  // returns a text that parse() reads as an equal rule; never fails

  friend bool operator==(const SparseDecodeRule&, const SparseDecodeRule&) = default;
};

}  // namespace seer
