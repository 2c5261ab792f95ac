#include "tools/seer/serve/choice_reader.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "tools/seer/serve/token_texts.h"

namespace seer::serve {
namespace {

using Kind = AnswerDelta::Kind;

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// A message that is continued may end within a thought, or after it.
Thinking thinking_of(const ChatInput& input, const std::string& prompt_end) {
  if (input.continue_final_message) {
    const std::string& text = input.messages.back()["content"].get_ref<const std::string&>();
    const size_t opened = text.rfind(thinking_marks()[0]), closed = text.rfind(thinking_marks()[1]);
    if (opened != std::string::npos && (closed == std::string::npos || closed < opened))
      return Thinking::kInside;
    if (!text.empty()) return Thinking::kNone;
  }
  return thinking_after(prompt_end);
}

}  // namespace

ReadingPlan reading_plan(const ApiRequest& request, const AnswerFormat& format, const Engine& engine,
                         const std::string& prompt_end) {
  ReadingPlan plan;
  plan.chat = request.chat;
  plan.logprobs = request.n_logprobs.has_value();
  plan.show_special = !request.skip_special_tokens;
  plan.end_ids = engine.model().eos_ids;
  plan.end_ids.insert(plan.end_ids.end(), request.stop_token_ids.begin(), request.stop_token_ids.end());
  if (!request.chat) return plan;
  plan.parallel_tool_calls = request.parallel_tool_calls;
  plan.tools = request.input.tool_names();
  if (!plan.tools.empty()) plan.form = format.tools;
  if (format.thinks) plan.thinking = thinking_of(request.input, prompt_end);
  std::vector<std::string> marks = marks_of(plan.form);
  if (plan.thinking != Thinking::kNone)
    marks.insert(marks.end(), thinking_marks().begin(), thinking_marks().end());
  const Tokenizer& tokenizer = engine.tokenizer();
  for (const std::string& mark : marks) {
    const int32_t id = tokenizer.token_id(mark);
    if (id >= 0 && is_silent(tokenizer, id)) plan.marks.emplace(id, mark);
  }
  return plan;
}

ChoiceReader::ChoiceReader(const ReadingPlan& plan, const Tokenizer& tokenizer)
    : plan_(plan),
      tokenizer_(tokenizer),
      parser_(plan.form, plan.tools, plan.thinking),
      completion_logprobs_(tokenizer) {}

void ChoiceReader::echo(const std::string& text, const std::vector<int32_t>& ids,
                        const std::vector<PositionLogprobs>* logprobs) {
  if (!text.empty()) news_.deltas.push_back({Kind::kContent, text});
  if (logprobs != nullptr) completion_logprobs_.add_prompt(ids, *logprobs, text);
}

// Returns the name of a token that has no text of its own but is shown nevertheless, or is a mark.
std::string ChoiceReader::mark_of(int32_t id) const {
  if (const auto mark = plan_.marks.find(id); mark != plan_.marks.end()) return mark->second;
  const bool shown = plan_.show_special && !contains(plan_.end_ids, id) && is_silent(tokenizer_, id);
  return shown ? tokenizer_.token_bytes(id) : std::string();
}

std::string ChoiceReader::text_of(const TokenPiece& token) {
  if (plan_.marks.empty() && !plan_.show_special) return token.text;
  std::string out;
  std::string_view rest = token.text;
  while (!waiting_marks_.empty() && waiting_marks_.front().first <= rest.size()) {
    const auto& [n, mark] = waiting_marks_.front();
    out.append(rest.substr(0, n)).append(mark);
    rest.remove_prefix(n);
    waiting_marks_.pop_front();
  }
  if (!waiting_marks_.empty()) waiting_marks_.front().first -= rest.size();
  out += rest;

  const std::string bytes = is_silent(tokenizer_, token.id) ? "" : tokenizer_.token_bytes(token.id);
  held_ = std::max(held_ + bytes.size(), token.text.size()) - token.text.size();
  // Texts of earlier tokens have come or were dropped.
  if (!bytes.empty() && token.text.ends_with(bytes)) held_ = 0;
  const std::string mark = mark_of(token.id);
  if (mark.empty()) return out;
  size_t before = 0;
  for (const auto& [n, text] : waiting_marks_) before += n;
  if (held_ == 0) return out + mark;
  waiting_marks_.emplace_back(held_ - std::min(before, held_), mark);
  return out;
}

void ChoiceReader::push(const TokenPiece& token) {
  keep(parser_.push(text_of(token)));
  if (!plan_.logprobs || !token.logprobs) return;
  if (plan_.chat) {
    news_.logprobs["content"].push_back(chat_logprob(tokenizer_, *token.logprobs));
  } else {
    completion_logprobs_.add(*token.logprobs);
  }
}

void ChoiceReader::finish() {
  for (const auto& [n, mark] : waiting_marks_) keep(parser_.push(mark));
  waiting_marks_.clear();
  keep(parser_.finish());
}

void ChoiceReader::keep(std::vector<AnswerDelta> deltas) {
  for (AnswerDelta& delta : deltas) {
    const bool of_call = delta.kind != Kind::kReasoning && delta.kind != Kind::kContent;
    if (of_call && delta.call > 0 && !plan_.parallel_tool_calls) continue;
    if (!news_.deltas.empty() && news_.deltas.back().kind == delta.kind && delta.kind != Kind::kCallBegin) {
      news_.deltas.back().text += delta.text;
    } else {
      news_.deltas.push_back(std::move(delta));
    }
  }
}

ChoiceNews ChoiceReader::take() {
  if (!plan_.chat) news_.logprobs = completion_logprobs_.take();
  return std::exchange(news_, {});
}

}  // namespace seer::serve
