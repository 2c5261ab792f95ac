// Zip files as torch.save writes them, and many kinds of contradictions in one.
#include "models/zip_reader.h"

#include "tests/models/refusal.h"
#include "tests/models/safetensors_builder.h"
#include "tests/models/zip_builder.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::little_endian;
using testing::refusal;
using testing::zip_bytes;
using testing::ZipEnd;
using testing::ZipMember;

ZipReader open(const std::string& bytes) {
  const testing::TempDir dir;  // a mapping outlives its file
  testing::write_file(dir.path() / "w.pth", bytes);
  return ZipReader(MappedFile::open((dir.path() / "w.pth").string()));
}

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string refused_zip(const std::string& bytes, ErrorKind kind = ErrorKind::kFile) {
  std::string message = refusal(kind, [&] { open(bytes); });
  CHECK_THAT(message, ContainsSubstring("w.pth: "));
  return message;
}

const std::vector<ZipMember> kTwo = {{"archive/data.pkl", "pickle"}, {"archive/data/0", "0123"}};

TEST_CASE("zip: members are read where they lie") {
  const ZipReader zip = open(zip_bytes(kTwo));
  CHECK(text(zip.read("archive/data.pkl")) == "pickle");
  CHECK(text(zip.read("archive/data/0")) == "0123");
  CHECK(zip.has("archive/data/0"));
  CHECK_FALSE(zip.has("archive/data/1"));
  CHECK(zip.root() == "archive");
}

TEST_CASE("zip: an empty member, a comment, and extra fields of other programs") {
  ZipMember other{"archive/version", "3"};
  other.extra = "UT" + little_endian(5, 2) + "-----";
  ZipEnd end;
  end.comment = "written by hand";
  const ZipReader zip = open(zip_bytes({{"archive/none", ""}, other}, end));
  CHECK(text(zip.read("archive/none")) == "");
  CHECK(text(zip.read("archive/version")) == "3");
}

TEST_CASE("zip: zip64 fields and a zip64 end record say the same") {
  std::vector<ZipMember> members = kTwo;
  ZipEnd end;
  for (const bool end64 : {false, true}) {
    for (ZipMember& m : members) m.zip64 = true;
    members[0].extra = "UT" + little_endian(1, 2) + "-";
    end.zip64 = end64;
    const ZipReader zip = open(zip_bytes(members, end));
    CHECK(text(zip.read("archive/data.pkl")) == "pickle");
    CHECK(text(zip.read("archive/data/0")) == "0123");
  }
}

TEST_CASE("zip: what is no zip, or holds nothing") {
  CHECK_THAT(refused_zip(""), ContainsSubstring("too short"));
  CHECK_THAT(refused_zip(std::string(21, '\0')), ContainsSubstring("too short"));
  CHECK_THAT(refused_zip(std::string(100'000, 'x')), ContainsSubstring("no zip directory"));
  CHECK_THAT(refused_zip("\x80\x02}q\x01." + std::string(50, ' ')), ContainsSubstring("no zip directory"));
  CHECK_THAT(refused_zip(zip_bytes({})), ContainsSubstring("holds nothing"));
}

TEST_CASE("zip: cut short at every byte") {
  const std::string whole = zip_bytes(kTwo);
  for (size_t size = 0; size < whole.size(); ++size) {
    INFO(size << " of " << whole.size());
    CHECK(refused_zip(whole.substr(0, size)) != "");
  }
  CHECK(refused_zip(whole + "x") != "");  // the end record's comment is not that long
}

TEST_CASE("zip: a missing member is named") {
  const ZipReader zip = open(zip_bytes(kTwo));
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { (void)zip.read("archive/data/7"); }),
             ContainsSubstring("the member archive/data/7 is missing"));
}

TEST_CASE("zip: a member that is there twice is named") {
  CHECK_THAT(refused_zip(zip_bytes({kTwo[0], kTwo[1], kTwo[0]})),
             ContainsSubstring("the member archive/data.pkl is there twice"));
}

TEST_CASE("zip: a wrong checksum is found when the member is read, and in no other") {
  std::vector<ZipMember> members = kTwo;
  members[1].wrong_crc = true;
  const ZipReader zip = open(zip_bytes(members));
  CHECK(text(zip.read("archive/data.pkl")) == "pickle");
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { (void)zip.read("archive/data/0"); }),
             ContainsSubstring("the member archive/data/0 has a wrong checksum"));
}

TEST_CASE("zip: compressed and encrypted members are unsupported by name") {
  std::vector<ZipMember> members = kTwo;
  members[1].method = 8;
  CHECK_THAT(refused_zip(zip_bytes(members), ErrorKind::kUnsupported),
             ContainsSubstring("the member archive/data/0 is compressed or encrypted"));
  members[1].method = 0;
  members[1].flags = 1;
  CHECK_THAT(refused_zip(zip_bytes(members), ErrorKind::kUnsupported), ContainsSubstring("archive/data/0"));
  members[1].flags = 0;
  members[1].packed_size = 3;
  CHECK_THAT(refused_zip(zip_bytes(members), ErrorKind::kUnsupported), ContainsSubstring("archive/data/0"));
}

TEST_CASE("zip: a directory that points outside the file, or at something else") {
  const std::string outside = "points outside the file";
  ZipEnd end;
  for (const uint32_t offset : {0xFFFFFFFEU, 1000U}) {
    end.directory_offset = offset;
    CHECK_THAT(refused_zip(zip_bytes(kTwo, end)), ContainsSubstring(outside));
  }
  end.directory_offset = 1;
  CHECK_THAT(refused_zip(zip_bytes(kTwo, end)), ContainsSubstring("its zip directory is damaged"));
  end.directory_offset.reset();
  end.n_entries = 3;
  CHECK_THAT(refused_zip(zip_bytes(kTwo, end)), ContainsSubstring("its zip directory is damaged"));

  std::vector<ZipMember> members = kTwo;
  members[1].local_offset = 0xFFFFFFFE;
  CHECK_THAT(refused_zip(zip_bytes(members)), ContainsSubstring(outside));
  members[1].local_offset = 1;
  CHECK_THAT(refused_zip(zip_bytes(members)), ContainsSubstring("archive/data/0 is not where it should be"));
  members[1].local_offset.reset();
  members[1].size = members[1].packed_size = 100'000;
  CHECK_THAT(refused_zip(zip_bytes(members)), ContainsSubstring(outside));
}

TEST_CASE("zip: zip64 records that point nowhere, and sizes that a zip64 field should hold and none does") {
  ZipEnd end;
  end.zip64 = true;
  for (const uint64_t nowhere : {UINT64_MAX, UINT64_MAX - 40, uint64_t{1} << 63, uint64_t{100'000}}) {
    INFO(nowhere);
    ZipEnd lie = end;
    lie.zip64_record_offset = nowhere;
    CHECK(refused_zip(zip_bytes(kTwo, lie)) != "");
    lie = end;
    lie.zip64_directory_offset = nowhere;
    CHECK(refused_zip(zip_bytes(kTwo, lie)) != "");
    lie = end;
    lie.zip64_n_entries = nowhere;
    CHECK(refused_zip(zip_bytes(kTwo, lie)) != "");
    std::vector<ZipMember> members = kTwo;
    members[0].zip64 = true;
    members[0].zip64_offset = nowhere;
    CHECK(refused_zip(zip_bytes(members)) != "");
  }
  ZipEnd lie = end;
  lie.zip64_record_offset = 0;
  CHECK_THAT(refused_zip(zip_bytes(kTwo, lie)), ContainsSubstring("its zip64 directory is missing"));
  lie = {};
  lie.n_entries = 0xFFFF;
  CHECK_THAT(refused_zip(zip_bytes(kTwo, lie)), ContainsSubstring("its zip64 directory is missing"));

  std::vector<ZipMember> members = kTwo;
  members[0].size = members[0].packed_size = 0xFFFFFFFF;
  CHECK(refused_zip(zip_bytes(members)) != "");
  members[0].extra = little_endian(1, 2) + little_endian(8, 2) + little_endian(6, 8);  // the size alone
  CHECK(refused_zip(zip_bytes(members)) != "");
  members[0].extra = little_endian(1, 2) + little_endian(0xFFFF, 2);  // longer than the field it is in
  CHECK(refused_zip(zip_bytes(members)) != "");
}

TEST_CASE("zip: members that lie over each other are refused, and those that touch are not") {
  std::vector<ZipMember> members = kTwo;
  members.push_back({"archive/data/1", "4567"});
  CHECK(text(open(zip_bytes(members)).read("archive/data/1")) == "4567");
  members[2].local_offset = 0;  // the bytes of data.pkl, under another name
  const std::string message = refused_zip(zip_bytes(members));
  CHECK_THAT(message, ContainsSubstring("lies over the member archive/data"));
  members[2].local_offset.reset();
  members[0].size = members[0].packed_size = 7;  // one byte of the next member's header
  CHECK_THAT(refused_zip(zip_bytes(members)),
             ContainsSubstring("the member archive/data/0 lies over the member archive/data.pkl"));
}

}  // namespace
}  // namespace seer
