// The demo model's SentencePiece vocabulary (4096 pieces, byte fallback).
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using namespace testing;
namespace fs = std::filesystem;
using nlohmann::json;

fs::path model_file() { return demo_model() / "model" / "tokenizer.model"; }

std::shared_ptr<const Tokenizer> load_model(const std::string& bytes,
                                            const nlohmann::json& config = nullptr) {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.model", bytes);
  if (!config.is_null()) write_file(dir.path() / "tokenizer_config.json", config.dump());
  return Tokenizer::load(dir.path().string());
}

TEST_CASE("a SentencePiece model has Llama's special tokens and puts BOS in front") {
  const auto t = load_model(read_file(model_file()));
  CHECK(t->kind() == "sentencepiece");
  CHECK(t->n_vocab() == 4096);
  CHECK(t->bos_id() == 1);
  CHECK(t->eos_id() == 2);
  CHECK(t->encode("") == Ids{1});
  const Ids with = t->encode("The sea."), without = t->encode("The sea.", /*add_special=*/false);
  CHECK(with[0] == 1);
  CHECK(Ids(with.begin() + 1, with.end()) == without);
  CHECK(without.size() < 8);  // words, not bytes
}

TEST_CASE("tokenizer_config.json sets the policy of a SentencePiece model") {
  const std::string model = read_file(model_file());
  const Ids bare = load_model(model)->encode("sea", false);
  CHECK(load_model(model, {{"add_bos_token", false}})->encode("sea") == bare);
  CHECK(load_model(model, json::object())->encode("sea") == bare);  // as in transformers 5
  Ids both = bare;
  both.insert(both.begin(), 1);
  both.push_back(2);
  CHECK(load_model(model, {{"add_bos_token", true}, {"add_eos_token", true}})->encode("sea") == both);
}

TEST_CASE("special tokens of a SentencePiece model are text unless they are asked for") {
  const auto t = load_model(read_file(model_file()));
  CHECK(t->encode("</s>", false, /*parse_special=*/true) == Ids{2});
  const Ids as_text = t->encode("</s>", false);
  CHECK(as_text.size() > 1);
  CHECK(t->decode(as_text) == "</s>");
  CHECK(t->decode({1, 2}) == "");
  CHECK(t->decode({1, 2}, /*skip_special=*/false) == "<s></s>");
}

TEST_CASE("added tokens of the config are cut out before SentencePiece sees the text") {
  const nlohmann::json config = {
      {"added_tokens_decoder", {{"4096", {{"content", "<|im_start|>"}, {"special", true}}}}}};
  const auto t = load_model(read_file(model_file()), config);
  CHECK(t->n_vocab() == 4097);
  Ids expected = t->encode("sea", false);
  expected.insert(expected.begin(), 4096);
  CHECK(t->encode("<|im_start|>sea", false, true) == expected);
}

TEST_CASE("which stretches get a space in front is what transformers' LlamaTokenizer makes of the flags") {
  const std::string model = read_file(model_file());
  const Ids spaced = load_model(model)->encode("Y", false), bare = [&] {
    Ids ids = load_model(model, {{"tokenizer_class", "LlamaTokenizer"}})->encode("<s>Y", false, true);
    ids.erase(ids.begin());
    return ids;
  }();
  CHECK(spaced != bare);
  const auto check = [&](json config, const char* name, const Ids& first, const Ids& after) {
    if (name != nullptr) config["tokenizer_class"] = name;
    INFO(config.dump());
    const auto t = load_model(model, config);
    CHECK(t->encode("Y", false) == first);
    Ids ids = t->encode("<s>Y", false, /*parse_special=*/true);
    CHECK(ids == [&] {
      Ids expected = {1};
      expected.insert(expected.end(), after.begin(), after.end());
      return expected;
    }());
    CHECK(t->decode(t->encode("Y", false)) == "Y");
  };
  check(json::object(), nullptr, spaced, spaced);
  check({{"legacy", false}}, nullptr, spaced, bare);
  check({{"add_prefix_space", false}}, nullptr, spaced, spaced);
  for (const char* name : {"LlamaTokenizer", "LlamaTokenizerFast"}) {
    check(json::object(), name, spaced, bare);
    check({{"legacy", true}}, name, spaced, spaced);
    check({{"legacy", false}}, name, spaced, bare);
    check({{"add_prefix_space", false}, {"legacy", true}}, name, bare, bare);
  }
}

TEST_CASE("characters outside a SentencePiece vocabulary become bytes and come back") {
  const auto t = load_model(read_file(model_file()));
  const std::string text = "\U0001F600\u4F60";
  const Ids ids = t->encode(text, false);
  CHECK(ids.size() >= 7);  // no piece covers the characters of four and three bytes
  CHECK(t->decode(ids) == text);
  CHECK(t->decode({4096}).empty());
}

TEST_CASE("a file that is no SentencePiece model is named") {
  for (const std::string& bytes : {std::string(), std::string("no model"), std::string(100, '\0'),
                                   std::string("{\"model\": {}}"), std::string(1000, '\xFF')}) {
    INFO(bytes);
    CHECK_THAT(error_of([&] { load_model(bytes); }),
               ContainsSubstring("file: ") && ContainsSubstring("tokenizer.model"));
  }
}

TEST_CASE("a SentencePiece model cut short is named wherever it ends") {
  const std::string model = read_file(model_file());
  for (const double part : {0.001, 0.1, 0.5, 0.9, 0.999}) {
    const auto size = static_cast<size_t>(part * static_cast<double>(model.size()));
    INFO(size << " of " << model.size() << " bytes");
    CHECK_THAT(error_of([&] { load_model(model.substr(0, size)); }),
               ContainsSubstring("file: ") && ContainsSubstring("tokenizer.model"));
  }
}

}  // namespace
}  // namespace seer
