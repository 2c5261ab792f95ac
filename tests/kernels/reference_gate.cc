// SeerAttention's gate, point by point as numbered in chapter 2 of models/DESIGN.md.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "tests/kernels/compare.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/reference_sums.h"

namespace seer::testing::reference {
namespace {

std::vector<double> project(const std::vector<double>& x, const HostTensor& weights, int64_t head) {
  const int64_t d_out = weights.dim(2);
  const float* rows = weights.at(head);
  std::vector<double> out(static_cast<size_t>(d_out), 0.0);
  for (size_t i = 0; i < x.size(); ++i)
    add_scaled(out.data(), x[i], rows + static_cast<int64_t>(i) * d_out, d_out);
  return out;
}

}  // namespace

GateProject gate_project(const GateProjectCase& c) {
  const CaseSegment& segment = c.prefills[0];
  const int64_t n_rows = c.n_rows(segment), d_gate = c.d_gate(), n_gate_heads = c.n_gate_heads();
  const int64_t half = c.cos.dim(1);
  GateProject out;
  out.gate_k.assign(static_cast<size_t>(c.n_pages * n_gate_heads * d_gate), kUntouched);
  for (int64_t b = 0; b < n_rows; ++b) {
    for (int64_t h = 0; h < c.n_heads; ++h) {
      std::vector<double> q = pooled_query(c, segment, b, h, c.qkv, c.norms, c.q_pools);
      if (!c.linear_q.empty()) q = project(q, c.linear_q, h);
      q = rotate(q, c.cos.at(b), c.sin.at(b), half);
      out.gate_q.insert(out.gate_q.end(), q.begin(), q.end());
    }
    // Point 2: with one weight, gate keys are per query head; with two, per key head.
    for (int64_t h = 0; h < n_gate_heads; ++h) {
      const int64_t kv_head = c.linear_q.empty() ? h / c.group() : h;
      std::vector<double> k = pooled_key(c, segment, b, kv_head, c.qkv, c.norms, c.k_pools);
      k = rotate(project(k, c.linear_k, h), c.cos.at(b), c.sin.at(b), half);
      const int64_t page_id = segment.page_table[static_cast<size_t>(segment.start / c.page + b)];
      std::copy(k.begin(), k.end(), out.gate_k.begin() + (page_id * n_gate_heads + h) * d_gate);
    }
  }
  return out;
}

void softmax(std::vector<double>* scores) {
  const double max = *std::max_element(scores->begin(), scores->end());
  double sum = 0.0;
  for (double& s : *scores) sum += s = std::exp(s - max);
  for (double& s : *scores) s /= sum;
}

namespace {

bool is_threshold(const SelectRule& rule) {
  return rule.method == SelectRule::Method::kThreshold || rule.method == SelectRule::Method::kHeadThreshold;
}

// Points 5 to 7 for one row. `edge` becomes the deciding score. `factor` is that of the row's head.
std::vector<int32_t> keep(const std::vector<double>& scores, const SelectRule& rule, double factor,
                          double* edge) {
  const auto n_causal = static_cast<int64_t>(scores.size());
  std::vector<int32_t> all(scores.size()), kept;
  std::iota(all.begin(), all.end(), 0);
  *edge = INFINITY;
  if (rule.last_block_dense && n_causal >= rule.n_prompt_blocks - 1) return all;
  if (is_threshold(rule)) {
    *edge = rule.method == SelectRule::Method::kHeadThreshold ? rule.value * factor : rule.value;
    for (const int32_t j : all)
      if (scores[static_cast<size_t>(j)] > *edge) kept.push_back(j);
    if (kept.empty()) kept.push_back(static_cast<int32_t>(n_causal - 1));
    return kept;
  }
  const double most = rule.method == SelectRule::Method::kNzRatioRow
                          ? rule.value * static_cast<double>(n_causal)
                          : (1.0 - std::sqrt(1.0 - rule.value)) * static_cast<double>(rule.n_prompt_blocks);
  const auto k = static_cast<size_t>(std::max(1.0, std::floor(most)));
  // Of equal scores the earlier comes first; NaN comes last.
  const auto key = [&](int32_t j) {
    const double s = scores[static_cast<size_t>(j)];
    return std::isnan(s) ? -std::numeric_limits<double>::infinity() : s;
  };
  std::vector<int32_t> order = all;
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) > key(b); });
  order.resize(std::min(k, order.size()));
  if (order.size() < all.size()) *edge = key(order.back());
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace

SelectBlocks select_blocks(const SelectBlocksCase& c) {
  const CaseSegment& segment = c.prefills[0];
  const int64_t n_rows = c.n_rows(segment), d_gate = c.gate_q.dim(2), n_gate_heads = c.gate_k.dim(1);
  const int64_t first_block = segment.start / c.page;
  SelectBlocks out;
  for (int64_t h = 0; h < c.n_heads; ++h)
    for (int64_t r = 0; r < n_rows; ++r) {
      const float* q = c.gate_q.at(r) + h * d_gate;
      std::vector<double> scores;
      for (int64_t j = 0; j <= first_block + r; ++j) {
        const float* k =
            c.gate_k.at(segment.page_table[static_cast<size_t>(j)]) + h / (c.n_heads / n_gate_heads) * d_gate;
        scores.push_back(dot(q, k, d_gate) / std::sqrt(static_cast<double>(d_gate)));
      }
      if (is_threshold(c.rule)) softmax(&scores);
      double edge = 0.0;
      out.kept.push_back(keep(
          scores, c.rule,
          c.head_factors.empty() ? 1.0 : static_cast<double>(c.head_factors[static_cast<size_t>(h)]), &edge));
      out.edges.push_back(edge);
      scores.resize(static_cast<size_t>(c.rule.n_prompt_blocks), 0.0);
      out.scores.insert(out.scores.end(), scores.begin(), scores.end());
    }
  return out;
}

std::string mask_mismatch(const SelectBlocksCase& c, const SelectBlocksResult& actual,
                          const SelectBlocks& expected, double tolerance) {
  const int64_t n_rows = c.n_rows(c.prefills[0]), first_block = c.prefills[0].start / c.page;
  const auto list = [](const std::vector<int32_t>& blocks) {
    std::string text;
    for (const int32_t j : blocks) text += " " + std::to_string(j);
    return text;
  };
  for (size_t i = 0; i < expected.kept.size(); ++i) {
    const auto row = static_cast<int64_t>(i) % n_rows, head = static_cast<int64_t>(i) / n_rows;
    const std::string where = "head " + std::to_string(head) + ", row " + std::to_string(row) + ": ";
    const int64_t count = actual.counts.at(i);
    if (count < 1 || count > first_block + row + 1) return where + std::to_string(count) + " blocks";
    const auto begin = actual.blocks.begin() + static_cast<int64_t>(i) * c.row_capacity;
    const std::vector<int32_t> kept(begin, begin + count);
    if (kept.front() < 0 || kept.back() > first_block + row ||
        std::adjacent_find(kept.begin(), kept.end(), [](int32_t a, int32_t b) { return a >= b; }) !=
            kept.end())
      return where + "not an ascending list of causal blocks:" + list(kept);
    std::vector<int32_t> differing;
    std::set_symmetric_difference(kept.begin(), kept.end(), expected.kept[i].begin(), expected.kept[i].end(),
                                  std::back_inserter(differing));
    for (const int32_t j : differing) {
      const double score =
          expected.scores[i * static_cast<size_t>(c.rule.n_prompt_blocks) + static_cast<size_t>(j)];
      if (tolerance == 0.0 || !(std::abs(score - expected.edges[i]) <= tolerance))
        return where + "kept" + list(kept) + ", expected" + list(expected.kept[i]);
    }
  }
  return "";
}

}  // namespace seer::testing::reference
