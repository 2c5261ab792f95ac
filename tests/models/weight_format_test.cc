// Which weights a format applies to, and which models it cannot be made for.
#include "models/weight_format.h"

#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::refusal;

ModelConfig sized(int64_t d_model, int64_t d_ff) {
  ModelConfig c;
  c.n_layers = 2;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.d_head = d_model / 4;
  c.d_model = d_model;
  c.d_ff = d_ff;
  c.n_vocab = 320;
  return c;
}

TEST_CASE("a format applies to the layers' matrices alone") {
  const ModelConfig c = sized(256, 512);
  int n = 0;
  for (const WeightSlot& slot : weight_slots(c, Shard(c), /*tied=*/false)) {
    CHECK_FALSE(takes_format(slot, WeightFormat::kStored));
    n += takes_format(slot, WeightFormat::kU4) ? 1 : 0;
    if (slot.is_vector() || slot.role == WeightRole::kEmbedding || slot.role == WeightRole::kLmHead)
      CHECK_FALSE(takes_format(slot, WeightFormat::kU4));
  }
  CHECK(n == 14);
}

TEST_CASE("the size of a format counts its scales") {
  const ModelConfig c = sized(256, 512);
  const std::vector<WeightSlot> slots = weight_slots(c, Shard(c), /*tied=*/false);
  const FormatSize e4m3 = format_size(WeightFormat::kE4M3, slots), u4 = format_size(WeightFormat::kU4, slots);
  const int64_t n_params = 2 * (256 * 256 * 2 + 2 * 128 * 256 + 3 * 256 * 512);
  CHECK(e4m3.n_params == n_params);
  CHECK(e4m3.n_layers == 14);
  CHECK(e4m3.n_linear == 15);
  CHECK(e4m3.n_bytes == n_params + 2 * 4 * (2 * 256 + 2 * 128 + 2 * 512 + 256));
  CHECK(u4.n_bytes == n_params / 2 + n_params / 128 * 4);
}

TEST_CASE("int4 is refused if a rank's inputs make no groups, with what fits") {
  const ModelConfig narrow = sized(48, 96), odd = sized(256, 320);
  CHECK_THAT(
      refusal(ErrorKind::kUnsupported,
              [&] { check_format(WeightFormat::kU4, narrow, Shard(narrow), "folder"); }),
      ContainsSubstring("folder: weights as int4") && ContainsSubstring("found 48. Use --weights fp8"));
  CHECK_NOTHROW(check_format(WeightFormat::kE4M3, narrow, Shard(narrow), "folder"));
  CHECK_NOTHROW(check_format(WeightFormat::kU4, odd, Shard(odd), "folder"));
  CHECK_NOTHROW(check_format(WeightFormat::kU4, odd, Shard(odd, 0, 2), "folder"));
  const ModelConfig split = sized(256, 352);
  CHECK_THAT(refusal(ErrorKind::kUnsupported,
                     [&] { check_format(WeightFormat::kU4, split, Shard(split, 1, 2), "folder"); }),
             ContainsSubstring("found 176") && ContainsSubstring("fewer ranks"));
}

}  // namespace
}  // namespace seer
