// Prefill attention that writes block maxima, and the ground truth for gates, on the GPU against float64.
#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "kernels/cuda/attention/block_maxima/params.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/distillation/params.h"
#include "tests/kernels/block_maxima_cases.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/device.h"
#include "tests/kernels/gpu.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

// Scores of bf16 values, and sums of their exponentials, are not rounded to bf16.
constexpr Tolerance kScores{2e-4, 2e-6};
// A probability's relative error is the sum of the absolute errors of a score and of a logarithm.
constexpr Tolerance kTruthOfScores{1e-6, 5e-4};
// Here only a difference of float32 logarithms below 512, exp and a sum are rounded.
constexpr Tolerance kTruth{1e-7, 4e-5};

// Both kernels round probabilities to bf16, but relative to different shifts. So their outputs may be as far
// apart as those of attention and its reference.
constexpr Tolerance kRoundings{4e-3, 6e-3};

constexpr int64_t kGuard = 64;  // floats after the maxima, which must keep their poison

cudaStream_t stream_of(Backend& backend) { return static_cast<cudaStream_t>(backend.stream()->stream); }

struct MaximaResult {
  std::vector<float> out, ordinary;  // with maxima, and of the ordinary kernel
  std::vector<float> maxima, log_sums;
};

// Runs one prefill of a case with either kernel.
class MaximaRun {
 public:
  MaximaRun(Backend& backend, const AttentionCase& c, size_t prefill)
      : backend_(backend),
        device_(&backend),
        c_(c),
        segment_(c.prefills.at(prefill)),
        first_token_(c.first_tokens.at(prefill)) {
    q_ = device_.upload(c.q);
    k_ = device_.upload(c.k);
    v_ = device_.upload(c.v);
    table_ = device_.upload(segment_.page_table, {static_cast<int64_t>(segment_.page_table.size())});
    next_item_ = device_.upload(std::vector<int32_t>{0}, {1});
    // More than is needed, so that rows do not follow one another by chance.
    row_capacity_ =
        cuda::maxima_row_capacity(static_cast<int64_t>(segment_.page_table.size())) + cuda::kMaximaOfSector;
    maxima_ = device_.poisoned(DType::kF32, {c.n_heads * segment_.n_tokens * row_capacity_ + kGuard});
    log_sums_ = device_.poisoned(DType::kF32, {c.n_heads * segment_.n_tokens + kGuard});
  }

  Device& device() { return device_; }
  int64_t row_capacity() const { return row_capacity_; }
  cuda::BlockMaxima block_maxima() const {
    return {maxima_.as<float>(), log_sums_.as<float>(), row_capacity_};
  }
  cuda::RowMaxima row_maxima() const {
    return {maxima_.as<float>(),      log_sums_.as<float>(), row_capacity_,
            segment_.n_tokens,        segment_.start,        static_cast<int>(c_.n_heads),
            static_cast<int>(c_.page)};
  }

  // Runs the kernel with maxima and the ordinary one.
  MaximaResult run_sm80() {
    cuda::PrefillSm80Params p = params<cuda::PrefillSm80Params>();
    p.k = k_.data;
    p.v = v_.data;
    p.page_tokens = static_cast<int>(c_.page);
    return run([&](void* out, bool with_maxima) {
      p.out = out;
      return with_maxima ? launch_block_maxima_sm80(p, block_maxima(), stream_of(backend_))
                         : launch_prefill_sm80(p, stream_of(backend_));
    });
  }
  MaximaResult run_sm90() {
    cuda::PrefillSm90Params p = params<cuda::PrefillSm90Params>();
    p.next_item = next_item_.as<int32_t>();
    cuda::TileMaps maps;
    REQUIRE(make_tile_maps(&maps, p, k_.data, v_.data, k_.dim(0), q_.dim(0)));
    const int n = cuda::Device::open(0).n_multiprocessors;
    return run([&](void* out, bool with_maxima) {
      p.out = out;
      return with_maxima ? launch_block_maxima_sm90(p, maps, block_maxima(), n, stream_of(backend_))
                         : launch_prefill_sm90(p, maps, n, stream_of(backend_));
    });
  }

 private:
  template <class Params>
  Params params() const {
    Params p = {};
    p.q = q_.data;
    p.page_table = table_.as<int32_t>();
    p.row = segment_.row;
    p.start = segment_.start;
    p.n_tokens = segment_.n_tokens;
    p.first_token = first_token_;
    p.n_heads = static_cast<int>(c_.n_heads);
    p.n_kv_heads = static_cast<int>(c_.n_kv_heads);
    p.d_head = static_cast<int>(c_.d_head);
    p.scale = 1.0F / std::sqrt(static_cast<float>(c_.d_head));
    return p;
  }
  MaximaResult run(const std::function<cudaError_t(void* out, bool with_maxima)>& launch) {
    const Tensor out = device_.poisoned(DType::kBF16, c_.q.shape),
                 ordinary = device_.poisoned(DType::kBF16, c_.q.shape);
    REQUIRE(launch(out.data, true) == cudaSuccess);
    REQUIRE(launch(ordinary.data, false) == cudaSuccess);
    return {device_.read(out), device_.read(ordinary), device_.read(maxima_), device_.read(log_sums_)};
  }

  Backend& backend_;
  Device device_;
  const AttentionCase& c_;
  const CaseSegment& segment_;
  int64_t first_token_;
  Tensor q_, k_, v_, table_, next_item_, maxima_, log_sums_;
  int64_t row_capacity_ = 0;
};

std::vector<double> guarded(std::vector<double> expected) {
  expected.insert(expected.end(), static_cast<size_t>(kGuard), kUntouched);
  return expected;
}

// All blocks of queries of a segment.
ScoredRows block_rows(const RowMaximaValues& r) { return {r.start / r.page, 1, r.n_row_blocks(), 1, true}; }

enum class Kernel { kSm80, kSm90 };

// With few items the ordinary kernel of Hopper reads other queries after the prompt's end than the kernel
// with maxima, which always takes bundles. They can raise the shift that softmax subtracts.
void check_run(Backend& backend, const AttentionCase& c, Kernel kernel, bool same_loads) {
  INFO(c.name << (kernel == Kernel::kSm90 ? ", sm_90" : ", sm_80"));
  for (size_t i = 0; i < c.prefills.size(); ++i) {
    INFO("prefill " << i);
    MaximaRun run(backend, c, i);
    const MaximaResult actual = kernel == Kernel::kSm90 ? run.run_sm90() : run.run_sm80();
    const RowMaximaValues expected = reference::block_maxima(c, i, run.row_capacity());
    if (same_loads) {
      CHECK(same_bits(actual.out, actual.ordinary));
    } else {
      CHECK(mismatch(actual.out, as_doubles(actual.ordinary), kRoundings) == "");
    }
    CHECK(mismatch(actual.maxima, guarded(expected.maxima), kScores) == "");
    CHECK(mismatch(actual.log_sums, guarded(expected.log_sums), kScores) == "");
    if (c.first_tokens[i] > 0) continue;  // there are no maxima of the first rows

    const int64_t n_blocks = static_cast<int64_t>(c.prefills[i].page_table.size()) + 3;
    const Tensor truth =
        run.device().poisoned(DType::kF32, {c.n_heads * expected.n_row_blocks() * n_blocks + kGuard});
    REQUIRE(cuda::launch_prefill_truth({truth.as<float>(), run.row_maxima(), block_rows(expected), n_blocks},
                                       stream_of(backend)) == cudaSuccess);
    CHECK(mismatch(run.device().read(truth), guarded(reference::prefill_truth(expected, n_blocks)),
                   kTruthOfScores) == "");
  }
}

bool is_hopper() { return cuda::Device::open(0).is_hopper(); }

TEST_CASE("cuda: attention with block maxima (sm_80) gives maxima, sums, truth, and the ordinary output") {
  const auto device = gpu();
  if (!device) return;
  for (const AttentionCase& c : block_maxima_cases(DType::kBF16)) check_run(*device, c, Kernel::kSm80, true);
}

TEST_CASE("cuda: attention with block maxima (sm_90) gives maxima, sums, truth, and the ordinary output") {
  const auto device = gpu();
  if (!device) return;
  if (!is_hopper()) return skip("prefill_sm90 needs a GPU of compute capability 9.0");
  for (const AttentionCase& c : block_maxima_cases(DType::kBF16))
    if (c.page == 64 && (c.d_head == 64 || c.d_head == 128)) check_run(*device, c, Kernel::kSm90, false);
  for (const AttentionCase& c : many_head_maxima_cases(DType::kBF16))
    check_run(*device, c, Kernel::kSm90, true);
}

TEST_CASE("cuda: a mask, or a capacity that is too small or no whole sector, is refused with block maxima") {
  const auto device = gpu();
  if (!device) return;
  // Nothing is launched, so the pointers need not be valid.
  const int32_t counts = 0;
  const auto launches = [&](const int32_t* mask, int64_t capacity) {
    cuda::PrefillSm80Params sm80 = {};
    sm80.counts = mask;
    sm80.n_tokens = 64 * 9;
    sm80.d_head = 128;
    sm80.page_tokens = 64;
    cuda::PrefillSm90Params sm90 = {};
    sm90.counts = mask;
    sm90.n_tokens = 64 * 9;
    sm90.d_head = 128;
    const cuda::BlockMaxima out{nullptr, nullptr, capacity};
    return std::pair(launch_block_maxima_sm80(sm80, out, nullptr),
                     launch_block_maxima_sm90(sm90, {}, out, 1, nullptr));
  };
  const auto refused = std::pair(cudaErrorInvalidValue, cudaErrorInvalidValue);
  CHECK(launches(&counts, 16) == refused);
  CHECK(launches(nullptr, 8) == refused);
  CHECK(launches(nullptr, 12) == refused);
}

// Uploads made-up maxima; what need not be written is NaN.
struct UploadedMaxima {
  UploadedMaxima(Device& device, const RowMaximaValues& r) {
    std::vector<float> maxima(r.maxima.begin(), r.maxima.end());
    std::replace(maxima.begin(), maxima.end(), static_cast<float>(kAnything), kNan);
    const std::vector<float> sums(r.log_sums.begin(), r.log_sums.end());
    const auto upload = [&](const std::vector<float>& x) {
      return device.upload_f32({DType::kF32, {static_cast<int64_t>(x.size())}, x});
    };
    rows = {upload(maxima).as<float>(),  upload(sums).as<float>(), r.row_capacity, r.n_tokens, r.start,
            static_cast<int>(r.n_heads), static_cast<int>(r.page)};
  }
  cuda::RowMaxima rows;
};

struct TruthShape {
  int64_t n_heads, n_kv_heads, n_tokens, start, page;
};
// Groups of 1, 4, 5, 7 and 8; segments that end inside a block; blocks before the segment; and rows of more
// blocks than a thread block has threads.
constexpr TruthShape kTruthShapes[] = {{2, 2, 1, 0, 64},     {4, 1, 200, 0, 64},   {7, 1, 130, 128, 64},
                                       {8, 1, 65, 640, 128}, {5, 1, 50, 4800, 16}, {4, 4, 97, 8320, 32}};

TEST_CASE(
    "cuda: the truth for prefill gates is the largest probability of every pair of blocks, normalised") {
  const auto backend = gpu();
  if (!backend) return;
  Random random(33);
  for (const TruthShape& s : kTruthShapes) {
    Device device(backend.get());
    const RowMaximaValues r = random_maxima(random, s.n_heads, s.n_tokens, s.start, s.page);
    const UploadedMaxima uploaded(device, r);
    for (const int64_t n_more : {0, 5}) {
      INFO(s.n_tokens << " tokens from " << s.start << ", pages of " << s.page << ", " << n_more << " more");
      const int64_t n_blocks = r.own_block(s.n_tokens - 1) + 1 + n_more;
      const Tensor out = device.poisoned(DType::kF32, {s.n_heads * r.n_row_blocks() * n_blocks + kGuard});
      REQUIRE(cuda::launch_prefill_truth({out.as<float>(), uploaded.rows, block_rows(r), n_blocks},
                                         stream_of(*backend)) == cudaSuccess);
      CHECK(mismatch(device.read(out), guarded(reference::prefill_truth(r, n_blocks)), kTruth) == "");
      CHECK(cuda::launch_prefill_truth({out.as<float>(), uploaded.rows, block_rows(r), n_blocks - n_more - 1},
                                       stream_of(*backend)) == cudaErrorInvalidValue);
    }
  }
}

TEST_CASE("cuda: the truth for decode gates leaves the row's own block out, even if that has everything") {
  const auto backend = gpu();
  if (!backend) return;
  Random random(34);
  for (const TruthShape& s : kTruthShapes) {
    Device device(backend.get());
    const RowMaximaValues r = random_maxima(random, s.n_heads, s.n_tokens, s.start, s.page);
    const UploadedMaxima uploaded(device, r);
    INFO(s.n_tokens << " tokens from " << s.start << ", pages of " << s.page);
    // Every third token of the segment, of rows that begin before it and end after it.
    const int64_t first = s.start % 3 + s.n_tokens / 2 % 3;
    const ScoredRows scored{first, 3, (s.start + s.n_tokens - first) / 3 + 4, s.page, false};
    const int64_t begin = scored.row_from(s.start), end = scored.row_from(s.start + s.n_tokens);
    std::vector<int32_t> chosen;
    for (int64_t i = begin; i < end; ++i)
      chosen.push_back(static_cast<int32_t>(scored.position(i) - s.start));
    const int64_t n_blocks = r.own_block(s.n_tokens - 1) + 1;
    const Tensor out = device.poisoned(DType::kF32, {s.n_kv_heads * scored.n * n_blocks + kGuard});
    REQUIRE(cuda::launch_decode_truth(
                {out.as<float>(), uploaded.rows, scored, n_blocks, static_cast<int>(s.n_kv_heads)},
                stream_of(*backend)) == cudaSuccess);
    const std::vector<double> truth = reference::decode_truth(r, s.n_kv_heads, chosen, n_blocks);
    std::vector<double> expected(static_cast<size_t>(s.n_kv_heads * scored.n * n_blocks), kUntouched);
    for (int64_t h = 0; h < s.n_kv_heads; ++h)
      std::copy_n(truth.begin() + h * (end - begin) * n_blocks, (end - begin) * n_blocks,
                  expected.begin() + (h * scored.n + begin) * n_blocks);
    CHECK(mismatch(device.read(out), guarded(expected), kTruth) == "");
  }
}

}  // namespace
}  // namespace seer::testing
