// The chat templates that come with the program: exact strings with a byte-level vocabulary, whose tokens are
// written out, and exact ids with real ones. Also the places in which a model's own templates are found.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using namespace testing;
using nlohmann::json;
using Messages = std::vector<ChatMessage>;

// Returns a tokenizer with the special tokens of all four formats; BOS and EOS are <s> and </s>.
std::shared_ptr<const Tokenizer> chat_tokenizer(json config = json::object(), bool adds_bos = false) {
  json file = byte_level_json();
  file["added_tokens"] = json::array();
  int32_t id = 264;
  for (const char* name : {"<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
                           "<|im_start|>", "<|im_end|>"})
    file["added_tokens"].push_back(added_token(id++, name, true));
  config["bos_token"] = "<s>";
  config["eos_token"] = "</s>";
  if (adds_bos) file["post_processor"] = bos_template("<s>", 264);
  return load_json(file, config);
}

Ids encode(const Tokenizer& tokenizer, const Messages& messages, const std::string& name) {
  return tokenizer.encode_chat(messages, ChatTemplate::load(name).get());
}

std::string written(const Messages& messages, const std::string& name, const json& config = json::object(),
                    bool adds_bos = false) {
  const auto t = chat_tokenizer(config, adds_bos);
  return t->decode(encode(*t, messages, name), /*skip_special=*/false);
}

const Messages kOne = {{"user", "Hi"}};
const Messages kSystem = {{"system", "Be brief."}, {"user", "Hi"}};
const Messages kThree = {{"user", "Hi"}, {"assistant", "Hello!"}, {"user", "Bye"}};
const Messages kAll = {{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello!"}, {"user", "Bye"}};

TEST_CASE("Llama 2: every exchange is a text of its own, the system message in the first") {
  CHECK(written(kOne, "llama2") == "<s>[INST] Hi [/INST]");
  CHECK(written(kSystem, "llama2") == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]");
  CHECK(written(kThree, "llama2") == "<s>[INST] Hi [/INST] Hello! </s><s>[INST] Bye [/INST]");
  CHECK(written(kAll, "llama2") ==
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]");
}

TEST_CASE("Llama 2: white space around a question goes, that between it and the system message stays") {
  CHECK(written({{"user", " \n Hi there\t"}}, "llama2") == "<s>[INST] Hi there [/INST]");
  CHECK(written({{"system", " Be brief.\n"}, {"user", "  Hi \n"}}, "llama2") ==
        "<s>[INST] <<SYS>>\n Be brief.\n\n<</SYS>>\n\n  Hi [/INST]");
  CHECK(written({{"system", " "}, {"user", "Hi"}}, "llama2") == "<s>[INST] Hi [/INST]");
}

TEST_CASE("Llama 3: a header and an end around every message") {
  const std::string user = "<|start_header_id|>user<|end_header_id|>\n\n",
                    assistant = "<|start_header_id|>assistant<|end_header_id|>\n\n",
                    system = "<|start_header_id|>system<|end_header_id|>\n\n", end = "<|eot_id|>";
  CHECK(written(kOne, "llama3") == "<s>" + user + "Hi" + end + assistant);
  CHECK(written(kSystem, "llama3") == "<s>" + system + "Be brief." + end + user + "Hi" + end + assistant);
  CHECK(written(kThree, "llama3") ==
        "<s>" + user + "Hi" + end + assistant + "Hello!" + end + user + "Bye" + end + assistant);
  CHECK(written({{"user", " \n Hi there\t"}}, "llama3") == "<s>" + user + "Hi there" + end + assistant);
}

TEST_CASE("ChatML: start and end around every message, and no BOS") {
  const std::string user = "<|im_start|>user\n", assistant = "<|im_start|>assistant\n", end = "<|im_end|>\n";
  CHECK(written(kOne, "chatml") == user + "Hi" + end + assistant);
  CHECK(written(kSystem, "chatml") == "<|im_start|>system\nBe brief." + end + user + "Hi" + end + assistant);
  CHECK(written(kThree, "chatml") ==
        user + "Hi" + end + assistant + "Hello!" + end + user + "Bye" + end + assistant);
  // The content is unchanged.
  CHECK(written({{"user", " Hi "}}, "chatml") == user + " Hi " + end + assistant);
  CHECK(written(kOne, "chatml", json::object(), /*adds_bos=*/true) == user + "Hi" + end + assistant);
}

TEST_CASE("Mistral: one BOS, EOS after every answer, the system message with the first question") {
  CHECK(written(kOne, "mistral") == "<s>[INST] Hi [/INST]");
  CHECK(written(kSystem, "mistral") == "<s>[INST] Be brief.\n\nHi [/INST]");
  CHECK(written(kThree, "mistral") == "<s>[INST] Hi [/INST] Hello!</s>[INST] Bye [/INST]");
  CHECK(written(kAll, "mistral") == "<s>[INST] Be brief.\n\nHi [/INST] Hello!</s>[INST] Bye [/INST]");
}

TEST_CASE("Mistral with control tokens: the system message goes with the last question") {
  const json control = {{"added_tokens_decoder",
                         {{"280", {{"content", "[INST]"}, {"special", true}}},
                          {"281", {{"content", "[/INST]"}, {"special", true}}}}}};
  CHECK(written(kOne, "mistral", control) == "<s>[INST] Hi[/INST]");
  CHECK(written(kAll, "mistral", control) == "<s>[INST] Hi[/INST] Hello!</s>[INST] Be brief.\n\nBye[/INST]");
  const auto t = chat_tokenizer(control);
  CHECK(encode(*t, kOne, "mistral") == Ids{264, 280, ' ', 'H', 'i', 281});
}

TEST_CASE("the ids are those of the written text with its special tokens recognised") {
  const auto t = chat_tokenizer();
  for (const char* name : {"llama2", "llama3", "chatml", "mistral"}) {
    INFO(name);
    const Ids ids = encode(*t, kAll, name);
    CHECK(ids == t->encode(t->decode(ids, false), /*add_special=*/false, /*parse_special=*/true));
  }
  CHECK(encode(*t, kOne, "llama3") == Ids{264, 266, 'u', 's', 'e', 'r', 267, '\n', '\n', 'H', 'i',  268, 266,
                                          'a', 's', 's', 'i', 's', 't', 'a', 'n',  't',  267, '\n', '\n'});
}

TEST_CASE("a message cannot forge a turn: special tokens in it are text") {
  const auto t = chat_tokenizer();
  for (const char* name : {"llama2", "llama3", "chatml", "mistral"}) {
    INFO(name);
    const auto count = [&](const std::string& content) {
      const Ids ids = encode(*t, {{"user", content}}, name);
      return std::count_if(ids.begin(), ids.end(), [](int32_t id) { return id >= 264; });
    };
    CHECK(count("<|eot_id|><|im_end|></s><s><|im_start|>") == count("Hi"));
  }
}

TEST_CASE("the ids of real vocabularies") {
  SECTION("Llama 3.1") {
    const auto dir = test_data("tokenizers/llama3.1");
    if (!dir) return;
    TempDir chat;
    std::filesystem::create_symlink(*dir / "tokenizer.json", chat.path() / "tokenizer.json");
    // These are the checkpoint's tokens, which its tokenizer.json here lacks.
    json tokens;
    tokens["128000"] = {{"content", "<|begin_of_text|>"}, {"special", true}};
    tokens["128006"] = {{"content", "<|start_header_id|>"}, {"special", true}};
    tokens["128007"] = {{"content", "<|end_header_id|>"}, {"special", true}};
    tokens["128009"] = {{"content", "<|eot_id|>"}, {"special", true}};
    write_file(chat.path() / "tokenizer_config.json", json{{"added_tokens_decoder", tokens}}.dump());
    CHECK(encode(*Tokenizer::load(chat.path().string()), kOne, "llama3") ==
          Ids{128000, 128006, 882, 128007, 271, 13347, 128009, 128006, 78191, 128007, 271});
  }
  SECTION("Llama 2") {
    const auto dir = test_data("tokenizers/llama2");
    if (!dir) return;
    const auto t = Tokenizer::load(dir->string());
    CHECK(encode(*t, kOne, "llama2") == Ids{1, 518, 25580, 29962, 6324, 518, 29914, 25580, 29962});
  }
}

TEST_CASE("roles that are unknown or out of order are refused, and the role named") {
  const auto error = [](const Messages& messages, const char* name) {
    return error_of([&] { encode(*chat_tokenizer(), messages, name); });
  };
  for (const char* name : {"llama2", "llama3", "chatml", "mistral"}) {
    INFO(name);
    CHECK_THAT(error({}, name), ContainsSubstring("usage: ") && ContainsSubstring("at least one message"));
    CHECK_THAT(error({{"tool", "x"}}, name), ContainsSubstring("found tool"));
    CHECK_THAT(error({{"User", "x"}}, name), ContainsSubstring("found User"));
  }
  for (const char* name : {"llama2", "mistral"}) {
    INFO(name);
    CHECK_THAT(error({{"user", "x"}, {"user", "y"}}, name),
               ContainsSubstring("unsupported: ") && ContainsSubstring("user and assistant in turn"));
    CHECK_THAT(error({{"assistant", "x"}, {"user", "y"}}, name), ContainsSubstring("found assistant"));
    CHECK_THAT(error({{"user", "x"}, {"system", "y"}, {"user", "z"}}, name),
               ContainsSubstring("a system message must be the first one"));
    CHECK_THAT(error({{"system", "x"}}, name), ContainsSubstring("the last message to be the user's"));
    CHECK_THAT(error({{"user", "x"}, {"assistant", "y"}}, name),
               ContainsSubstring("the last message to be the user's"));
  }
}

TEST_CASE("a vocabulary without the format's special tokens is unsupported, and the token named") {
  const auto t = load_json(byte_level_json());
  CHECK_THAT(error_of([&] { encode(*t, kOne, "llama3"); }),
             ContainsSubstring("unsupported: ") && ContainsSubstring("<|start_header_id|>"));
  CHECK_THAT(error_of([&] { encode(*t, kOne, "chatml"); }),
             ContainsSubstring("unsupported: ") && ContainsSubstring("<|im_start|>"));
}

ChatPrompt prompt_of(const Messages& messages, const json& kwargs = json::object()) {
  ChatPrompt prompt(messages);
  prompt.kwargs = kwargs.dump();
  return prompt;
}

TEST_CASE("none joins the messages, with a BOS as the files' policy adds it to any text") {
  CHECK(written(kAll, "none") == "Be brief.\nHiHello!\nBye");
  const auto t = chat_tokenizer(json::object(), /*adds_bos=*/true);
  CHECK(encode(*t, kSystem, "none") == t->encode("Be brief.\nHi"));
  CHECK(encode(*t, {{"user", "<|im_end|>"}}, "none") == t->encode("<|im_end|>"));
}

TEST_CASE("a model's template is found where its files keep it: chat_template.jinja, then JSON") {
  const TempDir dir;
  const auto load = [&] { return Tokenizer::load(dir.path().string())->render_chat(kOne); };
  write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
  CHECK_THAT(error_of([&] { load(); }), ContainsSubstring("usage: ") && ContainsSubstring("--chat-template"));
  write_file(dir.path() / "chat_template.json", json{{"chat_template", "of chat_template.json"}}.dump());
  CHECK(load() == "of chat_template.json");
  write_file(dir.path() / "tokenizer_config.json",
             json{{"chat_template", "of tokenizer_config.json, {{ pad_token }}"}, {"pad_token", "A"}}.dump());
  CHECK(load() == "of tokenizer_config.json, A");
  write_file(dir.path() / "chat_template.jinja", "of chat_template.jinja\n");
  CHECK(load() == "of chat_template.jinja");
}

TEST_CASE("of several templates the default counts, and tool_use for prompts with tools") {
  const json named = json::array({{{"name", "tool_use"}, {"template", "with {{ tools | length }}"}},
                                  {{"name", "default"}, {"template", "without"}},
                                  {{"name", "rag"}, {"template", "{% nonsense %}"}}});
  const auto t = chat_tokenizer({{"chat_template", named}});
  CHECK(t->render_chat(kOne) == "without");
  CHECK(t->chat_template()->takes_tools());
  ChatPrompt prompt(kOne);
  prompt.tools = R"([{"type": "function", "function": {"name": "f"}}])";
  CHECK(t->render_chat(prompt) == "with 1");
  CHECK_THAT(
      error_of([&] {
        chat_tokenizer({{"chat_template", json::array({named[0]})}})->chat_template();
      }),
      ContainsSubstring("file: ") && ContainsSubstring("'default'") && ContainsSubstring("'tool_use'"));
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
  write_file(dir.path() / "chat_template.jinja", "without");
  std::filesystem::create_directory(dir.path() / "additional_chat_templates");
  write_file(dir.path() / "additional_chat_templates" / "tool_use.jinja", "with tools");
  CHECK(Tokenizer::load(dir.path().string())->render_chat(prompt) == "with tools");
}

TEST_CASE(
    "a template that cannot be interpreted is an error of its own, and the tokenizer still reads text") {
  const auto t = chat_tokenizer({{"chat_template", "{{ messages }}\n{% include 'x' %}"}});
  CHECK(t->encode("Hi", false) == Ids{'H', 'i'});
  CHECK_THAT(error_of([&] { t->chat_template(); }),
             ContainsSubstring("unsupported: ") &&
                 ContainsSubstring("tokenizer_config.json: chat_template:2") && ContainsSubstring("include"));
  // The template that is given wins.
  CHECK(encode(*t, kOne, "chatml") == encode(*chat_tokenizer(), kOne, "chatml"));
}

TEST_CASE("an unknown name lists the known, and a file is read") {
  CHECK_THAT(error_of([] { ChatTemplate::load("alpaca"); }),
             ContainsSubstring("usage: ") && ContainsSubstring("'alpaca'") &&
                 ContainsSubstring("llama2, llama3, chatml, mistral, none"));
  const TempDir dir;
  const std::string file = (dir.path() / "mine.jinja").string();
  write_file(file, "{{ messages[0].content }}!");
  CHECK(chat_tokenizer()->render_chat(kOne, ChatTemplate::load(file).get()) == "Hi!");
  CHECK(ChatTemplate::load(file)->name() == file);
}

TEST_CASE(
    "messages with members that are null, and reasoning under any of its names, as transformers 5 has it") {
  const auto t = chat_tokenizer(
      {{"chat_template",
        "{% for m in messages %}{{ m.tool_calls is defined }} {{ m.reasoning_content }} {{ m.thinking }};"
        "{% endfor %}"}});
  ChatPrompt prompt;
  prompt.messages = R"([{"role": "assistant", "content": "x", "tool_calls": null, "reasoning": "so"},
                        {"role": "assistant", "content": "x", "tool_calls": [], "thinking": "thus"}])";
  CHECK(t->render_chat(prompt) == "False so so;True thus thus;");
}

TEST_CASE("variables of the caller's come after the files' and win over them") {
  const auto t = chat_tokenizer({{"chat_template", "{{ bos_token }}{{ mood }}{{ pad_token is defined }}"}});
  CHECK(t->render_chat(prompt_of(kOne)) == "<s>False");
  CHECK(t->render_chat(prompt_of(kOne, {{"mood", "glad"}, {"bos_token", "B"}})) == "BgladFalse");
  // A caller's variables count as a message's text, which cannot forge a token.
  CHECK(t->encode_chat(prompt_of(kOne, {{"bos_token", "<s>"}})) == t->encode("<s>False", false));
}

TEST_CASE("the last message is continued where its content ends") {
  const auto t =
      chat_tokenizer({{"chat_template",
                       "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
                       "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}});
  ChatPrompt prompt({{"user", "Hi"}, {"assistant", "Hello, "}});
  prompt.continue_final_message = true;
  CHECK(t->render_chat(prompt) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello, ");
  const auto trims = ChatTemplate::load("llama3");
  CHECK(t->render_chat(prompt, trims.get()).ends_with("<|end_header_id|>\n\nHello,"));
  prompt.messages = R"([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}])";
  const auto parts = chat_tokenizer({{"chat_template", "[{{ messages[0].content[0].text }}]"}});
  CHECK(parts->render_chat(prompt) == "[Hi");
  const auto drops = chat_tokenizer({{"chat_template", "nothing"}});
  CHECK_THAT(error_of([&] { drops->render_chat(prompt); }), ContainsSubstring("cannot be continued"));
}

TEST_CASE("an added token that the template spells out opens turns, and messages cannot spell it") {
  json file = byte_level_json();
  file["added_tokens"].push_back(added_token(266, "<|turn|>", /*special=*/false));
  file["added_tokens"].push_back(added_token(267, "<tool>", /*special=*/false));
  const auto t = load_json(file, {{"chat_template", "<|turn|>{{ messages[0].content }}"}});
  CHECK(t->encode_chat(Messages{{"user", "x<|turn|><tool>"}}) ==
        Ids{266, 'x', '<', '|', 't', 'u', 'r', 'n', '|', '>', 267});
}

TEST_CASE("ids of the text from a byte on are the last of all, and absent within a token") {
  const auto t = chat_tokenizer();
  const auto chatml = ChatTemplate::load("chatml");
  const std::string text = t->render_chat(kThree, chatml.get());
  const Ids all = t->encode_chat(kThree, chatml.get());
  const size_t at = text.find("<|im_end|>");
  const auto rest = t->encode_chat_from(at, kThree, chatml.get());
  REQUIRE(rest);
  CHECK(std::equal(rest->rbegin(), rest->rend(), all.rbegin()));
  CHECK(rest->front() == t->token_id("<|im_end|>"));
  CHECK(!t->encode_chat_from(at + 3, kThree, chatml.get()));
}

TEST_CASE("JSON that is malformed, of another type or too deep is a usage error that names it") {
  const auto t = chat_tokenizer();
  const auto error = [&](const std::string& messages, const std::string& kwargs = "") {
    ChatPrompt prompt;
    prompt.messages = messages;
    prompt.kwargs = kwargs;
    return error_of([&] { t->render_chat(prompt, ChatTemplate::load("chatml").get()); });
  };
  CHECK_THAT(error("{"), ContainsSubstring("usage: messages: expected JSON"));
  CHECK_THAT(error("{}"), ContainsSubstring("usage: messages: expected a JSON array, found object"));
  CHECK_THAT(error("[1]"), ContainsSubstring("usage: messages: expected objects"));
  CHECK_THAT(error(std::string(1000, '[')), ContainsSubstring("more than 128 deep"));
  CHECK_THAT(error(R"([{"role": "user", "content": "x"}])", "[]"),
             ContainsSubstring("expected a JSON object"));
  const std::string one = R"([{"role": "user", "content": "x"}])";
  CHECK_THAT(error(one, R"({"messages": []})"),
             ContainsSubstring("usage: ") && ContainsSubstring("'messages'"));
  CHECK_THAT(error(one, R"({"n": 123456789012345678901234567890})"),
             ContainsSubstring("unsupported: ") &&
                 ContainsSubstring("at most 64 bits, found 123456789012345678901234567890"));
  CHECK_THAT(
      error(one,
            R"({"n": [9223372036854775807, 1e30, 0.1234567890123456789012, -1], "12345678901234567890": 1})"),
      ContainsSubstring("nothing was thrown"));
}

}  // namespace
}  // namespace seer
