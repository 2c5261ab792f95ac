// What streams of bytes share that make a checksum or a digest of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>

namespace seer {

// A base of `Stream`, which has add(std::span<const std::byte>).
template <class Stream>
class ByteStream {
 public:
  // Adds a value as it lies in memory.
  template <class T>
  void put(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);  // no padding
    static_cast<Stream*>(this)->add(std::as_bytes(std::span<const T>(&value, 1)));
  }
  // Adds the length and then the characters, so that neighbouring texts cannot be mistaken for others.
  void put_text(std::string_view text) {
    put(static_cast<uint64_t>(text.size()));
    static_cast<Stream*>(this)->add(std::as_bytes(std::span(text.data(), text.size())));
  }
};

}  // namespace seer
