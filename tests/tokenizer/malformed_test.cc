// A tokenizer.json that is wrong in one place: the error has the right kind and names that place.
#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/tokenizer/small_tokenizers.h"

namespace seer {
namespace {

using namespace testing;
using nlohmann::json;

std::string error_with(json file, const char* pointer, const json& value) {
  file[json::json_pointer(pointer)] = value;
  return error_of([&] { load_json(file); });
}

struct Edit {
  const char* pointer;
  json value;
  const char* named;  // text that the message must contain
};

void check_edits(const json& file, const std::string& kind, const std::vector<Edit>& edits) {
  for (const Edit& edit : edits) {
    INFO(edit.pointer << " = " << edit.value.dump());
    const std::string error = error_with(file, edit.pointer, edit.value);
    CHECK_THAT(error, ContainsSubstring(kind + ": ") && ContainsSubstring("tokenizer.json") &&
                          ContainsSubstring(edit.named));
  }
}

TEST_CASE("the files these edits begin from are sound") {
  CHECK(load_json(byte_level_json())->n_vocab() == 266);
  CHECK(load_json(metaspace_json())->n_vocab() == 293);
}

TEST_CASE("a malformed model is a file error that names the part") {
  check_edits(byte_level_json(), "file",
              {{"/model", nullptr, "model"},
               {"/model", json::array(), "model"},
               {"/model/type", 5, "type"},
               {"/model/vocab", nullptr, "vocab"},
               {"/model/vocab", json::array({"a"}), "vocab"},
               {"/model/vocab", json::object(), "vocab"},
               {"/model/vocab/a", "97", "'a'"},
               {"/model/vocab/a", -1, "'a'"},
               {"/model/vocab/a", 97.5, "'a'"},
               {"/model/vocab/a", 4294967296, "'a'"},
               {"/model/vocab/a", 18446744073709551615U, "'a'"},
               {"/model/vocab/a", 98, "98"},  // 98 is b's id
               {"/model/merges", nullptr, "merges"},
               {"/model/merges", "h e", "merges"},
               {"/model/merges/0", "he", "'he'"},
               {"/model/merges/0", 7, "merge"},
               {"/model/merges/0", json::array({"h", "e", "l"}), "merge"},
               {"/model/merges/0", json::array({"h", 1}), "merge"},
               {"/model/merges/0", "h zz", "'zz'"},
               {"/model/merges/0", "q q", "'q'"},  // both pieces exist, but "qq" does not
               {"/model/ignore_merges", "true", "ignore_merges"},
               {"/model/byte_fallback", 1, "byte_fallback"},
               {"/model/fuse_unk", 0, "fuse_unk"},
               {"/model/unk_token", 3, "unk_token"}});
}

TEST_CASE("a model that works otherwise is unsupported, and the part is named") {
  check_edits(byte_level_json(), "unsupported",
              {{"/model/type", "Unigram", "Unigram"},
               {"/model/type", "WordPiece", "WordPiece"},
               {"/model/dropout", 0.1, "dropout"},
               {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
               {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"}});
}

TEST_CASE("parts of a tokenizer.json that change nothing are accepted") {
  const std::string none = "nothing was thrown";
  CHECK(error_with(byte_level_json(), "/model/dropout", 0.0) == none);
  CHECK(error_with(byte_level_json(), "/model/end_of_word_suffix", "") == none);
  CHECK(error_with(byte_level_json(), "/added_tokens", nullptr) == none);
  CHECK(error_with(byte_level_json(), "/truncation", {{"max_length", 3}}) == none);
}

TEST_CASE("malformed added tokens are a file error") {
  check_edits(byte_level_json(), "file",
              {{"/added_tokens", "x", "added_tokens"},
               {"/added_tokens/0", "x", "added token"},
               {"/added_tokens/0/id", nullptr, "id"},
               {"/added_tokens/0/id", -5, "-5"},
               {"/added_tokens/0/id", "264", "264"},
               {"/added_tokens/0/id", 2147483648, "2147483648"},
               {"/added_tokens/0/id", 1000000, "1000000"},  // memory for a million ids must not be asked for
               {"/added_tokens/0/content", nullptr, "content"},
               {"/added_tokens/0/content", 1, "content"},
               {"/added_tokens/0/special", "yes", "special"},
               {"/added_tokens/0/lstrip", 1, "lstrip"},
               {"/added_tokens/0/rstrip", 1, "rstrip"},
               {"/added_tokens/0/single_word", 1, "single_word"}});
}

TEST_CASE("a malformed post-processor is a file error") {
  check_edits(metaspace_json(), "file",
              {{"/post_processor", "x", "post_processor"},
               {"/post_processor/type", 1, "type"},
               {"/post_processor/single", "A", "single"},
               {"/post_processor/single/0", "x", "SpecialToken"},
               {"/post_processor/single/0", {{"SpecialToken", "<s>"}}, "special token"},
               {"/post_processor/single/0", {{"SpecialToken", {{"id", "<t>"}}}}, "special token"},
               {"/post_processor/special_tokens", nullptr, "special token"},
               {"/post_processor/special_tokens/<s>/ids", json::array(), "special token"},
               {"/post_processor/special_tokens/<s>/ids", json::array({"1"}), "id"},
               {"/post_processor/special_tokens/<s>/ids", json::array({293}), "293"},
               {"/post_processor", {{"type", "Sequence"}}, "processors"}});
}

TEST_CASE("another post-processor is unsupported") {
  const json bos = {{"SpecialToken", {{"id", "<s>"}}}}, text = {{"Sequence", {{"id", "A"}}}};
  check_edits(metaspace_json(), "unsupported",
              {{"/post_processor/type", "Prefix", "Prefix"},
               {"/post_processor/single", json::array({bos}), "without the text"},
               {"/post_processor/single", json::array({bos, text, text}), "the text twice"},
               {"/post_processor/single", json::array({bos, bos, text}), "several special tokens"},
               {"/post_processor/special_tokens/<s>/ids", json::array({1, 2}), "several ids"}});
}

TEST_CASE("a malformed decoder is a file error, another one unsupported") {
  check_edits(metaspace_json(), "file",
              {{"/decoder", "x", "decoder"},
               {"/decoder/decoders", 1, "decoders"},
               {"/decoder", {{"type", "Metaspace"}, {"prepend_scheme", 1}}, "prepend_scheme"}});
  check_edits(metaspace_json(), "unsupported",
              {{"/decoder/type", "WordPiece", "WordPiece"},
               {"/decoder", nullptr, "decoder: none is there"},
               {"/decoder/decoders/3", {{"type", "ByteFallback"}}, "after Fuse"},
               {"/decoder/decoders/0/pattern", {{"String", "ab"}}, "Replace of several characters"},
               {"/decoder/decoders/0/pattern", {{"Regex", "x"}}, "Replace"},
               {"/decoder/decoders/3/start", 2, "Strip"},
               {"/decoder/decoders/3/stop", 1, "Strip"},
               {"/decoder/decoders/3/content", "x", "Strip"}});
}

TEST_CASE("a normalizer or pre_tokenizer of another kind is unsupported") {
  check_edits(metaspace_json(), "unsupported",
              {{"/normalizer/normalizers/0/type", "Precompiled", "Precompiled"},
               {"/normalizer/normalizers/0/type", "StripAccents", "StripAccents"},
               {"/pre_tokenizer", {{"type", "UnicodeScripts"}}, "UnicodeScripts"}});
}

}  // namespace
}  // namespace seer
