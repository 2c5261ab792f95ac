// Attention and the paged cache on the GPU, compared with float64 on the awkward shapes, and with the CPU
// backend on long ones.
#include <utility>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/device.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/rank_ops.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/kernels/run_step.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// Probabilities and results are rounded to bf16, each by up to 2^-8 of values below 1, and the errors may add
// up in rows of a few keys.
constexpr Tolerance kAttention{4e-3, 6e-3};
constexpr Tolerance kRotated{1e-4, 1.0 / 250};
// Scores of bf16 values, and sums of their exponentials, are not rounded to bf16.
constexpr Tolerance kLogSums{2e-4, 2e-6};

TEST_CASE("cuda: append_kv rotates, appends to the step's pages and touches no other") {
  const auto device = gpu();
  if (!device) return;
  for (const AppendKvCase& c : append_kv_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    const AppendKvResult actual = run_append_kv(*device, c);
    const reference::AppendKv expected = reference::append_kv(c);
    CHECK(mismatch(actual.q, expected.q, kRotated) == "");
    CHECK(mismatch(actual.k, expected.k, kRotated) == "");
    CHECK(mismatch(actual.v, expected.v, kRotated) == "");
  }
}

TEST_CASE("cuda: append_kv of a decode whose page is elsewhere rotates the query and stores nothing") {
  const auto device = gpu();
  if (!device) return;
  for (const AppendKvCase& c : elsewhere_append_kv_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    const AppendKvResult actual = run_append_kv(*device, c);
    const reference::AppendKv expected = reference::append_kv(c);
    CHECK(mismatch(actual.q, expected.q, kRotated) == "");
    CHECK(mismatch(actual.k, expected.k, kRotated) == "");
    CHECK(mismatch(actual.v, expected.v, kRotated) == "");
  }
}

TEST_CASE("cuda: append_kv normalises query and key heads before it pools and rotates them") {
  const auto device = gpu();
  if (!device) return;
  for (const AppendKvCase& c : norm_append_kv_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    const AppendKvResult actual = run_append_kv(*device, c);
    const reference::AppendKv expected = reference::append_kv(c);
    CHECK(mismatch(actual.q, expected.q, kRotated) == "");
    CHECK(mismatch(actual.k, expected.k, kRotated) == "");
    CHECK(mismatch(actual.v, expected.v, kRotated) == "");
    CHECK(mismatch(actual.pooled_q, expected.pooled_q, kRotated) == "");
    CHECK(mismatch(actual.pooled_k, expected.pooled_k, kRotated) == "");
    CHECK(same_bits(actual.qkv, c.qkv.values));
  }
}

TEST_CASE("cuda: dense prefill attention is the reference's on steps of several sequences") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : dense_prefill_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    CHECK(mismatch(run_prefill_attention(*device, c), reference::prefill_attention(c), kAttention) == "");
  }
}

TEST_CASE("cuda: masked prefill attention is the reference's and reads no dropped tile") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : masked_prefill_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    CHECK(mismatch(run_prefill_attention(*device, c), reference::prefill_attention(c), kAttention) == "");
  }
}

TEST_CASE("cuda: prefill attention stays right when scores grow or shrink by hundreds along the keys") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : growing_scores_cases(DType::kBF16)) {
    INFO(c.name);
    CHECK(mismatch(run_prefill_attention(*device, c), reference::prefill_attention(c), kAttention) == "");
  }
}

TEST_CASE("cuda: decode attention is the reference's on sequences of unequal length") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : decode_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    CHECK(mismatch(run_decode_attention(*device, c), reference::decode_attention(c), kAttention) == "");
  }
}

TEST_CASE("cuda: decode attention in parts is the reference's, and merged it is that of the whole") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionPartsCase& c : attention_parts_cases(DType::kBF16)) {
    if (!gpu_takes(c)) continue;
    INFO(c.name);
    const AttentionPartsResult actual = run_attention_parts(*device, c);
    const reference::AttentionParts expected = reference::attention_parts(c);
    CHECK(mismatch(actual.outputs, expected.outputs, kAttention) == "");
    CHECK(mismatch(actual.log_sums, expected.log_sums, kLogSums) == "");
    CHECK(mismatch(actual.merged, expected.merged, kAttention) == "");
  }
}

TEST_CASE("cuda: parts without keys are merged as if they were not there, and none at all gives zeros") {
  const auto device = gpu();
  if (device) check_merge_without_keys(*device);
}

TEST_CASE("cuda: a recorded step of parts serves other lengths, page tables and parts without keys") {
  const auto backend = gpu();
  if (!backend) return;
  const AttentionCase all = decode_cases(DType::kBF16).front();
  const AttentionPartsCase c = in_parts(all, 2, 3);
  Device device(backend.get());
  const Tensor q = device.upload(c.q);
  const PagedKv kv{device.upload(c.k), device.upload(c.v), {}, {}};
  constexpr int64_t kRow = 1, kSequences = 2;
  const int64_t size = attention_part_size(kSequences, c.n_heads, c.d_head);
  const Tensor part = device.poisoned(DType::kF32, {1, size});
  const Tensor out = device.poisoned(DType::kBF16, {kSequences, c.n_heads, c.d_head});
  StepLimits limits;
  limits.n_tokens = c.n_tokens;
  limits.n_sequences = 2 * kSequences;
  limits.n_blocks = c.n_pages;
  limits.page_tokens = c.page;
  backend->prepare(limits);
  // All steps have the same rows, and differ in the sequences whose pages they attend to. The second and the
  // third step of a key are recorded and replayed.
  const std::pair<size_t, size_t> pairs[] = {{8, 3}, {0, 7}, {5, 8}, {8, 8}, {2, 1}};
  const auto step = [&](int64_t key, const std::pair<size_t, size_t>& pair, int64_t which) {
    std::vector<CaseSegment> wholes, parts;
    for (const size_t i : {pair.first, pair.second}) {
      wholes.push_back(c.decodes[i]);
      parts.push_back(c.part(i, which));
      wholes.back().row = parts.back().row = kRow + static_cast<int64_t>(wholes.size()) - 1;
    }
    const std::vector<Segment> decodes = {wholes[0].view(), wholes[1].view()},
                               here = {parts[0].view(), parts[1].view()};
    const std::vector<int64_t> sizes = part_sizes(here);
    backend->begin_step({{}, {kSequences, {}, decodes}, {}, here, {}, sizes}, c.page);
    backend->run_step(key, [&] {
      backend->decode_attention_part(part.reshaped({size}), q, kv);
      backend->merge_attention(out, part);
    });
    std::vector<float> result = device.read(out);
    const std::vector<float> of_part = device.read(part);
    result.insert(result.end(), of_part.begin(), of_part.end());
    return result;
  };
  for (const int64_t which : {0, 1})
    for (const auto& pair : pairs) {
      INFO("part " << which << " of sequences " << pair.first << " and " << pair.second);
      const std::vector<float> expected = step(0, pair, which);
      CHECK(same_bits(step(1, pair, which), expected));
    }
}

TEST_CASE("cuda: long prompts in chunks give the CPU's attention, dense and sparse, whatever the group") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(0);
  for (const AttentionCase& c : long_attention_cases(DType::kBF16)) {
    INFO(c.name);
    if (!c.prefills.empty())
      CHECK(mismatch(run_prefill_attention(*device, c), as_doubles(run_prefill_attention(*cpu, for_cpu(c))),
                     kAttention) == "");
    if (c.decodes.empty()) continue;
    const std::vector<double> expected = as_doubles(run_decode_attention(*cpu, for_cpu(c)));
    CHECK(mismatch(run_decode_attention(*device, c), expected, kAttention) == "");
    for (const int64_t n_parts : {1, 2, 4})
      CHECK(mismatch(run_attention_parts(*device, in_parts(c, n_parts, 3)).merged, expected, kAttention) ==
            "");
  }
}

TEST_CASE("cuda: attention gives the same bits from run to run") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : long_attention_cases(DType::kBF16)) {
    INFO(c.name);
    if (!c.prefills.empty())
      CHECK(same_bits(run_prefill_attention(*device, c), run_prefill_attention(*device, c)));
    if (c.decodes.empty()) continue;
    CHECK(same_bits(run_decode_attention(*device, c), run_decode_attention(*device, c)));
    const AttentionPartsCase parts = in_parts(c, 2, 5);
    CHECK(same_bits(run_attention_parts(*device, parts).merged, run_attention_parts(*device, parts).merged));
  }
}

}  // namespace
}  // namespace seer::testing
