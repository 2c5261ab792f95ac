#include "models/decoder.h"

#include <algorithm>

namespace seer {

Decoder::Decoder(Backend* backend, const ModelConfig& config, const LlamaWeights& weights,
                 const GateWeights* gates, KvCache* cache, const StepLimits& limits)
    : backend_(backend),
      config_(config),
      weights_(weights),
      cache_(cache),
      limits_(limits),
      workspace_(backend, config, gates == nullptr ? nullptr : &gates->config, limits),
      fixed_frequencies_(rope_frequencies(config.rope, config.d_head, config.max_positions)) {
  if (gates != nullptr) gate_ = std::make_unique<AttnGate>(backend, config, *gates, &workspace_);
  backend->prepare(limits);
}

DecoderStats Decoder::forward(const DecoderStep& in) {
  assert(in.step.n_tokens > 0 && in.step.n_tokens <= limits_.n_tokens &&
         in.step.n_tokens == static_cast<int64_t>(in.ids.size()));
  assert(in.plans.size() == in.step.prefills.size());
  assert(in.segment_stats.empty() || in.segment_stats.size() == in.plans.size());
  backend_->begin_phase(Phase::kStep);
  backend_->begin_step(in, limits_.page_tokens);
  backend_->run_step(record_key(in), [&] { transform(in); });
  if (!in.logit_rows.empty()) logits(in);
  backend_->end_phase(Phase::kStep);
  return count_blocks(in);
}

void Decoder::transform(const DecoderStep& in) {
  const int64_t n_tokens = in.step.n_tokens;
  Stream stream{workspace_.x.rows(0, n_tokens), workspace_.h.rows(0, n_tokens)};
  Tensor attn = workspace_.attn.rows(0, n_tokens).reshaped({n_tokens, config_.n_heads * config_.d_head});

  prepare_rope(in);
  backend_->embed(stream.x, weights_.embedding, in.ids);
  for (int64_t l = 0; l < config_.n_layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    attention(l, stream, in);
    const auto n_needed = static_cast<int64_t>(in.logit_rows.size());
    if (l == config_.n_layers - 1 && n_needed < n_tokens) {
      // Behind the last attention only the rows whose logits are wanted go on.
      if (n_needed == 0) break;
      const Tensor needed = workspace_.needed.rows(0, n_needed);
      backend_->gather_rows(needed, attn, in.logit_rows);
      backend_->gather_rows(stream.h.rows(0, n_needed), stream.x, in.logit_rows);
      attn = needed;
      stream = {stream.h.rows(0, n_needed), stream.x.rows(0, n_needed)};
    }
    backend_->linear(stream.x, attn, layer.output, /*accumulate=*/true);
    mlp(layer, stream);
  }
}

// Steps that only decode are the same but for what begin_step brings; dynamic RoPE changes with the length.
int64_t Decoder::record_key(const DecoderStep& in) const {
  const bool same = in.step.prefills.empty() && config_.rope.type != RopeConfig::Type::kDynamic &&
                    static_cast<int64_t>(in.logit_rows.size()) == in.step.n_tokens;
  return same ? in.step.n_tokens : 0;
}

void Decoder::attention(int64_t l, const Stream& stream, const DecoderStep& in) {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
  const PagedKv kv = cache_->layer(l);
  const Tensor qkv = workspace_.qkv.rows(0, in.step.n_tokens);
  const Tensor q = workspace_.q.rows(0, in.step.n_tokens);
  const Tensor out = workspace_.attn.rows(0, in.step.n_tokens);
  const auto block_rope = [&](int64_t first_row, int64_t n_rows) {
    return RopeTable{workspace_.block_rope.cos.rows(first_row, n_rows),
                     workspace_.block_rope.sin.rows(first_row, n_rows)};
  };
  backend_->norm_linear(qkv, stream.h, stream.x, layer.attention_norm, config_.rms_norm_eps, layer.qkv);

  const bool sparse = std::any_of(in.plans.begin(), in.plans.end(),
                                  [](const PrefillPlan& p) { return p.select.has_value(); });
  const RopeTable rope{workspace_.rope.cos.rows(0, in.step.n_tokens),
                       workspace_.rope.sin.rows(0, in.step.n_tokens)};
  backend_->append_kv(q, kv, qkv, rope, in.step, sparse ? &workspace_.pooled : nullptr);

  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    BlockMask mask;
    if (in.plans[i].select) {
      backend_->begin_phase(Phase::kGate);
      gate_->project(l, kv, segment, first_row, block_rope(first_row, n_block_rows(segment)));
      mask = gate_->select(l, kv, segment, first_row, *in.plans[i].select, in.on_gate);
      backend_->end_phase(Phase::kGate);
    }
    first_row += n_block_rows(segment);

    int64_t first_token = 0;
    if (l == config_.n_layers - 1) {
      const auto wanted = std::lower_bound(in.logit_rows.begin(), in.logit_rows.end(), segment.row);
      if (wanted == in.logit_rows.end() || *wanted >= segment.row + segment.n_tokens) continue;
      first_token = (*wanted - segment.row) / limits_.page_tokens * limits_.page_tokens;
    }
    backend_->begin_phase(Phase::kAttention);
    backend_->prefill_attention(out, q, kv, segment, in.plans[i].select ? &mask : nullptr, first_token);
    backend_->end_phase(Phase::kAttention);
  }
  if (!in.step.decodes.empty()) {
    backend_->begin_phase(Phase::kAttention);
    backend_->decode_attention(out, q, kv, in.step.decodes);
    backend_->end_phase(Phase::kAttention);
  }
}

void Decoder::mlp(const LayerWeights& layer, const Stream& stream) {
  const Tensor gate_up = workspace_.gate_up.rows(0, stream.x.dim(0));
  const Tensor act = workspace_.act.rows(0, stream.x.dim(0));
  backend_->norm_swiglu(act, stream.h, gate_up, stream.x, layer.mlp_norm, config_.rms_norm_eps,
                        layer.gate_up);
  backend_->linear(stream.x, act, layer.down, /*accumulate=*/true);
}

// A few rows at a time: all of a long prompt's logits at once would dwarf everything else in memory.
void Decoder::logits(const DecoderStep& in) {
  const auto n_rows = static_cast<int64_t>(in.logit_rows.size());
  const bool gathered = n_rows < in.step.n_tokens;
  const Tensor x = (gathered ? workspace_.h : workspace_.x).rows(0, n_rows);
  const Tensor free = gathered ? workspace_.x : workspace_.h;
  for (int64_t first = 0; first < n_rows; first += limits_.n_logits) {
    const int64_t n = std::min(limits_.n_logits, n_rows - first);
    const Tensor out = workspace_.logits.rows(0, n);
    backend_->norm_linear(out, free.rows(0, n), x.rows(first, n), weights_.norm, config_.rms_norm_eps,
                          weights_.lm_head);
    if (!in.on_logits(first, out)) return;
  }
}

void Decoder::prepare_rope(const DecoderStep& in) {
  const auto fill = [&](const Segment& segment, int64_t seq_len) {
    const RopeFrequencies f = frequencies(seq_len);
    const RopeTable rows{workspace_.rope.cos.rows(segment.row, segment.n_tokens),
                         workspace_.rope.sin.rows(segment.row, segment.n_tokens)};
    backend_->rope_table(rows, segment.start, 1, f.inv_freq, f.attention_scaling);
  };
  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    fill(segment, in.plans[i].n_prompt_tokens);
    const int64_t n_rows = n_block_rows(segment);
    if (in.plans[i].select) {
      const RopeFrequencies f = frequencies(in.plans[i].n_prompt_tokens);
      const RopeTable rows{workspace_.block_rope.cos.rows(first_row, n_rows),
                           workspace_.block_rope.sin.rows(first_row, n_rows)};
      backend_->rope_table(rows, segment.start, limits_.page_tokens, f.inv_freq, f.attention_scaling);
    }
    first_row += n_rows;
  }
  if (in.step.decodes.empty()) return;
  const auto row = [&](const Segment& segment) {
    return RopeTable{workspace_.rope.cos.rows(segment.row, 1), workspace_.rope.sin.rows(segment.row, 1)};
  };
  if (config_.rope.type == RopeConfig::Type::kDynamic) {
    for (const Segment& segment : in.step.decodes) {
      const RopeFrequencies f = frequencies(segment.end());
      backend_->rope_table(row(segment), segment.start, 1, f.inv_freq, f.attention_scaling);
    }
    return;
  }
  const int64_t first = in.step.decodes.front().row, n = static_cast<int64_t>(in.step.decodes.size());
  backend_->rope_table({workspace_.rope.cos.rows(first, n), workspace_.rope.sin.rows(first, n)},
                       in.step.decodes, fixed_frequencies_.inv_freq, fixed_frequencies_.attention_scaling);
}

RopeFrequencies Decoder::frequencies(int64_t seq_len) const {
  if (config_.rope.type != RopeConfig::Type::kDynamic) return fixed_frequencies_;
  return rope_frequencies(config_.rope, config_.d_head, seq_len);
}

int64_t Decoder::n_block_rows(const Segment& segment) const {
  return (segment.n_tokens + limits_.page_tokens - 1) / limits_.page_tokens;
}

DecoderStats Decoder::count_blocks(const DecoderStep& in) {
  DecoderStats stats;
  if (std::any_of(in.plans.begin(), in.plans.end(),
                  [](const PrefillPlan& p) { return p.select.has_value(); }))
    gate_->read_counts();
  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    const int64_t n_rows = n_block_rows(segment), before = segment.start / limits_.page_tokens;
    const int64_t causal = (n_rows * before + n_rows * (n_rows + 1) / 2) * config_.n_layers * config_.n_heads;
    const DecoderStats own{in.plans[i].select ? gate_->count_kept(first_row, n_rows) : causal, causal};
    if (!in.segment_stats.empty()) in.segment_stats[i] = own;
    stats.kept_blocks += own.kept_blocks;
    stats.causal_blocks += own.causal_blocks;
    first_row += n_rows;
  }
  return stats;
}

}  // namespace seer
