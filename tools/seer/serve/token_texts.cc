#include "tools/seer/serve/token_texts.h"

#include <algorithm>

#include "engine/base/json.h"
#include "tools/seer/format.h"

namespace seer::serve {
namespace {

// JSON's own writer checks whether bytes are whole characters.
bool is_utf8(const std::string& bytes) {
  try {
    static_cast<void>(Json(bytes).dump());
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

}  // namespace

bool is_silent(const Tokenizer& tokenizer, int32_t id) {
  return id >= tokenizer.n_vocab() || tokenizer.token_bytes(id).empty() || tokenizer.decode({id}).empty();
}

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  std::string bytes = tokenizer.token_bytes(id);
  if (is_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char byte : bytes) text += cli::format("\\x%02x", static_cast<unsigned char>(byte));
  return text;
}

int64_t n_characters(const std::string& bytes) {
  return std::count_if(bytes.begin(), bytes.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; });
}

}  // namespace seer::serve
