#include "engine/src/text_stream.h"

#include <utility>

#include "seer/error.h"

namespace seer {

TextStream::TextStream(const TextTokenizer* tokenizer, const std::vector<std::string>& stops, bool at_start)
    : tokenizer_(tokenizer), stops_(stops), at_start_(at_start) {
  if (tokenizer == nullptr && !stops.empty())
    throw Error(ErrorKind::kUsage, "stop strings need a tokenizer, and the model's folder has none");
}

std::string TextStream::push(int32_t id) {
  if (tokenizer_ == nullptr || tokenizer_->is_special(id)) return {};
  std::string piece = tokenizer_->piece(id);
  if (std::exchange(at_start_, false) && tokenizer_->strips_first_space() && piece.starts_with(' '))
    piece.erase(0, 1);
  return stops_.push(utf8_.push(piece));
}

std::string TextStream::finish() {
  if (stopped()) return {};
  std::string text = stops_.push(utf8_.finish());
  return stopped() ? text : text + stops_.finish();
}

}  // namespace seer
