// generation_config.json: the sampling of the model's makers, and the ends of answers.
#include "models/generation_config.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::refusal;

GenerationConfig load(const std::string& text) {
  const testing::TempDir dir;
  testing::write_file(dir.path() / "generation_config.json", text);
  return GenerationConfig::load(dir.path().string());
}

std::string refused_generation(const std::string& text) {
  std::string message = refusal(ErrorKind::kFile, [&] { load(text); });
  CHECK_THAT(message, ContainsSubstring("generation_config.json"));
  return message;
}

TEST_CASE("generation config: a missing file leaves everything absent") {
  const testing::TempDir dir;
  for (const GenerationConfig& g : {GenerationConfig::load(dir.path().string()), load("{}")}) {
    CHECK(g.eos_ids.empty());
    CHECK_FALSE(g.do_sample.has_value());
    CHECK_FALSE(g.temperature.has_value());
    CHECK_FALSE(g.top_p.has_value());
    CHECK_FALSE(g.min_p.has_value());
    CHECK_FALSE(g.repetition_penalty.has_value());
    CHECK_FALSE(g.top_k.has_value());
  }
}

TEST_CASE("generation config: one end id, several, none") {
  CHECK(load(R"({"eos_token_id": 2})").eos_ids == std::vector<int32_t>{2});
  CHECK(load(R"({"eos_token_id": [128001, 128008, 128009]})").eos_ids ==
        std::vector<int32_t>{128001, 128008, 128009});
  CHECK(load(R"({"eos_token_id": null})").eos_ids.empty());
  CHECK(load(R"({"eos_token_id": []})").eos_ids.empty());
  CHECK(load(R"({"eos_token_id": -1})").eos_ids.empty());
  CHECK(load(R"({"eos_token_id": [5, -1]})").eos_ids == std::vector<int32_t>{5});
  CHECK(load(R"({"eos_token_id": 2147483647})").eos_ids == std::vector<int32_t>{2147483647});
}

TEST_CASE("generation config: the sampling keys") {
  const GenerationConfig g = load(R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "min_p": 0.05,
                                      "repetition_penalty": 1.1, "top_k": 50, "transformers_version": "5"})");
  CHECK(g.do_sample == true);
  CHECK(g.temperature == 0.6);
  CHECK(g.top_p == 0.9);
  CHECK(g.min_p == 0.05);
  CHECK(g.repetition_penalty == 1.1);
  CHECK(g.top_k == 50);
  CHECK(load(R"({"do_sample": false})").do_sample == false);
}

TEST_CASE("generation config: a top_p of 0 keeps the likeliest token, and 1 keeps all") {
  const GenerationConfig g = load(R"({"top_p": 0})");
  CHECK(g.top_p == 0.0);
  CHECK_FALSE(g.do_sample.has_value());  // sampling still works if a request sets another top_p
  CHECK(load(R"({"top_p": 1.0})").top_p == 1.0);
}

TEST_CASE("generation config: top_k of 0 and of -1 keep all tokens") {
  CHECK(load(R"({"top_k": 0})").top_k == 0);
  CHECK(load(R"({"top_k": -1})").top_k == -1);
  CHECK(load(R"({"top_k": 50.0})").top_k == 50);
  CHECK_FALSE(load(R"({"top_k": null})").top_k.has_value());
}

TEST_CASE("generation config: a min_p of 1 is taken") { CHECK(load(R"({"min_p": 1})").min_p == 1.0); }

TEST_CASE("generation config: keys that are not followed are listed if they would change the text") {
  const auto ignored = [](const std::string& text) { return load(text).ignored; };
  CHECK(ignored(R"({"no_repeat_ngram_size": 3, "num_beams": 4, "bad_words_ids": [[7]]})") ==
        std::vector<std::string>{"no_repeat_ngram_size 3", "bad_words_ids [[7]]", "num_beams 4"});
  CHECK(ignored(
            R"({"suppress_tokens": [1, 2], "forced_eos_token_id": 0, "typical_p": 0.9, "min_length": 5})") ==
        std::vector<std::string>{"suppress_tokens [1,2]", "forced_eos_token_id 0", "min_length 5",
                                 "typical_p 0.9"});
  CHECK(ignored(R"({"watermarking_config": {"bias": 2.5}, "guidance_scale": 1.5})").size() == 2);
  // Values that change nothing, and keys that matter only for random draws, in a greedy file.
  CHECK(ignored(R"({"no_repeat_ngram_size": 0, "num_beams": 1, "bad_words_ids": [], "typical_p": 1.0,
                    "suppress_tokens": null, "guidance_scale": 1, "encoder_repetition_penalty": 1.0,
                    "diversity_penalty": 0.0, "sequence_bias": {}, "penalty_alpha": 0})")
            .empty());
  CHECK(
      ignored(R"({"do_sample": false, "typical_p": 0.9, "eta_cutoff": 0.1, "epsilon_cutoff": 0.1})").empty());
  CHECK(ignored(R"({"max_length": 4096, "max_new_tokens": 20, "use_cache": true})").empty());
}

TEST_CASE("generation config: the file counts although it is empty") {
  CHECK(load("{}").exists);
  CHECK_FALSE(GenerationConfig::load(testing::TempDir().path().string()).exists);
}

TEST_CASE("generation config: NaN and Infinity are refused by key and file") {
  CHECK_THAT(refused_generation(R"({"temperature": NaN, "top_p": 0.9})"),
             ContainsSubstring("\"temperature\"") && ContainsSubstring("found NaN"));
  CHECK_THAT(refused_generation(R"({"top_p": 0.9, "temperature": Infinity})"),
             ContainsSubstring("\"temperature\"") && ContainsSubstring("found Infinity"));
}

TEST_CASE("generation config: wrong types and ranges are named") {
  CHECK_THAT(refused_generation(R"({"eos_token_id": "2"})"), ContainsSubstring("eos_token_id"));
  CHECK_THAT(refused_generation(R"({"eos_token_id": 2147483648})"), ContainsSubstring("eos_token_id"));
  CHECK_THAT(refused_generation(R"({"eos_token_id": [1, [2]]})"), ContainsSubstring("eos_token_id"));
  CHECK_THAT(refused_generation(R"({"do_sample": 1})"), ContainsSubstring("do_sample"));
  CHECK_THAT(refused_generation(R"({"temperature": -0.1})"), ContainsSubstring("temperature"));
  CHECK_THAT(refused_generation(R"({"temperature": "hot"})"), ContainsSubstring("temperature"));
  CHECK_THAT(refused_generation(R"({"top_p": 1.5})"), ContainsSubstring("top_p"));
  CHECK_THAT(refused_generation(R"({"min_p": -1})"), ContainsSubstring("min_p"));
  CHECK_THAT(refused_generation(R"({"repetition_penalty": 0})"), ContainsSubstring("repetition_penalty"));
  CHECK_THAT(refused_generation(R"({"top_k": -2})"), ContainsSubstring("top_k"));
  CHECK_THAT(refused_generation(R"({"top_k": 0.5})"), ContainsSubstring("top_k"));
}

TEST_CASE("generation config: what is no JSON object is refused") {
  for (const char* text : {"", "[]", "{", "true", R"({"top_k": 1, "top_k": 2})"}) {
    INFO(text);
    CHECK(refused_generation(text) != "");
  }
}

}  // namespace
}  // namespace seer
