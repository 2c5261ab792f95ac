#include "models/zip_reader.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "models/shown_name.h"
#include "seer/error.h"

namespace seer {
namespace {

using Bytes = std::span<const std::byte>;

[[noreturn]] void fail_zip(const std::string& path, const std::string& what) {
  throw Error(
      ErrorKind::kFile,
      path + ": " + what + ". Expected a zip file written by torch.save; it may be damaged or cut short.");
}

// Reads little-endian integers at checked positions.
class Fields {
 public:
  Fields(Bytes bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  template <class T>
  T at(uint64_t offset) const {
    check(offset, sizeof(T));
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
      value =
          static_cast<T>(value | static_cast<T>(std::to_integer<uint64_t>(bytes_[offset + i]) << (8 * i)));
    return value;
  }
  Bytes range(uint64_t offset, uint64_t size) const {
    check(offset, size);
    return bytes_.subspan(offset, size);
  }
  uint64_t size() const { return bytes_.size(); }

 private:
  void check(uint64_t offset, uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      fail_zip(path_, "its directory points outside the file");
  }
  Bytes bytes_;
  const std::string& path_;
};

constexpr uint32_t kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50, kLocator64Signature = 0x07064b50;
constexpr uint32_t kEntrySignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr uint64_t kEndSize = 22, kEntrySize = 46, kLocalSize = 30, kLocator64Size = 20;
constexpr uint32_t kIn64 = 0xFFFFFFFF;  // the real value is in a zip64 field

// The end record lies before a comment of at most 65,535 bytes.
uint64_t find_end(const Fields& file, const std::string& path) {
  if (file.size() < kEndSize) fail_zip(path, "it is too short");
  const uint64_t last = file.size() - kEndSize, first = last > 0xFFFF ? last - 0xFFFF : 0;
  for (uint64_t at = last + 1; at-- > first;)
    if (file.at<uint32_t>(at) == kEndSignature && at + kEndSize + file.at<uint16_t>(at + 20) == file.size())
      return at;
  fail_zip(path, "it has no zip directory");
}

struct Directory {
  uint64_t offset, n_entries;
};

Directory find_directory(const Fields& file, const std::string& path) {
  const uint64_t end = find_end(file, path);
  Directory d{file.at<uint32_t>(end + 16), file.at<uint16_t>(end + 10)};
  if (d.offset != kIn64 && d.n_entries != 0xFFFF) return d;
  if (end < kLocator64Size || file.at<uint32_t>(end - kLocator64Size) != kLocator64Signature)
    fail_zip(path, "its zip64 directory is missing");
  const auto end64 = file.at<uint64_t>(end - kLocator64Size + 8);
  if (file.at<uint32_t>(end64) != kEnd64Signature) fail_zip(path, "its zip64 directory is missing");
  return {file.at<uint64_t>(end64 + 48), file.at<uint64_t>(end64 + 32)};
}

uint32_t crc32(Bytes bytes) {
  static const auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1) != 0 ? 0xEDB88320U : 0U);
      table[i] = c;
    }
    return table;
  }();
  uint32_t c = ~0U;
  for (const std::byte b : bytes) c = kTable[(c ^ std::to_integer<uint32_t>(b)) & 0xFF] ^ (c >> 8);
  return ~c;
}

}  // namespace

ZipReader::ZipReader(std::shared_ptr<const MappedFile> file) : file_(std::move(file)) { read_directory(); }

void ZipReader::read_directory() {
  const Fields file(file_->bytes(), path());
  const Directory directory = find_directory(file, path());
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.n_entries; ++i) {
    if (file.at<uint32_t>(at) != kEntrySignature) fail_zip(path(), "its zip directory is damaged");
    const auto name_size = file.at<uint16_t>(at + 28), extra_size = file.at<uint16_t>(at + 30);
    const Bytes name_bytes = file.range(at + kEntrySize, name_size);
    const std::string name(reinterpret_cast<const char*>(name_bytes.data()), name_bytes.size());
    uint64_t packed = file.at<uint32_t>(at + 20), size = file.at<uint32_t>(at + 24),
             local = file.at<uint32_t>(at + 42);
    // The zip64 field holds, in this order, the values that did not fit.
    const Fields extra(file.range(at + kEntrySize + name_size, extra_size), path());
    for (uint64_t e = 0; e + 4 <= extra.size(); e += 4 + extra.at<uint16_t>(e + 2)) {
      if (extra.at<uint16_t>(e) != 1) continue;
      uint64_t field = e + 4;
      for (uint64_t* value : {&size, &packed, &local})
        if (*value == kIn64) {
          *value = extra.at<uint64_t>(field);
          field += 8;
        }
    }
    if ((file.at<uint16_t>(at + 8) & 1) != 0 || file.at<uint16_t>(at + 10) != 0 || packed != size)
      throw Error(ErrorKind::kUnsupported,
                  path() + ": the member " + shown_name(name) +
                      " is compressed or encrypted; expected it stored, as torch.save writes it");
    if (file.at<uint32_t>(local) != kLocalSignature)
      fail_zip(path(), "the member " + shown_name(name) + " is not where it should be");
    const uint64_t data = local + kLocalSize + file.at<uint16_t>(local + 26) + file.at<uint16_t>(local + 28);
    if (!members_.emplace(name, Member{local, file.range(data, size), file.at<uint32_t>(at + 16)}).second)
      fail_zip(path(), "the member " + shown_name(name) + " is there twice");
    at += kEntrySize + name_size + extra_size + file.at<uint16_t>(at + 32);
  }
  if (members_.empty()) fail_zip(path(), "it holds nothing");
  const std::string& first = members_.begin()->first;
  root_ = first.substr(0, first.find('/'));
  refuse_overlaps();
}

// Refuses members that overlap, since those could make a small file expand to any size.
void ZipReader::refuse_overlaps() const {
  using Named = std::map<std::string, Member>::value_type;
  std::vector<const Named*> members;
  members.reserve(members_.size());
  for (const Named& member : members_) members.push_back(&member);
  std::ranges::sort(members, {}, [](const Named* m) { return m->second.begin; });
  for (size_t i = 1; i < members.size(); ++i) {
    const Member& before = members[i - 1]->second;
    const auto end = static_cast<uint64_t>(before.bytes.data() - file_->bytes().data()) + before.bytes.size();
    if (members[i]->second.begin < end)
      fail_zip(path(), "the member " + shown_name(members[i]->first) + " lies over the member " +
                           shown_name(members[i - 1]->first));
  }
}

std::span<const std::byte> ZipReader::read(const std::string& name) const {
  const auto it = members_.find(name);
  if (it == members_.end()) fail_zip(path(), "the member " + shown_name(name) + " is missing");
  if (crc32(it->second.bytes) != it->second.crc32)
    fail_zip(path(), "the member " + shown_name(name) + " has a wrong checksum");
  return it->second.bytes;
}

}  // namespace seer
