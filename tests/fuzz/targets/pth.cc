// A torch.save file: a zip of stored members, one of which is a pickle.
#include "models/pth.h"

#include <algorithm>

#include "tests/fuzz/support.h"
#include "tests/fuzz/tensor_files.h"
#include "tests/models/pickle_builder.h"

namespace seer::fuzz::pth_target {
namespace {

namespace op = testing::op;
using testing::ZipMember;

constexpr size_t kMaxSize = 8192;

uint64_t little_endian(const std::string& bytes, size_t at, size_t size) {
  uint64_t n = 0;
  for (size_t i = size; i-- > 0;) n = n << 8 | static_cast<unsigned char>(bytes[at + i]);
  return n;
}

// Returns the members that local headers announce, one after another. The rest after the last one is left
// out.
std::vector<ZipMember> members_of(const std::string& zip) {
  std::vector<ZipMember> members;
  for (size_t at = 0; at + 30 <= zip.size() && zip.compare(at, 4, "PK\x03\x04") == 0;) {
    const size_t size = little_endian(zip, at + 22, 4), name_size = little_endian(zip, at + 26, 2);
    const size_t name = at + 30, data = name + name_size + little_endian(zip, at + 28, 2);
    if (data > zip.size() || size > zip.size() - data) break;
    members.push_back({zip.substr(name, name_size), zip.substr(data, size)});
    at = data + size;
  }
  return members;
}

// Returns opcodes or whole values as they occur in pickles of tensors.
std::string some_opcodes(Random& random) {
  static const std::vector<std::string> kPieces = {
      op::kMark,
      op::kTuple,
      op::kEmptyTuple,
      op::kReduce,
      op::kEmptyDict,
      op::kSetItem,
      op::kSetItems,
      op::kNone,
      op::kBuild,
      op::kEmptyList,
      op::kAppend,
      op::kAppends,
      op::kPersistent,
      op::kTrue,
      op::kFalse,
      op::kStop,
      "\x85",
      "\x86",
      "\x87",
      "\x94",
      "0",
      "2",
      op::unicode("storage"),
      op::unicode("0"),
      op::unicode(""),
      op::ordered_dict(),
      op::global("torch._utils", "_rebuild_tensor_v2"),
      op::global("torch._utils", "_rebuild_parameter"),
      op::global("torch", "FloatStorage"),
      op::global("os", "system"),
      op::integer(-1),
      op::integer(INT64_MAX),
      testing::tensor_pickle({"t", "FloatStorage", "0", 6, 0, {2, 3}, {3, 1}})};
  std::string out;
  for (uint64_t n = 1 + random.below(4); n > 0; --n) {
    const uint64_t choice = random.below(kPieces.size() + 3);
    out += choice < kPieces.size()        ? kPieces[choice]
           : choice == kPieces.size()     ? op::put(static_cast<uint8_t>(random.below(4)))
           : choice == kPieces.size() + 1 ? op::get(static_cast<uint8_t>(random.below(4)))
                                          : op::integer(static_cast<int64_t>(random.below(70000)));
  }
  return out;
}

std::string mutate_pickle(const std::string& pickle, Random& random) {
  if (random.one_in(3)) return mutate_bytes(pickle, pickle.size() + 64);
  std::string out = pickle;
  const size_t at = random.below(out.size() + 1), size = random.one_in(2) ? 0 : random.below(20);
  const std::string piece = random.one_in(3)
                                ? pickle.substr(random.below(pickle.size()), 1 + random.below(100))
                                : some_opcodes(random);
  return out.replace(at, size, piece);
}

// Makes checksums and sizes anew. Otherwise they would keep most changes from the interpreter.
std::string mutate(const std::string& bytes, Random& random) {
  std::vector<ZipMember> members = members_of(bytes);
  if (members.empty() || random.one_in(6)) return mutate_bytes(bytes, kMaxSize);
  ZipMember& any = members[random.below(members.size())];
  const auto pickle = std::find_if(members.begin(), members.end(),
                                   [](const ZipMember& m) { return m.name.ends_with(".pkl"); });
  testing::ZipEnd end;
  switch (random.below(8)) {
    case 0:
      any.bytes = mutate_bytes(any.bytes, any.bytes.size() + 64);
      break;
    case 1:
      any.name = mutate_bytes(any.name, any.name.size() + 16);
      break;
    case 2:
      any.zip64 = end.zip64 = true;
      break;
    case 3:
      any.extra = mutate_bytes(any.extra, 64);
      break;
    default:
      if (pickle == members.end()) return mutate_bytes(bytes, kMaxSize);
      pickle->bytes = mutate_pickle(pickle->bytes, random);
  }
  return testing::zip_bytes(members, end);
}

void run(const std::string& bytes) {
  static const Folder folder;
  const std::string path = folder.write("attn_gate_weights.pth", bytes);
  accepts([&] { check_tensors(read_pth(path), bytes, folder.path() + "/again.safetensors"); });
}

const Registration kTarget({"pth", run, mutate, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::pth_target
