// Messages by which rank 0 tells the other ranks what to do: a kind and bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/comm/communicator.h"

namespace seer {

struct Message {
  uint32_t kind = 0;
  std::vector<std::byte> bytes;
};

// Must be called on rank 0, and receive_message() on the others at the same time. receive_message() waits as
// long as rank 0 has nothing to do.
void send_message(Communicator& comm, uint32_t kind, std::span<const std::byte> bytes);
// Writes the message to `message`, whose memory is used again.
void receive_message(Communicator& comm, Message* message);

// Writes values one after the other, as they lie in memory. The other ranks can read them so because all run
// the same program on the same kind of machine.
class MessageWriter {
 public:
  explicit MessageWriter(std::vector<std::byte>* out) : out_(*out) { out_.clear(); }
  template <class T>
  void put(const T& value) {
    put_all(std::span<const T>(&value, 1));
  }
  template <class T>
  void put_all(std::span<const T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (values.empty()) return;
    const size_t at = out_.size();
    out_.resize(at + values.size_bytes());
    std::memcpy(out_.data() + at, values.data(), values.size_bytes());
  }
  void put_text(std::string_view text) {
    put(static_cast<int64_t>(text.size()));
    put_all(std::span(text.data(), text.size()));
  }

 private:
  std::vector<std::byte>& out_;
};

// Reads the values that MessageWriter wrote, in the same order. Throws Error{kDevice} if the bytes end too
// early, because then the ranks do not run the same program.
class MessageReader {
 public:
  explicit MessageReader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <class T>
  T get() {
    T value{};
    get_all(std::span<T>(&value, 1));
    return value;
  }
  template <class T>
  void get_all(std::span<T> values) {
    static_assert(std::is_trivially_copyable_v<T>);
    take(std::as_writable_bytes(values));
  }
  template <class T>
  std::vector<T> get_vector(int64_t n) {
    check_count(n, sizeof(T));
    std::vector<T> values(static_cast<size_t>(n));
    get_all(std::span<T>(values));
    return values;
  }
  std::string get_text() {
    const std::vector<char> text = get_vector<char>(get<int64_t>());
    return {text.begin(), text.end()};
  }

 private:
  void take(std::span<std::byte> out);
  void check_count(int64_t n, size_t size) const;
  std::span<const std::byte> left_;
};

}  // namespace seer
