#include "models/step_message.h"

#include "kernels/comm/message.h"

namespace seer {
namespace {

struct StepHeader {
  int64_t n_ids, n_prefills, n_decodes, n_decode_rules, n_logit_rows;
  bool wants_gates, wants_decode_gates;
};

struct SegmentHeader {
  int64_t row, n_tokens, start;
};

struct PlanHeader {
  int64_t n_prompt_tokens;
  bool sparse;
  SelectRule rule;
};

int64_t n_pages(const SegmentHeader& s, int64_t page_tokens) {
  return (s.start + s.n_tokens + page_tokens - 1) / page_tokens;
}

}  // namespace

void pack_step(const DecoderStep& step, int64_t page_tokens, std::vector<std::byte>* out) {
  MessageWriter writer(out);
  writer.put(
      StepHeader{static_cast<int64_t>(step.ids.size()), static_cast<int64_t>(step.step.prefills.size()),
                 static_cast<int64_t>(step.step.decodes.size()),
                 static_cast<int64_t>(step.decode_rules.size()), static_cast<int64_t>(step.logit_rows.size()),
                 static_cast<bool>(step.on_gate), static_cast<bool>(step.on_decode_gate)});
  writer.put_all(step.ids);
  writer.put_all(step.logit_rows);
  writer.put_all(step.decode_rules);
  for (const auto segments : {step.step.prefills, step.step.decodes})
    for (const Segment& s : segments) {
      const SegmentHeader header{s.row, s.n_tokens, s.start};
      writer.put(header);
      writer.put_all(std::span(s.page_table, static_cast<size_t>(n_pages(header, page_tokens))));
    }
  for (const PrefillPlan& plan : step.plans)
    writer.put(PlanHeader{plan.n_prompt_tokens, plan.select.has_value(), plan.select.value_or(SelectRule{})});
}

void ReceivedStep::read(std::span<const std::byte> bytes, int64_t page_tokens) {
  MessageReader reader(bytes);
  const auto header = reader.get<StepHeader>();
  ids_ = reader.get_vector<int32_t>(header.n_ids);
  logit_rows_ = reader.get_vector<int64_t>(header.n_logit_rows);
  decode_rules_ = reader.get_vector<DecodeRule>(header.n_decode_rules);
  segments_.clear();
  tables_.clear();
  for (int64_t i = 0; i < header.n_prefills + header.n_decodes; ++i) {
    const auto s = reader.get<SegmentHeader>();
    tables_.push_back(reader.get_vector<int32_t>(n_pages(s, page_tokens)));
    segments_.push_back({s.row, s.n_tokens, s.start, nullptr});
  }
  for (size_t i = 0; i < segments_.size(); ++i) segments_[i].page_table = tables_[i].data();
  plans_.clear();
  for (int64_t i = 0; i < header.n_prefills; ++i) {
    const auto plan = reader.get<PlanHeader>();
    plans_.push_back({plan.n_prompt_tokens, std::nullopt});
    if (plan.sparse) plans_.back().select = plan.rule;
  }
  const auto n_prefills = static_cast<size_t>(header.n_prefills);
  step_.ids = ids_;
  step_.step = {header.n_ids, std::span(segments_).first(n_prefills),
                std::span(segments_).subspan(n_prefills)};
  step_.plans = plans_;
  step_.logit_rows = logit_rows_;
  step_.on_logits = nullptr;  // the callback is rank 0's
  step_.decode_rules = decode_rules_;
  step_.on_gate = nullptr;
  step_.on_decode_gate = nullptr;
  // These callbacks do nothing. They are set so that this rank takes part in gathering the gates' results.
  if (header.wants_gates) step_.on_gate = [](const GateReport&) {};
  if (header.wants_decode_gates) step_.on_decode_gate = [](const DecodeGateReport&) {};
}

}  // namespace seer
