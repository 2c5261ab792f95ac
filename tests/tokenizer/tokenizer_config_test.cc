// Which tokens go around a text: the post-processor's, or what tokenizer_config.json says instead.
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using namespace testing;
using nlohmann::json;

constexpr int32_t kBos = 264, kEos = 265;

json special(const char* name) { return {{"SpecialToken", {{"id", name}, {"type_id", 0}}}}; }
json text_itself() { return {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}; }

json processing(const std::vector<json>& single) {
  const auto token = [](const char* name, int32_t id) -> json {
    return {{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"special_tokens", {{"<|bos|>", token("<|bos|>", kBos)}, {"<|eos|>", token("<|eos|>", kEos)}}}};
}

json with_template(const std::vector<json>& single) {
  json file = byte_level_json();
  file["post_processor"] = processing(single);
  return file;
}

TEST_CASE("without a post-processor or a config nothing is added and there is no BOS") {
  const auto t = load_json(byte_level_json());
  CHECK(t->encode("a") == Ids{'a'});
  CHECK(t->bos_id() == -1);
  CHECK(t->eos_id() == -1);
}

TEST_CASE("TemplateProcessing says what goes before and after a text") {
  const auto before = load_json(with_template({special("<|bos|>"), text_itself()}));
  CHECK(before->encode("a") == Ids{kBos, 'a'});
  CHECK(before->encode("a", /*add_special=*/false) == Ids{'a'});
  CHECK(before->encode("") == Ids{kBos});
  CHECK(before->bos_id() == kBos);
  const auto both = load_json(with_template({special("<|bos|>"), text_itself(), special("<|eos|>")}));
  CHECK(both->encode("a") == Ids{kBos, 'a', kEos});
  CHECK(both->encode("") == Ids{kBos, kEos});
  const auto after = load_json(with_template({text_itself(), special("<|eos|>")}));
  CHECK(after->encode("a") == Ids{'a', kEos});
  CHECK(after->bos_id() == -1);
  CHECK(after->eos_id() == kEos);
}

TEST_CASE("ByteLevel around TemplateProcessing changes nothing") {
  json file = byte_level_json();
  file["post_processor"] = {
      {"type", "Sequence"},
      {"processors", {{{"type", "ByteLevel"}}, processing({special("<|bos|>"), text_itself()})}}};
  CHECK(load_json(file)->encode("a") == Ids{kBos, 'a'});
}

TEST_CASE("add_bos_token and add_eos_token override the post-processor") {
  const json file = with_template({special("<|bos|>"), text_itself()});
  CHECK(load_json(file, {{"add_bos_token", false}})->encode("a") == Ids{'a'});
  CHECK(load_json(file, {{"add_bos_token", nullptr}})->encode("a") == Ids{kBos, 'a'});
  CHECK(load_json(file, {{"add_eos_token", true}, {"eos_token", "<|eos|>"}})->encode("a") ==
        Ids{kBos, 'a', kEos});
  // There is no EOS to add.
  CHECK(load_json(file, {{"add_eos_token", true}})->encode("a") == Ids{kBos, 'a'});
}

TEST_CASE("bos_token and eos_token name the ids, as texts or as objects, and add nothing of themselves") {
  const json file = byte_level_json();
  const auto t = load_json(file, {{"bos_token", "<|bos|>"}, {"eos_token", {{"content", "<|eos|>"}}}});
  CHECK(t->bos_id() == kBos);
  CHECK(t->eos_id() == kEos);
  CHECK(t->encode("a") == Ids{'a'});
  const auto added = load_json(file, {{"bos_token", "<|bos|>"}, {"add_bos_token", true}});
  CHECK(added->encode("a") == Ids{kBos, 'a'});
}

TEST_CASE("added_tokens_decoder adds tokens and makes others special") {
  const json config = {{"added_tokens_decoder",
                        {{"266", {{"content", "<|new|>"}, {"special", true}}},
                         {"97", {{"content", "a"}, {"special", true}}}}}};
  const auto t = load_json(byte_level_json(), config);
  CHECK(t->n_vocab() == 267);
  CHECK(t->encode("<|new|>", false, /*parse_special=*/true) == Ids{266});
  CHECK(t->decode({266, 97, 98}) == "b");
}

TEST_CASE("added_tokens.json adds tokens that are not special") {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
  write_file(dir.path() / "added_tokens.json", R"({"<tool>": 266})");
  const auto t = Tokenizer::load(dir.path().string());
  CHECK(t->encode("a<tool>") == Ids{'a', 266});
  CHECK(t->decode({266}) == "<tool>");
}

TEST_CASE("a BOS that the vocabulary lacks is named, with the key that names it") {
  const std::string error = error_of([] { load_json(byte_level_json(), {{"bos_token", "<bos>"}}); });
  CHECK_THAT(error,
             ContainsSubstring("file: ") && ContainsSubstring("'<bos>'") && ContainsSubstring("bos_token"));
}

TEST_CASE("a malformed tokenizer_config.json is named with its key") {
  struct Case {
    json config;
    const char* key;
  };
  const json far = {{"70000", {{"content", "x"}}}};
  for (const Case& c :
       {Case{{{"bos_token", 1}}, "bos_token"}, Case{{{"eos_token", {{"content", 1}}}}, "content"},
        Case{{{"add_bos_token", "yes"}}, "add_bos_token"}, Case{{{"add_eos_token", 1}}, "add_eos_token"},
        Case{{{"added_tokens_decoder", json::array()}}, "added_tokens_decoder"},
        Case{{{"added_tokens_decoder", {{"x", {{"content", "y"}}}}}}, "'x'"},
        Case{{{"added_tokens_decoder", {{"-1", {{"content", "y"}}}}}}, "'-1'"},
        Case{{{"added_tokens_decoder", {{"300", "text"}}}}, "300"},
        Case{{{"added_tokens_decoder", {{"300", {{"special", true}}}}}}, "300"},
        Case{{{"added_tokens_decoder", {{"300", {{"content", "y"}, {"lstrip", 1}}}}}}, "lstrip"},
        Case{{{"added_tokens_decoder", far}}, "70000"}, Case{{{"chat_template", 7}}, "chat_template"},
        Case{{{"chat_template", {{{"name", "default"}, {"template", 1}}}}}, "template"}}) {
    INFO(c.config.dump());
    const std::string error = error_of([&] { load_json(byte_level_json(), c.config); });
    CHECK_THAT(error, ContainsSubstring("file: ") && ContainsSubstring(c.key));
  }
}

TEST_CASE("files that are no JSON objects are named") {
  for (const char* name : {"tokenizer_config.json", "added_tokens.json", "tokenizer.json"})
    for (const std::string& bytes :
         {std::string(), std::string("{"), std::string("[1]"), std::string("{\"a\xFF\": 1}"),
          std::string(100, '['),
          std::string(R"({"a": )") + std::string(70, '[') + "1" + std::string(70, ']') + "}"}) {
      const TempDir dir;
      write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
      write_file(dir.path() / name, bytes);
      INFO(name << ": " << bytes);
      CHECK_THAT(error_of([&] { Tokenizer::load(dir.path().string()); }),
                 ContainsSubstring("file: ") && ContainsSubstring(name));
    }
}

TEST_CASE("an added token that added_tokens.json gives no id is named") {
  for (const char* id : {"-1", "\"7\"", "1.5", "4294967296"}) {
    const TempDir dir;
    write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
    write_file(dir.path() / "added_tokens.json", std::string(R"({"<tool>": )") + id + "}");
    CHECK_THAT(error_of([&] { Tokenizer::load(dir.path().string()); }),
               ContainsSubstring("file: ") && ContainsSubstring("<tool>"));
  }
}

TEST_CASE("a folder without a tokenizer, or without the folder, is named") {
  const TempDir dir;
  CHECK_THAT(error_of([&] { Tokenizer::load(dir.path().string()); }),
             ContainsSubstring("file: ") && ContainsSubstring(dir.path().string()) &&
                 ContainsSubstring("tokenizer.json or tokenizer.model"));
  CHECK_THAT(error_of([&] { Tokenizer::load((dir.path() / "absent").string()); }),
             ContainsSubstring("file: ") && ContainsSubstring("absent"));
}

TEST_CASE("tokenizer.json comes before tokenizer.model") {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
  write_file(dir.path() / "tokenizer.model", "no model at all");
  CHECK(Tokenizer::load(dir.path().string())->kind() == "bpe (byte-level)");
}

}  // namespace
}  // namespace seer
