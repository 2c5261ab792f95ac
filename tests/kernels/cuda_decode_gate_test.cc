// The gate for decoding on the GPU against float64.
#include <cmath>

#include "tests/kernels/compare.h"
#include "tests/kernels/decode_gate_cases.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// A key is rounded to bf16 at the end, and the error of that is up to 2^-8 of the key. All earlier results
// are float32, computed from bf16 numbers.
constexpr Tolerance kKeys{2e-5, 4e-3};
constexpr Tolerance kScores{1e-6, 1e-4};
constexpr Tolerance kNearTheRule{1e-6, 2e-4};
constexpr Tolerance kAttention{4e-3, 6e-3};

// Weights of other types are rounded to bf16 on their way to the GPU, which the reference does not do.
bool is_bf16(const HostTensor& t) { return t.values.empty() || t.dtype == DType::kBF16; }

bool takes(const StoreDecodeKeysCase& c) { return gpu_takes(c) && is_bf16(c.linear_k) && is_bf16(c.k_norm); }
bool takes(const SelectDecodeCase& c) {
  return gpu_takes(c) && is_bf16(c.linear_q) && is_bf16(c.q_norm) && is_bf16(c.norms.q);
}

TEST_CASE("cuda: decode gate keys are made of full pages alone, and of no other page") {
  const auto device = gpu();
  if (!device) return;
  for (const bool only_prefills : {false, true})
    for (StoreDecodeKeysCase c : store_decode_keys_cases(DType::kBF16)) {
      if (!takes(c)) continue;
      INFO(c.name);
      const std::vector<float> actual = run_store_decode_keys(*device, c, only_prefills);
      if (only_prefills) c.decodes.clear();
      CHECK(mismatch(actual, reference::store_decode_keys(c), kKeys) == "");
    }
}

void check_select(Backend& device, const SelectDecodeCase& c) {
  if (!takes(c)) return;
  INFO(c.name);
  const SelectDecodeResult actual = run_select_decode(device, c, true);
  const reference::SelectDecode expected = reference::select_decode(c);
  CHECK(mismatch(actual.scores, expected.scores, kScores) == "");
  CHECK(reference::decode_mask_mismatch(c, actual, expected, c.exact ? Tolerance{} : kNearTheRule) == "");
  const SelectDecodeResult without = run_select_decode(device, c, false);
  CHECK(without.counts == actual.counts);
  CHECK(without.blocks == actual.blocks);
}

TEST_CASE("cuda: decode gate selection scores and keeps as the reference does") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectDecodeCase& c : select_decode_cases(DType::kBF16)) check_select(*device, c);
}

TEST_CASE("cuda: decode gate selection at ties, edges of rules, and few and many blocks") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectDecodeCase& c : exact_select_decode_cases(DType::kBF16)) check_select(*device, c);
}

// The number of thread blocks in a cluster depends on the number of decodes. The order in which a sum is
// added depends on both.
TEST_CASE("cuda: decode gate selection gives each decode what it gets alone, but for the order of sums") {
  const auto device = gpu();
  if (!device) return;
  for (const SelectDecodeCase& c : select_decode_cases(DType::kBF16)) {
    if (!takes(c) || c.decodes.size() == 1) continue;
    for (size_t i = 0; i < c.decodes.size(); ++i) check_select(*device, only_decode(c, i));
  }
}

TEST_CASE("cuda: decode attention over kept blocks is the reference's and reads no dropped tile") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : masked_decode_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    CHECK(mismatch(run_decode_attention(*device, c), reference::decode_attention(c), kAttention) == "");
  }
}

// Both choices compute the scores of a block with the same instructions, and other parts add 0.
TEST_CASE("cuda: scores of parts, added up, are chosen from as those of one device are") {
  const auto device = gpu();
  if (!device) return;
  for (const auto& cases : {select_decode_cases(DType::kBF16), exact_select_decode_cases(DType::kBF16)})
    for (const SelectDecodeCase& c : cases) {
      if (!takes(c)) continue;
      const SelectDecodeResult whole = run_select_decode(*device, c, true);
      const reference::SelectDecode expected = reference::select_decode(c);
      for (const int64_t n_parts : {1, 3}) {
        INFO(c.name << ", parts: " << n_parts);
        SelectDecodeResult divided = run_divided_select(*device, c, n_parts);
        CHECK(divided.counts == whole.counts);
        CHECK(divided.blocks == whole.blocks);
        for (size_t i = 0; i < whole.scores.size(); ++i)
          if (std::isnan(expected.scores[i])) {
            CHECK(divided.scores[i] == 0.0F);  // of a dense decode
            divided.scores[i] = whole.scores[i];
          }
        CHECK(mismatch(divided.scores, expected.scores, kScores) == "");
      }
    }
}

TEST_CASE("cuda: attention over kept blocks in parts, merged, is the reference's") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : masked_decode_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    for (const int64_t n_parts : {1, 3}) {
      const AttentionPartsCase parts = in_parts(c, n_parts, 2);
      INFO(parts.name);
      CHECK(mismatch(run_masked_parts(*device, parts), reference::decode_attention(c), kAttention) == "");
    }
  }
}

TEST_CASE("cuda: decode gate keys of decodes alone are stored in the pages that are here") {
  const auto device = gpu();
  if (!device) return;
  for (StoreDecodeKeysCase c : store_decode_keys_cases(DType::kBF16)) {
    if (!takes(c)) continue;
    INFO(c.name);
    c.prefills.clear();
    for (size_t i = 0; i < c.decodes.size(); i += 2) c.decodes[i].page_table.back() = -1;
    const std::vector<float> actual = run_store_decode_keys(*device, c);
    for (size_t i = 0; i < c.decodes.size(); i += 2) c.decodes[i].start = 0;  // the token fills no page
    CHECK(mismatch(actual, reference::store_decode_keys(c), kKeys) == "");
  }
}

}  // namespace
}  // namespace seer::testing
