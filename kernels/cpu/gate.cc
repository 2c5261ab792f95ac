// SeerAttention's gate (arXiv:2410.13276, section 3): pooled queries and keys, one small projection for each
// head, and a choice of key blocks for every query block.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/cpu/best_blocks.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/pool_tokens.h"
#include "kernels/cpu/rotate.h"

namespace seer {
namespace {

// Writes the ascending list of the blocks that a row of `head` with n_causal scores keeps, and returns how
// many there are.
int32_t keep_blocks(int32_t* kept, int32_t* order, const float* scores, int64_t n_causal,
                    const SelectRule& rule, int64_t head) {
  const auto keep_all = [&] {
    std::iota(kept, kept + n_causal, 0);
    return static_cast<int32_t>(n_causal);
  };
  if (rule.row_is_dense(n_causal - 1)) return keep_all();
  int32_t n = 0;
  if (rule.by_threshold()) {
    const float threshold = rule.threshold_of(head);
    for (int64_t j = 0; j < n_causal; ++j)
      if (scores[j] > threshold) kept[n++] = static_cast<int32_t>(j);
  } else {
    const int64_t k = rule.kept_count().of_row(n_causal);
    if (k >= n_causal) return keep_all();
    best_blocks(kept, k, order, scores, n_causal);
    n = static_cast<int32_t>(k);
  }
  if (n == 0) kept[n++] = static_cast<int32_t>(n_causal - 1);
  return n;
}

}  // namespace

void CpuBackend::pool_blocks(const PooledBlocks& pooled, int64_t first_row, const Tensor& qkv,
                             const FloatNorms& norms, const PagedKv& kv, const Segment& segment) {
  const int64_t d_head = kv.d_head(), page = kv.page_tokens(), n_kv_heads = kv.n_kv_heads(),
                width = qkv.dim(1), n_heads = pooled.q.dim(1);
  const int64_t q_size = pooled.q.dim(2), k_size = pooled.k.dim(2);
  pool_.run((segment.n_tokens + page - 1) / page, [&](int64_t block, int thread) {
    const int64_t n_tokens = std::min(page, segment.n_tokens - block * page), row = first_row + block;
    const float* x = qkv.as<float>() + (segment.row + block * page) * width;
    const auto pool = [&](float* out, int64_t head, const float* weight, const GatePools& pools) {
      const Heads heads = normalise({x + head * d_head, width}, n_tokens, weight, norms.eps, d_head, thread);
      pool_tokens(out, heads.data, heads.stride, n_tokens, d_head, pools);
    };
    for (int64_t h = 0; h < n_heads; ++h)
      pool(pooled.q.as<float>() + (row * n_heads + h) * q_size, h, norms.q, pooled.q_pools);
    for (int64_t h = 0; h < n_kv_heads; ++h)
      pool(pooled.k.as<float>() + (row * n_kv_heads + h) * k_size, n_heads + h, norms.k, pooled.k_pools);
  });
}

void CpuBackend::gate_project(const Tensor& gate_q, const PagedKv& kv, const PooledBlocks& pooled,
                              const GateView& gate, const RopeTable& rope, const Segment& segment) {
  const int64_t n_rows = gate_q.dim(0), n_heads = gate_q.dim(1), d_gate = gate_q.dim(2);
  const int64_t n_gate_heads = gate.n_gate_heads(), n_kv_heads = kv.n_kv_heads(), page = kv.page_tokens();
  const int64_t half = rope.cos.dim(1), first_block = segment.start / page;
  const int64_t q_size = pooled.q.dim(2), k_size = pooled.k.dim(2);
  assert(n_rows == (segment.n_tokens + page - 1) / page && n_rows == pooled.q.dim(0) &&
         segment.start % page == 0 && 2 * half <= d_gate);
  const float *pooled_q = pooled.q.as<float>(), *pooled_k = pooled.k.as<float>();
  float* gate_k = pooled.projected.as<float>();  // [n_rows, n_gate_heads, d_gate]

  // One product for each head of each side: [n_rows, size] times the head's [size, d_gate].
  reserve_thread_scratch(std::max(q_size, k_size) * d_gate);
  const auto project = [&](float* out, int64_t n_out, const float* in, int64_t n_in, int64_t size,
                           const Tensor& weights, int64_t head, int thread) {
    simd_.to_float(thread_scratch(thread), weights.rows(head, 1).data, weight_type(weights.dtype),
                   size * d_gate);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(n_rows), static_cast<int>(d_gate),
                static_cast<int>(size), 1.0F, in + head * n_in / n_out * size, static_cast<int>(n_in * size),
                thread_scratch(thread), static_cast<int>(d_gate), 0.0F, out + head * d_gate,
                static_cast<int>(n_out * d_gate));
  };
  pool_.run(n_gate_heads, [&](int64_t head, int thread) {
    project(gate_k, n_gate_heads, pooled_k, n_kv_heads, k_size, gate.linear_k, head, thread);
  });
  if (gate.linear_q) {
    pool_.run(n_heads, [&](int64_t head, int thread) {
      project(gate_q.as<float>(), n_heads, pooled_q, n_heads, q_size, gate.linear_q, head, thread);
    });
  } else {
    assert(q_size == d_gate);
    std::memcpy(gate_q.data, pooled_q, static_cast<size_t>(gate_q.nbytes()));
  }

  pool_.run(n_rows, [&](int64_t row, int) {
    const float* cos = rope.cos.as<float>() + row * half;
    const float* sin = rope.sin.as<float>() + row * half;
    for (int64_t h = 0; h < n_heads; ++h)
      rotate(gate_q.as<float>() + (row * n_heads + h) * d_gate,
             gate_q.as<float>() + (row * n_heads + h) * d_gate, cos, sin, half);
    float* keys = gate_k + row * n_gate_heads * d_gate;
    for (int64_t h = 0; h < n_gate_heads; ++h) rotate(keys + h * d_gate, keys + h * d_gate, cos, sin, half);
    const int64_t page_id = segment.page_table[first_block + row];
    std::memcpy(kv.gate_k.as<float>() + page_id * n_gate_heads * d_gate, keys,
                static_cast<size_t>(n_gate_heads * d_gate) * sizeof(float));
  });
}

void CpuBackend::select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q,
                               const PagedKv& kv, const Segment& segment, const SelectRule& rule) {
  const int64_t n_rows = gate_q.dim(0), n_heads = gate_q.dim(1), d_gate = gate_q.dim(2);
  const int64_t n_gate_heads = kv.gate_k.dim(1), first_block = segment.start / kv.page_tokens();
  const int64_t n_blocks = first_block + n_rows;  // the last row's causal blocks
  const bool softmax = rule.by_threshold();
  const float scale = 1.0F / std::sqrt(static_cast<float>(d_gate));
  assert(mask.n_heads() == n_heads && mask.n_rows() == n_rows && mask.row_capacity() >= n_blocks);

  reserve_thread_scratch(n_blocks * (d_gate + n_rows + 1));
  pool_.run(n_heads, [&](int64_t head, int thread) {
    float* keys = thread_scratch(thread);                                    // [n_blocks, d_gate]
    float* products = keys + n_blocks * d_gate;                              // [n_rows, n_blocks]
    auto* order = reinterpret_cast<int32_t*>(products + n_rows * n_blocks);  // [n_blocks]
    const int64_t gate_head = head * n_gate_heads / n_heads;
    for (int64_t j = 0; j < n_blocks; ++j)
      std::memcpy(keys + j * d_gate,
                  kv.gate_k.as<float>() + (segment.page_table[j] * n_gate_heads + gate_head) * d_gate,
                  static_cast<size_t>(d_gate) * sizeof(float));
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(n_rows), static_cast<int>(n_blocks),
                static_cast<int>(d_gate), scale, gate_q.as<float>() + head * d_gate,
                static_cast<int>(n_heads * d_gate), keys, static_cast<int>(d_gate), 0.0F, products,
                static_cast<int>(n_blocks));
    for (int64_t r = 0; r < n_rows; ++r) {
      float* row = products + r * n_blocks;
      const int64_t n_causal = first_block + r + 1;
      if (softmax) {
        const float total = simd_.exp_sum(row, n_causal, *std::max_element(row, row + n_causal));
        for (int64_t j = 0; j < n_causal; ++j) row[j] /= total;
      }
      mask.counts.as<int32_t>()[head * n_rows + r] =
          keep_blocks(mask.blocks.as<int32_t>() + (head * n_rows + r) * mask.row_capacity(), order, row,
                      n_causal, rule, head);
      if (scores != nullptr) {
        float* out = scores->as<float>() + (head * n_rows + r) * scores->dim(2);
        std::fill(std::copy(row, row + n_causal, out), out + scores->dim(2), 0.0F);
      }
    }
  });
}

void CpuBackend::mark_blocks(const Tensor& marks, int64_t row, std::span<const BlockMask> masks) {
  std::fill_n(marks.as<float>(), marks.numel(), 0.0F);
  float* mine = marks.as<float>() + row * marks.dim(1);
  for (const BlockMask& mask : masks)
    for (int64_t list = 0; list < mask.n_heads() * mask.n_rows(); ++list) {
      const int32_t* kept = mask.blocks.as<int32_t>() + list * mask.row_capacity();
      for (int32_t i = 0; i < mask.counts.as<int32_t>()[list]; ++i) mine[kept[i]] = 1.0F;
    }
}

}  // namespace seer
