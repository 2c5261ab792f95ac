// The tokens around a text: those of tokenizer.json's post-processor. Expected ids are those of transformers
// 5.24 with tokenizers 0.23.3.
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

Ids byte_ids(std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
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

TEST_CASE("add_bos_token and add_eos_token do not count next to a tokenizer.json, and a note says so") {
  const json file = with_template({special("<|bos|>"), text_itself()});
  for (const char* tokenizer_class : {"LlamaTokenizerFast", "PreTrainedTokenizerFast", "Qwen2Tokenizer"}) {
    const json named = {
        {"tokenizer_class", tokenizer_class}, {"bos_token", "<|bos|>"}, {"eos_token", "<|eos|>"}};
    const auto with = [&](const json& from, const char* key, const json& value) {
      json config = named;
      config[key] = value;
      return load_json(from, config);
    };
    CHECK(with(file, "add_bos_token", false)->encode("a") == Ids{kBos, 'a'});
    CHECK_THAT(with(file, "add_bos_token", false)->info().note, ContainsSubstring("add_bos_token"));
    CHECK(with(file, "add_bos_token", true)->encode("a") == Ids{kBos, 'a'});
    CHECK(with(file, "add_bos_token", true)->info().note.empty());
    CHECK(with(file, "add_bos_token", nullptr)->info().note.empty());
    CHECK(with(file, "add_eos_token", true)->encode("a") == Ids{kBos, 'a'});
    CHECK_THAT(with(file, "add_eos_token", true)->info().note, ContainsSubstring("add_eos_token"));
    for (const json& post : {json(nullptr), json{{"type", "ByteLevel"}}}) {
      json none = byte_level_json();
      none["post_processor"] = post;
      CHECK(with(none, "add_bos_token", true)->encode("a") == Ids{'a'});
      CHECK(with(none, "add_bos_token", true)->bos_id() == kBos);
    }
  }
}

TEST_CASE("the post-processor's BOS is added even if another token is called bos_token") {
  const auto t = load_json(with_template({special("<|bos|>"), text_itself()}), {{"bos_token", "<|eos|>"}});
  CHECK(t->encode("a") == Ids{kBos, 'a'});
}

TEST_CASE("a bos_token of null is none, and a token object of transformers' own is read by its content") {
  CHECK(load_json(byte_level_json(), {{"bos_token", nullptr}, {"add_bos_token", false}})->bos_id() == -1);
  const json object = {{"__type", "AddedToken"}, {"content", "<|bos|>"}, {"lstrip", false},
                       {"normalized", true},     {"rstrip", false},      {"single_word", false}};
  CHECK(load_json(byte_level_json(), {{"bos_token", object}})->bos_id() == kBos);
}

TEST_CASE("bos_token and eos_token name the ids, as texts or as objects, and add nothing of themselves") {
  const json file = byte_level_json();
  const auto t = load_json(file, {{"bos_token", "<|bos|>"}, {"eos_token", {{"content", "<|eos|>"}}}});
  CHECK(t->bos_id() == kBos);
  CHECK(t->eos_id() == kEos);
  CHECK(t->encode("a") == Ids{'a'});
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

TEST_CASE(
    "added_tokens.json has no say on a token that tokenizer.json lists, nor next to added_tokens_decoder") {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
  write_file(dir.path() / "added_tokens.json", R"({"<|bos|>": 264, "<tool>": 266})");
  const auto t = Tokenizer::load(dir.path().string());
  CHECK(t->encode("<|bos|>") == byte_ids("<|bos|>"));  // special, as tokenizer.json says
  CHECK(t->decode({264, 'a', 266}) == "a<tool>");
  write_file(dir.path() / "tokenizer_config.json", R"({"added_tokens_decoder": {}})");
  CHECK(Tokenizer::load(dir.path().string())->encode("<tool>") == byte_ids("<tool>"));
}

TEST_CASE("a token of added_tokens.json is special if it is the config's BOS or EOS") {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", byte_level_json().dump());
  write_file(dir.path() / "added_tokens.json", R"({"<end>": 266})");
  write_file(dir.path() / "tokenizer_config.json", R"({"eos_token": "<end>"})");
  const auto t = Tokenizer::load(dir.path().string());
  CHECK(t->eos_id() == 266);
  CHECK(t->decode({'a', 266}) == "a");
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

// Loads a folder with these further files. Use `found` to get a token's id, or -1 if special tokens are not
// parsed.
std::shared_ptr<const Tokenizer> load_files(const json& tokenizer,
                                            const std::vector<std::pair<const char*, json>>& files) {
  const TempDir dir;
  write_file(dir.path() / "tokenizer.json", tokenizer.dump());
  for (const auto& [name, value] : files) write_file(dir.path() / name, value.dump());
  return Tokenizer::load(dir.path().string());
}

TEST_CASE("a BOS that is in the vocabulary alone becomes a special token") {
  json file = byte_level_json();
  file["added_tokens"] = json::array();
  const auto t = load_json(file, {{"bos_token", "hello"}, {"eos_token", ""}});
  CHECK(t->bos_id() == 259);
  CHECK(t->eos_id() == -1);
  CHECK(t->encode("xhello", false, /*parse_special=*/true) == Ids{'x', 259});
  CHECK(t->decode({'x', 259}) == "x");
}

TEST_CASE("the tokens that files name or list are special, in transformers' order of new ids") {
  const json config = {{"pad_token", "<pad>"},
                       {"unk_token", "<unk>"},
                       {"image_token", "<image>"},
                       {"additional_special_tokens", {"<x>", {{"content", "<y>"}, {"rstrip", true}}}}};
  const auto t = load_json(byte_level_json(), config);
  CHECK(t->encode("<unk><pad><image><x><y> a", false, true) == Ids{266, 267, 268, 269, 270, 'a'});
  CHECK(t->decode({266, 267, 268, 269, 270}).empty());
  CHECK(
      load_json(byte_level_json(), {{"extra_special_tokens", {{"boi_token", "<boi>"}}}})->token_id("<boi>") ==
      266);
}

TEST_CASE("a listed token that tokenizer.json has keeps its flags, and a named one becomes special") {
  json file = byte_level_json();
  file["added_tokens"].push_back(added_token(266, "<x>", false));
  CHECK(load_json(file, {{"additional_special_tokens", {"<x>"}}})->decode({266}) == "<x>");
  CHECK(load_json(file, {{"bos_token", "<x>"}})->decode({266}).empty());
}

TEST_CASE(
    "special_tokens_map.json counts before tokenizer_config.json, but not next to added_tokens_decoder") {
  const json map = {{"bos_token", "<|eos|>"}, {"additional_special_tokens", {"<z>"}}};
  const auto with = [&](const json& config) {
    return load_files(byte_level_json(),
                      {{"tokenizer_config.json", config}, {"special_tokens_map.json", map}});
  };
  CHECK(with({{"bos_token", "<|bos|>"}})->bos_id() == kEos);
  CHECK(with({{"bos_token", "<|bos|>"}})->token_id("<z>") == 266);
  const json decoder = {{"bos_token", "<|bos|>"}, {"added_tokens_decoder", json::object()}};
  CHECK(with(decoder)->bos_id() == kBos);
  CHECK(with(decoder)->token_id("<z>") == -1);
  CHECK(with({{"additional_special_tokens", {"<w>"}}})->token_id("<z>") == -1);
}

TEST_CASE("templates get the texts of named tokens from the file that counts") {
  const json map = {{"bos_token", "<|eos|>"}, {"unk_token", {{"content", "<z>"}}}, {"mask_token", nullptr}};
  const auto variables = [&](const json& config) {
    return load_files(byte_level_json(),
                      {{"tokenizer_config.json", config}, {"special_tokens_map.json", map}})
        ->token_variables();
  };
  using Texts = std::map<std::string, std::string>;
  const json config = {{"bos_token", "<|bos|>"}, {"pad_token", "<|eos|>"}, {"cls_token", ""}};
  CHECK(variables(config) == Texts{{"bos_token", "<|eos|>"}, {"pad_token", "<|eos|>"}, {"unk_token", "<z>"}});
  json with_decoder = config;
  with_decoder["added_tokens_decoder"] = json::object();
  CHECK(variables(with_decoder) == Texts{{"bos_token", "<|bos|>"}, {"pad_token", "<|eos|>"}});
}

TEST_CASE("a malformed special_tokens_map.json is named with its key") {
  const json map = {{"unk_token", 1}};
  const auto load = [&] { load_files(byte_level_json(), {{"special_tokens_map.json", map}}); };
  CHECK_THAT(error_of(load),
             ContainsSubstring("special_tokens_map.json") && ContainsSubstring("unk_token to be a string"));
}

TEST_CASE("added_tokens_decoder replaces the flags of tokenizer.json, by the token's text") {
  json file = byte_level_json();
  file["added_tokens"].push_back(added_token(266, "<x>", true));
  const json config = {
      {"added_tokens_decoder", {{"300", {{"content", "<x>"}, {"special", false}, {"lstrip", true}}}}}};
  CHECK(load_json(file, config)->encode("a <x>") == Ids{'a', 266});
}

TEST_CASE("a malformed tokenizer_config.json is named with its key") {
  struct Malformed {
    json config;
    const char* key;
  };
  const json far = {{"70000", {{"content", "x"}}}};
  for (const Malformed& c :
       {Malformed{{{"bos_token", 1}}, "bos_token"}, Malformed{{{"eos_token", {{"content", 1}}}}, "content"},
        Malformed{{{"add_bos_token", "yes"}}, "add_bos_token"},
        Malformed{{{"add_eos_token", 1}}, "add_eos_token"},
        Malformed{{{"added_tokens_decoder", json::array()}}, "added_tokens_decoder"},
        Malformed{{{"added_tokens_decoder", {{"x", {{"content", "y"}}}}}}, "'x'"},
        Malformed{{{"added_tokens_decoder", {{"-1", {{"content", "y"}}}}}}, "'-1'"},
        Malformed{{{"added_tokens_decoder", {{"300", "text"}}}}, "300"},
        Malformed{{{"added_tokens_decoder", {{"300", {{"special", true}}}}}}, "300"},
        Malformed{{{"added_tokens_decoder", {{"300", {{"content", "y"}, {"lstrip", 1}}}}}}, "lstrip"},
        Malformed{{{"added_tokens_decoder", far}}, "70000"}}) {
    INFO(c.config.dump());
    const std::string error = error_of([&] { load_json(byte_level_json(), c.config); });
    CHECK_THAT(error, ContainsSubstring("file: ") && ContainsSubstring(c.key));
  }
}

TEST_CASE("a malformed chat_template is named once it is asked for") {
  for (const json& wrong :
       {json(7), json::array({{{"name", "default"}, {"template", 1}}}), json::array({1})}) {
    INFO(wrong.dump());
    const auto t = load_json(byte_level_json(), {{"chat_template", wrong}});
    CHECK_THAT(error_of([&] { t->chat_template(); }),
               ContainsSubstring("file: ") && ContainsSubstring("tokenizer_config.json: chat_template"));
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
