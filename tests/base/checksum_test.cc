// Checksums: known values, pieces, and single flipped bits.
#include "engine/base/checksum.h"

#include <string>

#include "tests/support/catch.h"

namespace seer {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST_CASE("checksums are XXH3's of 128 bits, so that files can be checked by other programs too") {
  CHECK(checksum_of(bytes_of("")).to_hex() ==
        "99aa06d3014798d86001c324468d497f");  // as `xxh128sum` prints it
}

TEST_CASE("the checksum of a stream does not depend on how its bytes are divided") {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 + i / 256);
  for (const size_t piece : {1, 63, 64, 65, 1024, 5000}) {
    INFO("pieces of " << piece);
    ChecksumStream stream;
    for (size_t at = 0; at < text.size(); at += piece) stream.add(bytes_of(text.substr(at, piece)));
    CHECK(stream.result() == checksum_of(bytes_of(text)));
  }
}

TEST_CASE("every flipped bit of 300 bytes, and every length, has another checksum") {
  std::string text(300, '\0');
  const Checksum whole = checksum_of(bytes_of(text));
  for (size_t bit = 0; bit < 8 * text.size(); ++bit) {
    const char flip = static_cast<char>(1 << (bit % 8));
    text[bit / 8] ^= flip;
    CHECK(checksum_of(bytes_of(text)) != whole);
    text[bit / 8] ^= flip;
  }
  for (size_t n = 0; n < text.size(); ++n) CHECK(checksum_of(bytes_of(text.substr(0, n))) != whole);
}

TEST_CASE("texts that follow one another are not mistaken for others with the same characters") {
  ChecksumStream one, other;
  one.put_text("ab");
  one.put_text("c");
  other.put_text("a");
  other.put_text("bc");
  CHECK(one.result() != other.result());
}

}  // namespace
}  // namespace seer
