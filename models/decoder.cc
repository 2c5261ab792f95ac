#include "models/decoder.h"

#include <algorithm>
#include <utility>

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
}

DecoderStats Decoder::forward(const DecoderStep& in) {
  const int64_t n_tokens = in.step.n_tokens;
  assert(n_tokens > 0 && n_tokens <= limits_.n_tokens && n_tokens == static_cast<int64_t>(in.ids.size()));
  assert(in.plans.size() == in.step.prefills.size());
  Tensor x = workspace_.x.rows(0, n_tokens);  // [n_tokens, d_model]
  Tensor h = workspace_.h.rows(0, n_tokens);  // [n_tokens, d_model]
  Tensor attn = workspace_.attn.rows(0, n_tokens).reshaped({n_tokens, config_.n_heads * config_.d_head});

  prepare_rope(in);
  backend_->embed(x, weights_.embedding, in.ids);
  for (int64_t l = 0; l < config_.n_layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    backend_->rms_norm(h, x, layer.attention_norm, config_.rms_norm_eps);
    attention(l, h, in);
    const auto n_needed = static_cast<int64_t>(in.logit_rows.size());
    if (l == config_.n_layers - 1 && n_needed < n_tokens) {
      // Behind the last attention only the rows whose logits are wanted go on.
      if (n_needed == 0) break;
      const Tensor needed = workspace_.needed.rows(0, n_needed);
      backend_->gather_rows(needed, attn, in.logit_rows);
      backend_->gather_rows(h.rows(0, n_needed), x, in.logit_rows);
      attn = needed;
      x = std::exchange(h, x).rows(0, n_needed);
      h = h.rows(0, n_needed);
    }
    backend_->linear(x, attn, layer.output, /*accumulate=*/true);
    mlp(layer, x, h);
  }
  if (!in.logit_rows.empty()) logits(in, x, h);
  return count_blocks(in);
}

void Decoder::attention(int64_t l, const Tensor& h, const DecoderStep& in) {
  const PagedKv kv = cache_->layer(l);
  const Tensor qkv = workspace_.qkv.rows(0, in.step.n_tokens);
  const Tensor q = workspace_.q.rows(0, in.step.n_tokens);
  const Tensor out = workspace_.attn.rows(0, in.step.n_tokens);
  const auto block_rope = [&](int64_t first_row, int64_t n_rows) {
    return RopeTable{workspace_.block_rope.cos.rows(first_row, n_rows),
                     workspace_.block_rope.sin.rows(first_row, n_rows)};
  };
  backend_->linear(qkv, h, weights_.layers[static_cast<size_t>(l)].qkv, /*accumulate=*/false);

  backend_->begin_phase(Phase::kGate);  // before RoPE
  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    if (in.plans[i].select)
      gate_->project(l, kv, qkv, segment, first_row, block_rope(first_row, n_block_rows(segment)));
    first_row += n_block_rows(segment);
  }
  backend_->end_phase(Phase::kGate);

  const RopeTable rope{workspace_.rope.cos.rows(0, in.step.n_tokens),
                       workspace_.rope.sin.rows(0, in.step.n_tokens)};
  backend_->append_kv(q, kv, qkv, rope, in.step);

  first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    BlockMask mask;
    if (in.plans[i].select) {
      backend_->begin_phase(Phase::kGate);
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

void Decoder::mlp(const LayerWeights& layer, const Tensor& x, const Tensor& h) {
  const Tensor gate_up = workspace_.gate_up.rows(0, x.dim(0));
  const Tensor act = workspace_.act.rows(0, x.dim(0));
  backend_->rms_norm(h, x, layer.mlp_norm, config_.rms_norm_eps);
  backend_->linear(gate_up, h, layer.gate_up, /*accumulate=*/false);
  backend_->silu_mul(act, gate_up);
  backend_->linear(x, act, layer.down, /*accumulate=*/true);
}

// A few rows at a time: all of a long prompt's logits at once would dwarf everything else in memory.
void Decoder::logits(const DecoderStep& in, const Tensor& x, const Tensor& h) {
  for (int64_t first = 0; first < x.dim(0); first += limits_.n_logits) {
    const int64_t n = std::min(limits_.n_logits, x.dim(0) - first);
    const Tensor normed = h.rows(0, n), out = workspace_.logits.rows(0, n);
    backend_->rms_norm(normed, x.rows(first, n), weights_.norm, config_.rms_norm_eps);
    backend_->linear(out, normed, weights_.lm_head, /*accumulate=*/false);
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
  for (const Segment& segment : in.step.decodes) fill(segment, segment.end());
}

RopeFrequencies Decoder::frequencies(int64_t seq_len) const {
  if (config_.rope.type != RopeConfig::Type::kDynamic) return fixed_frequencies_;
  return rope_frequencies(config_.rope, config_.d_head, seq_len);
}

int64_t Decoder::n_block_rows(const Segment& segment) const {
  return (segment.n_tokens + limits_.page_tokens - 1) / limits_.page_tokens;
}

DecoderStats Decoder::count_blocks(const DecoderStep& in) const {
  DecoderStats stats;
  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    const int64_t n_rows = n_block_rows(segment), before = segment.start / limits_.page_tokens;
    const int64_t causal = (n_rows * before + n_rows * (n_rows + 1) / 2) * config_.n_layers * config_.n_heads;
    stats.causal_blocks += causal;
    stats.kept_blocks += in.plans[i].select ? gate_->count_kept(first_row, n_rows) : causal;
    first_row += n_rows;
  }
  return stats;
}

}  // namespace seer
