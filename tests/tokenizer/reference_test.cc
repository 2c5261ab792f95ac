// Ids of real tokenizers against the reference implementations' (Hugging Face tokenizers, sentencepiece).
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "seer/tokenizer.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/real_tokenizers.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/normal_form.h"

namespace seer {
namespace {

using testing::read_file;
using testing::test_data;

struct Case {
  std::string text;
  std::vector<int32_t> ids;
};

// Reads texts and ids as llama.cpp keeps them: a marker line is between two texts, and each line of the other
// file has the ids of a text, without BOS.
std::vector<Case> read_cases(const std::filesystem::path& dir) {
  const std::string marker = "\n__ggml_vocab_test__\n", texts = read_file(dir / "cases.inp");
  std::istringstream ids(read_file(dir / "cases.out"));
  std::vector<Case> cases;
  for (size_t at = 0; at <= texts.size();) {
    const size_t end = std::min(texts.find(marker, at), texts.size());
    Case c{texts.substr(at, end - at), {}};
    std::string line;
    if (!std::getline(ids, line)) break;
    std::istringstream numbers(line);
    for (int32_t id = 0; numbers >> id;) c.ids.push_back(id);
    cases.push_back(std::move(c));
    at = end + marker.size();
  }
  return cases;
}

std::vector<Case> read_vectors(const std::filesystem::path& dir) {
  std::vector<Case> cases;
  std::istringstream lines(read_file(dir / "vectors.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto object = nlohmann::json::parse(line);
    cases.push_back({object["text"].get<std::string>(), object["ids"].get<std::vector<int32_t>>()});
  }
  return cases;
}

void check_all(const Tokenizer& tokenizer, const std::vector<Case>& cases, size_t at_least,
               std::optional<NormalForm> form, bool parse_special = false) {
  CHECK(cases.size() >= at_least);
  for (const Case& c : cases) {
    INFO("text: " << c.text);
    CHECK(tokenizer.encode(c.text, /*add_special=*/false, parse_special) == c.ids);
    CHECK(tokenizer.decode(c.ids, /*skip_special=*/!parse_special) ==
          (form ? normal_form(c.text, *form) : c.text));
  }
}

void check_folder(const std::string& name) {
  const auto dir = test_data("tokenizers/" + name);
  if (!dir) return;
  const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
  check_all(tokenizer, read_cases(*dir), 40, std::nullopt);
  check_all(tokenizer, read_vectors(*dir), 100, std::nullopt);
}

TEST_CASE("Llama 2's SentencePiece model gives the reference ids and its texts back") {
  check_folder("llama2");
}

TEST_CASE("Llama 3.1's tokenizer.json gives the reference ids and its texts back") {
  check_folder("llama3.1");
}

// Checks a folder whose reference ids include those of special tokens in texts, as the tokenizers library
// reads them. `form` is the normal form of the tokenizer, if it has one.
void check_folder_with_special(const std::string& name, std::optional<NormalForm> form) {
  const auto dir = test_data("tokenizers/" + name);
  if (!dir) return;
  const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
  check_all(tokenizer, read_cases(*dir), 40, form);
  check_all(tokenizer, read_vectors(*dir), 100, form, /*parse_special=*/true);
}

TEST_CASE("Qwen2's tokenizer.json gives the reference ids and its texts back in NFC") {
  check_folder_with_special("qwen2", NormalForm::kNfc);
}

TEST_CASE("DeepSeek LLM's tokenizer.json gives the reference ids and its texts back") {
  check_folder_with_special("deepseek-llm", std::nullopt);
}

TEST_CASE("bytes of any value encode with the vocabularies of Qwen2 and DeepSeek") {
  for (const char* name : {"tokenizers/qwen2", "tokenizers/deepseek-llm"}) {
    const auto dir = test_data(name);
    if (!dir) return;
    const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const std::string bytes = testing::random_bytes(seed, 500);
      CHECK_NOTHROW(tokenizer.encode(bytes));
    }
    CHECK(tokenizer.decode(tokenizer.encode("a\xFF\u4F60")) == "a\uFFFD\u4F60");
  }
}

TEST_CASE("Qwen2 and DeepSeek add nothing around a text") {
  if (const auto dir = test_data("tokenizers/qwen2")) {
    const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
    CHECK(tokenizer.bos_id() == -1);
    CHECK(tokenizer.eos_id() == 151645);
    CHECK(tokenizer.encode("").empty());
    CHECK(tokenizer.info().splits == "Qwen2 pattern");
    CHECK(tokenizer.info().normalizer == "NFC");
    CHECK(tokenizer.info().note.empty());
  }
  if (const auto dir = test_data("tokenizers/deepseek-llm")) {
    const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
    CHECK(tokenizer.bos_id() == 100000);
    CHECK(tokenizer.eos_id() == 100001);
    CHECK(tokenizer.encode("").empty());  // as in transformers 5, whatever add_bos_token says
    CHECK(tokenizer.info().splits == "5 regular expressions, single digits");
    CHECK_THAT(tokenizer.info().note, ContainsSubstring("add_bos_token"));
  }
}

TEST_CASE("a SentencePiece model and its tokenizer.json give the same ids") {
  const auto dir = test_data("stories260K");
  if (!dir) return;
  const auto from_json = Tokenizer::load(dir->string());
  const testing::TempDir only_model;
  for (const char* name : {"tokenizer.model", "tokenizer_config.json"})
    testing::write_file(only_model.path() / name, read_file(*dir / name));
  const auto from_model = Tokenizer::load(only_model.path().string());
  CHECK(from_json->kind() == "bpe (metaspace)");
  CHECK(from_model->kind() == "sentencepiece");
  const auto reference = nlohmann::json::parse(read_file(*dir / "reference_outputs.json"));
  for (const auto& c : reference["cases"]) {
    const std::string prompt = c["prompt"];
    CHECK(from_json->encode(prompt) == c["prompt_ids"].get<std::vector<int32_t>>());
    CHECK(from_model->encode(prompt) == c["prompt_ids"].get<std::vector<int32_t>>());
  }
  for (const char* text : {"", " ", "  two  spaces ", "Lily saw a big \xF0\x9F\x98\x80!\n\nThen\ttab",
                           "\xE4\xBD\xA0\xE5\xA5\xBD"}) {
    INFO("text: " << text);
    CHECK(from_json->encode(text) == from_model->encode(text));
    CHECK(from_json->decode(from_json->encode(text)) == text);
    CHECK(from_model->decode(from_model->encode(text)) == text);
  }
}

TEST_CASE("BOS comes from the tokenizer's files") {
  const auto dir = test_data("tokenizers/llama3.1");
  if (!dir) return;
  const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
  CHECK(tokenizer.bos_id() == 128000);
  CHECK(tokenizer.encode("a") == std::vector<int32_t>{128000, 64});
  CHECK(tokenizer.encode("a", false) == std::vector<int32_t>{64});
}

TEST_CASE("special tokens written out are text unless they are asked for") {
  const auto dir = test_data("tokenizers/llama3.1");
  if (!dir) return;
  const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
  CHECK(tokenizer.encode("<|eot_id|>", false, /*parse_special=*/true) == std::vector<int32_t>{128009});
  CHECK(tokenizer.encode("<|eot_id|>", false).size() > 1);
  CHECK(tokenizer.decode({128009, 64}) == "a");
  CHECK(tokenizer.decode({128009, 64}, /*skip_special=*/false) == "<|eot_id|>a");
}

TEST_CASE("bytes that are not UTF-8 are encoded, and come back as replacement characters") {
  for (const char* name : {"tokenizers/llama2", "tokenizers/llama3.1"}) {
    const auto dir = test_data(name);
    if (!dir) return;
    const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
    const std::string text = "a\xFF(b";
    CHECK(tokenizer.decode(tokenizer.encode(text, false)) == "a\uFFFD(b");
  }
}

TEST_CASE("a megabyte without a space is encoded in reasonable time", "[long]") {
  for (const char* name : {"tokenizers/llama2", "tokenizers/llama3.1"}) {
    const auto dir = test_data(name);
    if (!dir) return;
    const Tokenizer& tokenizer = testing::real_tokenizer(*dir);
    std::string text;
    while (text.size() < (1 << 20)) text += "abcdefghijklmnopqrstuvwxyz";
    CHECK(tokenizer.decode(tokenizer.encode(text, false)) == text);
  }
}

}  // namespace
}  // namespace seer
