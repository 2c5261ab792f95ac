#include "engine/base/checksum.h"

#define XXH_INLINE_ALL  // the library's code is compiled into this file, and nothing has to be linked
#include <xxhash.h>

namespace seer {
namespace {

Checksum of(const XXH128_hash_t& hash) { return {hash.high64, hash.low64}; }

}  // namespace

std::string Checksum::to_hex() const {
  static constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const uint64_t half : {high, low})
    for (int shift = 60; shift >= 0; shift -= 4) text += kDigits[half >> shift & 15];
  return text;
}

Checksum checksum_of(std::span<const std::byte> bytes) {
  return of(XXH3_128bits(bytes.data(), bytes.size()));
}

struct ChecksumStream::State {
  XXH3_state_t xxh;  // its own type asks for 64 bytes of alignment, which operator new gives
};

ChecksumStream::ChecksumStream() : state_(std::make_unique<State>()) { XXH3_128bits_reset(&state_->xxh); }

ChecksumStream::~ChecksumStream() = default;

void ChecksumStream::add(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(&state_->xxh, bytes.data(), bytes.size());
}

Checksum ChecksumStream::result() const { return of(XXH3_128bits_digest(&state_->xxh)); }

}  // namespace seer
