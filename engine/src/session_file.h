// The file of a saved session: a head that says what the session is, and a record for each of its pages.
//
//   magic, 8 bytes; version, u64; size of the head's contents, u64
//   the head's contents: see SessionHead
//   checksum of all bytes before it
//   for each page: its record (PageTransfer), and a checksum of the record and the page's number
//
// Numbers are little-endian. The file ends after the last page. engine/DESIGN.md says what is kept and why.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file_reader.h"
#include "engine/base/output_file.h"
#include "engine/src/sequence.h"
#include "models/page_fingerprint.h"

namespace seer {

// Everything of a session besides its pages.
struct SessionHead {
  std::string program;          // the version of Seer that wrote the file, for messages
  PageFingerprint fingerprint;  // of the engine that computed the pages
  int64_t page_tokens = 0;
  int64_t record_bytes = 0;  // of a page
  SequenceState state;
  std::vector<int32_t> tokens;
  std::string note;  // the caller's own

  int64_t n_pages() const { return blocks_of(state.n_computed, page_tokens); }
  int64_t file_bytes(int64_t head_bytes) const;
};

// Returns the file's bytes before its first record.
std::string pack_session_head(const SessionHead& head);
// Does the same for a head's contents that are bytes already: puts before and after them what the file has
// there, with a right checksum. For tests.
std::string seal_session_head(std::string_view contents);
// Reads what pack_session_head() wrote. Throws Error{kFile} that begins with `name` if `bytes` are no head of
// a version that this program knows, are damaged, or describe what no session can be. On return, all sizes
// are in range, and the state is one that a sequence can have.
SessionHead parse_session_head(std::string_view bytes, const std::string& name);

// Writes a file that appears under its name when finish() returns. Throws Error{kRuntime}.
class SessionWriter {
 public:
  SessionWriter(const std::string& path, const SessionHead& head);
  void add_page(std::span<const std::byte> record);
  void finish() { file_.finish(Durability::kSynced); }
  int64_t n_bytes() const { return n_bytes_; }

 private:
  OutputFile file_;
  int64_t n_bytes_ = 0, n_pages_ = 0;
};

// Reads a file, whose head is checked when it is opened, and each page when it is read. Throws Error{kFile}.
class SessionReader {
 public:
  explicit SessionReader(const std::string& path);

  const SessionHead& head() const { return head_; }
  int64_t n_bytes() const { return static_cast<int64_t>(file_.size); }
  // Reads the record of a page to `out`, which has head().record_bytes bytes.
  void read_page(int64_t page, std::span<std::byte> out) const;

 private:
  OpenFile file_;
  int64_t head_bytes_ = 0;
  SessionHead head_;
};

// Throws Error{kFile} that names the first item in which the session's engine differed from this one, with
// both values and what would make them equal.
void check_fingerprint(const PageFingerprint& session, const PageFingerprint& engine,
                       const std::string& path);

}  // namespace seer
