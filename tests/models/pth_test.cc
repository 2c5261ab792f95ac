// torch.save files of tensors, and files that ask for more than tensors.
#include "models/pth.h"

#include <cstring>

#include "tests/models/pickle_builder.h"
#include "tests/models/refusal.h"
#include "tests/models/safetensors_builder.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace op = testing::op;
using testing::pth_bytes;
using testing::pth_members;
using testing::PthStorage;
using testing::PthTensor;
using testing::refusal;
using testing::state_dict_pickle;
using testing::zip_bytes;
using testing::ZipMember;

TensorMap read(const std::string& bytes) {
  const testing::TempDir dir;  // a mapping outlives its file
  testing::write_file(dir.path() / "w.pth", bytes);
  return read_pth((dir.path() / "w.pth").string());
}

std::string refused_pth(const std::string& bytes, ErrorKind kind = ErrorKind::kFile) {
  std::string message = refusal(kind, [&] { read(bytes); });
  CHECK_THAT(message, ContainsSubstring("w.pth: "));
  return message;
}

std::string floats(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

const std::vector<PthStorage> kSix = {{"0", floats({0, 1, 2, 3, 4, 5})}};
// "w" [2, 3] of the six floats above.
PthTensor six() { return {"w", "FloatStorage", "0", 6, 0, {2, 3}, {3, 1}}; }
std::string file_of(const PthTensor& t) { return pth_bytes(state_dict_pickle({t}), kSix); }

TEST_CASE("pth: F32, F16 and BF16 tensors of an OrderedDict") {
  const TensorMap map =
      read(pth_bytes(state_dict_pickle({six(),
                                        {"half", "HalfStorage", "1", 2, 0, {2}, {1}},
                                        {"brain", "BFloat16Storage", "2", 3, 0, {3, 1}, {1, 1}}}),
                     {kSix[0], {"1", "abcd"}, {"2", "uvwxyz"}}));
  CHECK(map.all().size() == 3);
  CHECK_THAT(map.source(), ContainsSubstring("w.pth"));
  const Tensor* w = map.find("w");
  REQUIRE(w != nullptr);
  CHECK((w->dtype == DType::kF32));
  CHECK(shape_string(*w) == "[2, 3]");
  for (int i = 0; i < 6; ++i) CHECK(w->as<float>()[i] == static_cast<float>(i));
  CHECK((map.find("half")->dtype == DType::kF16));
  CHECK(std::memcmp(map.find("half")->data, "abcd", 4) == 0);
  CHECK((map.find("brain")->dtype == DType::kBF16));
  CHECK(shape_string(*map.find("brain")) == "[3, 1]");
  CHECK(std::memcmp(map.find("brain")->data, "uvwxyz", 6) == 0);
}

TEST_CASE("pth: a plain dictionary, and parameters instead of tensors") {
  const std::string parameter = op::global("torch._utils", "_rebuild_parameter") + op::kMark +
                                testing::tensor_pickle(six()) + op::kTrue + op::ordered_dict() + op::kTuple +
                                op::kReduce;
  const TensorMap map = read(pth_bytes(
      op::kProto2 + op::kEmptyDict + op::unicode("w") + parameter + op::kSetItem + op::kStop, kSix));
  CHECK(map.find("w")->as<float>()[5] == 5.0F);
}

TEST_CASE("pth: an empty dictionary has no tensors") {
  CHECK(read(pth_bytes(op::kProto2 + op::kEmptyDict + op::kStop, {})).all().empty());
}

TEST_CASE("pth: the folder inside may have any name") {
  std::vector<ZipMember> members = pth_members(state_dict_pickle({six()}), kSix);
  for (ZipMember& m : members) m.name = "attn_gate_weights" + m.name.substr(m.name.find('/'));
  CHECK(read(zip_bytes(members)).find("w")->as<float>()[4] == 4.0F);
}

TEST_CASE("pth: tensors that share a storage start at their offsets") {
  PthTensor tail = six();
  tail.name = "tail";
  tail.offset = 4;
  tail.sizes = {2};
  tail.strides = {1};
  const TensorMap map = read(pth_bytes(state_dict_pickle({six(), tail}), kSix));
  CHECK(map.find("tail")->as<float>()[0] == 4.0F);
  CHECK(map.find("tail")->as<float>()[1] == 5.0F);
}

TEST_CASE("pth: tensors that share a storage share its one copy if the file leaves it unaligned") {
  int n_unaligned = 0;
  for (const char* folder : {"a", "ab", "abc", "abcd"}) {  // moves the storage by a byte each
    std::vector<ZipMember> members =
        pth_members(state_dict_pickle({six(), {"tail", "FloatStorage", "0", 6, 4, {2}, {1}}}), kSix);
    for (ZipMember& m : members) m.name = folder + m.name.substr(m.name.find('/'));
    const std::string bytes = zip_bytes(members);
    n_unaligned += bytes.find(kSix[0].bytes) % 4 != 0 ? 1 : 0;
    const TensorMap map = read(bytes);
    CHECK(map.find("tail")->as<float>() == map.find("w")->as<float>() + 4);
    CHECK(map.find("tail")->as<float>()[1] == 5.0F);
  }
  CHECK(n_unaligned >= 2);
}

TEST_CASE("pth: 1200 tensors of one storage of a megabyte cost one checksum and one copy at most") {
  // A checksum and a copy for each tensor would take 5 s and 1.2 GB.
  const int64_t n = 250'000;
  std::vector<PthTensor> tensors;
  for (int i = 0; i < 1200; ++i)
    tensors.push_back({"t" + std::to_string(i), "FloatStorage", "0", n, 0, {n}, {1}});
  const std::string bytes = pth_bytes(state_dict_pickle(tensors), {{"0", std::string(4 * n, 'x')}});
  const TensorMap map = read(bytes);
  REQUIRE(map.all().size() == 1200);
  for (const auto& [name, tensor] : map.all()) CHECK(tensor.data == map.find("t0")->data);
}

TEST_CASE("pth: scalars, tensors without elements, and axes of one whose stride means nothing") {
  PthTensor t = six();
  t.sizes = t.strides = {};
  t.offset = 3;
  CHECK(read(file_of(t)).find("w")->as<float>()[0] == 3.0F);
  t = six();
  t.sizes = {1, 6, 1};
  t.strides = {77, 1, 99};
  CHECK(shape_string(*read(file_of(t)).find("w")) == "[1, 6, 1]");
  t.sizes = {3, 0};
  t.strides = {1, 1};  // as torch.empty(3, 0) has them
  CHECK(read(file_of(t)).find("w")->numel() == 0);
  t.offset = 6;
  CHECK(read(file_of(t)).find("w")->numel() == 0);
}

TEST_CASE("pth: an absent byte order is little, big is unsupported") {
  std::vector<ZipMember> members = pth_members(state_dict_pickle({six()}), kSix);
  members[1].bytes = "big";
  CHECK_THAT(refused_pth(zip_bytes(members), ErrorKind::kUnsupported), ContainsSubstring("byte order 'big'"));
  members.erase(members.begin() + 1);
  CHECK(read(zip_bytes(members)).all().size() == 1);
}

TEST_CASE("pth: a tensor that is not contiguous is refused by name") {
  PthTensor t = six();
  for (const std::vector<int64_t>& strides :
       std::vector<std::vector<int64_t>>{{1, 2}, {3, 2}, {6, 1}, {0, 1}, {3, 0}}) {
    t.strides = strides;
    const std::string message = refused_pth(file_of(t));
    CHECK_THAT(message, ContainsSubstring(": w: "));
    CHECK_THAT(message, ContainsSubstring("not contiguous"));
  }
}

TEST_CASE("pth: a tensor outside its storage is refused by name") {
  struct Case {
    int64_t offset;
    std::vector<int64_t> sizes, strides;
  };
  for (const Case& c : {Case{1, {2, 3}, {3, 1}}, Case{0, {7}, {1}}, Case{7, {0}, {1}}, Case{6, {}, {}},
                        Case{INT64_MAX, {1}, {1}}, Case{INT64_MAX, {2, 3}, {3, 1}}}) {
    PthTensor t = six();
    t.offset = c.offset;
    t.sizes = c.sizes;
    t.strides = c.strides;
    CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring(": w: expected a contiguous"));
    CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("larger than its storage"));
  }
}

TEST_CASE("pth: sizes that overflow, negative numbers, and too many dimensions") {
  PthTensor t = six();
  t.sizes = {int64_t{1} << 31, int64_t{1} << 31};
  t.strides = {int64_t{1} << 31, 1};
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("beyond 63 bits"));
  t.sizes = {int64_t{1} << 62, 4};
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("beyond 63 bits"));
  // No elements, but strides whose product overflows.
  t.sizes = {0, int64_t{1} << 62, int64_t{1} << 62};
  t.strides = {1, int64_t{1} << 62, 1};
  CHECK(read(file_of(t)).find("w")->numel() == 0);
  t = six();
  t.sizes = {-2, -3};
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("no non-negative integer"));
  t = six();
  t.strides = {-3, 1};
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("no non-negative integer"));
  t = six();
  t.offset = -1;
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("no non-negative integer"));
  t = six();
  t.strides = {3, 1, 1};
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("no shape"));
  t.sizes = t.strides = {1, 1, 1, 1, 1};
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("5 dimensions"));
}

TEST_CASE("pth: a storage that is missing, of another size, or of another type") {
  PthTensor t = six();
  t.key = "9";
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("archive/data/9 is missing"));
  for (const int64_t n : {int64_t{0}, int64_t{5}, int64_t{7}, (int64_t{1} << 62) + 6, INT64_MAX}) {
    t = six();
    t.n_stored = n;
    CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("size differs"));
  }
  t = six();
  t.n_stored = -6;
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring(": w: "));
  for (const char* type : {"LongStorage", "DoubleStorage", "QInt8Storage", "system"}) {
    t = six();
    t.storage = type;
    CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring(std::string("asks for torch.") + type));
  }
  t = six();
  t.storage = "HalfStorage";  // twelve halves, not six
  CHECK_THAT(refused_pth(file_of(t)), ContainsSubstring("size differs"));
}

TEST_CASE("pth: values that are no tensors are refused by name") {
  const std::string rebuild = op::global("torch._utils", "_rebuild_tensor_v2");
  const std::string storage = op::global("torch", "FloatStorage");
  const std::string one = op::integer(1);
  for (const std::string& value :
       {op::kNone, one, op::unicode("x"), op::kEmptyTuple, op::kEmptyDict, rebuild, storage,
        one + op::kPersistent,                                                   // a bare storage
        rebuild + op::kEmptyTuple + op::kReduce,                                 // no arguments
        rebuild + op::kMark + one + one + one + one + op::kTuple + op::kReduce,  // none of them a storage
        storage + op::kEmptyTuple + op::kReduce,                                 // another call
        op::global("torch._utils", "_rebuild_parameter") + op::kEmptyTuple + op::kReduce,
        rebuild + op::kMark + one + op::kPersistent + one + one + one + op::kTuple + op::kReduce,
        rebuild + op::kMark + op::tuple({1, 2, 3, 4, 5}) + op::kPersistent + one + one + one + op::kTuple +
            op::kReduce}) {
    const std::string pickle =
        op::kProto2 + op::kEmptyDict + op::unicode("gate") + value + op::kSetItem + op::kStop;
    CHECK_THAT(refused_pth(pth_bytes(pickle, kSix)), ContainsSubstring(": gate: expected a contiguous"));
  }
}

TEST_CASE("pth: what is no dictionary of names") {
  for (const std::string& root : {op::kNone, op::kEmptyList, op::unicode("x"), testing::tensor_pickle(six())})
    CHECK_THAT(refused_pth(pth_bytes(op::kProto2 + root + op::kStop, kSix)),
               ContainsSubstring("expected a dictionary of tensors"));
  const std::string by_number =
      op::kEmptyDict + op::integer(1) + testing::tensor_pickle(six()) + op::kSetItem;
  CHECK_THAT(refused_pth(pth_bytes(op::kProto2 + by_number + op::kStop, kSix)),
             ContainsSubstring("names as keys"));
  CHECK_THAT(refused_pth(pth_bytes(state_dict_pickle({six(), six()}), kSix)),
             ContainsSubstring("the tensor w is there twice"));
}

TEST_CASE("pth: a file that asks to run something is refused by what it asked for") {
  const std::string command = op::unicode("echo hacked") + "\x85" + op::kReduce;
  CHECK_THAT(refused_pth(pth_bytes(op::kProto2 + op::global("os", "system") + command + op::kStop, {})),
             ContainsSubstring("asks for os.system"));
  CHECK_THAT(refused_pth(pth_bytes(op::kProto2 + op::global("builtins", "eval") + command + op::kStop, {})),
             ContainsSubstring("asks for builtins.eval"));
  // The call is hidden after a valid tensor, in the attributes that are otherwise dropped.
  const std::string hidden = op::kProto2 + op::ordered_dict() + op::unicode("w") +
                             testing::tensor_pickle(six()) + op::kSetItem +
                             op::global("subprocess", "Popen") + command + op::kBuild + op::kStop;
  CHECK_THAT(refused_pth(pth_bytes(hidden, kSix)), ContainsSubstring("asks for subprocess.Popen"));
}

TEST_CASE("pth: damage in any member that is read") {
  const std::vector<ZipMember> members = pth_members(state_dict_pickle({six()}), kSix);
  for (size_t i = 0; i < 3; ++i) {
    std::vector<ZipMember> damaged = members;
    damaged[i].wrong_crc = true;
    CHECK_THAT(refused_pth(zip_bytes(damaged)), ContainsSubstring(damaged[i].name + " has a wrong checksum"));
  }
  std::vector<ZipMember> compressed = members;
  compressed[0].method = 8;
  CHECK_THAT(refused_pth(zip_bytes(compressed), ErrorKind::kUnsupported),
             ContainsSubstring("archive/data.pkl"));
  std::vector<ZipMember> without = members;
  without.erase(without.begin());
  CHECK_THAT(refused_pth(zip_bytes(without)), ContainsSubstring("archive/data.pkl is missing"));
  CHECK_THAT(refused_pth("a pickle of torch before 1.6 is no zip file"),
             ContainsSubstring("no zip directory"));
}

}  // namespace
}  // namespace seer
