#include "models/rope_tables.h"

namespace seer {

RopeTables::RopeTables(Backend* backend, const ModelConfig& config, const StepLimits& limits,
                       Workspace* workspace)
    : backend_(backend),
      config_(config),
      page_tokens_(limits.page_tokens),
      workspace_(workspace),
      fixed_(rope_frequencies(config.rope, config.d_head, config.max_positions)) {}

RopeTable RopeTables::tokens(int64_t n_tokens) const {
  return {workspace_->rope.cos.rows(0, n_tokens), workspace_->rope.sin.rows(0, n_tokens)};
}

RopeTable RopeTables::blocks(int64_t first_row, int64_t n_rows) const {
  return {workspace_->block_rope.cos.rows(first_row, n_rows),
          workspace_->block_rope.sin.rows(first_row, n_rows)};
}

RopeFrequencies RopeTables::frequencies(int64_t seq_len) const {
  return depends_on_length() ? rope_frequencies(config_.rope, config_.d_head, seq_len) : fixed_;
}

void RopeTables::prepare(const DecoderStep& step) {
  int64_t first_row = 0;
  for (size_t i = 0; i < step.plans.size(); ++i) {
    const Segment& segment = step.step.prefills[i];
    const RopeFrequencies f = frequencies(step.plans[i].n_prompt_tokens);
    const RopeTable rows{workspace_->rope.cos.rows(segment.row, segment.n_tokens),
                         workspace_->rope.sin.rows(segment.row, segment.n_tokens)};
    backend_->rope_table(rows, segment.start, 1, f.inv_freq, f.attention_scaling);
    const int64_t n_rows = blocks_of(segment.n_tokens, page_tokens_);
    if (step.plans[i].select || workspace_->within_rope.cos)
      backend_->rope_table(blocks(first_row, n_rows), segment.start, page_tokens_, f.inv_freq,
                           f.attention_scaling);
    first_row += n_rows;
  }
  if (!step.step.decodes.empty()) prepare_decodes(step, first_row);
}

void RopeTables::prepare_blocks() {
  // The inverse of a rotation that is multiplied by s is the opposite rotation divided by s. Rows of both
  // tables are multiplied, so this one is divided by s twice.
  const double s = fixed_.attention_scaling;
  backend_->rope_table(workspace_->within_rope, 0, 1, fixed_.inv_freq, 1.0 / (s * s));
}

BlockRopes RopeTables::block_ropes(int64_t first_row) const {
  return {blocks(first_row, workspace_->block_rope.cos.dim(0) - first_row), workspace_->within_rope};
}

void RopeTables::prepare_decodes(const DecoderStep& step, int64_t n_block_rows) {
  const std::span<const Segment> decodes = step.step.decodes;
  const auto rows = [&](int64_t first, int64_t n) {
    return RopeTable{workspace_->rope.cos.rows(first, n), workspace_->rope.sin.rows(first, n)};
  };
  const auto n_decodes = static_cast<int64_t>(decodes.size());
  if (workspace_->within_rope.cos)
    backend_->decode_rope_table(blocks(n_block_rows, n_decodes), fixed_.inv_freq, fixed_.attention_scaling,
                                page_tokens_);
  if (!depends_on_length())
    return backend_->decode_rope_table(rows(decodes.front().row, n_decodes), fixed_.inv_freq,
                                       fixed_.attention_scaling, 1);
  for (const Segment& segment : decodes) {
    const RopeFrequencies f = frequencies(segment.end());
    backend_->rope_table(rows(segment.row, 1), segment.start, 1, f.inv_freq, f.attention_scaling);
  }
}

}  // namespace seer
