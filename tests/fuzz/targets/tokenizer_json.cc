// tokenizer.json, tokenizer_config.json, special_tokens_map.json and a text, which is encoded if the files
// are accepted.
#include "tests/fuzz/support.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace seer::fuzz::tokenizer_json_target {
namespace {

constexpr size_t kMaxSize = 16384;
constexpr const char* kNames[] = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"};

std::string mutate(const std::string& bytes, Random& random) {
  std::vector<std::string> parts = split(bytes, 4);
  const size_t i = random.one_in(2) ? 0 : random.below(4);
  parts[i] = i == 3 ? mutate_bytes(parts[i], 512) : mutate_json(parts[i], random, kMaxSize);
  return join(parts);
}

void check(const TextTokenizer& t, const std::string& text) {
  expect(t.n_vocab() >= 0 && t.bos_id() >= -1 && t.eos_id() >= -1, "the vocabulary's ids");
  for (const bool parse_special : {false, true}) {
    std::vector<int32_t> ids;
    if (!accepts([&] { ids = t.encode(text, parse_special); })) continue;
    for (const int32_t id : ids) {
      expect(id >= 0 && id < t.n_vocab(), "an id out of the vocabulary");
      t.piece(id);
    }
    t.decode(ids, true);
    t.decode(ids, false);
  }
  for (const int32_t id : {-1, INT32_MIN, INT32_MAX}) expect(t.piece(id).empty(), "a piece of no id");
}

void run(const std::string& bytes) {
  static const Folder folder;
  const std::vector<std::string> parts = split(bytes, 4);
  for (size_t i = 0; i < 3; ++i) {
    folder.remove(kNames[i]);
    if (!parts[i].empty()) folder.write(kNames[i], parts[i]);
  }
  std::unique_ptr<TextTokenizer> tokenizer;
  if (accepts([&] { tokenizer = load_tokenizer(folder.path()); })) check(*tokenizer, parts[3].substr(0, 512));
  accepts([&] { read_chat_templates(folder.path()); });
}

// Ids may leave gaps of 65,536. The size of PCRE2's tables depends on the pattern, not on the file.
const Registration kTarget({"tokenizer_json", run, mutate, kMaxSize, 4096});

}  // namespace
}  // namespace seer::fuzz::tokenizer_json_target
