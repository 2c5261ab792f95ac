// Digests: the examples of FIPS 180-4, pieces, and use as a key.
#include "engine/base/digest.h"

#include <string>
#include <unordered_map>

#include "tests/support/catch.h"

namespace seer {
namespace {

std::span<const std::byte> bytes_in(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST_CASE("digests are SHA-256's") {
  // The examples that NIST publishes for FIPS 180-4, and the empty input.
  const struct {
    std::string text, hex;
  } cases[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopq"
       "rst"
       "nopqrstu",
       "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
      {std::string(1'000'000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const auto& [text, hex] : cases) {
    INFO(text.size() << " bytes");
    CHECK(digest_of(bytes_in(text)).to_hex() == hex);
  }
}

TEST_CASE("the digest of a stream does not depend on how its bytes are divided") {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += static_cast<char>(i * 37 + i / 256);
  for (const size_t piece : {1, 63, 64, 65, 1024, 5000}) {
    INFO("pieces of " << piece);
    DigestStream stream;
    for (size_t at = 0; at < text.size(); at += piece) stream.add(bytes_in(text.substr(at, piece)));
    CHECK(stream.result() == digest_of(bytes_in(text)));
  }
}

TEST_CASE("a stream goes on after its digest was asked for") {
  DigestStream stream;
  stream.add(bytes_in("ab"));
  CHECK(stream.result() == digest_of(bytes_in("ab")));
  CHECK(stream.result() == digest_of(bytes_in("ab")));
  stream.add({});
  stream.add(bytes_in("c"));
  CHECK(stream.result() == digest_of(bytes_in("abc")));
}

TEST_CASE("the digests of texts in a row are not those of other texts with the same characters") {
  DigestStream one, other;
  one.put_text("ab");
  one.put_text("c");
  other.put_text("a");
  other.put_text("bc");
  CHECK(one.result() != other.result());
}

TEST_CASE("a digest is a key of an unordered map") {
  std::unordered_map<Digest, int, DigestHash> map;
  for (int i = 0; i < 100; ++i) map[digest_of(bytes_in(std::to_string(i)))] = i;
  CHECK(map.size() == 100);
  CHECK(map.at(digest_of(bytes_in("42"))) == 42);
}

}  // namespace
}  // namespace seer
