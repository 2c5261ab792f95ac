#include "tokenizer/tokenizer.h"

#include <filesystem>

#include "seer/error.h"
#include "tokenizer/bpe.h"
#include "tokenizer/sentencepiece.h"

namespace seer {

std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir) {
  const std::filesystem::path dir = model_dir, json = dir / "tokenizer.json", model = dir / "tokenizer.model";
  const TokenizerConfig config = TokenizerConfig::load(model_dir);
  if (std::filesystem::exists(json)) return load_bpe(json.string(), config);
  if (std::filesystem::exists(model)) return load_sentencepiece(model.string(), config);
  throw Error(ErrorKind::kFile, model_dir + ": expected tokenizer.json or tokenizer.model, found neither");
}

}  // namespace seer
