#include "kernels/comm/message.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace seer {
namespace {

// Most decode steps fit whole into the first broadcast.
constexpr size_t kInline = 2048;

struct Frame {
  uint32_t kind;
  uint32_t magic;
  int64_t n_bytes;
  std::array<std::byte, kInline> first;
};

constexpr uint32_t kMagic = 0x53454552;

[[noreturn]] void fail_to_read() {
  throw Error(
      ErrorKind::kDevice,
      "a message of rank 0 cannot be read: expected every rank to run the same version of the program");
}

}  // namespace

void send_message(Communicator& comm, uint32_t kind, std::span<const std::byte> bytes) {
  Frame frame{kind, kMagic, static_cast<int64_t>(bytes.size()), {}};
  const size_t n_first = std::min(bytes.size(), kInline);
  std::copy_n(bytes.begin(), n_first, frame.first.begin());
  comm.broadcast(&frame, sizeof frame, Patience::kStep);
  // On rank 0, broadcast() only reads the buffer.
  if (bytes.size() > n_first)
    comm.broadcast(const_cast<std::byte*>(bytes.data()) + n_first,
                   static_cast<int64_t>(bytes.size() - n_first), Patience::kStep);
}

void receive_message(Communicator& comm, Message* message) {
  Frame frame{};
  comm.broadcast(&frame, sizeof frame, Patience::kIdle);
  if (frame.magic != kMagic || frame.n_bytes < 0) fail_to_read();
  message->kind = frame.kind;
  message->bytes.resize(static_cast<size_t>(frame.n_bytes));
  const size_t n_first = std::min(message->bytes.size(), kInline);
  std::copy_n(frame.first.begin(), n_first, message->bytes.begin());
  if (message->bytes.size() > n_first)
    comm.broadcast(message->bytes.data() + n_first, static_cast<int64_t>(message->bytes.size() - n_first),
                   Patience::kStep);
}

void MessageReader::take(std::span<std::byte> out) {
  if (out.size() > left_.size()) fail_to_read();
  std::copy_n(left_.begin(), out.size(), out.begin());
  left_ = left_.subspan(out.size());
}

void MessageReader::check_count(int64_t n, size_t size) const {
  if (n < 0 || static_cast<uint64_t>(n) > left_.size() / size) fail_to_read();
}

}  // namespace seer
