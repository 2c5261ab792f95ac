#include "kernels/cuda/step_state.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

DecodeGateRule decode_gate_rule(const DecodeRule& rule, int64_t n_blocks, int64_t page_tokens) {
  if (rule.dense()) return {DecodeGateRule::kAll, 0.0F};
  if (rule.method == DecodeRule::Method::kThreshold)
    return {DecodeGateRule::kThreshold, static_cast<float>(rule.value)};
  return {static_cast<int32_t>(rule.n_best(n_blocks, page_tokens)), 0.0F};
}

}  // namespace

StepState::StepState() {
  check(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "cudaEventCreate");
}

StepState::~StepState() { (void)cudaEventDestroy(copied_); }

void StepState::prepare(const StepLimits& limits) {
  capacity_ = 2 * limits.n_tokens + 4 * limits.n_sequences + limits.n_sequences * limits.n_blocks;
  const int64_t bytes = capacity_ * static_cast<int64_t>(sizeof(int32_t));
  device_ = DeviceMemory(bytes, "page tables");
  host_ = PinnedMemory(bytes, "page tables");
}

void StepState::begin(const StepInput& in, int64_t page_tokens, cudaStream_t stream) {
  check(cudaEventSynchronize(copied_), "cudaEventSynchronize");  // the last copy from host_ has finished
  auto* host = host_.as<int32_t>();
  int64_t at = 0;
  const auto put = [&](int64_t value) {
    assert(at < capacity_);
    host[at++] = static_cast<int32_t>(value);
  };
  for (const int32_t id : in.ids) put(id);
  rows_at_ = at;
  for (const int64_t row : in.logit_rows) put(row);
  assert(in.decode_parts.empty() || (in.decode_parts.size() == in.step.decodes.size() &&
                                     in.largest_parts.size() == in.decode_parts.size()));
  first_decode_row_ = in.step.decodes.empty() ? 0 : in.step.decodes.front().row;
  const auto n_pages = [&](const Segment& s) { return (s.end() + page_tokens - 1) / page_tokens; };
  int64_t offset = 0;
  const auto put_places = [&](std::span<const Segment> segments, int64_t* positions, int64_t* offsets) {
    *positions = at;
    for (const Segment& s : segments) put(s.start);
    *offsets = at;
    for (const Segment& s : segments) {
      put(offset);
      offset += n_pages(s);
    }
  };
  const auto put_table = [&](const Segment& s) {
    for (int64_t i = 0; i < n_pages(s); ++i) put(s.page_table[i]);
  };
  put_places(in.step.decodes, &positions_at_, &offsets_at_);
  rules_at_ = at;
  int64_t most_keys = 0, most_listed = 0;
  for (size_t i = 0; i < in.step.decodes.size(); ++i) {
    const DecodeGateRule rule = decode_gate_rule(in.decode_rules.empty() ? DecodeRule() : in.decode_rules[i],
                                                 n_pages(in.step.decodes[i]), page_tokens);
    const int64_t n_keys = in.step.decodes[i].start + 1;
    const int64_t n_kept = rule.n_best < 0 ? n_keys : std::min(n_keys, rule.n_best * page_tokens);
    // If ranks divide the keys, a part is expected to have the same share of the kept keys as of all keys.
    const int64_t n_here = in.decode_parts.empty() ? n_keys : in.largest_parts[i];
    most_keys = std::max(most_keys, n_here);
    most_listed = std::max(most_listed, n_kept * n_here / n_keys);
    put(rule.n_best);
    put(std::bit_cast<int32_t>(rule.threshold));
  }
  longest_decode_ = decode_length_class(most_keys);
  longest_list_ = decode_length_class(most_listed);
  put_places(in.decode_parts, &part_positions_at_, &part_offsets_at_);
  tables_at_ = at;
  for (const Segment& s : in.step.decodes) put_table(s);
  for (const Segment& s : in.decode_parts) put_table(s);
  prefill_tables_.clear();
  for (const Segment& s : in.step.prefills) {
    prefill_tables_.push_back({s.row, s.row + s.n_tokens, at});
    put_table(s);
  }
  check(cudaMemcpyAsync(device_.get(), host, static_cast<size_t>(at) * sizeof(int32_t),
                        cudaMemcpyHostToDevice, stream),
        "cudaMemcpyAsync");
  check(cudaEventRecord(copied_, stream), "cudaEventRecord");
}

const int32_t* StepState::prefill_table(const Segment& segment) const {
  const auto found = std::find_if(prefill_tables_.begin(), prefill_tables_.end(), [&](const PrefillTable& t) {
    return segment.row >= t.row && segment.row < t.end;
  });
  assert(found != prefill_tables_.end());
  return device_ints(found->at);
}

}  // namespace seer::cuda
