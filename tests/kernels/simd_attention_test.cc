// The CPU's attention loops for each instruction set, compared with float64.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/cases.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/simd_tables.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

using simd::kTileQueries;

constexpr Tolerance kSimdAttention{3e-6, 0.0};

struct Block {
  int64_t n_keys, causal_shift;
};

// Returns the softmax attention of one query to the keys that `sees` accepts.
template <class Sees>
std::vector<double> attend(const float* q, const HostTensor& k, const HostTensor& v, int64_t d_head,
                           double scale, Sees&& sees) {
  std::vector<double> weights, out(static_cast<size_t>(d_head), 0.0);
  std::vector<int64_t> keys;
  for (int64_t j = 0; j < k.dim(0); ++j) {
    if (!sees(j)) continue;
    double score = 0.0;
    for (int64_t d = 0; d < d_head; ++d) score += static_cast<double>(q[d]) * k.at(j)[d];
    weights.push_back(score * scale);
    keys.push_back(j);
  }
  reference::softmax(&weights);
  for (size_t i = 0; i < keys.size(); ++i)
    for (int64_t d = 0; d < d_head; ++d) out[static_cast<size_t>(d)] += weights[i] * v.at(keys[i])[d];
  return out;
}

// A tile of n_queries over blocks of keys, one after the other.
void check_tile(const simd::Functions& simd, Random& random, int64_t d_head, int64_t n_queries,
                const std::vector<Block>& blocks) {
  std::string name = std::string(simd.name) + ", d_head " + std::to_string(d_head) + ", " +
                     std::to_string(n_queries) + " queries, keys";
  int64_t n_keys = 0;
  for (const Block& b : blocks) {
    n_keys += b.n_keys;
    name += " " + std::to_string(b.n_keys) + ">>" + std::to_string(b.causal_shift);
  }
  INFO(name);
  const int64_t stride = 2 * d_head + 1;  // queries and outputs of other heads are in between
  const float scale = 1.0F / std::sqrt(static_cast<float>(d_head));
  const HostTensor q = random.tensor(DType::kF32, {n_queries, stride}, 2.5F);
  const HostTensor k = random.tensor(DType::kF32, {n_keys, d_head}, 2.5F);
  const HostTensor v = random.tensor(DType::kF32, {n_keys, d_head}, 1.0F);

  const auto lanes = [](int64_t n) {
    return std::vector<float>(static_cast<size_t>(n * kTileQueries), kNan);
  };
  std::vector<float> q_t = lanes(d_head), out_t = lanes(d_head), row_max = lanes(1), row_sum = lanes(1),
                     scores = lanes(128);
  const simd::AttentionTile tile{d_head,         q_t.data(),     out_t.data(),
                                 row_max.data(), row_sum.data(), scores.data()};
  simd.transpose_queries(q_t.data(), q.values.data(), stride, n_queries, d_head, scale);
  simd.attention_begin(tile);
  int64_t first = 0;
  for (const Block& b : blocks) {
    simd.attention_block(tile, k.at(first), v.at(first), b.n_keys, b.causal_shift);
    first += b.n_keys;
  }
  std::vector<float> out(static_cast<size_t>(n_queries * stride), kNan);
  simd.attention_end(tile, out.data(), stride, n_queries);

  std::vector<double> expected(out.size(), kUntouched);
  for (int64_t i = 0; i < n_queries; ++i) {
    const auto sees = [&](int64_t j) {
      for (const Block& b : blocks) {
        if (j < b.n_keys) return j <= i + b.causal_shift;
        j -= b.n_keys;
      }
      return false;
    };
    const std::vector<double> row =
        attend(q.at(i), k, v, d_head, 1.0 / std::sqrt(static_cast<double>(d_head)), sees);
    std::copy(row.begin(), row.end(), expected.begin() + i * stride);
  }
  CHECK(mismatch(out, expected, kSimdAttention) == "");
}

TEST_CASE("a tile's attention is the reference's for any head size, keys and diagonal") {
  Random random(30);
  for (const simd::Functions* simd : runnable_tables()) {
    for (const int64_t d_head : {1, 5, 8, 20, 64, 96, 128, 256})
      check_tile(*simd, random, d_head, 64, {{64, 64}, {64, 0}});
    for (const int64_t n_keys : {1, 3, 4, 5, 6, 7, 10, 16, 63, 64, 65, 127, 128})
      check_tile(*simd, random, 64, 64, {{n_keys, n_keys}, {n_keys, 0}});
    for (const int64_t n_queries : {1, 15, 16, 17, 63})
      check_tile(*simd, random, 64, n_queries, {{n_queries, 0}});
    // Pages of 16 with 64 queries: the first lanes do not see the later blocks.
    check_tile(*simd, random, 96, 64, {{16, 16}, {16, 0}, {16, -16}, {16, -32}, {16, -48}});
    // The two tiles of a page of 128.
    check_tile(*simd, random, 64, 64, {{128, 128}, {64, 0}});
    check_tile(*simd, random, 64, 64, {{128, 64}});
  }
}

TEST_CASE("transposed queries are scaled and the lanes after the last are zero") {
  Random random(31);
  for (const simd::Functions* simd : runnable_tables())
    for (const int64_t n : {1, 16, 63, 64}) {
      INFO(simd->name << ", " << n);
      constexpr int64_t kHead = 20, kStride = 23;
      const HostTensor q = random.tensor(DType::kF32, {n, kStride}, 1.0F);
      std::vector<float> q_t(static_cast<size_t>(kHead * kTileQueries), kNan);
      simd->transpose_queries(q_t.data(), q.values.data(), kStride, n, kHead, 0.25F);
      std::vector<double> expected;
      for (int64_t d = 0; d < kHead; ++d)
        for (int64_t i = 0; i < kTileQueries; ++i) expected.push_back(i < n ? 0.25 * q.at(i)[d] : 0.0);
      CHECK(mismatch(q_t, expected, {}) == "");
    }
}

void check_decode(const simd::Functions& simd, Random& random, int64_t group, int64_t d_head,
                  const std::vector<int64_t>& blocks, DType type) {
  INFO(simd.name << ", group " << group << ", d_head " << d_head << ", first block of " << blocks.front()
                 << ", " << dtype_name(type));
  int64_t n_keys = 0;
  for (const int64_t n : blocks) n_keys += n;
  const HostTensor q = random.tensor(DType::kF32, {group, d_head}, 1.0F);
  const HostTensor k = random.tensor(type, {n_keys, d_head}, 1.0F);
  const HostTensor v = random.tensor(type, {n_keys, d_head}, 1.0F);
  const std::vector<std::byte> bytes_k = k.encoded(), bytes_v = v.encoded();
  const int64_t most = *std::max_element(blocks.begin(), blocks.end());
  std::vector<float> out(static_cast<size_t>(group * d_head), 0.0F),
      scores(static_cast<size_t>(group * most), kNan);
  std::vector<float> row_max(static_cast<size_t>(group), -INFINITY),
      row_sum(static_cast<size_t>(group), 0.0F);
  int64_t first = 0;
  for (const int64_t n : blocks) {
    simd.decode_block(
        out.data(), row_max.data(), row_sum.data(), scores.data(), q.values.data(),
        bytes_k.data() + first * d_head * dtype_bytes(type),
        bytes_v.data() + first * d_head * dtype_bytes(type), first % 2 == 0 ? nullptr : bytes_k.data(),
        type == DType::kBF16 ? simd::WeightType::kBF16 : simd::WeightType::kF32, group, d_head, n);
    first += n;
  }
  std::vector<double> expected;
  for (int64_t g = 0; g < group; ++g) {
    const std::vector<double> row = attend(q.at(g), k, v, d_head, 1.0, [](int64_t) { return true; });
    expected.insert(expected.end(), row.begin(), row.end());
    for (int64_t d = 0; d < d_head; ++d)
      out[static_cast<size_t>(g * d_head + d)] /= row_sum[static_cast<size_t>(g)];
  }
  CHECK(mismatch(out, expected, kSimdAttention) == "");
}

TEST_CASE("decode blocks merge to the reference's attention for any group and head size") {
  Random random(32);
  for (const simd::Functions* simd : runnable_tables())
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const int64_t d_head : {1, 5, 8, 15, 20, 33, 64, 96, 128, 256})
        check_decode(*simd, random, 4, d_head, {64, 64, 1}, type);
      for (const int64_t group : {1, 3, 8}) check_decode(*simd, random, group, 64, {16, 5}, type);
      for (const int64_t n : {1, 2, 15, 17, 63, 65, 128}) check_decode(*simd, random, 2, 64, {n, 3, n}, type);
    }
}

TEST_CASE("a NaN query makes its own lane NaN and no other") {
  Random random(33);
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    constexpr int64_t kHead = 8;
    HostTensor q = random.tensor(DType::kF32, {kTileQueries, kHead}, 1.0F);
    const HostTensor k = random.tensor(DType::kF32, {64, kHead}, 1.0F);
    q.at(17)[3] = kNan;
    std::vector<float> q_t(static_cast<size_t>(kHead * kTileQueries)), out_t(q_t.size()), out(q_t.size());
    std::vector<float> row_max(kTileQueries), row_sum(kTileQueries), scores(size_t{128} * kTileQueries);
    const simd::AttentionTile tile{kHead,          q_t.data(),     out_t.data(),
                                   row_max.data(), row_sum.data(), scores.data()};
    simd->transpose_queries(q_t.data(), q.values.data(), kHead, kTileQueries, kHead, 1.0F);
    simd->attention_begin(tile);
    simd->attention_block(tile, k.values.data(), k.values.data(), 64, 0);
    simd->attention_end(tile, out.data(), kHead, kTileQueries);
    int n_wrong = 0;
    for (size_t i = 0; i < out.size(); ++i)
      if (std::isnan(out[i]) != (i / kHead == 17)) ++n_wrong;
    CHECK(n_wrong == 0);
  }
}

}  // namespace
}  // namespace seer::testing
