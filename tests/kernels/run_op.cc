#include "tests/kernels/run_op.h"

#include <algorithm>

#include "tests/kernels/device.h"
#include "tests/kernels/run_step.h"

namespace seer::testing {
namespace {

// Makes room for the pools of all prefills. `projected` stays empty.
PooledBlocks room_for_pools(Device& device, DType activation, const PagedCase& c, const GatePools& q_pools,
                            const GatePools& k_pools) {
  int64_t n_rows = 0;
  for (const CaseSegment& s : c.prefills) n_rows += c.n_rows(s);
  return {q_pools,
          k_pools,
          device.poisoned(activation, {n_rows, c.n_heads, q_pools.count() * c.d_head}),
          device.poisoned(activation, {n_rows, c.n_kv_heads, k_pools.count() * c.d_head}),
          {}};
}

}  // namespace

std::vector<float> run_embed(Backend& backend, const EmbedCase& c) {
  Device device(&backend);
  const Tensor out =
      device.poisoned(backend.activation_dtype(), {static_cast<int64_t>(c.ids.size()), c.table.dim(1)});
  begin_step(backend, c.ids, {}, {}, {}, 64);
  backend.embed(out, device.upload(c.table), 0);
  return device.read(out);
}

std::vector<float> run_rms_norm(Backend& backend, const RmsNormCase& c) {
  Device device(&backend);
  const Tensor out = device.poisoned(backend.activation_dtype(), c.x.shape);
  backend.rms_norm(out, device.upload(c.x), device.upload(c.weight), c.eps);
  return device.read(out);
}

namespace {

LinearWeights upload(Device& device, const std::vector<LinearCase::Part>& parts) {
  LinearWeights weights;
  for (const LinearCase::Part& part : parts)
    weights.parts.push_back(
        {device.on_host(part.weight), part.bias.empty() ? Tensor() : device.on_host(part.bias)});
  return device.upload(weights);
}

}  // namespace

std::vector<float> run_norm_linear(Backend& backend, const LinearCase& c, const HostTensor& norm) {
  Device device(&backend);
  const Tensor x = device.upload(c.x), h = device.poisoned(backend.activation_dtype(), {x.dim(0), x.dim(1)});
  const LinearWeights weights = upload(device, c.parts);
  const Tensor out = device.poisoned(backend.activation_dtype(), {x.dim(0), weights.d_out()});
  backend.norm_linear(out, h, x, device.upload(norm), 1e-5, weights);
  return device.read(out);
}

std::vector<float> run_norm_swiglu(Backend& backend, const LinearCase& c, const HostTensor& norm) {
  Device device(&backend);
  const Tensor x = device.upload(c.x), h = device.poisoned(backend.activation_dtype(), {x.dim(0), x.dim(1)});
  const LinearWeights weights = upload(device, {c.parts.front(), c.parts.front()});
  const auto scratch = [&](int64_t width) {
    return device.poisoned(backend.activation_dtype(), {x.dim(0), width});
  };
  const Tensor out = scratch(weights.d_out() / 2);
  backend.norm_swiglu(out, h, scratch(weights.d_out()), x, device.upload(norm), 1e-5, weights, nullptr);
  return device.read(out);
}

std::vector<float> run_linear(Backend& backend, const LinearCase& c) {
  Device device(&backend);
  const LinearWeights weights = upload(device, c.parts);
  const Tensor out = device.upload(c.before);
  backend.linear(out, device.upload(c.x), weights, c.accumulate);
  return device.read(out);
}

std::vector<float> run_silu_mul(Backend& backend, const SiluMulCase& c) {
  Device device(&backend);
  const Tensor out = device.poisoned(backend.activation_dtype(), {c.gate_up.dim(0), c.gate_up.dim(1) / 2});
  backend.silu_mul(out, device.upload(c.gate_up));
  return device.read(out);
}

std::vector<float> run_gather_rows(Backend& backend, const GatherRowsCase& c) {
  Device device(&backend);
  const Tensor out =
      device.poisoned(backend.activation_dtype(), {static_cast<int64_t>(c.rows.size()), c.x.dim(1)});
  begin_step(backend, {}, c.rows, {}, {}, 64);
  backend.gather_rows(out, device.upload(c.x));
  return device.read(out);
}

namespace {

std::vector<float> read_rope(Device& device, const RopeTable& table) {
  std::vector<float> values = device.read(table.cos);
  const std::vector<float> sin = device.read(table.sin);
  values.insert(values.end(), sin.begin(), sin.end());
  return values;
}

}  // namespace

std::vector<float> run_rope_table(Backend& backend, const RopeTableCase& c) {
  Device device(&backend);
  const auto half = static_cast<int64_t>(c.inv_freq.size());
  const RopeTable out{device.poisoned(DType::kF32, {c.n_rows, half}),
                      device.poisoned(DType::kF32, {c.n_rows, half})};
  backend.rope_table(out, c.start, c.stride, c.inv_freq, c.scaling);
  return read_rope(device, out);
}

std::vector<float> run_decode_rope_table(Backend& backend, const RopeTableCase& c, int64_t multiple) {
  constexpr int64_t kPage = 64, kFirstRow = 3;
  Device device(&backend);
  const auto half = static_cast<int64_t>(c.inv_freq.size());
  const RopeTable out{device.poisoned(DType::kF32, {c.n_rows, half}),
                      device.poisoned(DType::kF32, {c.n_rows, half})};
  const std::vector<int32_t> table(static_cast<size_t>(
      blocks_of(c.start + c.n_rows * c.stride + multiple, kPage)));  // the pages are not read
  std::vector<Segment> decodes;
  for (int64_t r = 0; r < c.n_rows; ++r)
    decodes.push_back({kFirstRow + r, 1, c.start + r * c.stride + r % multiple, table.data()});
  begin_step(backend, {}, {}, {}, decodes, kPage);
  backend.decode_rope_table(out, c.inv_freq, c.scaling, multiple);
  return read_rope(device, out);
}

std::vector<int32_t> run_sample(Backend& backend, const SampleCase& c) {
  Device device(&backend);
  std::vector<SampleRow> rows;
  for (const CaseSampleRow& row : c.rows) rows.push_back(row.view());
  std::vector<int32_t> ids(rows.size(), INT32_MIN);
  backend.sample(ids, device.upload_f32(c.logits), rows);
  return ids;
}

AppendKvResult run_append_kv(Backend& backend, const AppendKvCase& c) {
  Device device(&backend);
  const Tensor q = device.poisoned(backend.activation_dtype(), {c.n_tokens, c.n_heads, c.d_head});
  const PagedKv kv{device.upload(c.k), device.upload(c.v), {}, {}};
  const std::vector<Segment> prefills = views(c.prefills), decodes = views(c.decodes);
  const bool is_pooled = c.k_pools.count() > 0;
  PooledBlocks pooled;
  if (is_pooled) pooled = room_for_pools(device, backend.activation_dtype(), c, c.q_pools, c.k_pools);
  const Tensor qkv = device.upload(c.qkv);
  begin_step(backend, c, prefills, decodes);
  backend.append_kv(q, kv, qkv, upload_norms(device, c.norms),
                    {device.upload_f32(c.cos), device.upload_f32(c.sin)}, {c.n_tokens, prefills, decodes},
                    is_pooled ? &pooled : nullptr);
  AppendKvResult result{device.read(q), device.read(kv.k), device.read(kv.v), {}, {}, device.read(qkv)};
  if (is_pooled) {
    result.pooled_q = device.read(pooled.q);
    result.pooled_k = device.read(pooled.k);
  }
  return result;
}

GateProjectResult run_gate_project(Backend& backend, const GateProjectCase& c) {
  Device device(&backend);
  const DType activation = backend.activation_dtype();
  const CaseSegment& segment = c.prefills.at(0);
  const Tensor gate_q = device.poisoned(activation, {c.n_rows(segment), c.n_heads, c.d_gate()});
  const PagedKv kv{device.poisoned(activation, {c.n_pages, c.n_kv_heads, c.page, c.d_head}),
                   device.poisoned(activation, {c.n_pages, c.n_kv_heads, c.page, c.d_head}),
                   device.poisoned(activation, {c.n_pages, c.n_gate_heads(), c.d_gate()}),
                   {}};
  GateView gate{c.q_pools, c.k_pools, {}, device.upload(c.linear_k)};
  if (!c.linear_q.empty()) gate.linear_q = device.upload(c.linear_q);
  // The blocks are pooled while their keys are appended, before RoPE. Its angles are zero here.
  const int64_t n_rows = c.n_rows(segment), half = c.d_head / 2;
  PooledBlocks pooled = room_for_pools(device, activation, c, c.q_pools, c.k_pools);
  pooled.projected =
      device.poisoned(DType::kF32, {n_rows, std::max(c.n_heads, c.n_gate_heads()), c.d_gate()});
  const RopeTable still{device.upload_f32(HostTensor::filled(DType::kF32, {c.n_tokens, half}, 1.0F)),
                        device.upload_f32(HostTensor::filled(DType::kF32, {c.n_tokens, half}, 0.0F))};
  const std::vector<Segment> prefills = {segment.view()};
  begin_step(backend, c, prefills, {});
  backend.append_kv(device.poisoned(activation, {c.n_tokens, c.n_heads, c.d_head}), kv, device.upload(c.qkv),
                    upload_norms(device, c.norms), still, {c.n_tokens, prefills, {}}, &pooled);
  backend.gate_project(gate_q, kv, pooled, gate, {device.upload_f32(c.cos), device.upload_f32(c.sin)},
                       segment.view());
  return {device.read(gate_q), device.read(kv.gate_k)};
}

SelectBlocksResult run_select_blocks(Backend& backend, const SelectBlocksCase& c, bool with_scores) {
  Device device(&backend);
  const DType activation = backend.activation_dtype();
  const CaseSegment& segment = c.prefills.at(0);
  const int64_t n_rows = c.n_rows(segment);
  CaseMask empty;
  empty.row_capacity = c.row_capacity;
  empty.kept.resize(static_cast<size_t>(c.n_heads * n_rows));
  const BlockMask mask = upload_mask(device, empty, c.n_heads, n_rows);
  const PagedKv kv{device.poisoned(activation, {c.n_pages, c.n_kv_heads, c.page, c.d_head}),
                   device.poisoned(activation, {c.n_pages, c.n_kv_heads, c.page, c.d_head}),
                   device.upload(c.gate_k),
                   {}};
  Tensor scores;
  if (with_scores) scores = device.poisoned(DType::kF32, {c.n_heads, n_rows, c.rule.n_prompt_blocks});
  const std::vector<Segment> prefills = {segment.view()};
  begin_step(backend, c, prefills, {});
  SelectRule rule = c.rule;
  if (!c.head_factors.empty())
    rule.head_factors = device.upload_f32(HostTensor(DType::kF32, {c.n_heads}, c.head_factors)).as<float>();
  backend.select_blocks(mask, with_scores ? &scores : nullptr, device.upload(c.gate_q), kv, segment.view(),
                        rule);
  return {device.read_ints(mask.counts), device.read_ints(mask.blocks),
          with_scores ? device.read(scores) : std::vector<float>()};
}

std::vector<float> run_prefill_attention(Backend& backend, const AttentionCase& c) {
  Device device(&backend);
  const Tensor out = device.poisoned(backend.activation_dtype(), c.q.shape);
  const Tensor q = device.upload(c.q);
  const PagedKv kv{device.upload(c.k), device.upload(c.v), {}, {}};
  const std::vector<Segment> prefills = views(c.prefills), decodes = views(c.decodes);
  begin_step(backend, c, prefills, decodes);
  for (size_t i = 0; i < c.prefills.size(); ++i) {
    const CaseSegment& segment = c.prefills[i];
    BlockMask mask;
    if (!c.masks.empty()) mask = upload_mask(device, c.masks.at(i), c.n_heads, c.n_rows(segment));
    backend.prefill_attention(out, q, kv, segment.view(), c.masks.empty() ? nullptr : &mask,
                              c.first_tokens.at(i));
  }
  return device.read(out);
}

std::vector<float> run_decode_attention(Backend& backend, const AttentionCase& c) {
  Device device(&backend);
  const Tensor out = device.poisoned(backend.activation_dtype(), c.q.shape);
  const PagedKv kv{device.upload(c.k), device.upload(c.v), {}, {}};
  const std::vector<Segment> decodes = views(c.decodes);
  begin_step(backend, c, {}, decodes);
  BlockMask mask;
  const bool masked = !c.decode_mask.kept.empty();
  if (masked) mask = upload_mask(device, c.decode_mask, c.n_kv_heads, static_cast<int64_t>(c.decodes.size()));
  backend.decode_attention(out, device.upload(c.q), kv, masked ? &mask : nullptr);
  return device.read(out);
}

AttentionPartsResult run_attention_parts(Backend& backend, const AttentionPartsCase& c) {
  Device device(&backend);
  const Tensor out = device.poisoned(backend.activation_dtype(), c.q.shape), q = device.upload(c.q);
  const PagedKv kv{device.upload(c.k), device.upload(c.v), {}, {}};
  const auto n = static_cast<int64_t>(c.decodes.size());
  const int64_t n_outputs = n * c.n_heads * c.d_head, size = attention_part_size(n, c.n_heads, c.d_head);
  const Tensor parts = device.poisoned(DType::kF32, {c.n_parts, size});
  const std::vector<Segment> decodes = views(c.decodes);
  for (int64_t p = 0; p < c.n_parts; ++p) {
    std::vector<CaseSegment> part;
    for (size_t i = 0; i < c.decodes.size(); ++i) part.push_back(c.part(i, p));
    const std::vector<Segment> segments = views(part);
    begin_step(backend, {}, {}, {}, decodes, c.page, segments);
    backend.decode_attention_part(parts.rows(p, 1).reshaped({size}), q, kv);
  }
  backend.merge_attention(out.rows(c.decodes.front().row, n), parts);
  AttentionPartsResult result{device.read(out), {}, {}};
  const std::vector<float> all = device.read(parts);
  for (auto part = all.begin(); part != all.end(); part += size) {
    result.outputs.insert(result.outputs.end(), part, part + n_outputs);
    result.log_sums.insert(result.log_sums.end(), part + n_outputs, part + size);
  }
  return result;
}

std::vector<float> run_merge_attention(Backend& backend, const HostTensor& parts, int64_t n, int64_t n_heads,
                                       int64_t d_head) {
  Device device(&backend);
  const Tensor out = device.poisoned(backend.activation_dtype(), {n, n_heads, d_head});
  backend.merge_attention(out, device.upload_f32(parts));
  return device.read(out);
}

}  // namespace seer::testing
