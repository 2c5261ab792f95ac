// Checksums by XXH3 of the xxHash library, 128 bits wide. They find damage and differences, and they are fast
// enough to check what comes from a disk. They are no defence against someone who forges bytes on purpose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace seer {

struct Checksum {
  uint64_t high = 0, low = 0;

  std::string to_hex() const;  // 32 digits
  friend bool operator==(const Checksum&, const Checksum&) = default;
};

Checksum checksum_of(std::span<const std::byte> bytes);

// The checksum of bytes that come in pieces. It depends on the bytes alone, not on how they are divided.
class ChecksumStream {
 public:
  ChecksumStream();
  ~ChecksumStream();
  ChecksumStream(const ChecksumStream&) = delete;
  ChecksumStream& operator=(const ChecksumStream&) = delete;

  void add(std::span<const std::byte> bytes);
  // Adds a value as it lies in memory.
  template <class T>
  void put(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);  // no padding
    add(std::as_bytes(std::span<const T>(&value, 1)));
  }
  // Adds the length and then the characters, so that neighbouring texts cannot be mistaken for others.
  void put_text(std::string_view text);
  Checksum result() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seer
