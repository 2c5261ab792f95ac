// Zip files byte by byte, right or wrong, without the library under test. Format: PKWARE APPNOTE 6.3.
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
  bool zip64 = false;      // sizes and offset in a zip64 field
  std::string extra = {};  // before the zip64 field; {id, size, bytes} each
  std::optional<uint32_t> packed_size = {}, size = {}, local_offset = {};  // what the directory claims
  std::optional<uint64_t> zip64_offset = {};                               // what the zip64 field claims
};

struct ZipEnd {
  bool zip64 = false;  // entry count and directory offset in a zip64 end record
  std::string comment;
  std::optional<uint16_t> n_entries;
  std::optional<uint32_t> directory_offset;
  std::optional<uint64_t> zip64_record_offset, zip64_directory_offset, zip64_n_entries;
};

std::string zip_bytes(const std::vector<ZipMember>& members, const ZipEnd& end = {});

}  // namespace seer::testing
