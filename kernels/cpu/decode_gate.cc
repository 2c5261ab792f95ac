// SeerAttention-R's gate for decoding (arXiv:2506.08889, section 3): a key for every full page, and a choice
// of pages for every decoded token and KV head.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/best_blocks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/pool_tokens.h"
#include "kernels/cpu/rotate.h"

namespace seer {
namespace {

bool by_threshold(const DecodeRule& rule) { return rule.method == DecodeRule::Method::kThreshold; }

// A page that the step fills, and its row of BlockRopes::first.
struct FullPage {
  int64_t id, rope_row;
};

std::vector<FullPage> full_pages(const Step& step, int64_t page_tokens) {
  std::vector<FullPage> pages;
  int64_t row = 0;
  for (const Segment& s : step.prefills) {
    const int64_t first = s.start / page_tokens;
    for (int64_t b = first; b < s.end() / page_tokens; ++b)
      pages.push_back({s.page_table[b], row + b - first});
    row += blocks_of(s.n_tokens, page_tokens);
  }
  for (const Segment& s : step.decodes) {
    const int64_t id = s.page_table[s.start / page_tokens];
    if (s.end() % page_tokens == 0 && id >= 0) pages.push_back({id, row});
    ++row;
  }
  return pages;
}

// Rotates a key back by position `first + within`. The result is the key before RoPE, because the scalings
// of both tables remove the model's attention scaling (see BlockRopes).
void rotate_back(float* x, const float* first_cos, const float* first_sin, const float* within_cos,
                 const float* within_sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float c = first_cos[i] * within_cos[i] - first_sin[i] * within_sin[i];
    const float s = first_sin[i] * within_cos[i] + first_cos[i] * within_sin[i];
    const float a = x[i], b = x[i + half];
    x[i] = a * c + b * s;
    x[i + half] = b * c - a * s;
  }
}

// Writes the ascending list of the blocks that the rule keeps of n blocks, the first and the last block in
// any case, and returns how many there are. Scores must be softmaxed for a threshold. For the other rules
// they must not be, because softmaxed scores have more ties.
int32_t keep_blocks(int32_t* kept, int32_t* order, const float* scores, int64_t n, const DecodeRule& rule,
                    int64_t page_tokens) {
  int64_t n_kept = 0;
  if (rule.method == DecodeRule::Method::kThreshold) {
    const auto threshold = static_cast<float>(rule.value);
    for (int64_t b = 0; b < n; ++b)
      if (scores[b] > threshold || b == 0 || b == n - 1) kept[n_kept++] = static_cast<int32_t>(b);
    return static_cast<int32_t>(n_kept);
  }
  n_kept = rule.n_best(n, page_tokens);
  best_blocks(kept, n_kept, order, scores, n);
  if (n_kept == 0 || kept[0] != 0) {
    std::copy_backward(kept, kept + n_kept, kept + n_kept + 1);
    kept[0] = 0;
    ++n_kept;
  }
  if (kept[n_kept - 1] != n - 1) kept[n_kept++] = static_cast<int32_t>(n - 1);
  return static_cast<int32_t>(n_kept);
}

}  // namespace

CpuBackend::DecodeGateNorms CpuBackend::decode_gate_norms(const DecodeGateView& gate) {
  if (!gate.q_norm) return {};
  const int64_t n = gate.d_gate();
  assert(gate.q_norm.numel() == n && gate.k_norm.numel() == n);
  float* weights = formed_.reserve(2 * n);
  simd_.to_float(weights, gate.q_norm.data, weight_type(gate.q_norm.dtype), n);
  simd_.to_float(weights + n, gate.k_norm.data, weight_type(gate.k_norm.dtype), n);
  return {weights, weights + n};
}

void CpuBackend::store_decode_gate_keys(const PagedKv& kv, const DecodeGateView& gate,
                                        const BlockRopes& ropes, const Step& step) {
  const int64_t page = kv.page_tokens(), d_head = kv.d_head(), n_heads = kv.n_kv_heads(),
                d_gate = gate.d_gate();
  const int64_t half = d_head / 2, d_pooled = gate.k_pools.count() * d_head;
  const std::vector<FullPage> pages = full_pages(step, page);
  if (pages.empty()) return;
  const auto n_pages = static_cast<int64_t>(pages.size());
  assert(kv.decode_gate_k.dim(2) == d_gate && gate.linear_k.dim(1) == d_pooled && d_gate == d_head);
  const DecodeGateNorms norms = decode_gate_norms(gate);
  const float *first_cos = ropes.first.cos.as<float>(), *first_sin = ropes.first.sin.as<float>();
  const float *cos = ropes.within.cos.as<float>(), *sin = ropes.within.sin.as<float>();

  reserve_thread_scratch(page * d_head + d_pooled * d_gate + n_pages * (d_pooled + d_gate));
  pool_.run(n_heads, [&](int64_t head, int thread) {
    float* keys = thread_scratch(thread);         // [page, d_head]
    float* weights = keys + page * d_head;        // [d_pooled, d_gate]
    float* pooled = weights + d_pooled * d_gate;  // [n_pages, d_pooled]
    float* out = pooled + n_pages * d_pooled;     // [n_pages, d_gate]
    simd_.to_float(weights, gate.linear_k.rows(head, 1).data, weight_type(gate.linear_k.dtype),
                   d_pooled * d_gate);
    for (int64_t i = 0; i < n_pages; ++i) {
      const FullPage& p = pages[static_cast<size_t>(i)];
      simd_.to_float(keys, kv.k_head(p.id, head), weight_type(kv.k.dtype), page * d_head);
      for (int64_t t = 0; t < page; ++t)
        rotate_back(keys + t * d_head, first_cos + p.rope_row * half, first_sin + p.rope_row * half,
                    cos + t * half, sin + t * half, half);
      pool_tokens(pooled + i * d_pooled, keys, d_head, page, d_head, gate.k_pools);
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(n_pages),
                static_cast<int>(d_gate), static_cast<int>(d_pooled), 1.0F, pooled,
                static_cast<int>(d_pooled), weights, static_cast<int>(d_gate), 0.0F, out,
                static_cast<int>(d_gate));
    for (int64_t i = 0; i < n_pages; ++i) {
      const FullPage& p = pages[static_cast<size_t>(i)];
      float* key = out + i * d_gate;
      if (norms.k != nullptr) simd_.rms_norm(key, key, norms.k, d_gate, DecodeGateView::kEpsilon);
      if (gate.rotates) rotate(key, key, first_cos + p.rope_row * half, first_sin + p.rope_row * half, half);
      std::copy_n(key, d_gate, kv.decode_gate_k.as<float>() + (p.id * n_heads + head) * d_gate);
    }
  });
}

void CpuBackend::decode_gate_query(float* out, const float* heads, int64_t group, int64_t d_head,
                                   int64_t kv_head, const DecodeGateView& gate, const float* norm,
                                   float* row) const {
  const int64_t d_gate = gate.d_gate();
  const bool each_head = gate.linear_q && gate.linear_q.dim(1) == group * d_head;
  float* mean = row + d_gate;  // [d_head]
  if (!each_head) {
    for (int64_t d = 0; d < d_head; ++d) {
      float sum = 0.0F;
      for (int64_t g = 0; g < group; ++g) sum += heads[g * d_head + d];
      mean[d] = sum / static_cast<float>(group);
    }
  }
  if (!gate.linear_q) {
    std::copy_n(mean, d_gate, out);
  } else {
    const float* x = each_head ? heads : mean;
    const Tensor w = gate.linear_q.rows(kv_head, 1);  // [1, n_in, d_gate]
    const int64_t n_in = w.dim(1), row_bytes = d_gate * dtype_bytes(w.dtype);
    std::fill_n(out, d_gate, 0.0F);
    for (int64_t i = 0; i < n_in; ++i) {
      simd_.to_float(row, static_cast<const char*>(w.data) + i * row_bytes, weight_type(w.dtype), d_gate);
      for (int64_t d = 0; d < d_gate; ++d) out[d] += x[i] * row[d];
    }
  }
  if (norm != nullptr) simd_.rms_norm(out, out, norm, d_gate, DecodeGateView::kEpsilon);
}

// Scores the blocks of a step's decodes, and holds what the scores are computed from.
class CpuBackend::DecodeScorer {
 public:
  DecodeScorer(CpuBackend* cpu, const Tensor& qkv, const HeadNorms& norms, const RopeTable& rope,
               const PagedKv& kv, const DecodeGateView& gate)
      : cpu_(*cpu),
        qkv_(qkv),
        rope_(rope),
        kv_(kv),
        gate_(gate),
        group_(qkv.dim(1) / kv.d_head() / kv.n_kv_heads() - 2),
        head_norms_(cpu->float_norms(norms, kv.d_head())),
        norms_(cpu->decode_gate_norms(gate)) {}

  // Returns how many floats of a thread's scratch score() uses.
  int64_t scratch_size() const { return group_ * kv_.d_head() + 2 * gate_.d_gate() + kv_.d_head(); }
  // Writes the scores of a decode's blocks, before the softmax. Blocks whose pages other ranks have get 0,
  // and so does the open block, which has no key yet.
  void score(float* out, const Segment& segment, int64_t head, int thread) const {
    const int64_t d_head = kv_.d_head(), page = kv_.page_tokens(), d_gate = gate_.d_gate(), half = d_head / 2;
    const int64_t n = blocks_of(segment.end(), page), n_full = segment.end() / page;
    const Heads heads =
        cpu_.normalise({qkv_.as<float>() + segment.row * qkv_.dim(1) + head * group_ * d_head, d_head},
                       group_, head_norms_.q, head_norms_.eps, d_head, thread);
    float* query = cpu_.thread_scratch(thread) + group_ * d_head;
    cpu_.decode_gate_query(query, heads.data, group_, d_head, head, gate_, norms_.q, query + d_gate);
    if (gate_.rotates)
      rotate(query, query, rope_.cos.as<float>() + segment.row * half,
             rope_.sin.as<float>() + segment.row * half, half);
    const float scale = 1.0F / std::sqrt(static_cast<float>(d_gate));
    std::fill(out, out + n, 0.0F);
    for (int64_t b = 0; b < n_full; ++b) {
      const int64_t id = segment.page_table[b];
      if (id < 0) continue;
      const float* key = kv_.decode_gate_k.as<float>() + (id * kv_.n_kv_heads() + head) * d_gate;
      out[b] = scale * std::inner_product(query, query + d_gate, key, 0.0F);
    }
  }

 private:
  CpuBackend& cpu_;
  const Tensor& qkv_;
  const RopeTable& rope_;
  const PagedKv& kv_;
  const DecodeGateView& gate_;
  int64_t group_;
  FloatNorms head_norms_;
  DecodeGateNorms norms_;
};

void CpuBackend::softmax(float* scores, int64_t n) const {
  const float total = simd_.exp_sum(scores, n, *std::max_element(scores, scores + n));
  for (int64_t b = 0; b < n; ++b) scores[b] /= total;
}

void CpuBackend::keep_by_rule(const BlockMask& mask, int64_t list, int32_t* order, float* scores, int64_t n,
                              const DecodeRule& rule, int64_t page_tokens) const {
  int32_t* kept = mask.blocks.as<int32_t>() + list * mask.row_capacity();
  int32_t& count = mask.counts.as<int32_t>()[list];
  if (rule.dense()) {
    std::iota(kept, kept + n, 0);
    count = static_cast<int32_t>(n);
    return;
  }
  if (by_threshold(rule)) softmax(scores, n);
  count = keep_blocks(kept, order, scores, n, rule, page_tokens);
}

void CpuBackend::select_decode_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& qkv,
                                      const HeadNorms& norms, const RopeTable& rope, const PagedKv& kv,
                                      const DecodeGateView& gate) {
  const std::span<const Segment> decodes = step_.step.decodes;
  const std::span<const DecodeRule> rules = step_.decode_rules;
  const int64_t n_decodes = static_cast<int64_t>(decodes.size()), n_kv_heads = kv.n_kv_heads();
  const int64_t page = kv.page_tokens(), capacity = mask.row_capacity();
  assert(rules.size() == decodes.size() && mask.n_heads() == n_kv_heads && mask.n_rows() == n_decodes);
  const DecodeScorer scorer(this, qkv, norms, rope, kv, gate);

  reserve_thread_scratch(scorer.scratch_size() + 2 * capacity);
  pool_.run(n_decodes * n_kv_heads, [&](int64_t task, int thread) {
    const int64_t i = task / n_kv_heads, head = task % n_kv_heads, list = head * n_decodes + i;
    const Segment& segment = decodes[static_cast<size_t>(i)];
    const DecodeRule& rule = rules[static_cast<size_t>(i)];
    const int64_t n = blocks_of(segment.end(), page);
    assert(n <= capacity);
    float* probabilities = thread_scratch(thread) + scorer.scratch_size();  // [capacity]
    auto* order = reinterpret_cast<int32_t*>(probabilities + capacity);
    if (!rule.dense()) scorer.score(probabilities, segment, head, thread);
    keep_by_rule(mask, list, order, probabilities, n, rule, page);
    if (scores == nullptr || rule.dense()) return;
    if (!by_threshold(rule)) softmax(probabilities, n);
    float* out = scores->as<float>() + list * scores->dim(2);
    std::fill(std::copy(probabilities, probabilities + n, out), out + scores->dim(2), 0.0F);
  });
}

void CpuBackend::score_decode_blocks(const Tensor& scores, const Tensor& qkv, const HeadNorms& norms,
                                     const RopeTable& rope, const PagedKv& kv, const DecodeGateView& gate) {
  const std::span<const Segment> decodes = step_.step.decodes;
  const int64_t n_decodes = static_cast<int64_t>(decodes.size()), n_kv_heads = kv.n_kv_heads(),
                width = scores.dim(2);
  assert(step_.decode_rules.size() == decodes.size() && scores.dim(0) == n_kv_heads &&
         scores.dim(1) == n_decodes);
  const DecodeScorer scorer(this, qkv, norms, rope, kv, gate);
  reserve_thread_scratch(scorer.scratch_size());
  pool_.run(n_decodes * n_kv_heads, [&](int64_t task, int thread) {
    const int64_t i = task / n_kv_heads, head = task % n_kv_heads;
    float* out = scores.as<float>() + (head * n_decodes + i) * width;
    std::fill(out, out + width, 0.0F);
    if (!step_.decode_rules[static_cast<size_t>(i)].dense())
      scorer.score(out, decodes[static_cast<size_t>(i)], head, thread);
  });
}

void CpuBackend::keep_decode_blocks(const BlockMask& mask, const Tensor& scores, int64_t page_tokens) {
  const std::span<const Segment> decodes = step_.step.decodes;
  const int64_t n_decodes = static_cast<int64_t>(decodes.size()), capacity = mask.row_capacity();
  reserve_thread_scratch(capacity);
  pool_.run(mask.n_heads() * n_decodes, [&](int64_t list, int thread) {
    const auto i = static_cast<size_t>(list % n_decodes);
    const DecodeRule& rule = step_.decode_rules[i];
    const int64_t n = blocks_of(decodes[i].end(), page_tokens);
    float* of_list = scores.as<float>() + list * scores.dim(2);
    keep_by_rule(mask, list, reinterpret_cast<int32_t*>(thread_scratch(thread)), of_list, n, rule,
                 page_tokens);
    if (!rule.dense() && !by_threshold(rule)) softmax(of_list, n);
  });
}

}  // namespace seer
