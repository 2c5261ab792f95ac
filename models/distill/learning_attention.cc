#include "models/distill/learning_attention.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <string>

#include "models/arena.h"
#include "models/rope.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr const char* kMaximaTooLarge =
    "the block maxima of a window are beyond the address space. Use a smaller --window.";

// Returns a tensor with n rows for each head, in the memory of one that has at least as many rows.
Tensor head_rows(Tensor t, int64_t n) {
  t.shape[1] = n;
  return t;
}

}  // namespace

LearningAttention::LearningAttention(const AttentionContext& context, const GatePlan& plan,
                                     const ScoredRows& rows, int64_t part_tokens, Lesson* lesson)
    : Attention(context, nullptr),
      device_(context.backend->distillation()),
      plan_(plan),
      rows_(rows),
      lesson_(lesson),
      n_blocks_(blocks_of(context.limits.n_tokens, context.limits.page_tokens)),
      part_tokens_(std::min(part_tokens, context.limits.n_tokens)),
      gate_(make_gate_learner(context.backend, plan, context.config, rows, n_blocks_)) {
  buffer_ = Arena::allocate(c_.backend, "the block maxima of a window", kMaximaTooLarge,
                            [this](Arena* arena) { take_tensors(arena); });
  host_losses_.resize(static_cast<size_t>(losses_.numel()));
  const RopeFrequencies f = rope_frequencies(c_.config.rope, c_.config.d_head, c_.limits.n_tokens);
  c_.backend->rope_table(inputs_.block_rope, 0, c_.limits.page_tokens, f.inv_freq, f.attention_scaling);
  // A query block is rotated by the position of its first token, and a token by its own.
  const int64_t unit = plan.decode() ? 1 : c_.limits.page_tokens;
  c_.backend->rope_table(inputs_.row_rope, rows.first * unit, rows.stride * unit, f.inv_freq,
                         f.attention_scaling);
}

void LearningAttention::take_tensors(Arena* arena) {
  const ModelConfig& m = c_.config;
  const int64_t n_scores = gate_->n_score_heads(), half = m.d_head / 2;
  maxima_ = arena->take(DType::kF32, {m.n_heads, part_tokens_, device_->maxima_width(n_blocks_)});
  log_sums_ = arena->take(DType::kF32, {m.n_heads, part_tokens_});
  truth_ = arena->take(DType::kF32, {n_scores, rows_.n, n_blocks_});
  losses_ = arena->take(DType::kF32, {n_scores, rows_.n});
  row_weights_ = arena->take(DType::kF32, {rows_.n});
  const DType type = c_.backend->activation_dtype();
  PooledBlocks& pooled = inputs_.pooled;
  // A gate for decoding pools no queries, but append_kv() needs at least one pool of them.
  pooled.q_pools = plan_.decode() ? GatePools{false, false, true} : plan_.prefill_config().q;
  pooled.k_pools = plan_.decode() ? plan_.decode_config().k : plan_.prefill_config().k;
  pooled.q = arena->take(type, {n_blocks_, m.n_heads, pooled.q_pools.count() * m.d_head});
  pooled.k = arena->take(type, {n_blocks_, m.n_kv_heads, pooled.k_pools.count() * m.d_head});
  inputs_.row_rope = {arena->take(DType::kF32, {rows_.n, half}), arena->take(DType::kF32, {rows_.n, half})};
  inputs_.block_rope = {arena->take(DType::kF32, {n_blocks_, half}),
                        arena->take(DType::kF32, {n_blocks_, half})};
}

const DecoderStep& LearningAttention::begin(const DecoderStep& step) {
  assert(step.step.decodes.empty() && step.step.prefills.size() == 1 &&
         step.step.n_tokens == c_.limits.n_tokens);
  step_ = &step;
  if (!lesson_->row_weights.empty()) {
    assert(static_cast<int64_t>(lesson_->row_weights.size()) == rows_.n);
    device_->write(row_weights_, lesson_->row_weights.data());
  }
  return step;
}

void LearningAttention::run(int64_t l) {
  const int64_t n = step_->step.n_tokens;
  const PagedKv kv = c_.cache->layer(0);
  c_.backend->append_kv(q(n), kv, qkv(n), head_norms(l), c_.rope->tokens(n), step_->step, &inputs_.pooled);
  attend(kv, n);
  inputs_.qkv = qkv(n);
  inputs_.norms = head_norms(l);
  learn(l);
}

void LearningAttention::attend(const PagedKv& kv, int64_t n_tokens) {
  const Segment& whole = step_->step.prefills.front();
  for (int64_t first = 0; first < n_tokens; first += part_tokens_) {
    const int64_t n = std::min(part_tokens_, n_tokens - first);
    const Segment part{whole.row + first, n, first, whole.page_table};
    // The last part may be shorter: its rows then follow one another more closely in the same memory.
    const Tensor maxima = head_rows(maxima_, n), log_sums = head_rows(log_sums_, n);
    device_->attention_with_maxima(out(n_tokens), maxima, log_sums, q(n_tokens), kv, part);
    if (plan_.decode()) {
      device_->decode_truth(truth_, maxima, log_sums, rows_, first);
    } else {
      device_->prefill_truth(truth_, maxima, log_sums, rows_, c_.limits.page_tokens, first);
    }
  }
}

void LearningAttention::learn(int64_t l) {
  const auto of_layer = [&](const Tensor& all) { return all.rows(l, 1).reshaped({plan_.layer_size()}); };
  const Tensor weights = of_layer(lesson_->weights), scores = gate_->score(weights, inputs_);
  if (lesson_->on_scores) lesson_->on_scores(l, scores, truth_);
  const auto n_rows = static_cast<double>(losses_.numel() * c_.comm->size());  // of all ranks
  device_->kl_divergence(losses_, scores, truth_, lesson_->row_weights.empty() ? Tensor() : row_weights_,
                         rows_, lesson_->scale / static_cast<float>(n_rows));
  c_.backend->read(host_losses_.data(), losses_);
  double loss = 0.0;
  for (const float row : host_losses_) loss += row;
  if (!std::isfinite(loss))
    throw Error(ErrorKind::kRuntime, "layer " + std::to_string(l) + ": the loss is not a finite number");
  lesson_->losses[static_cast<size_t>(l)] += loss / n_rows;
  if (lesson_->learns) gate_->learn(of_layer(lesson_->gradients), weights);
}

std::vector<DecoderStats> LearningAttention::count() {
  return {count_segment(step_->step.prefills.front(), /*sparse=*/false, 0)};
}

}  // namespace seer
