// A chat template and its conversation: messages, tools and further variables.
#include "tokenizer/chat_template.h"

#include "tests/fuzz/support.h"

namespace seer::fuzz::chat_template_target {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxSize = 8192;

std::string mutate(const std::string& bytes, Random& random) {
  std::vector<std::string> parts = split(bytes, 2);
  if (random.one_in(3))
    parts[1] = mutate_json(parts[1], random, kMaxSize / 2);
  else
    parts[0] = mutate_bytes(parts[0], kMaxSize / 2);
  return join(parts);
}

TemplateInput conversation(const std::string& text) {
  TemplateInput input;
  input.now = 1'700'000'000;
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_object()) {
    if (json.contains("messages")) input.messages = json["messages"];
    if (json.contains("tools")) input.tools = json["tools"];
    if (json.contains("kwargs")) input.kwargs = json["kwargs"];
    input.add_generation_prompt = !json.contains("continue");
    input.continue_final_message = json.contains("continue");
  }
  return input;
}

void check(const MarkedText& rendered) {
  size_t end = 0;
  bool first = true;
  for (const auto& [from, to] : rendered.from_messages) {
    expect(from < to && to <= rendered.text.size() && (first || from > end), "ranges out of order");
    end = to;
    first = false;
  }
}

void run(const std::string& bytes) {
  const std::vector<std::string> parts = split(bytes, 2);
  std::optional<PromptTemplate> prompt;
  if (!accepts([&] {
        prompt.emplace(std::map<std::string, TemplateText>{{"default", {"t.jinja", parts[0]}}}, "t");
      }))
    return;
  const std::map<std::string, std::string> tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  MarkedText once;
  if (!accepts([&] { once = prompt->render(conversation(parts[1]), tokens); })) return;
  check(once);
  const MarkedText again = prompt->render(conversation(parts[1]), tokens);
  expect(again.text == once.text && again.from_messages == once.from_messages,
         "another prompt the second time");
}

// A template may hold 128 MiB while it runs.
const Registration kTarget({"chat_template", run, mutate, kMaxSize, size_t{1} << 16, size_t{160} << 20});

}  // namespace
}  // namespace seer::fuzz::chat_template_target
