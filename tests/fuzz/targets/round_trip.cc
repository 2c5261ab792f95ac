// Text to ids and back, with correct vocabularies.
#include "tests/fuzz/support.h"
#include "tests/tokenizer/small_tokenizers.h"
#include "tokenizer/tokenizer.h"

namespace seer::fuzz::round_trip_target {
namespace {

std::unique_ptr<TextTokenizer> load(const nlohmann::json& file) {
  const Folder folder;
  folder.write("tokenizer.json", file.dump());
  return load_tokenizer(folder.path());
}

std::string encode_and_decode(const TextTokenizer& t, const std::string& text) {
  const std::vector<int32_t> ids = t.encode(text, false);
  for (const int32_t id : ids) expect(id >= 0 && id < t.n_vocab(), "an id out of the vocabulary");
  // NFKC, which SentencePiece applies, turns U+FDFA into 18 characters.
  expect(ids.size() <= 20 * text.size() + 4, "many more ids than bytes");
  return t.decode(ids, true);
}

void run(const std::string& bytes) {
  static const std::unique_ptr<TextTokenizer> byte_level = load(testing::byte_level_json()),
                                              metaspace = load(testing::metaspace_json()),
                                              sentencepiece =
                                                  load_tokenizer((testing::demo_model() / "model").string());
  expect(encode_and_decode(*byte_level, bytes) == testing::replace_invalid(bytes),
         "byte-level: another text");
  for (const TextTokenizer* t : {byte_level.get(), metaspace.get(), sentencepiece.get()}) {
    const std::string once = encode_and_decode(*t, bytes);
    expect(encode_and_decode(*t, once) == once, t->kind() + ": the second time gives another text");
    for (const int32_t id : t->encode(bytes, true))
      expect(id >= 0 && id < t->n_vocab(), "an id out of the vocabulary");
  }
}

const Registration kTarget({"round_trip", run, nullptr, 2048, 4096});

}  // namespace
}  // namespace seer::fuzz::round_trip_target
