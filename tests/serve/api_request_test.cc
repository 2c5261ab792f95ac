// Requests: the values read from them, and the field that a refusal names.
#include "tools/seer/serve/api_request.h"

#include "tests/support/catch.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

ApiRequest completion(const std::string& body) { return parse_completion(parse_body(body)); }
Json whole_body(const std::string& body) { return parse_body(body); }
ApiRequest chat(const std::string& body) { return parse_chat(parse_body(body)); }

template <typename Parse>
void check_refused(const Parse& parse, const std::string& body, const std::string& param,
                   const std::vector<std::string>& words) {
  INFO(body.substr(0, 1000));
  try {
    parse(body);
  } catch (const ApiError& error) {
    CHECK(error.status() == kBadRequest);
    const auto json = error.to_json()["error"];
    CHECK(json["type"] == "invalid_request_error");
    CHECK((json["param"].is_null() ? "" : json["param"].get<std::string>()) == param);
    for (const std::string& word : words) CHECK_THAT(error.what(), ContainsSubstring(word));
    return;
  }
  FAIL_CHECK("it was accepted");
}

void completion_refused(const std::string& field, const std::string& param,
                        const std::vector<std::string>& words) {
  check_refused(completion, R"({"prompt":"x",)" + field + "}", param, words);
}

void chat_refused(const std::string& body, const std::string& param, const std::vector<std::string>& words) {
  check_refused(chat, body, param, words);
}

TEST_CASE("a completion request is read with every field") {
  const ApiRequest r = completion(
      R"({"model":"m","prompt":["a","b"],"max_tokens":7,"temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,"n":2,)"
      R"("stop":["x","y"],"stream":true,"stream_options":{"include_usage":true},"echo":true,"seed":-3,)"
      R"("stop_token_ids":[7,8],"min_tokens":3,"logprobs":5,"logit_bias":{"9":-100,"4":1.5},"repetition_penalty":1.2,)"
      R"("repeat_last_n":-1,"best_of":2,"skip_special_tokens":false,"add_special_tokens":false,"parse_special":false,)"
      R"("presence_penalty":1,"frequency_penalty":-2,"ignore_eos":true,"sparse":"nz_ratio=0.1",)"
      R"("sparse_decode":"threshold=0.01"})");
  CHECK_FALSE(r.chat);
  CHECK(r.model == "m");
  CHECK(r.prompts == std::vector<PromptInput>{"a", "b"});
  CHECK(r.n_choices() == 4);
  CHECK(r.max_tokens == 7);
  CHECK(r.stop == std::vector<std::string>{"x", "y"});
  CHECK((r.stream && r.include_usage && r.echo && r.ignore_eos));
  CHECK(r.stop_token_ids == std::vector<int32_t>{7, 8});
  CHECK(r.min_tokens == 3);
  CHECK(r.n_logprobs == 5);
  CHECK_FALSE((r.skip_special_tokens || r.add_special_tokens));
  CHECK(r.parse_special == false);
  CHECK(r.sparse == SparseRule{SparseRule::Method::kNzRatio, 0.1});
  CHECK(r.sparse_decode == SparseDecodeRule{SparseDecodeRule::Method::kThreshold, 0.01});
  const SamplingParams params = r.sampling(SamplingParams{}, 1);
  CHECK(params.temperature == 0.5);
  CHECK(params.top_p == 0.9);
  CHECK(params.top_k == 40);
  CHECK(params.min_p == 0.1);
  CHECK(params.presence_penalty == 1.0);
  CHECK(params.frequency_penalty == -2.0);
  CHECK(params.seed == static_cast<uint64_t>(-2));  // each choice has a seed of its own
  CHECK(params.repeat_penalty == 1.2);
  CHECK(params.repeat_last_n == -1);
  CHECK(params.logit_bias == std::map<int32_t, double>{{9, -100.0}, {4, 1.5}});
}

TEST_CASE("parameters that are absent or null are the model's") {
  const ApiRequest r =
      completion(R"({"prompt":"x","temperature":null,"stop":null,"seed":null,"stream":null})");
  SamplingParams standard;
  standard.temperature = 0.3;
  standard.top_k = 12;
  const SamplingParams params = r.sampling(standard, 0);
  CHECK(params.temperature == 0.3);
  CHECK(params.top_k == 12);
  CHECK_FALSE(params.seed);
  CHECK_FALSE(r.max_tokens);
  CHECK_FALSE(r.sparse);
  CHECK_FALSE(r.sparse_decode);
  CHECK(r.n == 1);
  CHECK(completion(R"({"prompt":"x","top_k":-1})").sampling(standard, 0).top_k == 0);  // all
  CHECK_FALSE(completion(R"({"prompt":"x","seed":-1})").sampling(standard, 0).seed);   // random
  CHECK_FALSE(r.n_logprobs);
  CHECK_FALSE(r.parse_special);
  CHECK((r.skip_special_tokens && r.add_special_tokens));
}

TEST_CASE("a prompt is text or ids, one or many") {
  using Ids = std::vector<int32_t>;
  CHECK(completion(R"({"prompt":""})").prompts == std::vector<PromptInput>{""});
  CHECK(completion(R"({"prompt":[1,2]})").prompts == std::vector<PromptInput>{Ids{1, 2}});
  CHECK(completion(R"({"prompt":[[1],[2,3]]})").prompts == std::vector<PromptInput>{Ids{1}, Ids{2, 3}});
  check_refused(completion, "{}", "prompt", {"missing"});
  check_refused(completion, R"({"prompt":7})", "prompt", {"expected a string", "the number 7"});
  check_refused(completion, R"({"prompt":[]})", "prompt", {"an empty array"});
  check_refused(completion, R"({"prompt":[[]]})", "prompt", {"prompt[0]", "an empty array"});
  check_refused(completion, R"({"prompt":["a",1]})", "prompt[1]", {"expected a string", "the number 1"});
  check_refused(completion, R"({"prompt":[1,"a"]})", "prompt[1]", {"a token id", "'a'"});
  check_refused(completion, R"({"prompt":[1,-1]})", "prompt[1]", {"a token id", "-1"});
  check_refused(completion, R"({"prompt":[2147483648]})", "prompt[0]", {"2147483648"});
  check_refused(completion, R"({"prompt":[1.5]})", "prompt[0]", {"1.5"});
}

TEST_CASE("a wrong type or value is named with the field and what was expected") {
  completion_refused(R"("temperature":"hot")", "temperature", {"a number from 0 to 2", "the string 'hot'"});
  completion_refused(R"("temperature":2.5)", "temperature", {"from 0 to 2", "2.5"});
  completion_refused(R"("max_tokens":1.5)", "max_tokens", {"a whole number", "1.5"});
  completion_refused(R"("max_tokens":-1)", "max_tokens", {"at least 0", "-1"});
  completion_refused(R"("n":0)", "n", {"from 1 to 128"});
  completion_refused(R"("n":18446744073709551615)", "n", {"18446744073709551615"});
  completion_refused(R"("seed":9223372036854775808)", "seed", {"64 bits", "9223372036854775808"});
  completion_refused(R"("stream":1)", "stream", {"true or false", "the number 1"});
  completion_refused(R"("stop":[1])", "stop[0]", {"a string"});
  completion_refused(R"("stop":"")", "stop", {"empty"});
  CHECK(completion(R"({"prompt":"x","stop":["a","b","c","d","e"]})").stop.size() == 5);
  std::string many = "\"a\"";
  for (int i = 0; i < 64; ++i) many += ",\"a\"";
  completion_refused("\"stop\":[" + many + "]", "stop", {"up to 64", "65"});
  const std::string longest(1024, 'x');
  CHECK(completion("{\"prompt\":\"x\",\"stop\":\"" + longest + "\"}").stop[0] == longest);
  completion_refused("\"stop\":\"x" + longest + "\"", "stop", {"at most 1024 bytes", "1025"});
  completion_refused("\"stop\":[\"x" + longest + "\"]", "stop[0]", {"at most 1024 bytes"});
  std::string ids = "0";
  for (int i = 1; i < 1024; ++i) ids += ",0";
  CHECK(completion("{\"prompt\":\"x\",\"stop_token_ids\":[" + ids + "]}").stop_token_ids.size() == 1024);
  completion_refused("\"stop_token_ids\":[0," + ids + "]", "stop_token_ids", {"at most 1024", "1025"});
  completion_refused(R"("logprobs":21)", "logprobs", {"from 0 to 20", "21"});
  completion_refused(R"("logprobs":true)", "logprobs", {"a whole number", "true"});
  completion_refused(R"("logit_bias":[1])", "logit_bias", {"an object"});
  completion_refused(R"("logit_bias":{"x":1})", "logit_bias", {"token ids", "'x'"});
  completion_refused(R"("logit_bias":{"-1":1})", "logit_bias", {"'-1'"});
  completion_refused(R"("logit_bias":{"5":101})", "logit_bias.5", {"-100 to 100", "101"});
  completion_refused(R"("stop_token_ids":["a"])", "stop_token_ids[0]", {"a token id", "'a'"});
  completion_refused(R"("stop_token_ids":5)", "stop_token_ids", {"an array of token ids"});
  completion_refused(R"("min_tokens":5,"max_tokens":4)", "min_tokens", {"at most max_tokens", "4", "5"});
  completion_refused(R"("repetition_penalty":0)", "repetition_penalty", {"0.01"});
  completion_refused(R"("repeat_last_n":-2)", "repeat_last_n", {"at least -1"});
  completion_refused(R"("sparse":"half")", "sparse", {"half"});
  completion_refused(R"("sparse_decode":"half")", "sparse_decode", {"half"});
  completion_refused(R"("sparse_decode":"budget=-64")", "sparse_decode", {"budget=-64", "ratio=R"});
  completion_refused(R"("stream_options":{"include_usage":true})", "stream_options", {"'stream' to true"});
  completion_refused(R"("stream":true,"stream_options":{"includ_usage":true})", "stream_options.includ_usage",
                     {"'include_usage'"});
  completion_refused(R"("top_p":[0.5])", "top_p", {"an array"});
}

TEST_CASE("unknown fields are refused with a near name") {
  completion_refused(R"("max_token":5)", "max_token", {"unknown", "'max_tokens'"});
  completion_refused(R"("zzz":5)", "zzz", {"unknown field 'zzz'"});
  chat_refused(R"({"mesages":[1]})", "mesages", {"'messages'"});
}

TEST_CASE("fields the API knows and this server does not are refused unless they ask for nothing") {
  completion_refused(R"("best_of":3)", "best_of", {"not supported", "3"});
  completion_refused(R"("include_stop_str_in_output":true)", "include_stop_str_in_output", {"not supported"});
  completion_refused(R"("response_format":{"type":"json_object"})", "response_format", {"not supported"});
  completion_refused(R"("suffix":"end")", "suffix", {"not supported"});
  CHECK_NOTHROW(completion(
      R"({"prompt":"x","logprobs":null,"best_of":1,"echo":null,"use_beam_search":false,"suffix":"","logit_bias":{},"user":"u","service_tier":"flex"})"));
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  for (const char* neutral :
       {R"("tools":[])", R"("tool_choice":"auto")", R"("tool_choice":"none")",
        R"("response_format":{"type":"text"})", R"("logprobs":false)", R"("top_logprobs":0)",
        R"("modalities":["text"])", R"("parallel_tool_calls":true)", R"("functions":[])",
        R"("function_call":"none")", R"("store":false)", R"("metadata":{"a":"b"})", R"("verbosity":"medium")",
        R"("reasoning_effort":"none")", R"("tools":null)"}) {
    INFO(neutral);
    CHECK_NOTHROW(chat(messages + neutral + "}"));
  }
  // Any field is accepted if it is null, false or empty, whatever its name.
  for (const char* value : {"null", "false", "[]", "{}"})
    CHECK_NOTHROW(chat(messages + R"("some_extension":)" + value + "}"));
  chat_refused(messages + R"("some_extension":0})", "some_extension", {"unknown"});
  for (const char* name : {"response_format", "modalities", "audio", "prediction", "functions",
                           "web_search_options", "chat_template"})
    chat_refused(messages + "\"" + name + R"(":"something"})", name, {"not supported"});
  chat_refused(messages + R"("response_format":{"type":"json_object"}})", "response_format", {"an object"});
}

TEST_CASE("messages are text, whole or in parts") {
  const ApiRequest r = chat(
      R"({"messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},)"
      R"({"type":"text","text":"b"}],"name":"n"},{"role":"assistant","content":"c","refusal":null,"tool_calls":[]},)"
      R"({"role":"user","content":""}],"max_completion_tokens":9})");
  CHECK(r.input.messages ==
        Json::parse(R"([{"role":"system","content":"s"},)"
                    R"({"role":"user","content":"a\nb","name":"n"},)"
                    R"({"role":"assistant","content":"c"},{"role":"user","content":""}])"));
  CHECK(r.max_tokens == 9);
  CHECK(r.n_choices() == 1);
}

TEST_CASE("an invalid message is named by its place") {
  chat_refused("{}", "messages", {"missing"});
  chat_refused(R"({"messages":[]})", "messages", {"at least one message"});
  chat_refused(R"({"messages":"hi"})", "messages", {"an array", "'hi'"});
  chat_refused(R"({"messages":["hi"]})", "messages[0]", {"an object"});
  chat_refused(R"({"messages":[{"role":"function","content":"x"}]})", "messages[0].role",
               {"'function'", "'tool'"});
  chat_refused(R"({"messages":[{"content":"x"}]})", "messages[0].role", {"none"});
  chat_refused(R"({"messages":[{"role":"user"}]})", "messages[0].content", {"missing"});
  chat_refused(R"({"messages":[{"role":"assistant","content":null}]})", "messages[0].content", {"missing"});
  chat_refused(R"({"messages":[{"role":"user","content":5}]})", "messages[0].content", {"the number 5"});
  chat_refused(R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]})",
               "messages[0].content[0].type", {"'image_url'", "'text'"});
  chat_refused(R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})", "messages[0].content[0].text",
               {"missing"});
  chat_refused(R"({"messages":[{"role":"user","content":"x","tool_calls":[{}]}]})", "messages[0].tool_calls",
               {"not supported"});
  chat_refused(R"({"messages":[{"role":"assistant","tool_calls":[{}]}]})",
               "messages[0].tool_calls[0].function", {"missing"});
  chat_refused(R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}]})",
               "messages[0].tool_calls[0].function.name", {"missing"});
  chat_refused(
      R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":5}}]}]})",
      "messages[0].tool_calls[0].function.arguments", {"JSON", "5"});
  chat_refused(R"({"messages":[{"role":"user","content":"x","rolle":1}]})", "messages[0].rolle", {"'role'"});
}

TEST_CASE("calls of functions come back as the template wants them, members in their order") {
  const ApiRequest r = chat(
      R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":null,"reasoning_content":"hm",)"
      R"("tool_calls":[{"id":"c1","type":"function","index":0,"function":{"name":"f","arguments":"{\"z\": 1, \"a\": 2}"}},)"
      R"({"function":{"name":"g","arguments":"no JSON"}},{"function":{"name":"h","arguments":""}}]},)"
      R"({"role":"tool","tool_call_id":"c1","content":"ok"}]})");
  CHECK(r.input.messages.dump() ==
        R"([{"role":"user","content":"x"},{"role":"assistant","content":"","reasoning_content":"hm",)"
        R"("reasoning":"hm","tool_calls":[{"id":"c1","type":"function","function":{"name":"f",)"
        R"("arguments":{"z":1,"a":2}}},{"type":"function","function":{"name":"g","arguments":"no JSON"}},)"
        R"({"type":"function","function":{"name":"h","arguments":{}}}]},)"
        R"({"role":"tool","content":"ok","tool_call_id":"c1"}])");
  const std::string deep(65, '['), closed(65, ']');
  chat_refused(R"({"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":")" +
                   deep + closed + R"("}}]}]})",
               "", {"64", "arguments"});
}

TEST_CASE("tools are offered unless the choice is none") {
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","description":"d","strict":true,)"
      R"("parameters":{"type":"object","properties":{"z":{},"a":{}}}}}])";
  const ApiRequest r = chat(messages + tools + R"(,"tool_choice":"auto","parallel_tool_calls":false})");
  CHECK(r.input.tools.dump() == R"([{"type":"function","function":{"name":"f","description":"d",)"
                                R"("parameters":{"type":"object","properties":{"z":{},"a":{}}}}}])");
  CHECK(r.input.tool_names() == std::vector<std::string>{"f"});
  CHECK_FALSE(r.parallel_tool_calls);
  CHECK(chat(messages + tools + R"(,"tool_choice":"none"})").input.tools.empty());
  for (const char* choice : {R"("required")", R"({"type":"function","function":{"name":"f"}})"})
    chat_refused(messages + tools + R"(,"tool_choice":)" + choice + "}", "tool_choice", {"'auto' or 'none'"});
  chat_refused(messages + R"("tools":{"a":1}})", "tools", {"an array"});
  chat_refused(messages + R"("tools":[{"type":"web_search"}]})", "tools[0].type", {"'web_search'"});
  chat_refused(messages + R"("tools":[{"type":"function"}]})", "tools[0].function", {"missing"});
  chat_refused(messages + R"("tools":[{"type":"function","function":{}}]})", "tools[0].function.name",
               {"missing"});
  chat_refused(messages + R"("tools":[{"type":"function","function":{"name":""}}]})",
               "tools[0].function.name", {"empty"});
  chat_refused(messages + R"("tools":[{"type":"function","function":{"name":"f","parameters":[]}}]})",
               "tools[0].function.parameters", {"an object"});
}

TEST_CASE("further variables reach the template") {
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  CHECK(chat(messages + R"("chat_template_kwargs":{"enable_thinking":false,"x":[1]}})").input.kwargs.dump() ==
        R"({"enable_thinking":false,"x":[1]})");
  CHECK(chat(messages + R"("reasoning_effort":"low","documents":[{"text":"d"}]})").input.kwargs.dump() ==
        R"({"reasoning_effort":"low","enable_thinking":true,"documents":[{"text":"d"}]})");
  CHECK(chat(messages + R"("reasoning_effort":"none"})").input.kwargs["enable_thinking"] == false);
  CHECK(chat(messages + R"("reasoning_effort":"none","chat_template_kwargs":{"enable_thinking":true}})")
            .input.kwargs["enable_thinking"] == true);
  chat_refused(messages + R"("chat_template_kwargs":5})", "chat_template_kwargs", {"an object"});
  chat_refused(messages + R"("chat_template_kwargs":{"messages":[]}})", "chat_template_kwargs.messages",
               {"field"});
}

TEST_CASE("an assistant's message at the end goes on, unless the request says otherwise") {
  const auto ending = [](const std::string& fields, const std::string& more = "") {
    const ChatInput input =
        chat(R"({"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"So")" + more +
             "}]" + fields + "}")
            .input;
    return std::pair(input.add_generation_prompt, input.continue_final_message);
  };
  using Ending = std::pair<bool, bool>;
  CHECK(ending("") == Ending{false, true});
  CHECK(ending(R"(,"add_generation_prompt":true)") == Ending{true, false});
  CHECK(ending(R"(,"continue_final_message":false)") == Ending{true, false});
  CHECK(ending(R"(,"add_generation_prompt":false,"continue_final_message":false)") == Ending{false, false});
  CHECK(ending("", R"(,"tool_calls":[{"function":{"name":"f"}}])") == Ending{true, false});
  const std::string user = R"({"messages":[{"role":"user","content":"x"}],)";
  CHECK_FALSE(chat(user + R"("add_generation_prompt":false})").input.add_generation_prompt);
  chat_refused(user + R"("continue_final_message":true})", "continue_final_message",
               {"the assistant's", "'user'"});
  chat_refused(
      R"({"messages":[{"role":"assistant","content":"x"}],"continue_final_message":true,"add_generation_prompt":true})",
      "continue_final_message", {"excludes"});
}

TEST_CASE("log-probabilities of a chat are asked for by two fields") {
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  CHECK(chat(messages + R"("logprobs":true})").n_logprobs == 0);
  CHECK(chat(messages + R"("logprobs":true,"top_logprobs":20})").n_logprobs == 20);
  CHECK_FALSE(chat(messages + R"("logprobs":false,"top_logprobs":0})").n_logprobs);
  chat_refused(messages + R"("top_logprobs":2})", "top_logprobs", {"'logprobs'"});
  chat_refused(messages + R"("logprobs":true,"top_logprobs":21})", "top_logprobs", {"from 0 to 20"});
  chat_refused(messages + R"("logprobs":1})", "logprobs", {"true or false"});
}

TEST_CASE("two names of one limit must agree") {
  const std::string messages = R"({"messages":[{"role":"user","content":"x"}],)";
  CHECK(chat(messages + R"("max_tokens":3})").max_tokens == 3);
  CHECK(chat(messages + R"("max_tokens":3,"max_completion_tokens":3})").max_tokens == 3);
  chat_refused(messages + R"("max_tokens":3,"max_completion_tokens":4})", "max_tokens", {"differ"});
  chat_refused(messages + R"("max_tokens":0})", "max_tokens", {"at least 1"});
}

TEST_CASE("a body is one JSON object, nested 64 deep at most") {
  const auto nested = [](size_t depth) {
    return R"({"prompt":)" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  CHECK_NOTHROW(parse_body(nested(64)));
  check_refused(whole_body, nested(65), "", {"64"});
  check_refused(whole_body, std::string(1'000'000, '['), "", {"64"});
  check_refused(whole_body, "", "", {"empty"});
  check_refused(whole_body, "{} x", "", {"not valid JSON"});
  check_refused(whole_body, "\"text\"", "", {"a JSON object", "'text'"});
  check_refused(whole_body, "{\"a\":\"\xc3\"}", "", {"not valid JSON"});
  check_refused(whole_body, R"({"a":1,"a":2})", "", {"column 10", "\"a\" is there twice"});
  check_refused(whole_body, R"({"a":1e999})", "", {"not valid JSON"});
  std::string members;
  for (int i = 0; i < 1024; ++i) members += "\"m" + std::to_string(i) + "\":{},";
  CHECK_NOTHROW(parse_body("{" + members.substr(0, members.size() - 1) + "}"));
  check_refused(whole_body, "{" + members + "\"z\":0}", "", {"1024"});
}

TEST_CASE("a body's values are counted, and so are those in the texts of calls' arguments") {
  const auto zeros = [](size_t n) {
    std::string text = "0";
    text.reserve(2 * n);
    for (size_t i = 1; i < n; ++i) text += ",0";
    return text;
  };
  CHECK_NOTHROW(parse_body("{\"a\":[" + zeros(kMaxValues - 2) + "]}"));
  check_refused(whole_body, "{\"a\":[" + zeros(kMaxValues - 1) + "]}", "", {"more than 3000000 values"});
  CHECK_NOTHROW(parse_body("{\"a\":[" + zeros(kMaxChatValues - 2) + "]}", kMaxChatValues));
  check_refused([](const std::string& text) { return parse_body(text, kMaxChatValues); },
                "{\"a\":[" + zeros(kMaxChatValues - 1) + "]}", "", {"more than 300000 values"});
  // The message names the limit that was passed.
  check_refused([](const std::string& text) { return parse_body(text, 4); }, R"({"a":[0,0,0]})", "",
                {"the body brings the request to more than 4 values"});
  // Two texts, each with two thirds of the allowed values.
  const std::string call = R"({"type":"function","function":{"name":"f","arguments":"{\"a\":[)" +
                           zeros(kMaxChatValues / 3 * 2) + R"(]}"}})";
  const std::string message = R"({"role":"assistant","tool_calls":[)" + call + "]}";
  const std::string end = R"(,{"role":"user","content":"x"}]})";
  CHECK_NOTHROW(parse_chat(parse_body(R"({"messages":[)" + message + end)));
  check_refused([](const std::string& text) { return parse_chat(parse_body(text)); },
                R"({"messages":[)" + message + "," + message + end, "",
                {"messages[1]", "more than 300000 values"});
}

}  // namespace
}  // namespace seer::serve
