#include "models/decoder.h"

#include <algorithm>
#include <cassert>

#include "models/step_message.h"
#include "seer/error.h"

namespace seer {
namespace {

std::unique_ptr<ContextParallel> divide_prompts(Backend* backend, Communicator* comm, const Shard& shard,
                                                const GateSet& gates, const KvCache* cache,
                                                const StepLimits& limits) {
  if (comm->size() == 1 || shard.size > 1) return nullptr;
  return std::make_unique<ContextParallel>(backend, comm, shard.local, gates.configs(), cache, limits);
}

}  // namespace

// Keeps an exception of one of rank 0's callbacks until the step is over, since the other ranks are computing
// the same step.
struct Decoder::Deferred {
  std::exception_ptr error;
  void rethrow() const {
    if (error) std::rethrow_exception(error);
  }
};

Decoder::Decoder(Backend* backend, const Shard& shard, const ModelWeights& weights, const GateSet& gates,
                 KvCache* cache, const StepLimits& limits, Communicator* comm, const AttentionMaker& make)
    : backend_(backend),
      alone_(comm == nullptr ? make_local_communicator() : nullptr),
      comm_(comm == nullptr ? alone_.get() : comm),
      shard_(shard),
      config_(shard_.local),
      weights_(weights),
      limits_(limits),
      has_decode_gates_(gates.decode != nullptr),
      workspace_(backend, comm_, shard_, gates.configs(), limits),
      rope_(backend, config_, limits, &workspace_),
      context_(divide_prompts(backend, comm_, shard_, gates, cache, limits)),
      stream_(backend, comm_, shard_, &workspace_),
      vocabulary_(backend, comm_, shard_, weights, &workspace_, context_.get()) {
  const AttentionContext context{backend, comm_, config_, weights, gates, cache, &workspace_, &rope_, limits};
  attention_ = make ? make(context) : make_attention(context, context_.get());
  assert(context_ || (shard_.size == comm_->size() && shard_.rank == comm_->rank()));
  if (comm_->rank() > 0) received_ = std::make_unique<ReceivedStep>();
  backend->prepare(context_ ? ContextParallel::local_limits(limits) : limits);
  if (gates.decode != nullptr) rope_.prepare_blocks();
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
  const auto guard = [&](const auto& observer, const auto& report) {
    if (deferred.error) return;
    try {
      observer(report);
    } catch (...) {
      deferred.error = std::current_exception();
    }
  };
  if (in.on_gate) guarded.on_gate = [&](const GateReport& report) { guard(in.on_gate, report); };
  if (in.on_decode_gate)
    guarded.on_decode_gate = [&](const DecodeGateReport& report) { guard(in.on_decode_gate, report); };
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
  assert(!in.before_attention || comm_->size() == 1);
  const DecoderStep& mine = attention_->begin(in);
  backend_->begin_phase(Phase::kStep);
  if (mine.step.n_tokens > 0) backend_->begin_step(mine, limits_.page_tokens);
  stream_.begin(mine.step.n_tokens);  // not in layers(), which a recorded step does not call again
  backend_->run_step(record_key(in), [&] { layers(mine); });
  if (!in.logit_rows.empty()) logits(in, deferred);
  backend_->end_phase(Phase::kStep);
  return sum_over_ranks(in, attention_->count());
}

void Decoder::layers(const DecoderStep& in) {
  const int64_t n_tokens = in.step.n_tokens, n_needed = static_cast<int64_t>(in.logit_rows.size());
  Tensor attn = workspace_.attn.rows(0, n_tokens).reshaped({n_tokens, config_.n_heads * config_.d_head});
  rope_.prepare(in);
  vocabulary_.embed(stream_.x());
  for (int64_t l = 0; l < config_.n_layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    for (ResidualStream::RowRange& range : stream_.ranges()) {
      stream_.finish(&range);
      backend_->norm_linear(range.of(workspace_.qkv), range.of(stream_.scratch()), range.of(stream_.x()),
                            layer.attention_norm, config_.rms_norm_eps, layer.qkv);
    }
    if (in.before_attention) in.before_attention(l);
    attention_->run(l);
    if (l == config_.n_layers - 1 && n_needed < n_tokens) {
      // After the last attention, only the rows whose logits are wanted are needed.
      if (n_needed == 0) return;
      backend_->gather_rows(workspace_.needed.rows(0, n_needed), attn);
      attn = workspace_.needed.rows(0, n_needed);
      stream_.narrow(n_needed);
    }
    for (ResidualStream::RowRange& range : stream_.ranges()) stream_.add_linear(&range, attn, layer.output);
    for (ResidualStream::RowRange& range : stream_.ranges()) mlp(layer, &range);
  }
  stream_.finish_all();
}

void Decoder::mlp(const LayerWeights& layer, ResidualStream::RowRange* range) {
  stream_.finish(range);
  backend_->norm_swiglu(range->of(workspace_.act), range->of(stream_.scratch()),
                        range->of(workspace_.gate_up), range->of(stream_.x()), layer.mlp_norm,
                        config_.rms_norm_eps, layer.gate_up, &layer.down);
  stream_.add_linear(range, workspace_.act, layer.down);
}

// Computes a few rows at a time: all logits of a long prompt at once would take more memory than everything
// else.
void Decoder::logits(const DecoderStep& in, Deferred* deferred) {
  const auto n_rows = static_cast<int64_t>(in.logit_rows.size());
  for (int64_t first = 0; first < n_rows; first += limits_.n_logits) {
    const int64_t n = std::min(limits_.n_logits, n_rows - first);
    const Tensor out = vocabulary_.project(stream_.x(), stream_.scratch(), first, n);
    bool more = true;
    if (comm_->rank() == 0) try {
        more = in.on_logits(first, out);
      } catch (...) {
        deferred->error = std::current_exception();
        more = false;
      }
    if (first + n < n_rows && comm_->size() > 1) comm_->broadcast(&more, sizeof more, Patience::kIdle);
    if (!more) return;
  }
}

// Steps that only decode run the same operations, and differ in the data that begin_step brings, unless
// rotations change with the length. Steps run further operations if gates choose blocks for their decodes,
// and if they fill pages, of which gates for decoding need keys; each of these kinds has records of its own.
// The key depends on the whole step and not on a rank's part, so that all ranks record the same steps.
int64_t Decoder::record_key(const DecoderStep& in) const {
  const bool same = in.step.prefills.empty() && !rope_.depends_on_length() && !in.on_decode_gate &&
                    !in.before_attention && static_cast<int64_t>(in.logit_rows.size()) == in.step.n_tokens;
  if (!same) return 0;
  const bool stores_keys = has_decode_gates_ && fills_pages(in.step, limits_.page_tokens);
  const int kind = int{any_sparse_decode(in)} + 2 * int{stores_keys};
  return kind * limits_.n_tokens + in.step.n_tokens;
}

// Each rank has counted its own heads or rows. Rank 0 gets the sums over ranks; the other ranks keep their
// own.
DecoderStats Decoder::sum_over_ranks(const DecoderStep& in, std::vector<DecoderStats> segments) {
  if (comm_->size() > 1 && !segments.empty()) {
    const size_t n = segments.size();
    std::vector<DecoderStats> all(comm_->rank() == 0 ? n * static_cast<size_t>(comm_->size()) : 0);
    comm_->gather_host(all.data(), segments.data(), static_cast<int64_t>(n * sizeof(DecoderStats)));
    for (size_t i = n; i < all.size(); ++i) segments[i % n] += all[i];
  }
  DecoderStats stats;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    if (!in.segment_stats.empty()) in.segment_stats[i] = segments[i];
    stats += segments[i];
  }
  if (segments.size() > in.plans.size() && !in.decode_stats.empty())
    std::copy(segments.begin() + static_cast<std::ptrdiff_t>(in.plans.size()), segments.end(),
              in.decode_stats.begin());
  return stats;
}

}  // namespace seer
