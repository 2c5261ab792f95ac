#include "tokenizer/sentencepiece.h"

#include <sentencepiece_processor.h>

#include <algorithm>

#include "engine/base/stop_check.h"
#include "seer/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace seer {
namespace {

// Serialized messages that follow one another are one message, in which later fields take precedence.
// Appending this text to a model sets normalizer_spec.add_dummy_prefix to false.
constexpr std::string_view kNoDummyPrefix("\x1A\x02\x18\x00", 4);

using Processor = sentencepiece::SentencePieceProcessor;

// The effects of a model's normalizer on a text, from normalizer_spec (field 3) of the serialized ModelProto.
struct NormalizerSpec {
  bool maps_characters = true;  // rules may drop any character (precompiled_charsmap, field 2)
  bool removes_spaces = true;   // it removes spaces (remove_extra_whitespaces, field 4)
};

// Reads the fields of a serialized protocol buffer, which are identified by numbers and wire types.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view bytes) : rest_(bytes) {}
  struct Field {
    uint64_t number = 0, value = 0;  // the value of a varint
    std::string_view bytes;          // the bytes of a length-delimited field
  };
  // Returns false at the end, and for bytes that are no message.
  bool next(Field* field) {
    uint64_t key = 0;
    if (!varint(&key)) return false;
    field->number = key >> 3;
    field->bytes = {};
    switch (key & 7) {
      case 0:
        return varint(&field->value);
      case 1:
        return take(8, &field->bytes);
      case 2:
        return varint(&field->value) && take(field->value, &field->bytes);
      case 5:
        return take(4, &field->bytes);
      default:
        return false;
    }
  }
  bool at_end() const { return rest_.empty(); }

 private:
  bool take(uint64_t n, std::string_view* bytes) {
    if (n > rest_.size()) return false;
    *bytes = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  bool varint(uint64_t* value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      *value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }
  std::string_view rest_;
};

NormalizerSpec normalizer_spec(std::string_view model) {
  NormalizerSpec spec;
  bool maps = false, removes = true;  // the format's defaults
  ProtoReader reader(model);
  for (ProtoReader::Field field; reader.next(&field);) {
    if (field.number != 3) continue;
    ProtoReader inner(field.bytes);
    for (ProtoReader::Field member; inner.next(&member);) {
      if (member.number == 2) maps = !member.bytes.empty();
      if (member.number == 4) removes = member.value != 0;
    }
    if (!inner.at_end()) return spec;
  }
  if (reader.at_end()) spec = {maps, removes};
  return spec;
}

std::unique_ptr<Processor> load_processor(const std::string& model, const std::string& path) {
  auto processor = std::make_unique<Processor>();
  std::string problem;
  try {
    const auto status = processor->LoadFromSerializedProto(model);
    if (!status.ok()) problem = status.ToString();
    if (status.ok() && processor->GetPieceSize() <= 0) problem = "it has no pieces";
  } catch (const std::exception& error) {
    // The library throws for a user-defined piece without text.
    problem = error.what();
  }
  if (!problem.empty())
    throw Error(ErrorKind::kFile, path + ": expected a SentencePiece model: " + problem +
                                      ". The file may be damaged, or belong to another kind of tokenizer.");
  return processor;
}

class SentencePieceTokenizer final : public VocabularyTokenizer {
 public:
  SentencePieceTokenizer(const std::string& model, const std::string& path, const TokenizerConfig& config) {
    processor_ = load_processor(model, path);
    const int n = processor_->GetPieceSize();
    names_.resize(static_cast<size_t>(n));
    for (int id = 0; id < n; ++id) {
      const std::string& piece = processor_->IdToPiece(id);
      names_[static_cast<size_t>(id)] = piece;
      if (processor_->IsControl(id) || processor_->IsUnknown(id)) add_token({id, piece, /*special=*/true});
    }
    read_spaces(config);
    if (spaces_ != Spaces::kEach) without_prefix_ = load_processor(model + std::string(kNoDummyPrefix), path);
    bos_id_ = processor_->bos_id();
    eos_id_ = processor_->eos_id();
    // Llama's own program always adds BOS; transformers 5 adds it if the file says so.
    add_bos_ = bos_id_ >= 0 && !config.found;
    apply_tokens(config, path);
    apply_policy(config);
    set_bound(bound(model), longest_piece());
  }

  std::string kind() const override { return "sentencepiece"; }
  Description description() const override {
    Description d = VocabularyTokenizer::description();
    d.normalizer = d.splits = "the model's own";
    return d;
  }

 protected:
  int64_t vocabulary_size() const override { return processor_->GetPieceSize(); }
  int32_t vocabulary_id(std::string_view name) const override {
    const int id = processor_->PieceToId({name.data(), name.size()});
    return processor_->IdToPiece(id) == std::string(name) ? id : -1;
  }

  void encode_plain(std::string_view text, bool first, std::vector<int32_t>* ids) const override {
    StopCheck::work(text.size());  // the library itself cannot be stopped
    std::vector<int> part;
    const bool prefixed = spaces_ == Spaces::kEach || (spaces_ == Spaces::kFirst && first);
    const auto status = (prefixed ? processor_ : without_prefix_)->Encode({text.data(), text.size()}, &part);
    if (!status.ok())
      throw Error(ErrorKind::kRuntime, "sentencepiece could not encode: " + status.ToString());
    ids->insert(ids->end(), part.begin(), part.end());
  }

 private:
  size_t longest_piece() const {
    size_t longest = 0;
    for (const std::string& name : names_) longest = std::max(longest, name.size());
    return longest;
  }

  // Sets the bound. The library joins unknown characters to one token, unless the vocabulary has all bytes.
  TextBound bound(std::string_view model) const {
    TextBound bound;
    int n_bytes = 0;
    for (int id = 0; id < processor_->GetPieceSize(); ++id) n_bytes += processor_->IsByte(id) ? 1 : 0;
    const NormalizerSpec spec = normalizer_spec(model);
    if (n_bytes < 256 || spec.maps_characters) bound.drop();
    if (spec.removes_spaces) bound.drop_space();
    return bound;
  }

  // The stretches of text between added tokens that get a space in front, if the model adds one at all.
  enum class Spaces { kEach, kFirst, kNone };

  // Follows transformers 5. Its LlamaTokenizer is not legacy unless the file says so, and uses
  // add_prefix_space; any other class is legacy unless the file says otherwise. Its LlamaTokenizer also
  // merges runs of spaces differently from SentencePiece, and drops the space that a text begins with. A
  // model that was trained with SentencePiece has never seen that, so it is not done here.
  void read_spaces(const TokenizerConfig& config) {
    std::string name = config.tokenizer_class;
    if (name.ends_with("Fast")) name.resize(name.size() - 4);
    const bool llama = name == "LlamaTokenizer";
    if (llama && config.add_prefix_space == false) {
      spaces_ = Spaces::kNone;
    } else if (!config.legacy.value_or(!llama)) {
      spaces_ = Spaces::kFirst;
    }
    std::vector<std::string> pieces;
    const bool prefixed =
        processor_->Encode("a", &pieces).ok() && !pieces.empty() && pieces[0].starts_with(kVisibleSpace);
    decoder_ = TokenDecoder::of_sentencepiece(prefixed && spaces_ != Spaces::kNone);
  }

  std::unique_ptr<Processor> processor_, without_prefix_;
  Spaces spaces_ = Spaces::kEach;
};

}  // namespace

std::unique_ptr<TextTokenizer> make_sentencepiece(const std::string& model, const std::string& path,
                                                  const TokenizerConfig& config) {
  return std::make_unique<SentencePieceTokenizer>(model, path, config);
}

}  // namespace seer
