// SeerAttention-R's gate for decoding, from its definition (models/DESIGN.md, chapter 6).
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/decode_gate.h"
#include "tests/kernels/decode_gate_cases.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/reference_sums.h"

namespace seer::testing {

std::vector<double> StoreDecodeKeysCase::inv_freq() const {
  std::vector<double> f;
  for (int64_t i = 0; i < d_head / 2; ++i)
    f.push_back(std::pow(rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(d_head)));
  return f;
}

namespace reference {
namespace {

using Vector = std::vector<double>;

// Returns x turned by `position` times the frequencies, and multiplied by `factor`.
Vector turn(const Vector& x, double position, const Vector& inv_freq, double factor) {
  const size_t half = inv_freq.size();
  Vector out = x;
  for (size_t i = 0; i < half; ++i) {
    const double c = std::cos(position * inv_freq[i]), s = std::sin(position * inv_freq[i]);
    out[i] = factor * (x[i] * c - x[i + half] * s);
    out[i + half] = factor * (x[i + half] * c + x[i] * s);
  }
  return out;
}

Vector rms_normed(const Vector& x, const HostTensor& weight) {
  if (weight.empty()) return x;
  double squares = 0.0;
  for (const double value : x) squares += value * value;
  const double root = std::sqrt(squares / static_cast<double>(x.size()) + DecodeGateView::kEpsilon);
  Vector out;
  for (size_t i = 0; i < x.size(); ++i) out.push_back(x[i] / root * weight.values[i]);
  return out;
}

// Adds x W to `out`, with W's rows from `weights` on.
void add_product(Vector* out, const Vector& x, const float* weights) {
  const auto d_out = static_cast<int64_t>(out->size());
  for (size_t i = 0; i < x.size(); ++i)
    add_scaled(out->data(), x[i], weights + static_cast<int64_t>(i) * d_out, d_out);
}

// Returns a full block's gate key, which is made from the page's keys before RoPE.
Vector block_key(const StoreDecodeKeysCase& c, const CaseSegment& s, int64_t block, int64_t head) {
  const Vector inv_freq = c.inv_freq();
  const double first = static_cast<double>(block * c.page);
  const float* tile = c.k.at(s.page_table[static_cast<size_t>(block)]) + head * c.page * c.d_head;
  std::vector<Vector> keys;
  for (int64_t t = 0; t < c.page; ++t) {
    const float* k = tile + t * c.d_head;
    keys.push_back(turn({k, k + c.d_head}, -(first + static_cast<double>(t)), inv_freq, 1.0 / c.scaling));
  }
  Vector key(static_cast<size_t>(c.d_gate()), 0.0);
  add_product(&key, pool(keys, c.k_pools), c.linear_k.at(head));
  key = rms_normed(key, c.k_norm);
  return c.rotates ? turn(key, first, inv_freq, c.scaling) : key;
}

// Returns the query that a KV head's gate makes of its group of query heads.
Vector gate_query(const SelectDecodeCase& c, const CaseSegment& s, int64_t head) {
  std::vector<Vector> heads;
  for (int64_t g = 0; g < c.group(); ++g)
    heads.push_back(head_of(c.qkv, s.row, head * c.group() + g, c.d_head, c.norms.q, c.norms.eps));
  GatePools mean;
  mean.avg = true;
  Vector query(static_cast<size_t>(c.d_gate()), 0.0);
  if (c.linear_q.empty()) {
    query = pool(heads, mean);
  } else if (c.linear_q.dim(1) == c.d_head && c.group() > 1) {
    add_product(&query, pool(heads, mean), c.linear_q.at(head));
  } else {
    for (int64_t g = 0; g < c.group(); ++g)
      add_product(&query, heads[static_cast<size_t>(g)], c.linear_q.at(head) + g * c.d_head * c.d_gate());
  }
  query = rms_normed(query, c.q_norm);
  return c.rotates ? rotate(query, c.cos.at(s.row), c.sin.at(s.row), c.d_head / 2) : query;
}

// Returns the blocks that a rule keeps, given the softmaxed scores. `edge` becomes the score at which it
// decides.
std::vector<int32_t> keep(const Vector& scores, const DecodeRule& rule, int64_t page, double* edge) {
  using Method = DecodeRule::Method;
  const auto n = static_cast<int64_t>(scores.size());
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  *edge = INFINITY;
  if (rule.method == Method::kDense) return order;
  std::vector<bool> kept(scores.size(), false);
  if (rule.method == Method::kThreshold) {
    *edge = rule.value;
    // Scores are float32 on every device, in which the smallest are 0.
    for (size_t b = 0; b < scores.size(); ++b)
      kept[b] = static_cast<float>(scores[b]) > static_cast<float>(rule.value);
  } else {
    const double most = rule.method == Method::kBudget
                            ? std::floor(rule.value / static_cast<double>(page))
                            : std::max(1.0, std::floor(rule.value * static_cast<double>(n)));
    const int64_t k = std::min(n, static_cast<int64_t>(most));
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
    });
    order.resize(static_cast<size_t>(k));
    if (k < n && k > 0) *edge = scores[static_cast<size_t>(order.back())];
    for (const int32_t b : order) kept[static_cast<size_t>(b)] = true;
  }
  kept.front() = kept.back() = true;
  std::vector<int32_t> list;
  for (size_t b = 0; b < kept.size(); ++b)
    if (kept[b]) list.push_back(static_cast<int32_t>(b));
  return list;
}

std::string as_text(const std::vector<int32_t>& blocks) {
  std::string text;
  for (const int32_t b : blocks) text += " " + std::to_string(b);
  return text;
}

}  // namespace

std::vector<double> store_decode_keys(const StoreDecodeKeysCase& c) {
  Vector out(static_cast<size_t>(c.n_pages * c.n_kv_heads * c.d_gate()), kUntouched);
  const auto fill = [&](const CaseSegment& s, int64_t block) {
    for (int64_t h = 0; h < c.n_kv_heads; ++h) {
      const Vector key = block_key(c, s, block, h);
      const int64_t page_id = s.page_table[static_cast<size_t>(block)];
      std::copy(key.begin(), key.end(), out.begin() + (page_id * c.n_kv_heads + h) * c.d_gate());
    }
  };
  for (const std::vector<CaseSegment>* segments : {&c.prefills, &c.decodes})
    for (const CaseSegment& s : *segments)
      for (int64_t b = s.start / c.page; (b + 1) * c.page <= s.end(); ++b) fill(s, b);
  return out;
}

SelectDecode select_decode(const SelectDecodeCase& c) {
  SelectDecode out;
  for (int64_t h = 0; h < c.n_kv_heads; ++h)
    for (size_t i = 0; i < c.decodes.size(); ++i) {
      const CaseSegment& s = c.decodes[i];
      const Vector query = gate_query(c, s, h);
      Vector scores;
      for (int64_t b = 0; (b + 1) * c.page <= s.end(); ++b) {
        const float* key = c.gate_k.at(s.page_table[static_cast<size_t>(b)]) + h * c.d_gate();
        double product = 0.0;
        for (int64_t d = 0; d < c.d_gate(); ++d) product += query[static_cast<size_t>(d)] * key[d];
        scores.push_back(product / std::sqrt(static_cast<double>(c.d_gate())));
      }
      if (s.end() % c.page != 0) scores.push_back(0.0);  // the open block
      softmax(&scores);
      double edge = 0.0;
      out.kept.push_back(keep(scores, c.rules[i], c.page, &edge));
      out.edges.push_back(edge);
      if (c.rules[i].dense()) scores.assign(static_cast<size_t>(c.row_capacity), kUntouched);
      scores.resize(static_cast<size_t>(c.row_capacity), 0.0);
      out.scores.insert(out.scores.end(), scores.begin(), scores.end());
    }
  return out;
}

std::string decode_mask_mismatch(const SelectDecodeCase& c, const SelectDecodeResult& actual,
                                 const SelectDecode& expected, Tolerance tolerance) {
  const auto n_decodes = static_cast<int64_t>(c.decodes.size());
  for (int64_t row = 0; row < c.n_kv_heads * n_decodes; ++row) {
    const int64_t head = row / n_decodes, i = row % n_decodes;
    const auto n = static_cast<int32_t>(c.decodes[static_cast<size_t>(i)].page_table.size());
    const std::string where = "KV head " + std::to_string(head) + ", decode " + std::to_string(i) + ": ";
    const int32_t count = actual.counts.at(static_cast<size_t>(row));
    if (count < 1 || count > n) return where + std::to_string(count) + " blocks";
    const std::vector<int32_t> kept = actual.list(head, i, n_decodes),
                               &right = expected.kept[static_cast<size_t>(row)];
    if (kept.front() != 0 || kept.back() != n - 1 ||
        std::adjacent_find(kept.begin(), kept.end(), [](int32_t a, int32_t b) { return a >= b; }) !=
            kept.end())
      return where + "not an ascending list from the first block to the last:" + as_text(kept);
    std::vector<int32_t> differing;
    std::set_symmetric_difference(kept.begin(), kept.end(), right.begin(), right.end(),
                                  std::back_inserter(differing));
    const double edge = expected.edges[static_cast<size_t>(row)];
    for (const int32_t b : differing) {
      const double score = expected.scores[static_cast<size_t>(row * c.row_capacity + b)];
      if (c.exact || !(std::abs(score - edge) <= tolerance.absolute + tolerance.relative * edge))
        return where + "kept" + as_text(kept) + ", expected" + as_text(right);
    }
  }
  return "";
}

}  // namespace reference
}  // namespace seer::testing
