// Checksums by XXH3 of the xxHash library, 128 bits wide. They find damage and differences, and they are fast
// enough to check what comes from a disk. They are no defence against someone who forges bytes on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/base/byte_stream.h"

namespace seer {

struct Checksum {
  uint64_t high = 0, low = 0;

  std::string to_hex() const;  // 32 digits
  friend bool operator==(const Checksum&, const Checksum&) = default;
};

Checksum checksum_of(std::span<const std::byte> bytes);

// The checksum of bytes that come in pieces. It depends on the bytes alone, not on how they are divided.
class ChecksumStream : public ByteStream<ChecksumStream> {
 public:
  ChecksumStream();
  ~ChecksumStream();
  ChecksumStream(const ChecksumStream&) = delete;
  ChecksumStream& operator=(const ChecksumStream&) = delete;

  void add(std::span<const std::byte> bytes);
  Checksum result() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seer
