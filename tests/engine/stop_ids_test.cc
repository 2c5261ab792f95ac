// The ends of a generation: ids from every file that names one, a request's own ids and strings, and none of
// them before the minimum of tokens.
#include "engine/src/stop_ids.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer::testing {
namespace {

constexpr const char* kChatMl =
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

// The demo model's weights, which have 4096 ids, with a tokenizer of 268 ids. 265 "<|eos|>" is its EOS, 266
// "<|im_end|>" is special, and 267 "[END]" is an added token that is not special.
class Padded {
 public:
  explicit Padded(const std::string& generation_config, const nlohmann::json& tokenizer_config = nullptr) {
    std::filesystem::create_symlink(demo_model() / "model" / "model.safetensors",
                                    dir_.path() / "model.safetensors");
    nlohmann::json config = nlohmann::json::parse(read_file(demo_model() / "model" / "config.json"));
    config["eos_token_id"] = 300;
    write_file(dir_.path() / "config.json", config.dump());
    if (!generation_config.empty()) write_file(dir_.path() / "generation_config.json", generation_config);
    nlohmann::json tokenizer = byte_level_json();
    tokenizer["added_tokens"].push_back(added_token(266, "<|im_end|>", true));
    tokenizer["added_tokens"].push_back(added_token(267, "[END]", false));
    write_file(dir_.path() / "tokenizer.json", tokenizer.dump());
    nlohmann::json text = {{"eos_token", "<|eos|>"}, {"chat_template", kChatMl}};
    if (!tokenizer_config.is_null()) text = tokenizer_config;
    write_file(dir_.path() / "tokenizer_config.json", text.dump());
    options_ = demo_options(256);
    options_.model_dir = dir_.path().string();
    options_.gates_dir.clear();
  }
  std::shared_ptr<Engine> load() { return Engine::load(options_); }
  EngineOptions& options() { return options_; }

 private:
  TempDir dir_;
  EngineOptions options_;
};

using Sources = std::vector<std::pair<int32_t, std::string>>;

Sources sources(const ModelInfo& model) {
  Sources out;
  for (const StopId& stop : model.stop_ids) out.emplace_back(stop.id, stop.source);
  return out;
}

// Returns a request that chooses `ids` as far as it may, and then ends.
GenerateRequest scripted(const Ids& ids) {
  GenerateRequest request = greedy({'H', 'i'}, static_cast<int64_t>(ids.size()));
  request.ignore_eos = false;
  request.sparse.reset();
  request.on_logits = [ids](std::span<const int32_t> tokens, std::span<float> logits) {
    logits[static_cast<size_t>(ids.at(tokens.size() - 2))] = 1e6F;
  };
  return request;
}

TEST_CASE("stop ids are the union of all files that name one, with where each comes from") {
  Padded model(R"({"eos_token_id": [300, 301]})");
  const auto engine = model.load();
  CHECK(sources(engine->model()) == Sources{{300, "generation_config.json, config.json"},
                                            {301, "generation_config.json"},
                                            {265, "the tokenizer's eos_token <|eos|>"},
                                            {266, "the chat template's end of turn <|im_end|>"}});
  CHECK(engine->model().eos_ids == Ids{300, 301, 265, 266});
  for (const int32_t id : engine->model().eos_ids) {
    const GenerateResult result = engine->submit(scripted({'a', id, 'b'}))->wait();
    CHECK(result.text == "a");
    CHECK(result.tokens == Ids{'a'});
    CHECK(result.finish == FinishReason::kEos);
    CHECK(result.stop_id == id);
  }
}

TEST_CASE("an end of turn counts only if the model's own template writes it") {
  Padded model("", {{"eos_token", "<|eos|>"}, {"chat_template", "{{ messages[0].content }}"}});
  CHECK(model.load()->model().eos_ids == Ids{300, 265});
  Padded none("", nlohmann::json::object());
  CHECK(none.load()->model().eos_ids == Ids{300});
}

TEST_CASE("ids that no logit has and negative ones end nothing") {
  Padded model(R"({"eos_token_id": [-1, 4096, 299]})", nlohmann::json::object());
  CHECK(sources(model.load()->model()) == Sources{{299, "generation_config.json"}, {300, "config.json"}});
}

TEST_CASE("the EOS that a family has by default counts if no file says anything") {
  ModelConfig config;
  config.architecture = "LlamaForCausalLM";
  config.n_vocab = 10;
  config.eos_ids = {2};
  config.default_eos = true;
  GenerationConfig generation;
  const auto ids = [&] { return find_stop_ids(generation, config, nullptr, ""); };
  REQUIRE(ids().size() == 1);
  CHECK(ids().front().source == "the default of transformers for LlamaForCausalLM");
  generation.exists = true;  // transformers then uses that file, even if it has no eos_token_id
  CHECK(ids().empty());
  generation.eos_ids = {7};
  REQUIRE(ids().size() == 1);
  CHECK(ids().front().id == 7);
}

TEST_CASE("ids beyond the tokenizer decode to nothing, and go in as a prompt") {
  Padded model("");
  const auto engine = model.load();
  const GenerateResult result = engine->new_session()->generate(scripted({'a', 268, 'b', 4095, 'c'}));
  CHECK(result.text == "abc");
  CHECK(result.tokens == Ids{'a', 268, 'b', 4095, 'c'});
  CHECK(result.finish == FinishReason::kLength);
  CHECK(engine->submit(greedy({268, 4095, 300}, 2))->wait().tokens.size() == 2);
}

TEST_CASE("stop_token_ids end a generation without text of their own") {
  Padded model("");
  const auto engine = model.load();
  GenerateRequest request = scripted({'a', 'b', 'c', 'd'});
  request.stop_token_ids = {'x', 'c'};
  request.ignore_eos = true;  // it concerns only EOS
  std::vector<int32_t> seen;
  request.on_token = [&](const TokenEvent& event) {
    seen.push_back(event.id);
    return true;
  };
  const auto session = engine->new_session();
  const GenerateResult result = session->generate(request);
  CHECK(result.text == "ab");
  CHECK(result.tokens == Ids{'a', 'b'});
  CHECK(result.finish == FinishReason::kStopToken);
  CHECK(result.stop_id == 'c');
  CHECK(result.stop.empty());
  CHECK(result.stats.n_generated == 3);
  CHECK(seen == Ids{'a', 'b', 'c'});
  CHECK(session->tokens() == Ids{'H', 'i', 'a', 'b', 'c'});
}

TEST_CASE("a stop id that is an EOS too is an EOS") {
  Padded model("");
  GenerateRequest request = scripted({'a', 300});
  request.stop_token_ids = {300};
  CHECK(model.load()->submit(request)->wait().finish == FinishReason::kEos);
}

TEST_CASE("a stop string that names a token is met by that token, and by its text") {
  Padded model("", {{"eos_token", "<|eos|>"}});
  const auto engine = model.load();
  for (const auto& [name, id] : {std::pair<std::string, int32_t>{"<|im_end|>", 266}, {"[END]", 267}}) {
    GenerateRequest request = scripted({'a', id, 'b'});
    CHECK(engine->submit(request)->wait().tokens.size() == 3);
    request.stop = {"zzz", name};
    GenerateResult result = engine->submit(request)->wait();
    CHECK(result.text == "a");
    CHECK(result.finish == FinishReason::kStopString);
    CHECK(result.stop == name);
    CHECK(result.stop_id == id);
    Ids spelled = {'a'};
    spelled.insert(spelled.end(), name.begin(), name.end());
    spelled.push_back('b');
    request = scripted(spelled);
    request.stop = {name};
    result = engine->submit(request)->wait();
    CHECK(result.text == "a");
    CHECK(result.stop == name);
    CHECK(result.stop_id == -1);
  }
}

TEST_CASE("until min_new_tokens are chosen nothing ends the generation") {
  Padded model("");
  const auto engine = model.load();
  GenerateRequest request = greedy({'H', 'i'}, 20);
  request.ignore_eos = false;
  request.sparse.reset();
  // The ids that end it are likelier than any other.
  request.on_logits = [](std::span<const int32_t>, std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), 0.0F);
    logits['s'] = 5.0F, logits['x'] = 8.0F, logits[266] = 7.0F, logits[300] = 9.0F;
  };
  request.stop_token_ids = {'x'};
  for (const int64_t least : {0, 1, 5, 20}) {
    request.min_new_tokens = least;
    const GenerateResult result = engine->submit(request)->wait();
    CHECK(result.tokens == Ids(static_cast<size_t>(least), 's'));
    CHECK(result.finish == (least == 20 ? FinishReason::kLength : FinishReason::kEos));
  }
}

TEST_CASE("stop strings are looked for in the text after min_new_tokens") {
  Padded model("");
  const auto engine = model.load();
  GenerateRequest request = scripted({'x', 'y', 'x', 'y', 'z'});
  request.stop = {"xy"};
  request.min_new_tokens = 2;
  GenerateResult result = engine->submit(request)->wait();
  CHECK(result.text == "xy");
  CHECK(result.stop == "xy");
  CHECK(result.stats.n_generated == 4);
  request.min_new_tokens = 3;
  CHECK(engine->submit(request)->wait().text == "xyxyz");
}

TEST_CASE("requests that cannot be are refused by name") {
  Padded model("");
  const auto engine = model.load();
  GenerateRequest request = greedy({'H'}, 5);
  request.sparse.reset();
  request.stop_token_ids = {1, 4096};
  CHECK_THROWS_WITH(engine->submit(request),
                    ContainsSubstring("stop_token_ids") && ContainsSubstring("4096"));
  request.stop_token_ids = {};
  request.min_new_tokens = 6;
  CHECK_THROWS_WITH(engine->submit(request),
                    ContainsSubstring("min_new_tokens") && ContainsSubstring("max_new_tokens, which is 5"));
  request.min_new_tokens = -1;
  CHECK_THROWS_WITH(engine->submit(request), ContainsSubstring("min_new_tokens"));
  request.min_new_tokens = 0;
  request.sampling.logit_bias[-3] = 1.0;
  CHECK_THROWS_WITH(engine->submit(request), ContainsSubstring("logit_bias") && ContainsSubstring("-3"));
}

TEST_CASE("sampling is as generation_config.json says, and Seer's own without the file") {
  const auto sampling = [](const std::string& text) { return Padded(text).load()->model().default_sampling; };
  CHECK(sampling("").temperature == SamplingParams().temperature);
  CHECK(sampling("{}").temperature == 1.0);
  CHECK(sampling("{}").top_k == 0);
  CHECK(sampling(R"({"do_sample": false, "temperature": 0.7})").temperature == 0.0);
  CHECK(sampling(R"({"do_sample": true, "temperature": 0.7, "top_k": 50.0})").temperature == 0.7);
  CHECK(sampling(R"({"top_k": 50.0})").top_k == 50);
  CHECK(sampling(R"({"top_p": 0})").top_p == 0.0);
  CHECK(sampling(R"({"repetition_penalty": 1.2})").repeat_penalty == 1.2);
  CHECK(sampling(R"({"repetition_penalty": 1.2})").repeat_last_n == -1);
}

TEST_CASE("keys of generation_config.json that are not followed are named in one warning and in the notes") {
  Padded model(R"({"no_repeat_ngram_size": 3, "num_beams": 4, "temperature": 0.5})");
  std::vector<std::string> warnings;
  model.options().on_log = [&](LogLevel level, const std::string& message) {
    if (level == LogLevel::kWarning && message.find("generation_config") != message.npos)
      warnings.push_back(message);
  };
  const auto engine = model.load();
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], ContainsSubstring("no_repeat_ngram_size 3, num_beams 4"));
  const auto& notes = engine->model().config_notes;
  CHECK(std::find(notes.begin(), notes.end(), warnings[0]) != notes.end());
}

}  // namespace
}  // namespace seer::testing
