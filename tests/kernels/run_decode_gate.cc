#include "tests/kernels/decode_gate_cases.h"
#include "tests/kernels/device.h"
#include "tests/kernels/run_step.h"

namespace seer::testing {
namespace {

// Returns room for cosines and sines of n rows, which the device fills.
RopeTable room_for_ropes(Device& device, int64_t n_rows, int64_t half) {
  return {device.poisoned(DType::kF32, {n_rows, half}), device.poisoned(DType::kF32, {n_rows, half})};
}

// The inputs of the operations that choose blocks, on the device.
struct SelectInputs {
  SelectInputs(Backend& backend, const SelectDecodeCase& of) : c(of), device(&backend), on(backend) {
    const std::vector<int64_t> pool = {1, c.n_kv_heads, c.page, c.d_head};  // the operations read no keys
    const DType type = backend.activation_dtype();
    kv = {device.poisoned(type, pool), device.poisoned(type, pool), {}, device.upload(c.gate_k)};
    gate.k_pools.avg = true;
    gate.linear_k =
        device.upload(HostTensor::filled(DType::kBF16, {c.n_kv_heads, c.d_head, c.d_gate()}, kNan));
    if (!c.linear_q.empty()) gate.linear_q = device.upload(c.linear_q);
    if (!c.q_norm.empty()) gate.q_norm = gate.k_norm = device.upload(c.q_norm);
    gate.rotates = c.rotates;
    CaseMask empty;
    empty.row_capacity = c.row_capacity;
    empty.kept.resize(static_cast<size_t>(c.n_kv_heads) * c.decodes.size());
    mask = upload_mask(device, empty, c.n_kv_heads, static_cast<int64_t>(c.decodes.size()));
    qkv = device.upload(c.qkv);
    norms = upload_norms(device, c.norms);
    rope = {device.upload_f32(c.cos), device.upload_f32(c.sin)};
  }

  std::vector<int64_t> scores_shape() const {
    return {c.n_kv_heads, static_cast<int64_t>(c.decodes.size()), c.row_capacity};
  }
  void begin_step(const std::vector<Segment>& decodes) const {
    StepInput in;
    in.step.decodes = decodes;
    in.decode_rules = c.rules;
    testing::begin_step(on, in, c.page);
  }

  const SelectDecodeCase& c;
  Device device;
  Backend& on;
  PagedKv kv;
  DecodeGateView gate;
  BlockMask mask;
  Tensor qkv;
  HeadNorms norms;
  RopeTable rope;
};

}  // namespace

std::vector<float> run_store_decode_keys(Backend& backend, const StoreDecodeKeysCase& c, bool only_prefills) {
  Device device(&backend);
  PagedKv kv{device.upload(c.k), device.poisoned(c.k.dtype, c.k.shape), {}, {}};
  kv.decode_gate_k = device.poisoned(backend.activation_dtype(), {c.n_pages, c.n_kv_heads, c.d_gate()});
  DecodeGateView gate;
  gate.k_pools = c.k_pools;
  gate.linear_k = device.upload(c.linear_k);
  if (!c.k_norm.empty()) gate.q_norm = gate.k_norm = device.upload(c.k_norm);
  gate.rotates = c.rotates;

  const std::vector<Segment> prefills = views(c.prefills), decodes = views(c.decodes);
  const int64_t half = c.d_head / 2;
  int64_t n_rows = static_cast<int64_t>(decodes.size());
  for (const CaseSegment& s : c.prefills) n_rows += c.n_rows(s);
  const BlockRopes ropes{room_for_ropes(device, n_rows, half), room_for_ropes(device, c.page, half)};
  const std::vector<double> inv_freq = c.inv_freq();
  begin_step(backend, c, prefills, decodes);
  int64_t row = 0;
  const auto rows = [&](int64_t n) {
    return RopeTable{ropes.first.cos.rows(row, n), ropes.first.sin.rows(row, n)};
  };
  for (const CaseSegment& s : c.prefills) {
    backend.rope_table(rows(c.n_rows(s)), s.start, c.page, inv_freq, c.scaling);
    row += c.n_rows(s);
  }
  if (!decodes.empty())
    backend.decode_rope_table(rows(static_cast<int64_t>(decodes.size())), inv_freq, c.scaling, c.page);
  backend.rope_table(ropes.within, 0, 1, inv_freq, 1.0 / (c.scaling * c.scaling));
  const std::vector<Segment> none;
  backend.store_decode_gate_keys(kv, gate, ropes, {c.n_tokens, prefills, only_prefills ? none : decodes});
  return device.read(kv.decode_gate_k);
}

SelectDecodeResult run_select_decode(Backend& backend, const SelectDecodeCase& c, bool with_scores) {
  SelectInputs in(backend, c);
  Tensor scores;
  if (with_scores) scores = in.device.poisoned(DType::kF32, in.scores_shape());
  const std::vector<Segment> decodes = views(c.decodes);
  in.begin_step(decodes);
  backend.select_decode_blocks(in.mask, with_scores ? &scores : nullptr, in.qkv, in.norms, in.rope, in.kv,
                               in.gate);
  return {in.device.read_ints(in.mask.counts), in.device.read_ints(in.mask.blocks),
          with_scores ? in.device.read(scores) : std::vector<float>()};
}

SelectDecodeResult run_divided_select(Backend& backend, const SelectDecodeCase& c, int64_t n_parts) {
  SelectInputs in(backend, c);
  HostTensor sum = HostTensor::filled(DType::kF32, in.scores_shape(), 0.0F);
  for (int64_t p = 0; p < n_parts; ++p) {
    std::vector<CaseSegment> mine = c.decodes;
    for (size_t i = 0; i < mine.size(); ++i)
      for (size_t b = 0; b < mine[i].page_table.size(); ++b)
        if (static_cast<int64_t>(b + i) % n_parts != p) mine[i].page_table[b] = -1;
    const std::vector<Segment> decodes = views(mine);
    const Tensor scores = in.device.poisoned(DType::kF32, in.scores_shape());
    in.begin_step(decodes);
    backend.score_decode_blocks(scores, in.qkv, in.norms, in.rope, in.kv, in.gate);
    const std::vector<float> of_part = in.device.read(scores);
    for (size_t i = 0; i < of_part.size(); ++i) sum.values[i] += of_part[i];
  }
  const Tensor all = in.device.upload_f32(sum);
  const std::vector<Segment> decodes = views(c.decodes);
  in.begin_step(decodes);
  backend.keep_decode_blocks(in.mask, all, c.page);
  return {in.device.read_ints(in.mask.counts), in.device.read_ints(in.mask.blocks), in.device.read(all)};
}

std::vector<float> run_masked_parts(Backend& backend, const AttentionPartsCase& c) {
  Device device(&backend);
  const auto n = static_cast<int64_t>(c.decodes.size());
  const int64_t size = attention_part_size(n, c.n_heads, c.d_head);
  const Tensor out = device.poisoned(backend.activation_dtype(), c.q.shape), q = device.upload(c.q);
  const Tensor parts = device.poisoned(DType::kF32, {c.n_parts, size});
  const PagedKv kv{device.upload(c.k), device.upload(c.v), {}, {}};
  const BlockMask mask = upload_mask(device, c.decode_mask, c.n_kv_heads, n);
  const BlockMask room = upload_mask(device, c.decode_mask, c.n_kv_heads, n);
  for (int64_t p = 0; p < c.n_parts; ++p) {
    std::vector<CaseSegment> mine = c.decodes;
    for (size_t i = 0; i < mine.size(); ++i)
      for (size_t b = 0; b < mine[i].page_table.size(); ++b)
        if (c.owners[i][b] != p) mine[i].page_table[b] = -1;
    const std::vector<Segment> decodes = views(mine);
    begin_step(backend, c, {}, decodes);
    backend.masked_attention_part(parts.rows(p, 1).reshaped({size}), q, kv, mask, room);
  }
  backend.merge_attention(out.rows(c.decodes.front().row, n), parts);
  return device.read(out);
}

std::vector<int32_t> SelectDecodeResult::list(int64_t kv_head, int64_t i, int64_t n) const {
  const int64_t row = kv_head * n + i, capacity = static_cast<int64_t>(blocks.size() / counts.size());
  const auto begin = blocks.begin() + row * capacity;
  return {begin, begin + counts.at(static_cast<size_t>(row))};
}

}  // namespace seer::testing
