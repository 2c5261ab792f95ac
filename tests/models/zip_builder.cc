#include "tests/models/zip_builder.h"

#include "tests/models/safetensors_builder.h"

namespace seer::testing {
namespace {

uint32_t crc32(const std::string& bytes) {
  uint32_t c = ~0U;
  for (const char byte : bytes) {
    c ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~c;
}

}  // namespace

std::string zip_bytes(const std::vector<ZipMember>& members, const ZipEnd& end) {
  const auto u16 = [](uint64_t n) { return little_endian(n, 2); };
  const auto u32 = [](uint64_t n) { return little_endian(n, 4); };
  const auto u64 = [](uint64_t n) { return little_endian(n, 8); };
  std::string out, directory;
  for (const ZipMember& m : members) {
    const uint64_t offset = out.size(), size = m.bytes.size();
    const uint32_t crc = crc32(m.bytes) ^ (m.wrong_crc ? 1U : 0U);
    const std::string versions = u16(20), time = u32(0);
    // torch.save pads only the local header, so that data begin at multiples of 64 bytes.
    const std::string pad = "FB" + u16(3) + "ZZZ";
    out += "PK\x03\x04" + versions + u16(m.flags) + u16(m.method) + time + u32(crc) + u32(size) + u32(size) +
           u16(m.name.size()) + u16(pad.size()) + m.name + pad + m.bytes;

    std::string extra = m.extra;
    if (m.zip64) extra += u16(1) + u16(24) + u64(size) + u64(size) + u64(m.zip64_offset.value_or(offset));
    const uint32_t in_64 = 0xFFFFFFFF;
    const auto field = [&](const std::optional<uint32_t>& claimed, uint64_t truth) {
      return u32(claimed ? *claimed : m.zip64 ? in_64 : truth);
    };
    directory += "PK\x01\x02" + versions + versions + u16(m.flags) + u16(m.method) + time + u32(crc) +
                 field(m.packed_size, size) + field(m.size, size) + u16(m.name.size()) + u16(extra.size()) +
                 u16(0) + u16(0) + u16(0) + u32(0) + field(m.local_offset, offset) + m.name + extra;
  }
  const uint64_t offset = out.size();
  out += directory;
  const uint64_t record = out.size();
  if (end.zip64) {
    out += "PK\x06\x06" + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(members.size()) +
           u64(end.zip64_n_entries.value_or(members.size())) + u64(directory.size()) +
           u64(end.zip64_directory_offset.value_or(offset));
    out += "PK\x06\x07" + u32(0) + u64(end.zip64_record_offset.value_or(record)) + u32(1);
  }
  const uint64_t n = end.n_entries.value_or(end.zip64 ? 0xFFFF : members.size());
  out += "PK\x05\x06" + u16(0) + u16(0) + u16(n) + u16(n) + u32(directory.size()) +
         u32(end.directory_offset.value_or(end.zip64 ? 0xFFFFFFFF : static_cast<uint32_t>(offset))) +
         u16(end.comment.size()) + end.comment;
  return out;
}

}  // namespace seer::testing
