// Builds zip files byte by byte, right or wrong, without the library under test. The format is that of PKWARE
// APPNOTE 6.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seer::testing {

struct ZipMember {
  std::string name = {};
  std::string bytes = {};
  uint16_t method = 0;  // 0 stored, 8 deflated
  uint16_t flags = 0;   // bit 0: encrypted
  bool wrong_crc = false;
  bool zip64 = false;      // puts sizes and offset into a zip64 field
  std::string extra = {};  // before the zip64 field; {id, size, bytes} each
  // if set, the directory says this instead of the truth
  std::optional<uint32_t> packed_size = {}, size = {}, local_offset = {};
  std::optional<uint64_t> zip64_offset = {};  // if set, the zip64 field says this instead of the truth
};

struct ZipEnd {
  bool zip64 = false;  // puts entry count and directory offset into a zip64 end record
  std::string comment;
  std::optional<uint16_t> n_entries;
  std::optional<uint32_t> directory_offset;
  std::optional<uint64_t> zip64_record_offset, zip64_directory_offset, zip64_n_entries;
};

std::string zip_bytes(const std::vector<ZipMember>& members, const ZipEnd& end = {});

}  // namespace seer::testing
