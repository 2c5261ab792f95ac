#include "models/decoder.h"

#include <algorithm>

#include "models/step_message.h"

namespace seer {

// What rank 0's callbacks threw: kept until the step, which the other ranks are at as well, is over.
struct Decoder::Deferred {
  std::exception_ptr error;
  void rethrow() const {
    if (error) std::rethrow_exception(error);
  }
};

Decoder::Decoder(Backend* backend, const Shard& shard, const LlamaWeights& weights, const GateWeights* gates,
                 KvCache* cache, const StepLimits& limits, Communicator* comm)
    : backend_(backend),
      alone_(comm == nullptr ? make_local_communicator() : nullptr),
      comm_(comm == nullptr ? alone_.get() : comm),
      shard_(shard),
      config_(shard_.local),
      weights_(weights),
      cache_(cache),
      limits_(limits),
      workspace_(backend, comm_, shard_, gates == nullptr ? nullptr : &gates->config, limits),
      fixed_frequencies_(rope_frequencies(config_.rope, config_.d_head, config_.max_positions)) {
  const bool divided = comm_->size() > 1 && shard_.size == 1;
  assert(divided || (shard_.size == comm_->size() && shard_.rank == comm_->rank()));
  if (divided) {
    alone_ = make_local_communicator();
    context_ = std::make_unique<ContextParallel>(backend, comm_, config_,
                                                 gates == nullptr ? nullptr : &gates->config, cache, limits);
  }
  if (gates != nullptr)
    gate_ = std::make_unique<AttnGate>(backend, divided ? alone_.get() : comm_, config_, *gates, &workspace_);
  if (comm_->rank() > 0) received_ = std::make_unique<ReceivedStep>();
  backend->prepare(divided ? ContextParallel::local_limits(limits) : limits);
}

Decoder::~Decoder() = default;

DecoderStats Decoder::forward(const DecoderStep& in) {
  Deferred deferred;
  if (comm_->size() == 1) {
    const DecoderStats stats = run(in, &deferred);
    deferred.rethrow();
    return stats;
  }
  pack_step(in, limits_.page_tokens, &packed_);
  DecoderStep guarded = in;
  if (in.on_gate)
    guarded.on_gate = [&](const GateReport& report) {
      if (deferred.error) return;
      try {
        in.on_gate(report);
      } catch (...) {
        deferred.error = std::current_exception();
      }
    };
  DecoderStats stats;
  try {
    send_message(*comm_, kStepMessage, packed_);
    stats = run(guarded, &deferred);
  } catch (const Error& error) {
    comm_->abort(error.kind(), rank_prefix(comm_->rank(), comm_->size()) + error.what());
    throw;
  } catch (const std::exception& error) {
    comm_->abort(ErrorKind::kRuntime, rank_prefix(comm_->rank(), comm_->size()) + error.what());
    throw;
  }
  deferred.rethrow();
  return stats;
}

void Decoder::follow(const Message& message) {
  received_->read(message.bytes, limits_.page_tokens);
  Deferred none;
  run(received_->step(), &none);
}

DecoderStats Decoder::run(const DecoderStep& in, Deferred* deferred) {
  assert(in.step.n_tokens > 0 && in.step.n_tokens <= limits_.n_tokens &&
         in.step.n_tokens == static_cast<int64_t>(in.ids.size()));
  assert(in.plans.size() == in.step.prefills.size());
  assert(in.segment_stats.empty() || in.segment_stats.size() == in.plans.size());
  if (context_) context_->divide(in);
  const DecoderStep& mine = context_ ? context_->local() : in;
  backend_->begin_phase(Phase::kStep);
  if (mine.step.n_tokens > 0) backend_->begin_step(mine, limits_.page_tokens);
  backend_->run_step(record_key(in), [&] { transform(mine, in.on_gate); });
  if (!in.logit_rows.empty()) logits(in, mine, deferred);
  backend_->end_phase(Phase::kStep);
  return context_ ? count_divided(in) : count_blocks(in);
}

void Decoder::transform(const DecoderStep& in, const GateObserver& observer) {
  const int64_t n_tokens = in.step.n_tokens;
  Stream stream{workspace_.x.rows(0, n_tokens), workspace_.h.rows(0, n_tokens), parts(n_tokens)};
  Tensor attn = workspace_.attn.rows(0, n_tokens).reshaped({n_tokens, config_.n_heads * config_.d_head});

  if (n_tokens == 0) {  // the pages of a rank without rows are wanted all the same
    for (int64_t l = 0; l < config_.n_layers; ++l) attention_divided(l, in, observer);
    return;
  }
  prepare_rope(in);
  backend_->embed(stream.x, weights_.embedding, in.ids, shard_.first_id());
  if (shard_.size > 1) comm_->all_reduce_sum(stream.x);  // one rank has the id, the others zeros
  for (int64_t l = 0; l < config_.n_layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    for (Part& part : stream.parts) {
      finish(&part);
      backend_->norm_linear(workspace_.qkv.rows(part.row, part.n), stream.h.rows(part.row, part.n),
                            stream.x.rows(part.row, part.n), layer.attention_norm, config_.rms_norm_eps,
                            layer.qkv);
    }
    context_ ? attention_divided(l, in, observer) : attention(l, in);
    const auto n_needed = static_cast<int64_t>(in.logit_rows.size());
    if (l == config_.n_layers - 1 && n_needed < n_tokens) {
      // Behind the last attention only the rows whose logits are wanted go on.
      if (n_needed == 0) break;
      const Tensor needed = workspace_.needed.rows(0, n_needed);
      backend_->gather_rows(needed, attn, in.logit_rows);
      backend_->gather_rows(stream.h.rows(0, n_needed), stream.x, in.logit_rows);
      attn = needed;
      stream = {stream.h.rows(0, n_needed), stream.x.rows(0, n_needed), parts(n_needed)};
    }
    for (Part& part : stream.parts) add_linear(stream, &part, attn, layer.output);
    for (Part& part : stream.parts) mlp(layer, stream, &part);
  }
  for (Part& part : stream.parts) finish(&part);
}

// Steps that only decode are the same but for what begin_step brings; dynamic RoPE changes with the length.
// Of the whole step, so that all ranks record the same ones.
int64_t Decoder::record_key(const DecoderStep& in) const {
  const bool same = in.step.prefills.empty() && config_.rope.type != RopeConfig::Type::kDynamic &&
                    static_cast<int64_t>(in.logit_rows.size()) == in.step.n_tokens;
  return same ? in.step.n_tokens : 0;
}

RopeTable Decoder::block_rope(int64_t first_row, int64_t n_rows) const {
  return {workspace_.block_rope.cos.rows(first_row, n_rows),
          workspace_.block_rope.sin.rows(first_row, n_rows)};
}

int64_t Decoder::first_token_read(int64_t l, const Segment& segment,
                                  std::span<const int64_t> logit_rows) const {
  if (l < config_.n_layers - 1) return 0;
  const auto wanted = std::lower_bound(logit_rows.begin(), logit_rows.end(), segment.row);
  if (wanted == logit_rows.end() || *wanted >= segment.row + segment.n_tokens) return segment.n_tokens;
  return (*wanted - segment.row) / limits_.page_tokens * limits_.page_tokens;
}

void Decoder::attention(int64_t l, const DecoderStep& in) {
  const PagedKv kv = cache_->layer(l);
  const Tensor qkv = workspace_.qkv.rows(0, in.step.n_tokens);
  const Tensor q = workspace_.q.rows(0, in.step.n_tokens);
  const Tensor out = workspace_.attn.rows(0, in.step.n_tokens);
  const bool sparse = std::any_of(in.plans.begin(), in.plans.end(),
                                  [](const PrefillPlan& p) { return p.select.has_value(); });
  const RopeTable rope{workspace_.rope.cos.rows(0, in.step.n_tokens),
                       workspace_.rope.sin.rows(0, in.step.n_tokens)};
  if (sparse) backend_->begin_phase(Phase::kGate);  // a GPU pools in the same kernel
  backend_->append_kv(q, kv, qkv, rope, in.step, sparse ? &workspace_.pooled : nullptr);
  if (sparse) backend_->end_phase(Phase::kGate);

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

    const int64_t first_token = first_token_read(l, segment, in.logit_rows);
    if (first_token == segment.n_tokens) continue;
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

void Decoder::mlp(const LayerWeights& layer, const Stream& stream, Part* part) {
  finish(part);
  const auto rows = [part](const Tensor& t) { return t.rows(part->row, part->n); };
  backend_->norm_swiglu(rows(workspace_.act), rows(stream.h), rows(workspace_.gate_up), rows(stream.x),
                        layer.mlp_norm, config_.rms_norm_eps, layer.gate_up);
  add_linear(stream, part, workspace_.act, layer.down);
}

// Two, where sums run beside products and are worth it: one's sum is under way while the other's products
// are.
std::vector<Decoder::Part> Decoder::parts(int64_t n_rows) const {
  constexpr int64_t kLeastRows = 1024;  // of a part: products of fewer leave multiprocessors without work
  const int64_t half = (n_rows / 2 + 127) / 128 * 128;  // whole tiles
  if (!workspace_.reaches_peers() || n_rows < 2 * kLeastRows ||
      (n_rows - half) * config_.d_model <= Communicator::kSmallShare)
    return {{0, n_rows, {}}};
  return {{0, half, {}}, {half, n_rows - half, {}}};
}

// The residual stream is added behind the sum: rounded to a narrow type, each rank's share loses less by
// itself than together with the much larger stream.
void Decoder::add_linear(const Stream& stream, Part* part, const Tensor& in, const LinearWeights& w) {
  const Tensor x = stream.x.rows(part->row, part->n), own = in.rows(part->row, part->n);
  if (shard_.size == 1) return backend_->linear(x, own, w, /*accumulate=*/true);
  const Tensor wide = workspace_.share(part->row, part->n);
  const Tensor share = wide ? wide : stream.h.rows(part->row, part->n);
  backend_->linear(share, own, w, /*accumulate=*/false);
  if (stream.parts.size() > 1) {
    part->sum = comm_->start_sum(x, share, workspace_.inbox(part->row, part->n));
  } else if (workspace_.reaches_peers()) {
    comm_->add_sum(x, share);
  } else {
    comm_->all_reduce_sum(share);
    backend_->add(x, share);
  }
}

void Decoder::finish(Part* part) {
  if (part->sum) comm_->finish_sum(*part->sum);
  part->sum.reset();
}

// A few rows at a time: all of a long prompt's logits at once would dwarf everything else in memory.
void Decoder::logits(const DecoderStep& step, const DecoderStep& in, Deferred* deferred) {
  const auto n_rows = static_cast<int64_t>(step.logit_rows.size());
  const auto n_mine = static_cast<int64_t>(in.logit_rows.size());
  const bool gathered = n_mine < in.step.n_tokens;
  const Tensor x = (gathered ? workspace_.h : workspace_.x).rows(0, n_mine);
  const Tensor free = gathered ? workspace_.x : workspace_.h;
  for (int64_t first = 0; first < n_rows; first += limits_.n_logits) {
    const int64_t n = std::min(limits_.n_logits, n_rows - first);
    if (context_) {
      project_divided(x, free, first, n);
    } else {
      project_to_vocabulary(x.rows(first, n), free.rows(0, n));
    }
    bool more = true;
    if (comm_->rank() == 0) try {
        more = step.on_logits(first, workspace_.logits.rows(0, n));
      } catch (...) {
        deferred->error = std::current_exception();
        more = false;
      }
    if (first + n < n_rows && comm_->size() > 1) comm_->broadcast(&more, sizeof more, Patience::kIdle);
    if (!more) return;
  }
}

void Decoder::project_to_vocabulary(const Tensor& x, const Tensor& h) {
  const int64_t n = x.dim(0);
  const auto project = [&](const Tensor& out) {
    backend_->norm_linear(out, h, x, weights_.norm, config_.rms_norm_eps, weights_.lm_head);
  };
  if (shard_.size == 1) return project(workspace_.logits.rows(0, n));
  const Tensor mine = workspace_.local_logits.rows(0, n * shard_.n_ids()).reshaped({n, shard_.n_ids()});
  project(mine);
  std::vector<int64_t> counts = shard_.vocab;
  for (int64_t& count : counts) count *= n;
  if (shard_.rank != 0) return comm_->gather({}, mine, counts);
  const Tensor out = workspace_.logits.rows(0, n);
  if (n == 1) return comm_->gather(out, mine, counts);  // they follow one another as they come
  const Tensor all = workspace_.gathered_logits.rows(0, n * config_.n_vocab);
  comm_->gather(all, mine, counts);
  int64_t first_id = 0;
  for (const int64_t n_ids : shard_.vocab) {
    backend_->copy_columns(out, first_id, all.rows(n * first_id, n * n_ids).reshaped({n, n_ids}));
    first_id += n_ids;
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

DecoderStats Decoder::count_segment(const Segment& segment, bool sparse, int64_t first_row) const {
  const int64_t n_rows = n_block_rows(segment), before = segment.start / limits_.page_tokens;
  const int64_t causal = (n_rows * before + n_rows * (n_rows + 1) / 2) * config_.n_layers * config_.n_heads;
  DecoderStats stats;
  stats.kept_blocks = sparse ? gate_->count_kept(first_row, n_rows) : causal;
  stats.causal_blocks = causal;
  return stats;
}

DecoderStats Decoder::count_blocks(const DecoderStep& in) {
  if (std::any_of(in.plans.begin(), in.plans.end(),
                  [](const PrefillPlan& p) { return p.select.has_value(); }))
    gate_->read_counts();
  std::vector<DecoderStats> segments(in.plans.size());
  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    segments[i] = count_segment(in.step.prefills[i], in.plans[i].select.has_value(), first_row);
    first_row += n_block_rows(in.step.prefills[i]);
  }
  return take_stats(in, std::move(segments));
}

// Each rank has counted its heads or its rows; rank 0 gets the sums.
DecoderStats Decoder::take_stats(const DecoderStep& in, std::vector<DecoderStats> segments) {
  if (comm_->size() > 1 && !segments.empty()) {
    const size_t n = segments.size();
    std::vector<DecoderStats> all(comm_->rank() == 0 ? n * static_cast<size_t>(comm_->size()) : 0);
    comm_->gather_host(all.data(), segments.data(), static_cast<int64_t>(n * sizeof(DecoderStats)));
    for (size_t i = n; i < all.size(); ++i) segments[i % n] += all[i];
  }
  DecoderStats stats;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!in.segment_stats.empty()) in.segment_stats[i] = segments[i];
    stats += segments[i];
  }
  return stats;
}

}  // namespace seer
