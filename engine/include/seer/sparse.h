// The rule by which a prefill chooses the key blocks that it attends to.
#pragma once

#include <string>
#include <string_view>

#include "seer/error.h"

namespace seer {

// A selection rule of SeerAttention's prefill gate (Gao et al., 2024, arXiv:2410.13276, section 3), or
// kNzRatioRow, which is Seer's own. A row is a query block of the prompt, and its causal blocks are the key
// blocks up to its own.
struct SEER_API SparseRule {
  enum class Method {
    kDense,      // every causal block
    kThreshold,  // blocks whose softmaxed gate score is above `value`
    // The k best blocks of a row, k = max(1, int((1 - sqrt(1 - value)) * n)) of the prompt's n blocks. In a
    // longer prompt the same row keeps more, so a second turn computes the first one again.
    kNzRatio,
    // The k best blocks of a row, k = max(1, int(value * n)) of the row's own n causal blocks. All rows
    // together keep as many as under kNzRatio, and a row keeps the same however long the prompt becomes.
    kNzRatioRow,
  };
  Method method = Method::kDense;
  double value = 0.0;

  // "dense", "threshold=T" with 0 <= T < 1, "nz_ratio=R" or "nz_ratio_row=R" with 0 < R <= 1. Throws
  // Error{kUsage} otherwise.
  static SparseRule parse(std::string_view text);
  std::string to_string() const;  // returns a text that parse() reads as an equal rule; never fails

  friend bool operator==(const SparseRule&, const SparseRule&) = default;
};

}  // namespace seer
