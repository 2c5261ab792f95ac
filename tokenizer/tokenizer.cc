#include "tokenizer/tokenizer.h"

#include <filesystem>

#include "engine/base/file_reader.h"
#include "seer/error.h"
#include "tokenizer/bpe.h"
#include "tokenizer/json_file.h"
#include "tokenizer/sentencepiece.h"

namespace seer {

constexpr uint64_t kMaxModelBytes = uint64_t{256} << 20;

std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir, const TokenizerConfig& config) {
  const std::filesystem::path dir = model_dir;
  const std::string json = (dir / "tokenizer.json").string(), model = (dir / "tokenizer.model").string();
  if (const auto file = read_json_file(json)) {
    try {
      return make_bpe(*file, json, config);
    } catch (const Json::exception& error) {  // a value of a kind that no check expected
      throw Error(ErrorKind::kFile, json + ": a value is of the wrong type: " + error.what());
    }
  }
  if (const auto bytes = read_whole_file_if_there(model, kMaxModelBytes))
    return make_sentencepiece(*bytes, model, config);
  throw Error(ErrorKind::kFile, model_dir + ": expected tokenizer.json or tokenizer.model, found neither");
}

std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir) {
  return load_tokenizer(model_dir, TokenizerConfig::load(model_dir));
}

}  // namespace seer
