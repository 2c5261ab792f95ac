// The file of one page on a disk:
//
// - the head, 4096 bytes: magic, 8 bytes; version, u64; the page's name, 32 bytes; size of the record, u64;
//   the cost in seconds, f64; checksum of the record, 16 bytes; zeros; checksum of all bytes before it, 16
//   bytes
// - the record (PageTransfer)
// - zeros up to the next multiple of 4096 bytes
//
// Numbers are little-endian. The head, and the record with its zeros, begin and end at multiples of 4096
// bytes, because direct reads and writes need that.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/base/checksum.h"
#include "engine/src/tiers/page_name.h"

namespace seer {

constexpr int64_t kPageFileBlock = 4096;

struct PageFileHead {
  PageName name;
  int64_t record_bytes = 0;
  double cost_s = 0.0;  // PageTier::store()
  Checksum record;

  friend bool operator==(const PageFileHead&, const PageFileHead&) = default;
};

int64_t page_file_bytes(int64_t record_bytes);
// `block` is the head's kPageFileBlock bytes.
void pack_page_head(const PageFileHead& head, std::span<std::byte> block);
// Returns nothing if the block is no head that pack_page_head() made, and says in `damage` what is wrong.
std::optional<PageFileHead> parse_page_head(std::span<const std::byte> block, std::string* damage);

// Memory for one page's file, which can be read and written directly.
class PageFileBuffer {
 public:
  explicit PageFileBuffer(int64_t record_bytes);

  std::span<std::byte> head() const { return {memory_.get(), static_cast<size_t>(kPageFileBlock)}; }
  std::span<std::byte> record() const {
    return {memory_.get() + kPageFileBlock, static_cast<size_t>(record_bytes_)};
  }
  // The pieces of memory that the file's bytes are read to or written from. If `record` lies at a multiple of
  // 4096 bytes, its whole blocks are used where they are, and only its last bytes are in this buffer.
  // Otherwise all of them are here.
  struct Pieces {
    std::array<iovec, 3> pieces{};
    int n = 0;
    size_t n_outside = 0;  // bytes of the record that are in its own place
  };
  Pieces pieces(std::span<const std::byte> record) const;

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  int64_t record_bytes_;
  std::unique_ptr<std::byte, Free> memory_;
};

// What happened to a page's file.
struct PageFileResult {
  int error = 0;       // errno; 0: none
  std::string damage;  // of the contents; empty: none

  bool good() const { return error == 0 && damage.empty(); }
};

// Writes the whole file from its first byte. Returns errno, or 0. If the file was opened with O_DIRECT
// and the file system refuses such a write, the file is written in the ordinary way.
int write_page_file(int fd, const PageFileHead& head, std::span<const std::byte> record,
                    const PageFileBuffer& buffer);
// Reads a file of the right size, and compares all that can be compared. `head` is set if the result is good.
PageFileResult read_page_file(int fd, const PageName& name, std::span<std::byte> record,
                              const PageFileBuffer& buffer, PageFileHead* head);

}  // namespace seer
