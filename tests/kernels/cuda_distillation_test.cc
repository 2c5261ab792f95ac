// The operations that train gates on the GPU against those of the CPU, and against float64.
#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "tests/kernels/compare.h"
#include "tests/kernels/device.h"
#include "tests/kernels/distillation_checks.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/run_step.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

using Floats = std::vector<float>;
using Shape = std::vector<int64_t>;

// Both devices compute in float32, but add up in another order: some hundred numbers of size 1.
constexpr Tolerance kFloat{2e-5, 2e-5};
// A probability's relative error is the sum of the absolute errors of a score and of a logarithm.
constexpr Tolerance kTruth{2e-6, 1e-3};
constexpr Tolerance kLogSums{4e-4, 4e-6};
// Attention rounds probabilities and outputs to bf16.
constexpr Tolerance kAttention{8e-3, 1e-2};

constexpr int64_t kGuard = 16;  // floats after each output, which must keep their poison

// One device with the tensors of one case.
class Side {
 public:
  explicit Side(Backend* backend) : backend_(backend), tensors_(backend) {}

  Backend& backend() const { return *backend_; }
  Distillation& ops() const { return *backend_->distillation(); }
  Device& device() { return tensors_; }

  Tensor floats(const Floats& values, const Shape& shape) {
    return tensors_.upload_f32({DType::kF32, shape, values});
  }
  // Values in the device's type of activations; they must be those of bf16.
  Tensor activations(const HostTensor& host) {
    return tensors_.upload({backend_->activation_dtype(), host.shape, host.values});
  }
  // Room for a result, with a guard after it.
  Tensor result(const Shape& shape) { return guarded(Floats(count(shape), kNan), shape); }
  // Values that the operation changes, with a guard after them.
  Tensor guarded(Floats values, const Shape& shape) {
    REQUIRE(values.size() == count(shape));
    values.resize(values.size() + kGuard, kNan);
    Tensor t = floats(values, {static_cast<int64_t>(values.size())});
    t.rank = 0;
    for (const int64_t side : shape) t.shape[static_cast<size_t>(t.rank++)] = side;
    results_.push_back(t);
    return t;
  }
  // Returns all results with their guards.
  Floats read() const {
    Floats all;
    for (const Tensor& t : results_) {
      const Floats values = tensors_.read(Tensor(t.data, DType::kF32, {t.numel() + kGuard}));
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

 private:
  static size_t count(const Shape& shape) {
    return static_cast<size_t>(std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
  }

  Backend* backend_;
  Device tensors_;
  std::vector<Tensor> results_;
};

// A GPU and a CPU, which run the same operations.
class Both {
 public:
  Both() : gpu_(gpu()), cpu_(make_cpu_backend(2)) {}

  explicit operator bool() const { return gpu_ != nullptr; }
  Backend* device() const { return gpu_.get(); }

  using Run = std::function<void(Side&)>;
  // Compares what `run` leaves in the results of both, and on the GPU with a second run, bit by bit.
  void check(const Run& run, Tolerance tolerance = kFloat) const {
    const Floats actual = results(*gpu_, run), expected = results(*cpu_, run);
    CHECK(mismatch(actual, as_doubles(expected), tolerance) == "");
    CHECK(same_bits(results(*gpu_, run), actual));
  }

 private:
  static Floats results(Backend& backend, const Run& run) {
    Side side(&backend);
    run(side);
    return side.read();
  }

  std::unique_ptr<Backend> gpu_, cpu_;
};

Floats random_floats(Random& random, int64_t n, float magnitude = 1.0F) {
  return random.tensor(DType::kF32, {n}, magnitude).values;
}

// ---- attention and ground truth ----

struct WindowShape {
  int64_t n_heads, n_kv_heads, d_head, page, n_tokens, part;
};
// Groups of 1, 4, 7 and 8; parts of one block, of several, and of more than the window; a window of one
// token, and one whose last part and block are short.
constexpr WindowShape kWindows[] = {{4, 1, 64, 64, 1, 64},      {4, 1, 128, 64, 640, 256},
                                    {8, 1, 64, 16, 150, 16},    {7, 1, 64, 32, 200, 96},
                                    {2, 2, 128, 128, 700, 256}, {4, 2, 96, 64, 300, 1024}};

class Window {
 public:
  Window(Random& random, const WindowShape& s)
      : s_(s),
        q_(random.tensor(DType::kBF16, {s.n_tokens, s.n_heads, s.d_head}, 2.0F)),
        k_(random.tensor(DType::kBF16, {n_blocks() + 2, s.n_kv_heads, s.page, s.d_head}, 2.0F)),
        v_(random.tensor(DType::kBF16, {n_blocks() + 2, s.n_kv_heads, s.page, s.d_head}, 1.0F)),
        table_(random.permutation(n_blocks() + 2)) {
    table_.resize(static_cast<size_t>(n_blocks()));
  }

  int64_t n_blocks() const { return blocks_of(s_.n_tokens, s_.page); }
  ScoredRows block_rows() const {
    const int64_t first = n_blocks() / 4;
    return {first, 1, n_blocks() - first, 1, true};
  }
  ScoredRows token_rows(int64_t stride) const {
    const int64_t first = s_.n_tokens / 3;
    return {first, stride, (s_.n_tokens - first + stride - 1) / stride, s_.page, false};
  }
  // Leaves the truth of both kinds of gates, and then logarithms. Returns what attention writes.
  Floats run(Side& side) const {
    Backend& backend = side.backend();
    PagedKv kv;
    kv.k = side.activations(k_);
    kv.v = side.activations(v_);
    const Tensor q = side.activations(q_), out = side.activations(q_);
    const Segment whole{0, s_.n_tokens, 0, table_.data()};
    StepInput in;
    in.step = {s_.n_tokens, {&whole, 1}, {}};
    begin_step(backend, in, s_.page);
    const ScoredRows blocks = block_rows(), tokens = token_rows(1), some = token_rows(3);
    const Tensor prefill = side.result({s_.n_heads, blocks.n, n_blocks()}),
                 decode = side.result({s_.n_kv_heads, tokens.n, n_blocks()}),
                 strided = side.result({s_.n_kv_heads, some.n, n_blocks()});
    for (int64_t first = 0; first < s_.n_tokens; first += s_.part) {
      const int64_t n = std::min(s_.part, s_.n_tokens - first);
      const Tensor maxima = side.device().poisoned(DType::kF32,
                                                   {s_.n_heads, n, side.ops().maxima_width(n_blocks())}),
                   log_sums = side.result({s_.n_heads, n});
      side.ops().attention_with_maxima(out, maxima, log_sums, q, kv, {first, n, first, table_.data()});
      side.ops().prefill_truth(prefill, maxima, log_sums, blocks, s_.page, first);
      side.ops().decode_truth(decode, maxima, log_sums, tokens, first);
      side.ops().decode_truth(strided, maxima, log_sums, some, first);
    }
    return side.device().read(out);
  }

 private:
  WindowShape s_;
  HostTensor q_, k_, v_;
  std::vector<int32_t> table_;
};

TEST_CASE("cuda: attention in parts of a window leaves the truth that the CPU finds in the whole of it") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  Random random(51);
  for (const WindowShape& s : kWindows) {
    INFO(s.n_heads << "/" << s.n_kv_heads << " heads of " << s.d_head << ", pages of " << s.page << ", "
                   << s.n_tokens << " tokens in parts of " << s.part);
    const Window window(random, s);
    Side actual(device.get()), expected(cpu.get());
    const Floats outputs = window.run(actual);
    CHECK(mismatch(outputs, as_doubles(window.run(expected)), kAttention) == "");
    // Truth comes first in the results, and logarithms after it.
    const ScoredRows blocks = window.block_rows();
    const auto n_truth = static_cast<std::ptrdiff_t>(
        (s.n_heads * blocks.n + s.n_kv_heads * (window.token_rows(1).n + window.token_rows(3).n)) *
            window.n_blocks() +
        3 * kGuard);
    const Floats a = actual.read(), e = expected.read();
    CHECK(mismatch({a.begin(), a.begin() + n_truth}, as_doubles({e.begin(), e.begin() + n_truth}), kTruth) ==
          "");
    CHECK(mismatch({a.begin() + n_truth, a.end()}, as_doubles({e.begin() + n_truth, e.end()}), kLogSums) ==
          "");
  }
}

// ---- inputs of gates ----

TEST_CASE("cuda: heads are split as on the CPU, of one row and of rows that are not all taken") {
  const Both both;
  if (!both) return;
  Random random(52);
  for (const int64_t n_heads : {1, 4, 7, 8})
    for (const int64_t n_rows : {1, 33})
      for (const int64_t width : {3, 64, 384}) {
        INFO(n_heads << " heads, " << n_rows << " rows of " << width);
        const HostTensor in = random.tensor(DType::kBF16, {n_rows + 2, n_heads, width}, 1.0F);
        both.check([&](Side& side) {
          side.ops().split_heads(side.result({n_heads, n_rows, width}), side.activations(in));
        });
      }
}

TEST_CASE("cuda: queries of a group are joined or averaged as on the CPU, with norms and without") {
  const Both both;
  if (!both) return;
  Random random(53);
  constexpr int64_t kTokens = 50;
  for (const int64_t group : {1, 4, 7, 8})
    for (const int64_t d_head : {64, 96, 256})
      for (const bool normed : {false, true})
        for (const bool mean : {false, true})
          for (const ScoredRows& rows : {ScoredRows{49, 1, 1, 16, false}, ScoredRows{4, 3, 16, 16, false}}) {
            if (mean && group == 1) continue;
            INFO("group of " << group << ", heads of " << d_head << (normed ? ", norms" : "")
                             << (mean ? ", mean" : "") << ", " << rows.n << " rows");
            const int64_t n_kv_heads = 2, n_heads = n_kv_heads * group;
            const HostTensor qkv =
                random.tensor(DType::kBF16, {kTokens, (n_heads + 2 * n_kv_heads) * d_head}, 2.0F);
            const HostTensor weight = random.tensor(DType::kBF16, {d_head}, 1.0F);
            both.check([&](Side& side) {
              HeadNorms norms;
              if (normed) norms = {side.device().upload(weight), side.device().upload(weight), 1e-6};
              side.ops().group_queries(side.result({n_kv_heads, rows.n, mean ? d_head : group * d_head}),
                                       side.activations(qkv), norms, rows, n_heads, d_head);
            });
          }
}

// ---- what gates are made of ----

TEST_CASE("cuda: products of many float32 matrices are the reference's in every form") {
  const auto device = gpu();
  if (!device) return;
  check_multiply(device.get(), 2e-5);
}

TEST_CASE("cuda: products of float32 matrices are the CPU's, of one row, of odd widths and of long sums") {
  const Both both;
  if (!both) return;
  Random random(54);
  struct Product {
    int64_t n, rows, inner, cols;
  };
  for (const Product& p : {Product{1, 1, 1, 1},
                           {8, 1, 128, 64},
                           {3, 65, 33, 31},
                           {2, 7, 5, 129},
                           {8, 64, 2000, 128},
                           {4, 128, 4097, 96}}) {
    INFO(p.n << " products of [" << p.rows << ", " << p.inner << "] and [" << p.inner << ", " << p.cols
             << "]");
    const Floats a = random_floats(random, p.n * p.rows * p.inner),
                 b = random_floats(random, p.n * p.inner * p.cols),
                 before = random_floats(random, p.n * p.rows * p.cols);
    // A float32 sum of `inner` products is off by some units of its last place, which TF32 would exceed.
    const Tolerance tolerance{1e-6 * static_cast<double>(p.inner) + 2e-6, 1e-5};
    for (const bool transposed : {false, true})
      for (const bool accumulate : {false, true})
        both.check(
            [&](Side& side) {
              const Matrices left(
                  side.floats(a, transposed ? Shape{p.n, p.inner, p.rows} : Shape{p.n, p.rows, p.inner})),
                  right(
                      side.floats(b, transposed ? Shape{p.n, p.cols, p.inner} : Shape{p.n, p.inner, p.cols})),
                  out(side.guarded(before, {p.n, p.rows, p.cols}));
              side.ops().multiply(out, transposed ? left.transpose() : left,
                                  transposed ? right.transpose() : right, 0.125F, accumulate);
            },
            tolerance);
  }
}

// With one weight, every query head of a group multiplies the same pools, and weights lie at odd addresses.
TEST_CASE("cuda: products take every g-th matrix of a group, from any float on") {
  const Both both;
  if (!both) return;
  Random random(55);
  constexpr int64_t kKvHeads = 2, kRows = 9, kInner = 24, kCols = 10;
  for (const int64_t group : {1, 4, 7, 8}) {
    const Floats a = random_floats(random, kKvHeads * kRows * kInner),
                 b = random_floats(random, 1 + kKvHeads * group * kInner * kCols);
    for (int64_t g = 0; g < group; ++g)
      both.check([&](Side& side) {
        Matrices weights(side.floats(b, {1, static_cast<int64_t>(b.size()), 1}));
        weights.data += 1;
        weights.n = kKvHeads * group;
        weights.rows = kInner;
        weights.cols = weights.row_stride = kCols;
        weights.stride = kInner * kCols;
        const Tensor out = side.result({kKvHeads * group, kRows, kCols});
        side.ops().multiply(Matrices(out).every(group, g),
                            Matrices(side.floats(a, {kKvHeads, kRows, kInner})), weights.every(group, g),
                            1.0F, false);
      });
  }
}

TEST_CASE("cuda: heads are rotated forth and back as on the CPU, also if some components are not") {
  const Both both;
  if (!both) return;
  Random random(56);
  for (const int64_t n_rows : {1, 70})
    for (const int64_t half : {1, 32, 64})
      for (const int64_t rest : {0, 3})
        for (const bool back : {false, true}) {
          INFO(n_rows << " rows, " << half << " pairs and " << rest << (back ? ", back" : ""));
          const int64_t width = 2 * half + rest;
          const Floats x = random_floats(random, 3 * n_rows * width),
                       c = random_floats(random, n_rows * half), s = random_floats(random, n_rows * half);
          both.check([&](Side& side) {
            side.ops().rotate_heads(side.guarded(x, {3, n_rows, width}),
                                    {side.floats(c, {n_rows, half}), side.floats(s, {n_rows, half})}, back);
          });
        }
}

TEST_CASE("cuda: norms and their gradients are the CPU's, of one row, of odd widths and of many rows") {
  const Both both;
  if (!both) return;
  Random random(57);
  for (const int64_t n_rows : {1, 63, 64, 65, 5000})
    for (const int64_t width : {1, 33, 64, 128, 256, 1024}) {
      if (n_rows == 5000 && width > 128) continue;
      INFO(n_rows << " rows of " << width);
      const Shape shape = {n_rows, width};
      const Floats x = random_floats(random, n_rows * width), dy = random_floats(random, n_rows * width),
                   w = random_floats(random, width), before = random_floats(random, width);
      both.check([&](Side& side) {
        side.ops().normalise(side.result(shape), side.floats(x, shape), side.floats(w, {width}), 1e-5F);
      });
      // A sum over many rows is off by more than one of the row alone.
      both.check(
          [&](Side& side) {
            side.ops().normalise_back(side.guarded(dy, shape), side.guarded(before, {width}),
                                      side.floats(x, shape), side.floats(w, {width}), 1e-5F);
          },
          {5e-4, 5e-5});
      both.check(
          [&](Side& side) {
            side.ops().normalise_back(side.guarded(dy, shape), Tensor(), side.floats(x, shape),
                                      side.floats(w, {width}), 1e-5F);
          },
          {5e-4, 5e-5});
    }
}

TEST_CASE("cuda: the divergence and its gradient are the CPU's, also of rows that see no block or no truth") {
  const Both both;
  if (!both) return;
  Random random(58);
  struct Case {
    ScoredRows rows;
    int64_t n_heads, n_blocks;
  };
  const Case cases[] = {{{0, 1, 1, 1, true}, 1, 1},          // one row of one block
                        {{0, 1, 1, 64, false}, 4, 3},        // one row, which sees no block
                        {{0, 5, 9, 16, false}, 7, 3},        // rows that see none, one and two
                        {{8, 1, 25, 1, true}, 8, 33},        // from the ninth block on, an odd width
                        {{512, 7, 74, 1, false}, 2, 1030}};  // hundreds of blocks
  for (const Case& c : cases) {
    INFO(c.n_heads << " heads, " << c.rows.n << " rows of " << c.n_blocks);
    const Shape shape = {c.n_heads, c.rows.n, c.n_blocks};
    const Floats scores = random_floats(random, c.n_heads * c.rows.n * c.n_blocks, 5.0F);
    Floats truth(scores.size(), 0.0F);
    const int64_t n_rows = c.n_heads * c.rows.n;
    for (int64_t row = n_rows > 1 ? 1 : 0; row < n_rows; ++row) {  // of several rows the first has no truth
      const int64_t n = c.rows.visible(row % c.rows.n);
      float* of_row = truth.data() + row * c.n_blocks;
      for (int64_t b = 0; b < n; ++b) of_row[b] = random.uniform(0.0F, 1.0F);
      const float total = std::accumulate(of_row, of_row + n, 0.0F);
      for (int64_t b = 0; b < n; ++b) of_row[b] /= total;
    }
    const Floats weights = random_floats(random, c.rows.n, 8.0F);
    for (const bool weighs : {false, true})
      both.check([&](Side& side) {
        side.ops().kl_divergence(side.result({c.n_heads, c.rows.n}), side.guarded(scores, shape),
                                 side.floats(truth, shape),
                                 weighs ? side.floats(weights, {c.rows.n}) : Tensor(), c.rows, 0.25F);
      });
  }
}

TEST_CASE("cuda: gradients of rotation, norm and divergence are finite differences") {
  const auto device = gpu();
  if (!device) return;
  check_gradients(device.get(), 1e-4);
}

// ---- parameters ----

TEST_CASE("cuda: AdamW is the published update") {
  const auto device = gpu();
  if (!device) return;
  check_optimiser(device.get(), 1e-5);
}

TEST_CASE("cuda: squares are added up by rows, of which the last numbers may be left out") {
  const auto device = gpu();
  if (!device) return;
  check_squares(device.get(), 1e-12);
}

TEST_CASE(
    "cuda: sums of squares are the CPU's, of one row and of many, to a row's last number and without it") {
  const Both both;
  if (!both) return;
  Random random(60);
  for (const int64_t n_rows : {1, 2, 64})
    for (const int64_t width : {1, 255, 16384, 16385, 50001}) {
      INFO(n_rows << " rows of " << width);
      const Floats x = random_floats(random, n_rows * width);
      for (const int64_t n : {width, width - width / 3})
        both.check([&](Side& side) {
          std::vector<double> sums(static_cast<size_t>(n_rows));
          side.ops().sums_of_squares(sums.data(), side.floats(x, {n_rows, width}), n);
          side.guarded({sums.begin(), sums.end()}, {n_rows});
        });
    }
}

TEST_CASE("cuda: lists of numbers are filled, copied, written and updated as on the CPU, to their last one") {
  const Both both;
  if (!both) return;
  Random random(59);
  for (const int64_t n : {1, 255, 16384, 16385, 300001}) {
    INFO(n << " numbers");
    const Floats x = random_floats(random, n), g = random_floats(random, n), m = random_floats(random, n);
    Floats v = random_floats(random, n);
    for (float& value : v) value *= value;
    both.check([&](Side& side) {
      side.ops().fill(side.result({n}), -2.5F);
      side.ops().copy(side.result({n}), side.floats(x, {n}));
      side.ops().write(side.result({n}), x.data());
      AdamWStep step;
      step.learning_rate = 0.01;
      step.weight_decay = 0.1;
      step.number = 3;
      step.gradient_scale = 0.5;
      side.ops().adamw(side.guarded(x, {n}), side.floats(g, {n}), side.guarded(m, {n}), side.guarded(v, {n}),
                       step);
    });
  }
}

}  // namespace
}  // namespace seer::testing
