// tokenizer.model, which is a protobuf message.
#include "tests/fuzz/support.h"
#include "tokenizer/tokenizer.h"

namespace seer::fuzz::sentencepiece_target {
namespace {

void run(const std::string& bytes) {
  static const Folder folder;
  folder.write("tokenizer.model", bytes);
  std::unique_ptr<TextTokenizer> t;
  if (!accepts([&] { t = load_tokenizer(folder.path()); })) return;
  for (const std::string text : {"", " the ship  sails\n", "\xC3\xA9\xFF\xE2\x96\x81 12 <s></s>"}) {
    std::vector<int32_t> ids;
    // The library finds some faults of a model only when it applies the model.
    if (!accepts([&] { ids = t->encode(text, true); })) continue;
    for (const int32_t id : ids) {
      expect(id >= 0 && id < t->n_vocab(), "an id out of the vocabulary");
      t->piece(id);
    }
    t->decode(ids, false);
  }
}

// Protobuf reserves up to 50 MB for a string by its announced length, before it finds that the file is
// shorter.
const Registration kTarget({"sentencepiece", run, nullptr, 16384, 1024, size_t{64} << 20});

}  // namespace
}  // namespace seer::fuzz::sentencepiece_target
