// From a request to token ids: texts that are too long, and checks that stop the work.
#include "tools/seer/serve/prompts.h"

#include "tests/serve/fake_engine.h"
#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/token_routes.h"

namespace seer::serve {
namespace {

struct Stopped {};

ApiRequest completion_of(const std::string& text) {
  ApiRequest request;
  request.prompts = {text};
  return request;
}

ApiRequest chat_of(const std::string& text) {
  ApiRequest request;
  request.chat = true;
  request.input.messages = {{{"role", "user"}, {"content", text}}};
  return request;
}

ChatModel plain_chat() {
  ChatModel chat;
  chat.chat_template = ChatTemplate::load("none");
  return chat;
}

template <class Body>
void check_too_long(const char* field, const std::vector<std::string>& words, const Body& body) {
  try {
    body();
    FAIL_CHECK("it was accepted");
  } catch (const ApiError& error) {
    CHECK(error.status() == kBadRequest);
    CHECK(error.code() == "context_length_exceeded");
    CHECK(error.to_json()["error"]["param"] == field);
    for (const std::string& word : words) CHECK_THAT(error.what(), ContainsSubstring(word));
  }
}

TEST_CASE("a prompt that must be longer than the context is refused by its length") {
  const testing::FakeEngine engine({});
  const std::string context = std::to_string(engine.info().ctx_size);
  // The demo's longest tokens have 16 bytes, so a context of these is the longest text that may fit.
  const auto longest = static_cast<size_t>(16 * engine.info().ctx_size);
  const std::string fits(longest, 'a'), longer(longest + 1, 'a');
  CHECK(encode_prompts(completion_of(fits), engine, {}, {}).size() == 1);
  check_too_long("prompt", {context, std::to_string(engine.info().ctx_size + 1) + " or more"},
                 [&] { encode_prompts(completion_of(longer), engine, {}, {}); });
  check_too_long("messages", {context, "or more in the messages"},
                 [&] { encode_prompts(chat_of(longer), engine, plain_chat(), {}); });
}

TEST_CASE("/tokenize takes texts of several contexts") {
  const testing::FakeEngine engine({});
  const auto four = static_cast<size_t>(4 * 16 * engine.info().ctx_size);
  const std::string fits(four, ' '), longer(four + 1, ' ');
  CHECK_THAT(tokenize({{"prompt", fits}}, engine, {}, {}), ContainsSubstring("\"count\""));
  check_too_long("prompt", {"at most 4 times", "divide the text"}, [&] {
    tokenize({{"prompt", longer}}, engine, {}, {});
  });
  const Json messages = {{{"role", "user"}, {"content", longer}}};
  check_too_long("messages", {"at most 4 times"}, [&] {
    tokenize({{"messages", messages}}, engine, plain_chat(), {});
  });
}

TEST_CASE("the check of who waits for an answer stops the work on its prompt, and is passed on as it is") {
  const testing::FakeEngine engine({});
  const std::string text(10 * static_cast<size_t>(engine.info().ctx_size), 'a');
  const auto stop = [] { throw Stopped(); };
  CHECK_THROWS_AS(encode_prompts(completion_of(text), engine, {}, {}, stop), Stopped);
  CHECK_THROWS_AS(encode_prompts(chat_of(text), engine, plain_chat(), {}, stop), Stopped);
  CHECK_THROWS_AS(tokenize({{"prompt", text}}, engine, {}, {}, stop), Stopped);
  const auto gone = [] { throw ApiError(kClientGone, "the client has gone"); };
  try {
    encode_prompts(chat_of(text), engine, plain_chat(), {}, gone);
    FAIL_CHECK("it was not stopped");
  } catch (const ApiError& error) {
    CHECK(error.status() == kClientGone);
  }
  const auto cancelled = [] { throw Error(ErrorKind::kCancelled, "interrupted"); };
  CHECK_THROWS_AS(encode_prompts(chat_of(text), engine, plain_chat(), {}, cancelled), Error);
}

}  // namespace
}  // namespace seer::serve
