#include "engine/src/text_stream.h"

#include <utility>

#include "seer/error.h"

namespace seer {

TextStream::TextStream(const TextTokenizer* tokenizer, const std::vector<std::string>& stops, bool at_start)
    : tokenizer_(tokenizer), stops_(stops), at_start_(at_start) {
  if (tokenizer == nullptr && !stops.empty())
    throw Error(ErrorKind::kUsage, "stop strings need a tokenizer, and the model's folder has none");
}

std::string TextStream::push(int32_t id, bool look_for_stops) {
  if (tokenizer_ == nullptr || id >= tokenizer_->n_vocab() || tokenizer_->is_special(id)) return {};
  std::string piece = tokenizer_->piece(id);
  if (std::exchange(at_start_, false) && tokenizer_->strips_first_space() && piece.starts_with(' '))
    piece.erase(0, 1);
  std::string text = utf8_.push(piece);
  return look_for_stops ? stops_.push(text) : text;
}

std::string TextStream::finish() {
  if (stopped()) return {};
  std::string text = stops_.push(utf8_.finish());
  return stopped() ? text : text + stops_.finish();
}

}  // namespace seer
