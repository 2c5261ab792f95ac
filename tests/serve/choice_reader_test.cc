// Tokens as they come from the engine, and the places of the marks among them.
#include "tools/seer/serve/choice_reader.h"

#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::serve {
namespace {

constexpr int32_t kMark = 1;  // a special token of the demo model; here it is a mark

struct Reader {
  Reader() : tokenizer(Tokenizer::load((seer::testing::demo_model() / "model").string())) {
    plan.chat = true;
    plan.form = ToolForm::kMistral;
    plan.tools = {"f"};
    plan.marks = {{kMark, "[TOOL_CALLS]"}};
  }

  ParsedAnswer read(const std::vector<TokenPiece>& tokens) const {
    ChoiceReader reader(plan, *tokenizer);
    for (const TokenPiece& token : tokens) reader.push(token);
    reader.finish();
    ParsedAnswer answer;
    for (const AnswerDelta& delta : reader.take().deltas) answer.add(delta);
    return answer;
  }
  TokenPiece word(int32_t id) const { return {id, tokenizer->token_bytes(id), {}, {}}; }

  std::shared_ptr<const Tokenizer> tokenizer;
  ReadingPlan plan;
};

const TokenPiece kCall = {300, R"([{"name":"f","arguments":{}}])", {}, {}};

TEST_CASE("a mark without a text stands where the model wrote it") {
  const Reader reader;
  const ParsedAnswer answer = reader.read({reader.word(300), {kMark, "", {}, {}}, kCall});
  CHECK(answer.content == reader.tokenizer->token_bytes(300));
  REQUIRE(answer.calls.size() == 1);
  CHECK(answer.calls[0].name == "f");
}

TEST_CASE("a mark waits for text that is held back before it") {
  const Reader reader;
  const std::string held = reader.tokenizer->token_bytes(300);
  REQUIRE(held.size() > 1);
  TokenPiece late = kCall;
  late.text = held + kCall.text;
  const ParsedAnswer answer = reader.read({{300, "", {}, {}}, {kMark, "", {}, {}}, late});
  CHECK(answer.content == held);
  CHECK(answer.calls.size() == 1);
  // The text comes in two pieces, the first of which is shorter than the text held back.
  late.text = held.substr(1) + kCall.text;
  const ParsedAnswer again =
      reader.read({{300, "", {}, {}}, {kMark, "", {}, {}}, {kMark + 1, held.substr(0, 1), {}, {}}, late});
  CHECK(again.content == held);
  CHECK(again.calls.size() == 1);
  // The answer ends while the mark waits.
  CHECK(reader.read({{300, "", {}, {}}, {kMark, "", {}, {}}}).content == "[TOOL_CALLS]");
}

}  // namespace
}  // namespace seer::serve
