// The gate for decoding on the GPU against float64.
#include <cmath>
#include <numeric>

#include "tests/kernels/compare.h"
#include "tests/kernels/decode_gate_cases.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/kernels/run_step.h"
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

// A step with two decodes. It keeps blocks by scores, and attends to those whose pages are here.
class PartStep {
 public:
  static constexpr int64_t kDecodes = 2, kRow = 1;

  PartStep(Backend* backend, const AttentionPartsCase& of) : backend_(*backend), c_(of), device_(backend) {
    const int64_t n_lists = c_.n_kv_heads * kDecodes;
    const auto lists = [&]() -> BlockMask {
      const auto zeros = [](int64_t n) { return std::vector<int32_t>(static_cast<size_t>(n)); };
      return {device_.upload(zeros(n_lists), {c_.n_kv_heads, kDecodes}),
              device_.upload(zeros(n_lists * c_.n_pages), {c_.n_kv_heads, kDecodes, c_.n_pages})};
    };
    q_ = device_.upload(c_.q);
    kv_ = {device_.upload(c_.k), device_.upload(c_.v), {}, {}};
    mask_ = lists();
    room_ = lists();
    scores_ = device_.poisoned(DType::kF32, {c_.n_kv_heads, kDecodes, c_.n_pages});
    part_ = device_.poisoned(DType::kF32, {1, attention_part_size(kDecodes, c_.n_heads, c_.d_head)});
    out_ = device_.poisoned(DType::kBF16, {kDecodes, c_.n_heads, c_.d_head});
    StepLimits limits;
    limits.n_tokens = c_.n_tokens;
    limits.n_sequences = 2 * kDecodes;
    limits.n_blocks = c_.n_pages;
    limits.page_tokens = c_.page;
    backend->prepare(limits);
  }

  // Returns the attention of these two of the case's decodes over the pages of a part, and that part's
  // floats.
  std::vector<float> run(int64_t key, const std::vector<size_t>& which, const std::vector<DecodeRule>& rules,
                         const HostTensor& scores, int64_t part) {
    std::vector<CaseSegment> wholes, parts;
    for (const size_t i : which) {
      wholes.push_back(c_.decodes[i]);
      parts.push_back(c_.part(i, part));
      wholes.back().row = parts.back().row = kRow + static_cast<int64_t>(wholes.size()) - 1;
      for (size_t b = 0; b < c_.owners[i].size(); ++b)
        if (c_.owners[i][b] != part) wholes.back().page_table[b] = -1;
    }
    const std::vector<Segment> decodes = views(wholes), here = views(parts);
    const std::vector<int64_t> sizes = part_sizes(here);
    backend_.begin_step({{}, {kDecodes, {}, decodes}, {}, here, rules, sizes}, c_.page);
    std::vector<int64_t> rows(static_cast<size_t>(c_.n_kv_heads));
    std::iota(rows.begin(), rows.end(), 0);
    backend_.copy_rows(scores_, rows, device_.upload_f32(scores), rows);
    backend_.run_step(key, [&] {
      backend_.keep_decode_blocks(mask_, scores_, c_.page);
      backend_.masked_attention_part(part_.reshaped({part_.numel()}), q_, kv_, mask_, room_);
      backend_.merge_attention(out_, part_);
    });
    std::vector<float> result = device_.read(out_);
    for (const Tensor& t : {part_, scores_})
      for (const float x : device_.read(t)) result.push_back(x);
    return result;
  }

 private:
  Backend& backend_;
  const AttentionPartsCase& c_;
  Device device_;
  Tensor q_, scores_, part_, out_;
  PagedKv kv_;
  BlockMask mask_, room_;
};

TEST_CASE("cuda: a recorded step of kept parts serves other scores, rules, tables and parts without keys") {
  const auto backend = gpu();
  if (!backend) return;
  const AttentionCase all = decode_cases(DType::kBF16).front();
  const AttentionPartsCase c = in_parts(all, 2, 3);
  PartStep step(backend.get(), c);
  using Method = DecodeRule::Method;
  const DecodeRule budget{Method::kBudget, 2.0 * static_cast<double>(c.page)},
      threshold{Method::kThreshold, 0.1}, none{Method::kBudget, 0.0}, dense;
  const std::pair<std::vector<size_t>, std::vector<DecodeRule>> steps[] = {
      {{8, 3}, {budget, dense}}, {{0, 7}, {threshold, budget}}, {{5, 8}, {none, threshold}},
      {{8, 8}, {none, none}},    {{2, 1}, {dense, dense}},      {{7, 8}, {threshold, budget}}};
  Random random(41);
  for (const int64_t part : {0, 1})
    for (const auto& [which, rules] : steps) {
      INFO("part " << part << " of decodes " << which[0] << " and " << which[1]);
      HostTensor scores =
          HostTensor::filled(DType::kF32, {c.n_kv_heads, PartStep::kDecodes, c.n_pages}, 0.0F);
      for (float& x : scores.values) x = random.uniform(-3.0F, 3.0F);
      const std::vector<float> expected = step.run(0, which, rules, scores, part);
      CHECK(same_bits(step.run(1, which, rules, scores, part), expected));
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
