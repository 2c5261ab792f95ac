#include "engine/src/session_file.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>

#include "models/config.h"
#include "models/shown_name.h"
#include "seer/error.h"
#include "seer/version.h"

namespace seer {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "SeerSess";
constexpr uint64_t kVersion = 1;
constexpr size_t kPrefix = 24;  // magic, version, size
constexpr int64_t kMostSessionTokens = ModelConfig::kMaxPositions;
constexpr int64_t kMostRecordBytes = int64_t{1} << 32;  // so that no product of sizes overflows
constexpr int64_t kMostItems = 1 << 16;

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::kFile, name + ": " + what);
}

[[noreturn]] void refuse_damaged(const std::string& name, const std::string& where, const Checksum& expected,
                                 const Checksum& found) {
  refuse(name, "the session is damaged " + where + ": expected the checksum " + expected.to_hex() +
                   ", found " + found.to_hex() + ". Nothing of it is used; save the session again.");
}

class Packer {
 public:
  explicit Packer(std::string* out) : out_(*out) {}
  template <class T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put_text(std::string_view text) {
    put(static_cast<uint64_t>(text.size()));
    out_.append(text);
  }

 private:
  std::string& out_;
};

// Reads what Packer wrote. The bytes have a right checksum, but a stranger can compute that too.
class Unpacker {
 public:
  Unpacker(std::string_view bytes, const std::string& name) : left_(bytes), name_(name) {}

  template <class T>
  T get() {
    T value{};
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  // Returns a number that must lie in a range.
  int64_t get(const char* what, int64_t least, int64_t most) {
    const auto value = get<int64_t>();
    if (value < least || value > most)
      refuse(name_, std::string("expected ") + what + " from " + std::to_string(least) + " to " +
                        std::to_string(most) + ", found " + std::to_string(value));
    return value;
  }
  bool get_flag(const char* what) { return get(what, 0, 1) == 1; }
  std::string get_text() { return std::string(take(get<uint64_t>())); }
  std::string_view take(uint64_t n) {
    if (n > left_.size())
      refuse(name_, "expected " + std::to_string(n) + " more bytes in the session's head, found " +
                        std::to_string(left_.size()));
    const std::string_view taken = left_.substr(0, n);
    left_.remove_prefix(n);
    return taken;
  }
  bool at_end() const { return left_.empty(); }

 private:
  std::string_view left_;
  const std::string& name_;
};

SparseRule get_rule(Unpacker& in, const std::string& name) {
  SparseRule rule;
  rule.method = static_cast<SparseRule::Method>(
      in.get("a sparse rule", 0, static_cast<int64_t>(SparseRule::Method::kNzRatioRow)));
  rule.value = in.get<double>();
  try {
    const bool dense = rule.method == SparseRule::Method::kDense;  // its value means nothing
    if (std::isfinite(rule.value) && (dense || SparseRule::parse(rule.to_string()) == rule)) return rule;
  } catch (const Error&) {  // out of range
  }
  refuse(name, "expected a sparse rule with a value that it may have, found another value");
}

Checksum checksum_of_page(int64_t page, std::span<const std::byte> record) {
  ChecksumStream sum;
  sum.put(page);
  sum.add(record);
  return sum.result();
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// Reads exactly so many bytes, which must be there.
void read_at(const OpenFile& file, int64_t at, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::pread(file.fd.get(), out.data(), out.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse(file.path, std::string("cannot be read: ") + std::strerror(errno));
    if (n == 0) refuse(file.path, "the file was cut short while it was read");
    at += n;
    out = out.subspan(static_cast<size_t>(n));
  }
}

std::string read_text(const OpenFile& file, int64_t at, uint64_t n) {
  std::string text(n, '\0');
  read_at(file, at, std::as_writable_bytes(std::span(text.data(), text.size())));
  return text;
}

// Returns the size of the head with its checksum from the file's first bytes.
uint64_t head_size(std::string_view prefix, const std::string& name) {
  if (prefix.size() < kPrefix || !prefix.starts_with(kMagic))
    refuse(name, "expected a session that Seer saved, found another kind of file");
  Unpacker in(prefix.substr(kMagic.size()), name);
  const auto version = in.get<uint64_t>();
  if (version != kVersion)
    refuse(name, "expected version " + std::to_string(kVersion) + " of saved sessions, found version " +
                     std::to_string(version) +
                     ". Use the version of Seer that saved it, or save the session again.");
  const auto size = in.get<uint64_t>();
  if (size > std::numeric_limits<uint32_t>::max() * uint64_t{16})
    refuse(name, "the session is damaged in its first bytes, which say how long its head is");
  return kPrefix + size + sizeof(Checksum);
}

// Throws if the file is not as long as its head says.
void check_size(const OpenFile& file, uint64_t expected) {
  if (file.size == expected) return;
  refuse(file.path,
         "expected a session of " + std::to_string(expected) + " bytes, found " + std::to_string(file.size) +
             (file.size < expected ? ": the file was cut short. Copy it again, or save the session again."
                                   : ": something was appended. Save the session again."));
}

}  // namespace

int64_t SessionHead::file_bytes(int64_t head_bytes) const {
  return head_bytes + n_pages() * (record_bytes + static_cast<int64_t>(sizeof(Checksum)));
}

std::string pack_session_head(const SessionHead& head) {
  std::string contents;
  Packer out(&contents);
  out.put_text(head.program);
  out.put(static_cast<int64_t>(head.fingerprint.size()));
  for (const FingerprintItem& item : head.fingerprint) {
    out.put_text(item.name);
    out.put_text(item.value);
  }
  out.put(head.page_tokens);
  out.put(head.record_bytes);
  const SequenceState& state = head.state;
  out.put(static_cast<int64_t>(state.rules.prompt.method));
  out.put(state.rules.prompt.value);
  out.put(int64_t{state.rules.sparse_decodes});
  out.put(state.prompt_tokens);
  out.put(state.n_computed);
  out.put(static_cast<int64_t>(head.tokens.size()));
  for (const int32_t id : head.tokens) out.put(id);
  out.put_text(head.note);
  return seal_session_head(contents);
}

std::string seal_session_head(std::string_view contents) {
  std::string bytes(kMagic);
  Packer whole(&bytes);
  whole.put(kVersion);
  whole.put(static_cast<uint64_t>(contents.size()));
  bytes += contents;
  const Checksum sum = checksum_of(bytes_of(bytes));
  whole.put(sum.high);
  whole.put(sum.low);
  return bytes;
}

SessionHead parse_session_head(std::string_view bytes, const std::string& name) {
  if (head_size(bytes, name) != bytes.size())
    refuse(name, "the session is damaged in its first bytes, which say how long its head is");
  const size_t end = bytes.size() - sizeof(Checksum);
  Checksum expected;
  std::memcpy(&expected, bytes.data() + end, sizeof expected);
  const Checksum found = checksum_of(bytes_of(bytes.substr(0, end)));
  if (found != expected) refuse_damaged(name, "in its head", expected, found);

  Unpacker in(bytes.substr(kPrefix, end - kPrefix), name);
  SessionHead head;
  head.program = in.get_text();
  const int64_t n_items = in.get("items that describe the model", 0, kMostItems);
  for (int64_t i = 0; i < n_items; ++i) {
    std::string item = in.get_text();
    head.fingerprint.push_back({std::move(item), in.get_text()});
  }
  head.page_tokens = in.get("tokens of a page", 1, kMostSessionTokens);
  head.record_bytes = in.get("bytes of a page", 1, kMostRecordBytes);
  head.state.rules.prompt = get_rule(in, name);
  head.state.rules.sparse_decodes = in.get_flag("whether answers are sparse");
  head.state.prompt_tokens = in.get("tokens of the prompt", 0, kMostSessionTokens);
  const int64_t n_computed = in.get("computed tokens", 0, kMostSessionTokens);
  const int64_t n_tokens = in.get("tokens, the computed ones among them,", n_computed, kMostSessionTokens);
  head.state.n_computed = n_computed;
  const std::string_view ids = in.take(static_cast<uint64_t>(n_tokens) * sizeof(int32_t));
  head.tokens.resize(static_cast<size_t>(n_tokens));
  if (!ids.empty()) std::memcpy(head.tokens.data(), ids.data(), ids.size());
  head.note = in.get_text();
  if (!in.at_end()) refuse(name, "expected the end of the session's head, found more");
  return head;
}

SessionWriter::SessionWriter(const std::string& path, const SessionHead& head) : file_(path) {
  const std::string bytes = pack_session_head(head);
  file_.write(bytes);
  n_bytes_ = static_cast<int64_t>(bytes.size());
}

void SessionWriter::add_page(std::span<const std::byte> record) {
  const Checksum sum = checksum_of_page(n_pages_++, record);
  file_.write({reinterpret_cast<const char*>(record.data()), record.size()});
  file_.write({reinterpret_cast<const char*>(&sum), sizeof sum});
  n_bytes_ += static_cast<int64_t>(record.size() + sizeof sum);
}

SessionReader::SessionReader(const std::string& path) : file_(open_file(path)) {
  const uint64_t size = head_size(read_text(file_, 0, std::min<uint64_t>(file_.size, kPrefix)), path);
  if (size > file_.size) check_size(file_, size);  // so that no more memory is taken than the file has bytes
  head_ = parse_session_head(read_text(file_, 0, size), path);
  head_bytes_ = static_cast<int64_t>(size);
  check_size(file_, static_cast<uint64_t>(head_.file_bytes(head_bytes_)));
}

void SessionReader::read_page(int64_t page, std::span<std::byte> out) const {
  const auto stride = static_cast<int64_t>(out.size() + sizeof(Checksum));
  read_at(file_, head_bytes_ + page * stride, out);
  Checksum expected;
  read_at(file_, head_bytes_ + page * stride + static_cast<int64_t>(out.size()),
          std::as_writable_bytes(std::span(&expected, 1)));
  const Checksum found = checksum_of_page(page, out);
  if (found != expected)
    refuse_damaged(file_.path,
                   "in page " + std::to_string(page + 1) + " of " + std::to_string(head_.n_pages()), expected,
                   found);
}

void check_fingerprint(const PageFingerprint& session, const PageFingerprint& engine,
                       const std::string& path) {
  for (size_t i = 0; i < std::max(session.size(), engine.size()); ++i) {
    static const FingerprintItem kNone{"nothing more", ""};
    const FingerprintItem& theirs = i < session.size() ? session[i] : kNone;
    const FingerprintItem& ours = i < engine.size() ? engine[i] : kNone;
    if (theirs == ours) continue;
    const std::string option = ours.option.empty() ? "" : " (" + ours.option + ")";
    refuse(path, "the session was computed by another model or in another way: expected " + ours.name +
                     (ours.value.empty() ? "" : " '" + ours.value + "'") + ", as this engine has it, found " +
                     (theirs.name == ours.name ? "" : shown_name(theirs.name) + " ") + "'" +
                     shown_name(theirs.value) + "'. Use the model, gates and options of that time" + option +
                     ", or compute the prompt again.");
  }
}

}  // namespace seer
