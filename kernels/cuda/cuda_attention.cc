// The CUDA backend's operations on pages: RoPE, append, gates and attention.
#include <algorithm>
#include <cassert>
#include <cmath>

#include "kernels/cuda/attention/choose.h"
#include "kernels/cuda/attention/mma_prefill/params.h"
#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/attention/sparse_prefill/params.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gate.h"
#include "kernels/cuda/kv_append.h"

namespace seer::cuda {
namespace {

float* floats(const Tensor& t) { return t.as<float>(); }
int as_int(int64_t x) { return static_cast<int>(x); }

RopeTableParams rope_params(const RopeTable& out, std::span<const double> inv_freq, double scaling) {
  RopeTableParams p = {};
  p.cos = floats(out.cos);
  p.sin = floats(out.sin);
  p.n_rows = out.cos.dim(0);
  p.half = as_int(out.cos.dim(1));
  p.scaling = scaling;
  assert(p.half == as_int(static_cast<int64_t>(inv_freq.size())) && p.half <= kMaxHalfHead);
  std::copy(inv_freq.begin(), inv_freq.end(), p.inv_freq);
  return p;
}

}  // namespace

void CudaBackend::rope_table(const RopeTable& out, int64_t start, int64_t stride,
                             std::span<const double> inv_freq, double scaling) {
  RopeTableParams p = rope_params(out, inv_freq, scaling);
  p.start = start;
  p.stride = stride;
  check(launch_rope_table(p, stream_), "rope_table");
}

void CudaBackend::rope_table(const RopeTable& out, std::span<const Segment> decodes,
                             std::span<const double> inv_freq, double scaling) {
  assert(out.cos.dim(0) == static_cast<int64_t>(decodes.size()));
  (void)decodes;  // begin_step brought their positions
  RopeTableParams p = rope_params(out, inv_freq, scaling);
  p.positions = step_.decode_positions();
  check(launch_rope_table(p, stream_), "rope_table");
}

void CudaBackend::append_kv(const Tensor& q, const PagedKv& kv, const Tensor& qkv, const RopeTable& rope,
                            const Step& step, const PooledBlocks* pooled) {
  const int64_t page = kv.page_tokens();
  const auto common = [&](int64_t row) {
    KvAppendParams c = {};
    c.q = q.rows(row, 1).data;
    c.k = kv.k.data;
    c.v = kv.v.data;
    c.qkv = qkv.rows(row, 1).data;
    c.cos = floats(rope.cos.rows(row, 1));
    c.sin = floats(rope.sin.rows(row, 1));
    c.n_heads = as_int(q.dim(1));
    c.n_kv_heads = as_int(kv.n_kv_heads());
    c.d_head = as_int(kv.d_head());
    c.page_tokens = as_int(page);
    return c;
  };
  int64_t block_row = 0;
  for (const Segment& segment : step.prefills) {
    PrefillAppendParams p = {};
    p.common = common(segment.row);
    p.page_table = step_.prefill_table(segment);
    p.start = segment.start;
    p.n_tokens = segment.n_tokens;
    if (pooled != nullptr) {
      p.q_pools = pooled->q_pools;
      p.k_pools = pooled->k_pools;
      p.pooled_q = pooled->q.rows(block_row, 1).data;
      p.pooled_k = pooled->k.rows(block_row, 1).data;
    }
    check(launch_prefill_append(p, stream_), "prefill_append");
    block_row += (segment.n_tokens + page - 1) / page;
  }
  if (step.decodes.empty()) return;
  DecodeAppendParams p = {};
  p.common = common(step.decodes.front().row);
  p.positions = step_.decode_positions();
  p.tables = step_.tables();
  p.table_offsets = step_.decode_table_offsets();
  p.n = as_int(static_cast<int64_t>(step.decodes.size()));
  check(launch_decode_append(p, stream_), "decode_append");
}

void CudaBackend::gate_project(const Tensor& gate_q, const PagedKv& kv, const PooledBlocks& pooled,
                               const GateView& gate, const RopeTable& rope, const Segment& segment) {
  const int64_t n_rows = gate_q.dim(0), n_heads = gate_q.dim(1), d_gate = gate_q.dim(2);
  const int64_t n_kv_heads = kv.n_kv_heads(), n_gate_heads = gate.n_gate_heads();
  assert(n_rows == pooled.q.dim(0) &&
         pooled.projected.numel() >= n_rows * std::max(n_heads, n_gate_heads) * d_gate);
  // out [n_rows, n_out, d_gate] = in [n_rows, n_in, size] times the head's [size, d_gate], heads of one group
  // sharing their input: a batch over the inputs for each place in a group.
  const auto project = [&](int64_t n_out, const Tensor& in, int64_t n_in, const Tensor& weights) {
    const int64_t size = weights.dim(1), group = n_out / n_in;
    GemmShape s;
    s.n = n_rows;
    s.d_in = size;
    s.d_out = d_gate;
    s.ld_x = n_in * size;
    s.ld_w = d_gate;
    s.ld_out = n_out * d_gate;
    s.w_transposed = false;
    s.float_out = true;
    s.n_batch = n_in;
    s.x_stride = size;
    s.w_stride = group * size * d_gate;
    s.out_stride = group * d_gate;
    for (int64_t g = 0; g < group; ++g)
      gemm_->run(floats(pooled.projected) + g * d_gate, in.data, weights.rows(g, 1).data, nullptr, s,
                 stream_);
  };
  GateRotateParams p = {};
  p.cos = floats(rope.cos);
  p.sin = floats(rope.sin);
  p.n_rows = n_rows;
  p.d_gate = as_int(d_gate);
  p.half = as_int(rope.cos.dim(1));

  project(n_gate_heads, pooled.k, n_kv_heads, gate.linear_k);
  p.out = kv.gate_k.data;
  p.in_f32 = floats(pooled.projected);
  p.table = step_.prefill_table(segment);
  p.first_block = segment.start / kv.page_tokens();
  p.n_heads = as_int(n_gate_heads);
  check(launch_gate_rotate(p, stream_), "gate_rotate");

  p.out = gate_q.data;
  p.table = nullptr;
  p.n_heads = as_int(n_heads);
  if (gate.linear_q) {
    project(n_heads, pooled.q, n_heads, gate.linear_q);
  } else {
    p.in_f32 = nullptr;
    p.in_bf16 = pooled.q.data;
  }
  check(launch_gate_rotate(p, stream_), "gate_rotate");
}

void CudaBackend::select_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& gate_q,
                                const PagedKv& kv, const Segment& segment, const SelectRule& rule) {
  GateSelectParams p = {};
  p.counts = mask.counts.as<int32_t>();
  p.blocks = mask.blocks.as<int32_t>();
  p.scores = scores == nullptr ? nullptr : floats(*scores);
  p.gate_q = gate_q.data;
  p.gate_k = kv.gate_k.data;
  p.table = step_.prefill_table(segment);
  p.first_block = segment.start / kv.page_tokens();
  p.n_rows = gate_q.dim(0);
  p.row_capacity = mask.row_capacity();
  p.n_heads = as_int(gate_q.dim(1));
  p.n_gate_heads = as_int(kv.gate_k.dim(1));
  p.d_gate = as_int(gate_q.dim(2));
  p.rule = rule;
  check(launch_gate_select(p, stream_), "gate_select");
}

void CudaBackend::prefill_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                    const Segment& segment, const BlockMask* mask, int64_t first_token) {
  if (choose_prefill(device_, kv.d_head(), kv.page_tokens()) == PrefillKernel::kWgmma)
    return wgmma_prefill(out, q, kv, segment, mask, first_token);
  PrefillParams p = {};
  p.out = out.data;
  p.q = q.data;
  p.k = kv.k.data;
  p.v = kv.v.data;
  p.page_table = step_.prefill_table(segment);
  if (mask != nullptr) {
    p.counts = mask->counts.as<int32_t>();
    p.blocks = mask->blocks.as<int32_t>();
    p.row_capacity = mask->row_capacity();
    p.n_mask_rows = as_int(mask->n_rows());
  }
  p.row = segment.row;
  p.start = segment.start;
  p.n_tokens = segment.n_tokens;
  p.first_token = first_token;
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.page_tokens = as_int(kv.page_tokens());
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  check(launch_mma_prefill(p, stream_), "prefill_attention");
}

void CudaBackend::wgmma_prefill(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                                const BlockMask* mask, int64_t first_token) {
  WgmmaPrefillParams p = {};
  p.out = out.data;
  p.q = q.data;
  p.page_table = step_.prefill_table(segment);
  if (mask != nullptr) {
    p.counts = mask->counts.as<int32_t>();
    p.blocks = mask->blocks.as<int32_t>();
    p.row_capacity = mask->row_capacity();
    p.n_mask_rows = as_int(mask->n_rows());
  }
  p.next_item = prefill_counter_.as<int32_t>();
  p.row = segment.row;
  p.start = segment.start;
  p.n_tokens = segment.n_tokens;
  p.first_token = first_token;
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  PageMaps maps;
  if (!make_page_maps(&maps, kv.k.data, kv.v.data, kv.k.dim(0), p.n_kv_heads, p.d_head))
    throw Error(ErrorKind::kDevice,
                "the driver made no tensor map of a pool of " + std::to_string(kv.k.dim(0)) + " pages");
  check(launch_wgmma_prefill(p, maps, device_.n_multiprocessors, stream_), "prefill_attention");
}

void CudaBackend::decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                   std::span<const Segment> segments) {
  const int64_t row = segments.front().row;
  DecodeParams p = {};
  p.out = out.rows(row, 1).data;
  p.q = q.rows(row, 1).data;
  p.k = kv.k.data;
  p.v = kv.v.data;
  p.positions = step_.decode_positions();
  p.tables = step_.tables();
  p.table_offsets = step_.decode_table_offsets();
  p.n_sequences = as_int(static_cast<int64_t>(segments.size()));
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.page_tokens = as_int(kv.page_tokens());
  p.n_splits = decode_splits(p.n_sequences, p.n_heads, p.n_kv_heads, device_.n_multiprocessors);
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  p.counters = decode_counters_.as<int32_t>();
  p.partials = decode_partials_.as<float>();
  check(launch_paged_decode(p, stream_), "decode_attention");
}

}  // namespace seer::cuda
