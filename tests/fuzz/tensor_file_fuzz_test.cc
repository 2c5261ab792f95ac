// Damaged weights: safetensors, shard indexes and .pth files load or are refused; they never crash, and a
// tensor that loaded lies within its file. (Under AddressSanitizer this finds what an ordinary build does
// not.)
#include <string_view>

#include "models/pth.h"
#include "models/safetensors.h"
#include "tests/fuzz/mutate.h"
#include "tests/models/pickle_builder.h"
#include "tests/models/safetensors_builder.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace op = testing::op;
using testing::fuzz;
using testing::FuzzResult;
using testing::Mutator;
using testing::NamedTensor;
using testing::PthTensor;
using testing::replace_file;
using testing::TempDir;
using testing::ZipMember;

constexpr int kMutants = 4000;

// Whether the bytes of every tensor are somewhere in the file. (A mapping may be read to the end of its last
// page, so that reading alone does not find a tensor that is a little too long.)
bool within(const TensorMap& map, const std::string& file) {
  for (const auto& [name, tensor] : map.all()) {
    const auto size = static_cast<size_t>(tensor.nbytes());
    if (size > file.size()) return false;
    if (size > 0 &&
        file.find(std::string_view(static_cast<const char*>(tensor.data), size)) == std::string::npos)
      return false;
  }
  return true;
}

// Both outcomes occur, or the mutants are too mild or too wild to test anything.
void check_both(const FuzzResult& result, int n) {
  CHECK(result.n_loaded + result.n_refused == n);
  CHECK(result.n_loaded > n / 200);
  CHECK(result.n_refused > n / 4);
}

std::vector<NamedTensor> some_tensors() {
  return {{"model.norm.weight", "BF16", {2, 3}, "abcdefghijkl"},
          {"a", "U8", {3}, "xyz"},
          {"unaligned", "F32", {2, 1, 1}, "01234567"},
          {"none", "F16", {0, 4}, ""},
          {"scalar", "F16", {}, "hi"}};
}

TEST_CASE("mutants of safetensors files") {
  const TempDir dir;
  const auto path = dir.path() / "model.safetensors";
  const std::vector<std::string> samples = {
      testing::safetensors_bytes(some_tensors()), testing::safetensors_bytes("{}", ""),
      testing::safetensors_bytes(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234")};
  int n_outside = 0;
  const FuzzResult result = fuzz(Mutator(11, samples), kMutants, [&](const std::string& bytes) {
    replace_file(path, bytes);
    n_outside += within(read_safetensors(path.string()), bytes) ? 0 : 1;
  });
  check_both(result, kMutants);
  CHECK(n_outside == 0);
}

// Damage to the header's text alone, whose length then stays true: more of it reaches the checks behind the
// JSON.
TEST_CASE("mutants of safetensors headers") {
  const TempDir dir;
  const auto path = dir.path() / "model.safetensors";
  const std::string file = testing::safetensors_bytes(some_tensors());
  const std::string header = file.substr(8, file.rfind("}}") + 2 - 8), data = file.substr(file.size() - 25);
  int n_outside = 0;
  const FuzzResult result = fuzz(Mutator(12, {header}), kMutants, [&](const std::string& bytes) {
    replace_file(path, testing::safetensors_bytes(bytes, data));
    n_outside += within(read_safetensors(path.string()), bytes + data) ? 0 : 1;
  });
  check_both(result, kMutants);
  CHECK(n_outside == 0);
}

TEST_CASE("mutants of shard indexes") {
  const TempDir dir;
  const std::vector<NamedTensor> tensors = some_tensors();
  const std::vector<NamedTensor> first(tensors.begin(), tensors.begin() + 2),
      second(tensors.begin() + 2, tensors.end());
  const std::string shard_1 = testing::safetensors_bytes(first), shard_2 = testing::safetensors_bytes(second);
  const std::string shards = shard_1 + shard_2;
  replace_file(dir.path() / "model-1.safetensors", shard_1);
  replace_file(dir.path() / "model-2.safetensors", shard_2);
  const std::string index =
      testing::index_bytes({{"model-1.safetensors", first}, {"model-2.safetensors", second}});
  std::string long_name = index;
  long_name.insert(long_name.find("model-1"), std::string(400, 'n'));
  int n_outside = 0;
  const FuzzResult result =
      fuzz(Mutator(13, {index, index, long_name}), kMutants, [&](const std::string& bytes) {
        replace_file(dir.path() / "model.safetensors.index.json", bytes);
        n_outside += within(read_checkpoint(dir.path().string()), shards) ? 0 : 1;
      });
  check_both(result, kMutants);
  CHECK(n_outside == 0);
}

std::vector<PthTensor> some_pth_tensors() {
  return {{"model.layers.0.weight", "FloatStorage", "0", 6, 0, {2, 3}, {3, 1}},
          {"half", "HalfStorage", "1", 4, 1, {3}, {1}},
          {"brain", "BFloat16Storage", "2", 3, 0, {3, 1, 1}, {1, 1, 1}}};
}
const std::vector<testing::PthStorage> kStorages = {
    {"0", std::string(24, 'f')}, {"1", "abcdefgh"}, {"2", "uvwxyz"}};

TEST_CASE("mutants of pth files") {
  const TempDir dir;
  const auto path = dir.path() / "attn_gate_weights.pth";
  std::vector<ZipMember> members =
      testing::pth_members(testing::state_dict_pickle(some_pth_tensors()), kStorages);
  std::vector<std::string> samples = {testing::zip_bytes(members)};
  for (ZipMember& m : members) m.zip64 = true;
  testing::ZipEnd end;
  end.zip64 = true;
  samples.push_back(testing::zip_bytes(members, end));
  int n_outside = 0;
  const FuzzResult result = fuzz(Mutator(14, samples), kMutants, [&](const std::string& bytes) {
    replace_file(path, bytes);
    n_outside += within(read_pth(path.string()), bytes) ? 0 : 1;
  });
  check_both(result, kMutants);
  CHECK(n_outside == 0);
}

// With checksums made after the damage, which would otherwise hide the interpreter from it.
TEST_CASE("mutants of pickles in intact zip files") {
  const TempDir dir;
  const auto path = dir.path() / "attn_gate_weights.pth";
  const std::vector<PthTensor> tensors = some_pth_tensors();
  // As pickle.dump writes what it meets again: into the memo, and from there.
  const std::string memo = op::kProto2 + op::kEmptyDict + op::put(0) + op::kMark + op::unicode("a") +
                           op::put(1) + testing::tensor_pickle(tensors[0]) + op::put(2) + op::unicode("b") +
                           op::get(2) + op::kSetItems + op::kStop;
  const std::vector<std::string> samples = {memo, testing::state_dict_pickle(tensors),
                                            testing::state_dict_pickle({tensors[1]}),
                                            testing::state_dict_pickle({})};
  std::string stored;
  for (const testing::PthStorage& storage : kStorages) stored += storage.bytes;
  int n_outside = 0;
  const FuzzResult result = fuzz(Mutator(15, samples), 2 * kMutants, [&](const std::string& bytes) {
    replace_file(path, testing::pth_bytes(bytes, kStorages));
    n_outside += within(read_pth(path.string()), stored) ? 0 : 1;
  });
  check_both(result, 2 * kMutants);
  CHECK(n_outside == 0);
}

}  // namespace
}  // namespace seer
