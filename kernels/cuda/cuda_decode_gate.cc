// The CUDA backend's operations of gates for decoding.
#include <cassert>

#include "kernels/cuda/arguments.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/decode_gate/params.h"

namespace seer::cuda {
void CudaBackend::store_decode_gate_keys(const PagedKv& kv, const DecodeGateView& gate,
                                         const BlockRopes& ropes, const Step& step) {
  const int64_t page = kv.page_tokens();
  assert(gate.d_gate() == kv.d_head() && gate.linear_k.dim(1) == gate.k_pools.count() * kv.d_head());
  DecodeGateKeyParams p = {};
  p.gate_k = kv.decode_gate_k.data;
  p.k = kv.k.data;
  p.weights = gate.linear_k.data;
  p.norm = data_or_null(gate.k_norm);
  p.within_cos = ropes.within.cos.as<float>();
  p.within_sin = ropes.within.sin.as<float>();
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.page_tokens = as_int(page);
  p.pools = gate.k_pools;
  p.rotates = gate.rotates;
  int64_t row = 0;
  const auto launch = [&](int64_t n_rows) {
    p.first_cos = ropes.first.cos.rows(row, n_rows).as<float>();
    p.first_sin = ropes.first.sin.rows(row, n_rows).as<float>();
    row += n_rows;
    if (p.n_pages > 0) check(launch_decode_gate_keys(p, stream_), "decode_gate_keys");
  };
  for (const Segment& s : step.prefills) {
    p.tables = step_.prefill_table(s) + s.start / page;
    p.n_pages = s.n_tokens / page;
    launch(blocks_of(s.n_tokens, page));
  }
  if (step.decodes.empty()) return;
  assert(static_cast<int64_t>(step.decodes.size()) == step_.n_decodes());
  p.tables = step_.tables();
  p.positions = step_.decode_positions();
  p.table_offsets = step_.decode_table_offsets();
  p.n_pages = step_.n_decodes();
  launch(p.n_pages);
}

DecodeGateSelectParams CudaBackend::decode_gate_params(const Tensor& qkv, const HeadNorms& norms,
                                                       const RopeTable& rope, const PagedKv& kv,
                                                       const DecodeGateView& gate) const {
  const int64_t n = step_.n_decodes(), row = step_.first_decode_row();
  DecodeGateSelectParams p = {};
  p.qkv = qkv.rows(row, n).data;
  p.gate_k = kv.decode_gate_k.data;
  p.weights = data_or_null(gate.linear_q);
  p.head_norm = data_or_null(norms.q);
  p.norm = data_or_null(gate.q_norm);
  p.head_eps = static_cast<float>(norms.eps);
  p.cos = rope.cos.rows(row, n).as<float>();
  p.sin = rope.sin.rows(row, n).as<float>();
  p.positions = step_.decode_positions();
  p.tables = step_.tables();
  p.table_offsets = step_.decode_table_offsets();
  p.rules = step_.decode_rules();
  p.n_decodes = as_int(n);
  p.n_kv_heads = as_int(kv.n_kv_heads());
  p.d_head = as_int(kv.d_head());
  p.n_heads = as_int(qkv.dim(1) / kv.d_head() - 2 * kv.n_kv_heads());
  p.page_tokens = as_int(kv.page_tokens());
  p.n_inputs = gate.linear_q ? as_int(gate.linear_q.dim(1)) : 0;
  p.rotates = gate.rotates;
  p.longest = step_.longest_decode();
  return p;
}

void CudaBackend::select_decode_blocks(const BlockMask& mask, const Tensor* scores, const Tensor& qkv,
                                       const HeadNorms& norms, const RopeTable& rope, const PagedKv& kv,
                                       const DecodeGateView& gate) {
  DecodeGateSelectParams p = decode_gate_params(qkv, norms, rope, kv, gate);
  assert(mask.n_heads() == p.n_kv_heads && mask.n_rows() == p.n_decodes);
  p.counts = mask.counts.as<int32_t>();
  p.blocks = mask.blocks.as<int32_t>();
  p.scores = scores == nullptr ? nullptr : scores->as<float>();
  p.capacity = mask.row_capacity();
  assert(scores == nullptr || scores->dim(2) == p.capacity);
  check(launch_decode_gate_select(p, device_.n_multiprocessors, device_.is_hopper(), stream_),
        "decode_gate_select");
}

void CudaBackend::score_decode_blocks(const Tensor& scores, const Tensor& qkv, const HeadNorms& norms,
                                      const RopeTable& rope, const PagedKv& kv, const DecodeGateView& gate) {
  DecodeGateSelectParams p = decode_gate_params(qkv, norms, rope, kv, gate);
  assert(scores.dim(0) == p.n_kv_heads && scores.dim(1) == p.n_decodes);
  p.scores = scores.as<float>();
  p.capacity = scores.dim(2);
  check(launch_decode_gate_scores(p, device_.n_multiprocessors, device_.is_hopper(), stream_),
        "decode_gate_scores");
}

void CudaBackend::keep_decode_blocks(const BlockMask& mask, const Tensor& scores, int64_t page_tokens) {
  assert(mask.n_rows() == step_.n_decodes() && scores.dim(0) == mask.n_heads() &&
         scores.dim(1) == mask.n_rows() && scores.dim(2) == mask.row_capacity());
  DecodeGateKeepParams p = {};
  p.counts = mask.counts.as<int32_t>();
  p.blocks = mask.blocks.as<int32_t>();
  p.scores = scores.as<float>();
  p.positions = step_.decode_positions();
  p.rules = step_.decode_rules();
  p.capacity = mask.row_capacity();
  p.n_decodes = as_int(mask.n_rows());
  p.n_kv_heads = as_int(mask.n_heads());
  p.page_tokens = as_int(page_tokens);
  check(launch_decode_gate_keep(p, stream_), "decode_gate_keep");
}

}  // namespace seer::cuda
