#include <algorithm>
#include <cmath>

#include "tests/kernels/compare.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/reference_sums.h"

namespace seer::testing::reference {
namespace {

// Attends from one query of head h to the keys of `blocks` up to its own position. Returns the logarithm of
// the sum of exp(scores).
double attend(double* out, const AttentionCase& c, const CaseSegment& segment, int64_t row, int64_t position,
              int64_t h, const std::vector<int32_t>& blocks) {
  const float* q = c.q.at(row) + h * c.d_head;
  const int64_t tile = h / c.group() * c.page * c.d_head;
  std::vector<double> weights;
  std::vector<const float*> values;
  for (const int32_t block : blocks) {
    const int32_t page_id = segment.page_table.at(static_cast<size_t>(block));
    const float* keys = c.k.at(page_id) + tile;
    const float* page_values = c.v.at(page_id) + tile;
    for (int64_t i = 0; i < c.page && block * c.page + i <= position; ++i) {
      const float* k = keys + i * c.d_head;
      weights.push_back(dot(q, k, c.d_head) / std::sqrt(static_cast<double>(c.d_head)));
      values.push_back(page_values + i * c.d_head);
    }
  }
  const double top = *std::max_element(weights.begin(), weights.end());
  double sum = 0.0;
  for (const double score : weights) sum += std::exp(score - top);
  softmax(&weights);
  for (int64_t d = 0; d < c.d_head; ++d) out[d] = 0.0;
  for (size_t i = 0; i < weights.size(); ++i) add_scaled(out, weights[i], values[i], c.d_head);
  return top + std::log(sum);
}

std::vector<int32_t> causal_blocks(int64_t position, int64_t page) {
  std::vector<int32_t> blocks;
  for (int64_t j = 0; j <= position / page; ++j) blocks.push_back(static_cast<int32_t>(j));
  return blocks;
}

}  // namespace

std::vector<double> prefill_attention(const AttentionCase& c) {
  std::vector<double> out(c.q.values.size(), kUntouched);
  for (size_t i = 0; i < c.prefills.size(); ++i) {
    const CaseSegment& s = c.prefills[i];
    for (int64_t t = 0; t < s.n_tokens; ++t)
      for (int64_t h = 0; h < c.n_heads; ++h) {
        double* o = out.data() + ((s.row + t) * c.n_heads + h) * c.d_head;
        if (t < c.first_tokens[i]) {
          for (int64_t d = 0; d < c.d_head; ++d) o[d] = kAnything;
          continue;
        }
        const int64_t mask_row = h * c.n_rows(s) + t / c.page;
        attend(o, c, s, s.row + t, s.start + t, h,
               c.masks.empty() ? causal_blocks(s.start + t, c.page)
                               : c.masks[i].kept[static_cast<size_t>(mask_row)]);
      }
  }
  return out;
}

std::vector<double> decode_attention(const AttentionCase& c) {
  std::vector<double> out(c.q.values.size(), kUntouched);
  for (size_t i = 0; i < c.decodes.size(); ++i) {
    const CaseSegment& s = c.decodes[i];
    for (int64_t h = 0; h < c.n_heads; ++h) {
      const size_t list = static_cast<size_t>(h / c.group()) * c.decodes.size() + i;
      attend(out.data() + (s.row * c.n_heads + h) * c.d_head, c, s, s.row, s.start, h,
             c.decode_mask.kept.empty() ? causal_blocks(s.start, c.page) : c.decode_mask.kept.at(list));
    }
  }
  return out;
}

AttentionParts attention_parts(const AttentionPartsCase& c) {
  AttentionParts out{decode_attention(c), {}, {}};
  for (int64_t p = 0; p < c.n_parts; ++p)
    for (size_t i = 0; i < c.decodes.size(); ++i) {
      const CaseSegment part = c.part(i, p);
      for (int64_t h = 0; h < c.n_heads; ++h) {
        std::vector<double> o(static_cast<size_t>(c.d_head), 0.0);
        out.log_sums.push_back(-INFINITY);
        if (part.end() > 0)
          out.log_sums.back() =
              attend(o.data(), c, part, part.row, part.start, h, causal_blocks(part.start, c.page));
        out.outputs.insert(out.outputs.end(), o.begin(), o.end());
      }
    }
  return out;
}

}  // namespace seer::testing::reference
