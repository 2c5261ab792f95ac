// Bytes as UTF-8, whole and in pieces.
#include "tests/fuzz/support.h"
#include "tokenizer/utf8_stream.h"

namespace seer::fuzz::text_target {
namespace {

// The first byte selects the cuts in the text.
void run(const std::string& bytes) {
  if (bytes.empty()) return;
  Random random(static_cast<unsigned char>(bytes[0]));
  const std::string_view text = std::string_view(bytes).substr(1);
  Utf8Stream whole, pieces;
  std::string expected = whole.push(text);
  expect(is_utf8(expected), "what came out is no UTF-8");
  expected += whole.finish();
  std::string got;
  for (size_t at = 0; at < text.size();) {
    const size_t size = random.below(5);
    const std::string piece = pieces.push(text.substr(at, size));
    expect(is_utf8(piece), "a piece that is no UTF-8");
    got += piece;
    at += size;
  }
  got += pieces.finish();
  expect(got == expected, "another text from pieces");
  expect(is_utf8(got), "the end is no UTF-8");
  if (is_utf8(text)) expect(got == text, "a text that was UTF-8 has changed");
}

const Registration kTarget({"text", run});

}  // namespace
}  // namespace seer::fuzz::text_target
