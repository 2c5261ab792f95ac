// The CUDA backend's operations on pages: RoPE, append, gates and attention.
#include <algorithm>
#include <cassert>
#include <cmath>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/attention/block_maxima/params.h"
#include "kernels/cuda/attention/choose.h"
#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/attention/prefill_sm80/params.h"
#include "kernels/cuda/attention/prefill_sm90/params.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/gate/params.h"
#include "kernels/cuda/kv_append.h"

namespace seer::cuda {
namespace {

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

void CudaBackend::decode_rope_table(const RopeTable& out, std::span<const double> inv_freq, double scaling,
                                    int64_t multiple) {
  assert(out.cos.dim(0) == step_.n_decodes());
  RopeTableParams p = rope_params(out, inv_freq, scaling);
  p.positions = step_.decode_positions();
  p.stride = multiple;
  check(launch_rope_table(p, stream_), "rope_table");
}

void CudaBackend::append_kv(const Tensor& q, const PagedKv& kv, const Tensor& qkv, const HeadNorms& norms,
                            const RopeTable& rope, const Step& step, const PooledBlocks* pooled) {
  const int64_t page = kv.page_tokens();
  HeadNormParams norm_params = {};
  if (norms) norm_params = {norms.q.data, norms.k.data, static_cast<float>(norms.eps)};
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
    check(launch_prefill_append(p, norm_params, stream_), "prefill_append");
    block_row += (segment.n_tokens + page - 1) / page;
  }
  if (step.decodes.empty()) return;
  assert(static_cast<int64_t>(step.decodes.size()) == step_.n_decodes());
  DecodeAppendParams p = {};
  p.common = common(step_.first_decode_row());
  p.positions = step_.decode_positions();
  p.tables = step_.tables();
  p.table_offsets = step_.decode_table_offsets();
  p.n = as_int(step_.n_decodes());
  check(launch_decode_append(p, norm_params, stream_), "decode_append");
}

void CudaBackend::gate_project(const Tensor& gate_q, const PagedKv& kv, const PooledBlocks& pooled,
                               const GateView& gate, const RopeTable& rope, const Segment& segment) {
  assert(gate_q.dim(0) == pooled.q.dim(0) && gate_q.dim(2) == gate.d_gate());
  const auto side = [](const Tensor& out, const Tensor& in, const Tensor& weights) {
    GateProjectParams::Side s = {};
    s.out = out.data;
    s.in = in.data;
    s.weights = weights ? weights.data : nullptr;
    s.n_out = as_int(out.dim(1));
    s.n_in = as_int(in.dim(1));
    s.d_in = as_int(in.dim(2));
    return s;
  };
  GateProjectParams p = {};
  p.k = side(kv.gate_k, pooled.k, gate.linear_k);
  p.q = side(gate_q, pooled.q, gate.linear_q);
  p.cos = floats(rope.cos);
  p.sin = floats(rope.sin);
  p.table = step_.prefill_table(segment);
  p.first_block = segment.start / kv.page_tokens();
  p.n_rows = gate_q.dim(0);
  p.d_gate = as_int(gate.d_gate());
  p.half = as_int(rope.cos.dim(1));
  check(launch_gate_project(p, stream_), "gate_project");
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
  check(launch_gate_select(p, device_.n_multiprocessors, device_.max_shared_bytes, stream_), "gate_select");
}

void CudaBackend::mark_blocks(const Tensor& marks, int64_t row, std::span<const BlockMask> masks) {
  use();
  check(cudaMemsetAsync(marks.data, 0, static_cast<size_t>(marks.nbytes()), stream_), "cudaMemsetAsync");
  float* mine = floats(marks) + row * marks.dim(1);
  for (const BlockMask& mask : masks)
    check(launch_gate_mark(mine, mask.counts.as<int32_t>(), mask.blocks.as<int32_t>(),
                           mask.n_heads() * mask.n_rows(), mask.row_capacity(), stream_),
          "gate_mark");
}

void CudaBackend::prefill_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                    const Segment& segment, const BlockMask* mask, int64_t first_token) {
  prefill(out, q, kv, segment, mask, first_token, nullptr);
}

void CudaBackend::prefill_with_maxima(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                      const Segment& part, const BlockMaxima& maxima) {
  prefill(out, q, kv, part, nullptr, 0, &maxima);
}

void CudaBackend::prefill(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                          const BlockMask* mask, int64_t first_token, const BlockMaxima* maxima) {
  if (choose_prefill(device_, kv.d_head(), kv.page_tokens()) == PrefillKernel::kWgmma)
    return prefill_sm90(out, q, kv, segment, mask, first_token, maxima);
  PrefillSm80Params p = {};
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
  check(maxima != nullptr ? launch_block_maxima_sm80(p, *maxima, stream_) : launch_prefill_sm80(p, stream_),
        "prefill_attention");
}

void CudaBackend::prefill_sm90(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                               const BlockMask* mask, int64_t first_token, const BlockMaxima* maxima) {
  PrefillSm90Params p = {};
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
  TileMaps maps;
  if (!make_tile_maps(&maps, p, kv.k.data, kv.v.data, kv.k.dim(0), q.dim(0)))
    throw Error(ErrorKind::kDevice,
                "the driver made no tensor map of a pool of " + std::to_string(kv.k.dim(0)) + " pages");
  const int n = device_.n_multiprocessors;
  check(maxima != nullptr ? launch_block_maxima_sm90(p, maps, *maxima, n, stream_)
                          : launch_prefill_sm90(p, maps, n, stream_),
        "prefill_attention");
}

DecodeParams CudaBackend::decode_params(const Tensor& q, const PagedKv& kv, int64_t longest) {
  assert(step_.n_decodes() > 0);
  DecodeParams p = {};
  p.q = q.rows(step_.first_decode_row(), 1).data;
  p.k = kv.k.data;
  p.v = kv.v.data;
  p.tables = step_.tables();
  p.n_sequences = as_int(step_.n_decodes());
  p.n_heads = as_int(q.dim(1));
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.page_tokens = as_int(kv.page_tokens());
  p.division = decode_divider_.divide(p.n_sequences, p.n_heads, p.n_kv_heads, p.d_head, longest);
  p.scale = 1.0F / std::sqrt(static_cast<float>(kv.d_head()));
  p.counters = decode_counters_.as<int32_t>();
  p.partials = decode_partials_.as<float>();
  return p;
}

DecodeParams CudaBackend::part_params(const Tensor& part, const Tensor& q, const PagedKv& kv,
                                      int64_t longest) {
  const int64_t n = step_.n_decodes();
  assert(part.numel() == attention_part_size(n, q.dim(1), q.dim(2)));
  DecodeParams p = decode_params(q, kv, longest);
  p.out = floats(part);
  p.log_sums = floats(part) + n * q.dim(1) * q.dim(2);
  return p;
}

void CudaBackend::decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                   const BlockMask* mask) {
  DecodeParams p = decode_params(q, kv, mask != nullptr ? step_.longest_list() : step_.longest_decode());
  if (mask != nullptr) {
    assert(mask->n_heads() == kv.n_kv_heads() && mask->n_rows() == step_.n_decodes());
    p.counts = mask->counts.as<int32_t>();
    p.blocks = mask->blocks.as<int32_t>();
    p.list_capacity = mask->row_capacity();
  }
  p.out = out.rows(step_.first_decode_row(), 1).data;
  p.positions = step_.decode_positions();
  p.table_offsets = step_.decode_table_offsets();
  check(launch_paged_decode(p, stream_), "decode_attention");
}

void CudaBackend::decode_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv) {
  DecodeParams p = part_params(part, q, kv, step_.longest_decode());
  p.positions = step_.part_positions();
  p.table_offsets = step_.part_table_offsets();
  check(launch_paged_decode(p, stream_), "decode_attention_part");
}

void CudaBackend::masked_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv,
                                        const BlockMask& mask, const BlockMask& room) {
  assert(mask.n_heads() == kv.n_kv_heads() && mask.n_rows() == step_.n_decodes());
  assert(room.counts.numel() == mask.counts.numel() && room.blocks.numel() == mask.blocks.numel());
  DecodePartLists l = {};
  l.positions = room.counts.as<int32_t>();
  l.pages = room.blocks.as<int32_t>();
  l.counts = mask.counts.as<int32_t>();
  l.blocks = mask.blocks.as<int32_t>();
  l.last_positions = step_.decode_positions();
  l.tables = step_.tables();
  l.table_offsets = step_.decode_table_offsets();
  l.list_capacity = mask.row_capacity();
  l.n_sequences = as_int(mask.n_rows());
  l.n_kv_heads = as_int(mask.n_heads());
  l.page_tokens = as_int(kv.page_tokens());
  check(launch_decode_part_lists(l, stream_), "decode_part_lists");
  DecodeParams p = part_params(part, q, kv, step_.longest_list());
  p.positions = l.positions;
  p.tables = l.pages;
  p.list_capacity = l.list_capacity;
  check(launch_paged_decode(p, stream_), "masked_attention_part");
}

void CudaBackend::merge_attention(const Tensor& out, const Tensor& parts) {
  assert(parts.dim(1) == attention_part_size(out.dim(0), out.dim(1), out.dim(2)));
  MergeParams p = {};
  p.out = out.data;
  p.parts = floats(parts);
  p.n_parts = as_int(parts.dim(0));
  p.n_rows = out.dim(0) * out.dim(1);
  p.d_head = as_int(out.dim(2));
  check(launch_merge_attention(p, stream_), "merge_attention");
}

}  // namespace seer::cuda
