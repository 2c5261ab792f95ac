// model.safetensors.index.json next to two correct shards.
#include "models/safetensors.h"
#include "tests/fuzz/support.h"
#include "tests/fuzz/tensor_files.h"
#include "tests/models/safetensors_builder.h"

namespace seer::fuzz::shard_index_target {
namespace {

constexpr size_t kMaxSize = 4096;

struct Shards : Folder {
  std::string bytes;

  Shards() {
    const std::vector<testing::NamedTensor> first = {{"model.norm.weight", "BF16", {2, 3}, "abcdefghijkl"}},
                                            second = {{"a", "U8", {3}, "xyz"}, {"b", "F32", {2}, "01234567"}};
    bytes = testing::safetensors_bytes(first) + testing::safetensors_bytes(second);
    write("model-1.safetensors", testing::safetensors_bytes(first));
    write("model-2.safetensors", testing::safetensors_bytes(second));
  }
};

void run(const std::string& bytes) {
  static const Shards shards;
  shards.write("model.safetensors.index.json", bytes);
  accepts([&] { check_tensors(read_checkpoint(shards.path()), shards.bytes, shards.path() + "/again"); });
}

const Registration kTarget({"shard_index", run, mutate_one_json<kMaxSize>, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::shard_index_target
