// seer chat: its input on a terminal and through a pipe, and the part that the cache keeps.
#include <nlohmann/json.hpp>
#include <sstream>

#include "seer/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"
#include "tools/seer/chat_commands.h"
#include "tools/seer/conversation.h"

namespace seer {
namespace {

using cli::Conversation;
using testing::check_fails;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;
using Ids = std::vector<int32_t>;

std::string long_text() {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "The ship " + std::to_string(i) + " came to the harbour. ";
  return text;
}

std::vector<std::string> chat(std::vector<std::string> more) {
  more.insert(more.begin(),
              {"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "--temp", "0", "-n", "8"});
  return more;
}

Outcome piped(const std::string& input, const std::vector<std::string>& more = {}) {
  RunOptions options;
  options.input = input;
  return run_seer(chat(more), options);
}

std::shared_ptr<const Tokenizer> llama3_tokenizer(const testing::TempDir& dir) {
  const auto data = testing::test_data("tokenizers/llama3.1/tokenizer.json");
  if (!data) return nullptr;
  std::filesystem::copy(*data, dir.path() / "tokenizer.json");
  return Tokenizer::load(dir.path().string());
}

Ids joined(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

int32_t only_id(const Tokenizer& tokenizer, const std::string& text) {
  const Ids ids = tokenizer.encode(text, false, true);
  REQUIRE(ids.size() == 1);
  return ids[0];
}

TEST_CASE("a conversation's ids are the template's rendering of all of it") {
  const testing::TempDir dir;
  const auto tokenizer = llama3_tokenizer(dir);
  if (!tokenizer) return;
  const int32_t eot = only_id(*tokenizer, "<|eot_id|>");
  for (const std::string system : {"", "Be brief."}) {
    const auto llama3 = ChatTemplate::load("llama3");
    Conversation conversation(*tokenizer, llama3, "");
    conversation.start(system);
    std::vector<ChatMessage> messages;
    if (!system.empty()) messages.push_back({"system", system});
    for (const char* question : {"Who are you?", "Where is\nthe harbour?", "Why?"}) {
      const Ids ids = conversation.ids_with(question);
      messages.push_back({"user", question});
      CHECK(ids == tokenizer->encode_chat(messages, llama3.get()));
      const std::string answer = std::string("It is so: ") + question;
      conversation.add(answer, joined(joined(ids, tokenizer->encode(answer, false)), {eot}));
      messages.push_back({"assistant", answer});
    }
    CHECK(conversation.take_back() == "Why?");
    CHECK(conversation.messages().size() == messages.size() - 2);
  }
}

TEST_CASE("an answer stays in the tokens it was made of, and gets closed if it was cut") {
  const testing::TempDir dir;
  const auto tokenizer = llama3_tokenizer(dir);
  if (!tokenizer) return;
  const int32_t eot = only_id(*tokenizer, "<|eot_id|>");
  const int32_t end_of_text = only_id(*tokenizer, "<|end_of_text|>");
  const auto letters = [&](const std::string& text) {
    Ids ids;
    for (const char c : text) ids.push_back(only_id(*tokenizer, std::string(1, c)));
    return ids;
  };
  const std::vector<ChatMessage> messages = {{"user", "Hi"}, {"assistant", "hello"}, {"user", "Why?"}};
  const auto llama3 = ChatTemplate::load("llama3");
  const Ids whole = tokenizer->encode_chat(messages, llama3.get());
  const Ids answer = tokenizer->encode("hello", false);
  REQUIRE(letters("hello") != answer);
  Conversation conversation(*tokenizer, llama3, "");
  const Ids first = conversation.ids_with("Hi");
  const Ids rest(whole.begin() + static_cast<std::ptrdiff_t>(first.size() + answer.size()), whole.end());
  REQUIRE(rest.front() == eot);
  const auto next = [&](const Ids& made) {
    conversation.start("");
    conversation.ids_with("Hi");
    conversation.add("hello", joined(first, made));
    return conversation.ids_with("Why?");
  };
  const Ids expected = joined(joined(first, letters("hello")), rest);
  CHECK(next(joined(letters("hello"), {eot})) == expected);
  CHECK(next(letters("hello")) == expected);  // stopped by -n
  // If the template does not write an answer's end token, that is taken back.
  CHECK(next(joined(letters("hello"), {end_of_text})) == expected);
  conversation.start("");
  conversation.ids_with("Hi");
  conversation.add("hello", std::nullopt);  // a stop text was cut off
  CHECK(conversation.ids_with("Why?") == whole);
}

TEST_CASE(
    "an answer that the template writes otherwise than it was made is tokenised as the template has it") {
  const auto tokenizer = Tokenizer::load(testing::demo_model_dir());
  const auto llama2 = ChatTemplate::load("llama2");
  Conversation conversation(*tokenizer, llama2, "");
  const Ids first = conversation.ids_with("Hi");
  conversation.add("hello", joined(joined(first, tokenizer->encode("hello", false)), {tokenizer->eos_id()}));
  // The template writes a blank before the end, but the model did not.
  const std::vector<ChatMessage> all = {{"user", "Hi"}, {"assistant", "hello"}, {"user", "Why?"}};
  CHECK(conversation.ids_with("Why?") == tokenizer->encode_chat(all, llama2.get()));
}

TEST_CASE("thoughts that the template drops from earlier answers are dropped, and others are kept") {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "thinks.jinja",
                      "{% for m in messages %}[{{ m.content.split('</think>')[-1] }}]{% endfor %}");
  const auto tokenizer = Tokenizer::load(testing::demo_model_dir());
  const auto thinks = ChatTemplate::load((dir.path() / "thinks.jinja").string());
  const std::string answer = "Well.</think>hello";
  Conversation conversation(*tokenizer, thinks, "");
  const Ids first = conversation.ids_with("Hi");
  conversation.add(answer, joined(first, tokenizer->encode(answer, false)));
  const std::vector<ChatMessage> all = {{"user", "Hi"}, {"assistant", answer}, {"user", "Why?"}};
  CHECK(conversation.ids_with("Why?") == tokenizer->encode_chat(all, thinks.get()));
}

TEST_CASE("plain text goes on after a line break, without an end that the model wrote") {
  const auto tokenizer = Tokenizer::load(testing::demo_model_dir());
  Conversation conversation(*tokenizer, ChatTemplate::load("none"), "");
  conversation.start("A tale.");
  const Ids first = conversation.ids_with("Once");
  CHECK(first == tokenizer->encode("A tale.\nOnce"));
  conversation.add(" upon a time", joined(first, tokenizer->encode("upon a time", false)));
  CHECK(conversation.ids_with("Then") == tokenizer->encode("A tale.\nOnce upon a time\nThen"));
  CHECK(conversation.take_back() == "Once");
  conversation.ids_with("Once");
  conversation.add(" upon", joined(joined(first, tokenizer->encode("upon", false)), {tokenizer->eos_id()}));
  CHECK(tokenizer->decode(conversation.ids_with("Then"), false) ==
        tokenizer->decode(tokenizer->encode("A tale.\nOnce upon\nThen"), false));
}

TEST_CASE("without a known template one must be named, and a wrong name is refused") {
  const std::vector<std::string> plain = {"chat", "-m", testing::demo_model_dir()};
  CHECK_THAT(check_fails(plain, 2), ContainsSubstring("--chat-template"));
  CHECK_THAT(check_fails({"chat", "-m", testing::demo_model_dir(), "--chat-template", "lama3"}, 2),
             ContainsSubstring("llama2, llama3, chatml, mistral, none, found 'lama3'"));
  CHECK_THAT(check_fails({"chat", "-m", testing::demo_model_dir(), "--chat-template", "chatml"}, 3),
             ContainsSubstring("<|im_start|>"));
}

TEST_CASE("a piped conversation writes the answers alone, and they are those of the whole text") {
  const std::string question = long_text();
  const Outcome run = piped(question + "\nAnd then he said\n");
  REQUIRE(run.code == 0);
  CHECK(run.err.empty());
  const auto generate = [](const std::string& ids) {
    RunOptions options;
    options.input = ids;
    return run_seer({"generate", "-m", testing::demo_model_dir(), "--temp", "0", "-n", "8", "-q", "--ids",
                     "--tokens-file", "-"},
                    options)
        .out;
  };
  const auto tokenizer = Tokenizer::load(testing::demo_model_dir());
  const auto ids_of = [](const std::string& text) {
    std::istringstream in(text);
    Ids ids;
    for (int32_t id = 0; in >> id;) ids.push_back(id);
    return ids;
  };
  const auto text_of = [](const Ids& ids) {
    std::string text;
    for (const int32_t id : ids) text += std::to_string(id) + " ";
    return text;
  };
  Conversation conversation(*tokenizer, ChatTemplate::load("none"), "");
  const Ids first = conversation.ids_with(question);
  CHECK(first == tokenizer->encode(question));
  const Ids answer = ids_of(generate(text_of(first)));
  conversation.add(tokenizer->decode(answer), joined(first, answer));
  const Ids second = conversation.ids_with("And then he said");
  const Ids last = ids_of(generate(text_of(second)));
  // Returns the texts of a stream, each followed by a line break of its own.
  const std::string all = tokenizer->decode(joined(first, answer));
  const std::string one = all.substr(tokenizer->decode(first).size());
  const std::string two = tokenizer->decode(joined(second, last)).substr(tokenizer->decode(second).size());
  CHECK(run.out == one + (one.ends_with('\n') ? "" : "\n") + two + (two.ends_with('\n') ? "" : "\n"));
}

TEST_CASE("a second message computes what is new, and /retry finds its pages in the prefix cache") {
  const std::string input = long_text() + "\n/stats\nThen\n/stats\n/retry\n/stats\n";
  for (const bool prefix_cache : {true, false}) {
    const Outcome run = piped(
        input, prefix_cache ? std::vector<std::string>() : std::vector<std::string>{"--no-prefix-cache"});
    REQUIRE(run.code == 0);
    const auto cached = [&](int n) {
      size_t at = 0;
      for (int i = 0; i <= n; ++i) at = run.err.find(" cached", at + 1);
      REQUIRE(at != std::string::npos);
      const size_t begin = run.err.rfind("and ", at) + 4;
      return std::stol(run.err.substr(begin, at - begin));
    };
    CHECK(cached(0) == 0);
    CHECK(cached(1) >= 192);  // every whole page of 64
    CHECK(cached(2) == (prefix_cache ? cached(1) : 0));
    CHECK_THAT(run.err, ContainsSubstring("of 16384 tokens, 4 messages"));
  }
}

TEST_CASE("under another rule a conversation is computed again") {
  const Outcome ruled = piped(long_text() + "\n/sparse threshold=0.01\nThen\n/stats\n",
                              {"-g", testing::demo_gates_dir(), "--sparse", "dense"});
  CHECK(ruled.code == 0);
  CHECK_THAT(ruled.err, ContainsSubstring("and 0 cached"));
  CHECK_THAT(ruled.err, ContainsSubstring("(threshold=0.01)"));
}

TEST_CASE("messages of several lines are one message") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "chat.json").string();
  const auto first_message = [&](const std::string& input) {
    const Outcome run = piped(input + "/save " + file + "\n");
    INFO(run.err);
    REQUIRE(run.code == 0);
    const auto messages = nlohmann::json::parse(testing::read_file(file));
    CHECK(messages.size() == 2);
    CHECK(messages[1]["role"] == "assistant");
    return messages[0]["content"].get<std::string>();
  };
  CHECK(first_message("one\\\ntwo\n") == "one\ntwo");
  CHECK(first_message("\"\"\"one\ntwo\"\"\"\n") == "one\ntwo");
  CHECK(first_message("\"\"\"\n  one\n\n/two\n\"\"\"\n") == "  one\n\n/two");
  CHECK(first_message("\"\"\"one\"\"\"\n") == "one");
  CHECK(first_message("//one\r\n") == "/one");
  testing::write_file(dir.path() / "text.txt", "from a file");
  CHECK(first_message("/file " + (dir.path() / "text.txt").string() + "\nWhy?\n") == "from a file\nWhy?");
}

TEST_CASE("a zero in a piped message is a character of it, and no file's name has one") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "chat.json").string(), zero(1, '\0');
  const std::string input = "/system be" + zero + "brief\none" + zero + "two\n";
  REQUIRE(piped(input + "/save " + file + "\n").code == 0);
  const auto messages = nlohmann::json::parse(testing::read_file(file));
  CHECK(messages[0]["content"] == "be" + zero + "brief");
  CHECK(messages[1]["content"] == "one" + zero + "two");
  for (const std::string command : {"/save ", "/file "}) {
    const Outcome run = piped(input + command + file + ".2" + zero + "x\n");
    CHECK(run.code == 2);
    CHECK_THAT(run.err, ContainsSubstring("expected a file's name, found a character of zero in it"));
  }
  CHECK_FALSE(std::filesystem::exists(file + ".2"));
}

TEST_CASE("/undo, /reset and /system change what is remembered") {
  const testing::TempDir dir;
  const std::string file = (dir.path() / "chat.json").string();
  const auto roles = [&](const std::string& input, const std::vector<std::string>& more = {}) {
    const Outcome run = piped(input + "/save " + file + "\n", more);
    REQUIRE(run.code == 0);
    std::string text;
    for (const auto& message : nlohmann::json::parse(testing::read_file(file)))
      text += message["role"].get<std::string>().substr(0, 1);
    return text;
  };
  CHECK(roles("one\ntwo\n") == "uaua");
  CHECK(roles("one\ntwo\n/undo\n") == "ua");
  CHECK(roles("one\n/undo\n/undo\n").empty());
  CHECK(roles("one\n/reset\ntwo\n", {"--system", "Be brief."}) == "sua");
  CHECK(roles("one\n/system You are a pirate.\n") == "s");
  CHECK(roles("one\n/system You are a pirate.\n/system\ntwo\n") == "ua");
}

TEST_CASE("an unknown command in a pipe ends the chat with its likely name") {
  CHECK_THAT(piped("/stast\n").err, ContainsSubstring("'/stats'"));
  CHECK(piped("/stast\n").code == 2);
  CHECK_THAT(piped("/sparse half\n").err, ContainsSubstring("half"));
  CHECK_THAT(piped("/sparse threshold=0.1\n").err, ContainsSubstring("SEER_GATES"));
  CHECK_THAT(piped("/save\n").err, ContainsSubstring("needs FILE"));
  CHECK_THAT(piped("/reset now\n").err, ContainsSubstring("'now'"));
  CHECK(piped("/exit\n/stast\n").code == 0);
  const std::string help = piped("/help\n").err;
  for (const cli::ChatCommand& command : cli::chat_commands())
    CHECK_THAT(help, ContainsSubstring(command.name));
}

TEST_CASE("a conversation longer than the context is refused with both numbers") {
  RunOptions options;
  options.input = long_text() + "\n";
  CHECK_THAT(check_fails(chat({"-c", "64"}), 2, options), ContainsSubstring("context of 64"));
}

TEST_CASE("on a terminal Ctrl-C stops the answer, mistakes cost a message, and Ctrl-D leaves") {
  RunOptions options;
  options.session = {{"> ", "The captain of the ship\n"},
                     {" ", "", true},  // while the answer is generated
                     {"is kept", "/stats\n"},
                     {"messages", "/stast\n"},
                     {"'/stats'", "Then\n"},
                     {" ", "", true},
                     {"is kept", "\x04"}};
  const Outcome talked = run_seer(
      {"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "--ignore-eos", "-s", "7"},
      options);
  INFO(talked.err);
  CHECK(talked.code == 0);
  CHECK(!talked.out.empty());
  CHECK(talked.out.find("> ") == std::string::npos);
  CHECK_THAT(talked.err, ContainsSubstring("stopped; the answer so far is kept"));
  CHECK_THAT(talked.err, ContainsSubstring("did you mean '/stats'?"));
}

TEST_CASE("on a terminal Ctrl-C while a message is read by the model takes the message back") {
  const testing::TempDir dir;
  std::string text;
  for (int i = 0; i < 30; ++i) text += long_text();
  testing::write_file(dir.path() / "long.txt", text);
  RunOptions options;
  options.session = {{"> ", "What was it?\n"},
                     {"prefill ", ""},
                     {"leaves", "/stats\n"},
                     {"no answer yet", "/history\n"},
                     {"> ", "/exit\n"}};
  const Outcome run = run_seer({"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "-f",
                                (dir.path() / "long.txt").string(), "--chunk-size", "64"},
                               options);
  INFO(run.err);
  CHECK(run.code == 0);
  CHECK(run.out.empty());
  CHECK(run.err.find("user:") == std::string::npos);
}

TEST_CASE("Ctrl-C in a piped chat ends it with 130") {
  RunOptions options;
  options.input = "The captain of the ship\n";
  options.interrupt_at = " ";
  const Outcome run =
      run_seer({"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "--ignore-eos"}, options);
  CHECK(run.code == 130);
}

}  // namespace
}  // namespace seer
