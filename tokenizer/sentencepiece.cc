#include "tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include "seer/error.h"
#include "tokenizer/json_file.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace seer {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's visible space

class SentencePieceTokenizer final : public VocabularyTokenizer {
 public:
  SentencePieceTokenizer(const std::string& path, const TokenizerConfig& config) {
    const std::string model = read_text_file(path);
    const auto status = processor_.LoadFromSerializedProto(model);
    if (!status.ok() || processor_.GetPieceSize() <= 0)
      throw Error(ErrorKind::kFile, path + ": expected a SentencePiece model: " + status.ToString() +
                                        ". The file may be damaged, or belong to another kind of tokenizer.");
    const int n = processor_.GetPieceSize();
    bytes_.resize(static_cast<size_t>(n));
    for (int id = 0; id < n; ++id) {
      const std::string& piece = processor_.IdToPiece(id);
      if (processor_.IsControl(id) || processor_.IsUnknown(id)) {
        add_token({id, piece, /*special=*/true}, path);
      } else {
        const int byte = processor_.IsByte(id) ? byte_of_piece(piece) : -1;
        bytes_[static_cast<size_t>(id)] =
            byte < 0 ? with_spaces(piece) : std::string(1, static_cast<char>(byte));
      }
    }
    bos_id_ = processor_.bos_id();
    eos_id_ = processor_.eos_id();
    add_bos_ = bos_id_ >= 0;  // Llama's rule where tokenizer_config.json is silent
    apply_tokens(config, path);
    apply_policy(config);
    std::vector<std::string> pieces;
    strips_first_space_ =
        processor_.Encode("a", &pieces).ok() && !pieces.empty() && pieces[0].starts_with(kSpace);
  }

  std::string kind() const override { return "sentencepiece"; }
  Description description() const override {
    Description d = VocabularyTokenizer::description();
    d.normalizer = d.splits = "the model's own";
    return d;
  }

 protected:
  void encode_plain(std::string_view text, bool, std::vector<int32_t>* ids) const override {
    std::vector<int> part;
    const auto status = processor_.Encode({text.data(), text.size()}, &part);
    if (!status.ok())
      throw Error(ErrorKind::kRuntime, "sentencepiece could not encode: " + status.ToString());
    ids->insert(ids->end(), part.begin(), part.end());
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::unique_ptr<TextTokenizer> load_sentencepiece(const std::string& path, const TokenizerConfig& config) {
  return std::make_unique<SentencePieceTokenizer>(path, config);
}

}  // namespace seer
