#include "engine/src/tiers/page_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

namespace seer {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::array<char, 8> kMagic = {'S', 'e', 'e', 'r', 'P', 'a', 'g', 'e'};
constexpr uint64_t kVersion = 1;

// The head as it lies in its block, without the zeros and the last checksum.
struct HeadBytes {
  std::array<char, 8> magic = kMagic;
  uint64_t version = kVersion;
  PageName name;
  uint64_t record_bytes = 0;
  double cost_s = 0.0;
  Checksum record;
};
static_assert(sizeof(HeadBytes) == 80 && std::is_trivially_copyable_v<HeadBytes>);
constexpr size_t kSumAt = static_cast<size_t>(kPageFileBlock) - sizeof(Checksum);

// Moves all bytes of the pieces, from the file's first byte. Returns errno, or 0.
template <class Move>
int move_all(int fd, PageFileBuffer::Pieces in, const Move& move) {
  iovec* piece = in.pieces.data();
  off_t at = 0;
  while (in.n > 0) {
    const ssize_t n = move(fd, piece, in.n, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      const int flags = ::fcntl(fd, F_GETFL);
      if (error != EINVAL || (flags & O_DIRECT) == 0) return error;
      // The file system needs other blocks than ours for direct access, so this goes on without it.
      if (::fcntl(fd, F_SETFL, flags & ~O_DIRECT) != 0) return error;
      continue;
    }
    if (n == 0) return EIO;  // the file ended, although its size was right
    at += n;
    for (auto left = static_cast<size_t>(n); left > 0;) {
      const size_t taken = std::min(left, piece->iov_len);
      piece->iov_base = static_cast<std::byte*>(piece->iov_base) + taken;
      piece->iov_len -= taken;
      left -= taken;
      if (piece->iov_len == 0) ++piece, --in.n;
    }
  }
  return 0;
}

}  // namespace

int64_t page_file_bytes(int64_t record_bytes) {
  return kPageFileBlock + (record_bytes + kPageFileBlock - 1) / kPageFileBlock * kPageFileBlock;
}

void pack_page_head(const PageFileHead& head, std::span<std::byte> block) {
  HeadBytes bytes;
  bytes.name = head.name;
  bytes.record_bytes = static_cast<uint64_t>(head.record_bytes);
  bytes.cost_s = head.cost_s;
  bytes.record = head.record;
  std::fill(block.begin(), block.end(), std::byte{0});
  std::memcpy(block.data(), &bytes, sizeof bytes);
  const Checksum sum = checksum_of(block.first(kSumAt));
  std::memcpy(block.data() + kSumAt, &sum, sizeof sum);
}

std::optional<PageFileHead> parse_page_head(std::span<const std::byte> block, std::string* damage) {
  const auto refuse = [&](const std::string& what) {
    *damage = what;
    return std::nullopt;
  };
  if (block.size() != static_cast<size_t>(kPageFileBlock)) return refuse("its head is cut short");
  HeadBytes bytes;
  std::memcpy(&bytes, block.data(), sizeof bytes);
  if (bytes.magic != kMagic) return refuse("it does not begin as a page of Seer does");
  Checksum sum;
  std::memcpy(&sum, block.data() + kSumAt, sizeof sum);
  if (checksum_of(block.first(kSumAt)) != sum) return refuse("its head is damaged");
  // Whoever made the file may have computed a right checksum of wrong values.
  if (bytes.version != kVersion)
    return refuse("expected version " + std::to_string(kVersion) + ", found version " +
                  std::to_string(bytes.version));
  if (bytes.record_bytes == 0 || bytes.record_bytes > uint64_t{1} << 40)
    return refuse("expected a page's size, found " + std::to_string(bytes.record_bytes) + " bytes");
  if (!std::isfinite(bytes.cost_s) || bytes.cost_s < 0)
    return refuse("expected a cost in seconds, found another value");
  return PageFileHead{bytes.name, static_cast<int64_t>(bytes.record_bytes), bytes.cost_s, bytes.record};
}

void PageFileBuffer::Free::operator()(std::byte* memory) const { std::free(memory); }

PageFileBuffer::PageFileBuffer(int64_t record_bytes) : record_bytes_(record_bytes) {
  const auto n = static_cast<size_t>(page_file_bytes(record_bytes));
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(static_cast<size_t>(kPageFileBlock), n)));
  if (memory_ == nullptr) throw std::bad_alloc();
  std::memset(memory_.get() + n - kPageFileBlock, 0, static_cast<size_t>(kPageFileBlock));
}

PageFileBuffer::Pieces PageFileBuffer::pieces(std::span<const std::byte> record) const {
  const auto whole = static_cast<size_t>(page_file_bytes(record_bytes_));
  const bool aligned = reinterpret_cast<uintptr_t>(record.data()) % kPageFileBlock == 0;
  Pieces result;
  result.n_outside = aligned ? record.size() / kPageFileBlock * kPageFileBlock : 0;
  const size_t after = static_cast<size_t>(kPageFileBlock) + result.n_outside;
  const auto add = [&](std::byte* at, size_t n) {
    if (n > 0) result.pieces[static_cast<size_t>(result.n++)] = {at, n};
  };
  if (result.n_outside == 0) {
    add(memory_.get(), whole);
  } else {
    add(memory_.get(), static_cast<size_t>(kPageFileBlock));
    add(const_cast<std::byte*>(record.data()), result.n_outside);
    add(memory_.get() + after, whole - after);
  }
  return result;
}

int write_page_file(int fd, const PageFileHead& head, std::span<const std::byte> record,
                    const PageFileBuffer& buffer) {
  const PageFileBuffer::Pieces pieces = buffer.pieces(record);
  pack_page_head(head, buffer.head());
  std::copy(record.begin() + static_cast<ptrdiff_t>(pieces.n_outside), record.end(),
            buffer.record().begin() + static_cast<ptrdiff_t>(pieces.n_outside));
  return move_all(fd, pieces,
                  [](int to, const iovec* piece, int n, off_t at) { return ::pwritev(to, piece, n, at); });
}

PageFileResult read_page_file(int fd, const PageName& name, std::span<std::byte> record,
                              const PageFileBuffer& buffer, PageFileHead* head) {
  const PageFileBuffer::Pieces pieces = buffer.pieces(record);
  const int error = move_all(
      fd, pieces, [](int from, const iovec* piece, int n, off_t at) { return ::preadv(from, piece, n, at); });
  if (error != 0) return {error, ""};
  PageFileResult result;
  const std::optional<PageFileHead> found = parse_page_head(buffer.head(), &result.damage);
  if (!found) return result;
  if (found->name != name) return {0, "it holds the page " + found->name.to_hex()};
  if (found->record_bytes != static_cast<int64_t>(record.size()))
    return {0, "expected a page of " + std::to_string(record.size()) + " bytes, found one of " +
                   std::to_string(found->record_bytes)};
  std::copy(buffer.record().begin() + static_cast<ptrdiff_t>(pieces.n_outside), buffer.record().end(),
            record.begin() + static_cast<ptrdiff_t>(pieces.n_outside));
  if (checksum_of(record) != found->record) return {0, "the page's contents are damaged"};
  *head = *found;
  return {};
}

}  // namespace seer
