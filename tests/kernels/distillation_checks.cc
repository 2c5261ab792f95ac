#include "tests/kernels/distillation_checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace seer::testing {
namespace {

using Floats = std::vector<float>;

int64_t count(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// Float32 tensors on the device.
class Tensors {
 public:
  explicit Tensors(Backend* backend) : backend_(backend) {}

  Tensor empty(const std::vector<int64_t>& shape) {
    Tensor t;
    for (const int64_t side : shape) t.shape[static_cast<size_t>(t.rank++)] = side;
    buffers_.push_back(backend_->allocate(std::max<int64_t>(t.nbytes(), 1), "a test"));
    t.data = buffers_.back().get();
    return t;
  }
  Tensor of(const Floats& values, const std::vector<int64_t>& shape) {
    REQUIRE(static_cast<int64_t>(values.size()) == count(shape));
    const Tensor t = empty(shape);
    backend_->distillation()->write(t, values.data());
    return t;
  }
  Floats read(const Tensor& t) const {
    Floats values(static_cast<size_t>(t.numel()));
    backend_->read(values.data(), t);
    return values;
  }

 private:
  Backend* backend_;
  std::vector<Buffer> buffers_;
};

Floats random_floats(int64_t n, uint32_t seed, float scale = 1.0F) {
  std::mt19937 random(seed);
  Floats values(static_cast<size_t>(n));
  for (float& v : values) v = scale * (static_cast<float>(random() % 20001) * 1e-4F - 1.0F);
  return values;
}

double worst(const Floats& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double largest = 0.0;
  for (size_t i = 0; i < found.size(); ++i) {
    const double d = std::abs(found[i] - expected[i]);
    if (std::isnan(d)) return INFINITY;
    largest = std::max(largest, d);
  }
  return largest;
}

struct WindowCase {
  int64_t n_heads, n_kv_heads, d_head, page, n_tokens;
  float scale = 1.5F;  // of queries and keys

  int64_t n_blocks() const { return blocks_of(n_tokens, page); }
  int64_t group() const { return n_heads / n_kv_heads; }
};

// All probabilities of a window, [n_heads][n_tokens][n_tokens].
std::vector<double> whole_map(const WindowCase& c, const Floats& q, const Floats& k) {
  std::vector<double> map(static_cast<size_t>(c.n_heads * c.n_tokens * c.n_tokens), 0.0);
  for (int64_t h = 0; h < c.n_heads; ++h)
    for (int64_t i = 0; i < c.n_tokens; ++i) {
      double* row = map.data() + (h * c.n_tokens + i) * c.n_tokens;
      double total = 0.0;
      for (int64_t j = 0; j <= i; ++j) {
        double dot = 0.0;
        for (int64_t d = 0; d < c.d_head; ++d)
          dot += static_cast<double>(q[static_cast<size_t>((i * c.n_heads + h) * c.d_head + d)]) *
                 k[static_cast<size_t>((j * c.n_kv_heads + h / c.group()) * c.d_head + d)];
        total += row[j] = std::exp(dot / std::sqrt(static_cast<double>(c.d_head)));
      }
      for (int64_t j = 0; j <= i; ++j) row[j] /= total;
    }
  return map;
}

// The largest probability of each block, of one row of the map.
std::vector<double> block_maxima(const WindowCase& c, const double* row) {
  std::vector<double> maxima(static_cast<size_t>(c.n_blocks()), 0.0);
  for (int64_t j = 0; j < c.n_tokens; ++j) {
    double& at = maxima[static_cast<size_t>(j / c.page)];
    at = std::max(at, row[j]);
  }
  return maxima;
}

// The ground truth of rows, by its definition: the largest of `heads` heads and of the row's tokens.
std::vector<double> direct_truth(const WindowCase& c, const std::vector<double>& map, const ScoredRows& rows,
                                 int64_t heads, int64_t tokens) {
  std::vector<double> truth;
  for (int64_t h = 0; h < c.n_heads / heads; ++h)
    for (int64_t i = 0; i < rows.n; ++i) {
      std::vector<double> row(static_cast<size_t>(c.n_blocks()), 0.0);
      for (int64_t head = h * heads; head < (h + 1) * heads; ++head)
        for (int64_t t = rows.position(i) * tokens; t < std::min(c.n_tokens, (rows.position(i) + 1) * tokens);
             ++t) {
          const auto maxima = block_maxima(c, map.data() + (head * c.n_tokens + t) * c.n_tokens);
          for (size_t b = 0; b < row.size(); ++b) row[b] = std::max(row[b], maxima[b]);
        }
      for (size_t b = static_cast<size_t>(rows.visible(i)); b < row.size(); ++b) row[b] = 0.0;
      const double total = std::accumulate(row.begin(), row.end(), 0.0);
      for (const double value : row) truth.push_back(total > 0.0 ? value / total : 0.0);
    }
  return truth;
}

// The pages [n_blocks, n_kv_heads, page, d_head] that hold the rows of x [n_tokens, n_kv_heads, d_head].
Floats paged(const WindowCase& c, const Floats& x) {
  Floats pages(static_cast<size_t>(c.n_blocks() * c.n_kv_heads * c.page * c.d_head), 0.0F);
  for (int64_t t = 0; t < c.n_tokens; ++t)
    for (int64_t h = 0; h < c.n_kv_heads; ++h)
      std::copy_n(x.begin() + (t * c.n_kv_heads + h) * c.d_head, c.d_head,
                  pages.begin() + ((t / c.page * c.n_kv_heads + h) * c.page + t % c.page) * c.d_head);
  return pages;
}

void check_window(Backend* backend, const WindowCase& c, double error) {
  INFO(c.n_heads << " heads, " << c.n_kv_heads << " KV heads of " << c.d_head << ", pages of " << c.page
                 << ", " << c.n_tokens << " tokens");
  Tensors tensors(backend);
  Distillation& device = *backend->distillation();
  // Rows may have room for more maxima than there are blocks.
  const int64_t capacity = device.maxima_width(c.n_blocks() + 3);
  const Floats q = random_floats(c.n_tokens * c.n_heads * c.d_head, 1, c.scale),
               k = random_floats(c.n_tokens * c.n_kv_heads * c.d_head, 2, c.scale),
               v = random_floats(c.n_tokens * c.n_kv_heads * c.d_head, 3);
  const std::vector<int64_t> of_pages = {c.n_blocks(), c.n_kv_heads, c.page, c.d_head},
                             of_heads = {c.n_tokens, c.n_heads, c.d_head};
  PagedKv kv;
  kv.k = tensors.of(paged(c, k), of_pages);
  kv.v = tensors.of(paged(c, v), of_pages);
  std::vector<int32_t> table(static_cast<size_t>(c.n_blocks()));
  std::iota(table.begin(), table.end(), 0);
  const Segment segment{0, c.n_tokens, 0, table.data()};
  StepInput in;
  in.step = {c.n_tokens, {&segment, 1}, {}};
  backend->begin_step(in, c.page);
  const Tensor queries = tensors.of(q, of_heads), out = tensors.empty(of_heads),
               plain = tensors.empty(of_heads), maxima = tensors.empty({c.n_heads, c.n_tokens, capacity}),
               log_sums = tensors.empty({c.n_heads, c.n_tokens});
  device.attention_with_maxima(out, maxima, log_sums, queries, kv, segment);
  backend->prefill_attention(plain, queries, kv, segment, nullptr, 0);
  CHECK((tensors.read(out) == tensors.read(plain)));

  const std::vector<double> map = whole_map(c, q, k);
  const Floats found_maxima = tensors.read(maxima), sums = tensors.read(log_sums);
  double largest = 0.0;
  for (int64_t row = 0; row < c.n_heads * c.n_tokens; ++row) {
    const auto expected = block_maxima(c, map.data() + row * c.n_tokens);
    for (int64_t b = 0; b <= row % c.n_tokens / c.page; ++b)
      largest = std::max(
          largest,
          std::abs(expected[static_cast<size_t>(b)] -
                   std::exp(static_cast<double>(found_maxima[static_cast<size_t>(row * capacity + b)]) -
                            sums[static_cast<size_t>(row)])));
  }
  CHECK(largest < error);

  const int64_t first_block = c.n_blocks() / 4;
  const ScoredRows blocks{first_block, 1, c.n_blocks() - first_block, 1, true};
  const Tensor prefill = tensors.empty({c.n_heads, blocks.n, c.n_blocks()});
  device.prefill_truth(prefill, maxima, log_sums, blocks, c.page, 0);
  CHECK(worst(tensors.read(prefill), direct_truth(c, map, blocks, 1, c.page)) < error);

  const int64_t first = c.n_tokens / 2;
  const ScoredRows rows{first, 3, (c.n_tokens - first + 2) / 3, c.page, false};
  const Tensor decode = tensors.empty({c.n_kv_heads, rows.n, c.n_blocks()});
  device.decode_truth(decode, maxima, log_sums, rows, 0);
  CHECK(worst(tensors.read(decode), direct_truth(c, map, rows, c.group(), 1)) < error);
}

// a b, scaled, in float64; `transposed_a` says that a holds the transpose.
std::vector<double> direct_product(const Floats& a, const Floats& b, int64_t n, int64_t m, int64_t inner,
                                   int64_t cols, bool transposed_a, bool transposed_b, double scale) {
  std::vector<double> out;
  for (int64_t i = 0; i < n; ++i)
    for (int64_t r = 0; r < m; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        double sum = 0.0;
        for (int64_t j = 0; j < inner; ++j)
          sum += static_cast<double>(
                     a[static_cast<size_t>(i * m * inner + (transposed_a ? j * m + r : r * inner + j))]) *
                 b[static_cast<size_t>(i * inner * cols + (transposed_b ? c * inner + j : j * cols + c))];
        out.push_back(scale * sum);
      }
  return out;
}

// RMS norm of the rows of x, weighted by `dy` and summed: what normalise_back() differentiates.
double weighted_norm(const std::vector<double>& x, const std::vector<double>& w, const Floats& dy,
                     double eps) {
  double total = 0.0;
  for (size_t row = 0; row < x.size(); row += w.size()) {
    double squares = 0.0;
    for (size_t i = 0; i < w.size(); ++i) squares += x[row + i] * x[row + i];
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(w.size()) + eps);
    for (size_t i = 0; i < w.size(); ++i) total += dy[row + i] * w[i] * x[row + i] * scale;
  }
  return total;
}

// Central differences of f at each element of `at`.
template <class F>
std::vector<double> differences(std::vector<double> at, const F& f) {
  constexpr double kStep = 1e-5;
  std::vector<double> out;
  for (double& x : at) {
    const double before = x;
    x = before + kStep;
    const double above = f(at);
    x = before - kStep;
    out.push_back((above - f(at)) / (2.0 * kStep));
    x = before;
  }
  return out;
}

// The sum of the rows' divergences, multiplied by their weights.
double divergence(const std::vector<double>& scores, const Floats& truth, const ScoredRows& rows,
                  int64_t n_blocks, const Floats& weights) {
  double loss = 0.0;
  for (size_t row = 0; row * static_cast<size_t>(n_blocks) < scores.size(); ++row) {
    const double* s = scores.data() + row * static_cast<size_t>(n_blocks);
    const float* t = truth.data() + row * static_cast<size_t>(n_blocks);
    const int64_t i = static_cast<int64_t>(row) % rows.n, n = rows.visible(i);
    const double weight = weights[static_cast<size_t>(i)];
    double total = 0.0;
    for (int64_t b = 0; b < n; ++b) total += std::exp(s[b]);
    for (int64_t b = 0; b < n; ++b)
      if (t[b] > 0.0F) loss += weight * t[b] * (std::log(static_cast<double>(t[b])) - s[b] + std::log(total));
  }
  return loss;
}

void check_norm(Backend* backend, double error) {
  Tensors tensors(backend);
  Distillation& device = *backend->distillation();
  const int64_t n_rows = 70, width = 12;  // more rows than a task takes
  const Floats x = random_floats(n_rows * width, 4), w = random_floats(width, 5),
               dy = random_floats(n_rows * width, 6);
  const std::vector<double> wide_x(x.begin(), x.end()), wide_w(w.begin(), w.end());
  const Tensor gradient = tensors.of(dy, {1, n_rows, width}),
               of_weight = tensors.of(Floats(static_cast<size_t>(width), 1.0F), {width});
  device.normalise_back(gradient, of_weight, tensors.of(x, {1, n_rows, width}), tensors.of(w, {width}),
                        1e-6F);
  CHECK(worst(tensors.read(gradient), differences(wide_x, [&](const auto& at) {
                return weighted_norm(at, wide_w, dy, 1e-6);
              })) < error);
  std::vector<double> expected =
      differences(wide_w, [&](const auto& at) { return weighted_norm(wide_x, at, dy, 1e-6); });
  for (double& value : expected) value += 1.0;  // it is added to what was there
  CHECK(worst(tensors.read(of_weight), expected) < error);
}

void check_divergence(Backend* backend, double error) {
  Tensors tensors(backend);
  Distillation& device = *backend->distillation();
  const int64_t n_heads = 2, n_blocks = 6;
  const ScoredRows rows{1, 5, 5, 4, false};  // they see 0, 1, 2, 4 and 5 blocks
  const Floats scores = random_floats(n_heads * rows.n * n_blocks, 7, 3.0F);
  Floats truth = random_floats(n_heads * rows.n * n_blocks, 8);
  for (int64_t row = 0; row < n_heads * rows.n; ++row) {
    float* t = truth.data() + row * n_blocks;
    float total = 0.0F;
    for (int64_t b = 0; b < n_blocks; ++b)
      total += t[b] = b < rows.visible(row % rows.n) ? t[b] * t[b] : 0.0F;
    for (int64_t b = 0; b < n_blocks && total > 0.0F; ++b) t[b] /= total;
  }
  const std::vector<int64_t> shape = {n_heads, rows.n, n_blocks};
  const Tensor losses = tensors.empty({n_heads, rows.n});
  const std::vector<double> wide(scores.begin(), scores.end());
  const Floats ones(static_cast<size_t>(rows.n), 1.0F), some = {3.0F, 0.25F, 1.0F, 0.0F, 1.5F};
  std::vector<Floats> gradients;
  for (const Floats* weights : {static_cast<const Floats*>(nullptr), &ones, &some}) {
    INFO((weights == nullptr ? "no weights" : weights == &ones ? "weights of 1" : "weights"));
    const Tensor gradient = tensors.of(scores, shape),
                 of_rows = weights == nullptr ? Tensor() : tensors.of(*weights, {rows.n});
    device.kl_divergence(losses, gradient, tensors.of(truth, shape), of_rows, rows, 0.5F);
    const Floats found = tensors.read(losses);  // without weights in any case
    CHECK(std::abs(std::accumulate(found.begin(), found.end(), 0.0) -
                   divergence(wide, truth, rows, n_blocks, ones)) < error);
    gradients.push_back(tensors.read(gradient));
    CHECK(worst(gradients.back(), differences(wide, [&](const auto& at) {
                  return 0.5 * divergence(at, truth, rows, n_blocks, weights == nullptr ? ones : *weights);
                })) < error);
  }
  CHECK((gradients[0] == gradients[1]));  // bit by bit
  // Rows without ground truth, whose probabilities all underflowed, teach nothing.
  const Tensor nothing = tensors.of(Floats(truth.size(), 0.0F), shape), untouched = tensors.of(scores, shape);
  device.kl_divergence(losses, untouched, nothing, Tensor(), rows, 1.0F);
  CHECK((tensors.read(untouched) == Floats(truth.size(), 0.0F)));
  CHECK((tensors.read(losses) == Floats(static_cast<size_t>(n_heads * rows.n), 0.0F)));
}

void check_rotation(Backend* backend, double error) {
  Tensors tensors(backend);
  Distillation& device = *backend->distillation();
  const std::vector<int64_t> shape = {2, 3, 10};  // two components are not rotated
  const Floats x = random_floats(count(shape), 9), y = random_floats(count(shape), 10);
  const RopeTable rope{tensors.of(random_floats(12, 11), {3, 4}), tensors.of(random_floats(12, 12), {3, 4})};
  const Tensor rx = tensors.of(x, shape), ry = tensors.of(y, shape);
  device.rotate_heads(rx, rope, false);
  device.rotate_heads(ry, rope, true);
  const Floats a = tensors.read(rx), b = tensors.read(ry);
  // (R x) . y = x . (R^T y)
  CHECK(std::abs(std::inner_product(a.begin(), a.end(), y.begin(), 0.0) -
                 std::inner_product(x.begin(), x.end(), b.begin(), 0.0)) < error);
  CHECK(a != x);
}

}  // namespace

void check_ground_truth(Backend* backend, double error) {
  for (const int64_t n : {1, 63, 64, 65, 200}) check_window(backend, {4, 2, 64, 64, n}, error);
  check_window(backend, {4, 1, 64, 16, 130}, error);
  check_window(backend, {2, 2, 64, 128, 300}, error);
  check_window(backend, {7, 1, 64, 32, 96}, error);
  // Scores of tens: most probabilities underflow, and the maxima must not.
  check_window(backend, {2, 1, 64, 16, 100, 6.0F}, error);
}

void check_multiply(Backend* backend, double error) {
  Tensors tensors(backend);
  Distillation& device = *backend->distillation();
  const int64_t n = 3, m = 130, inner = 37, cols = 9;  // more rows than a task takes
  const Floats a = random_floats(n * m * inner, 13), b = random_floats(n * inner * cols, 14);
  for (const bool ta : {false, true})
    for (const bool tb : {false, true}) {
      INFO("transposed: " << ta << ", " << tb);
      const Tensor out = tensors.of(Floats(static_cast<size_t>(n * m * cols), 2.0F), {n, m, cols});
      const Matrices left(
          tensors.of(a, ta ? std::vector<int64_t>{n, inner, m} : std::vector<int64_t>{n, m, inner})),
          right(tensors.of(b,
                           tb ? std::vector<int64_t>{n, cols, inner} : std::vector<int64_t>{n, inner, cols}));
      device.multiply(Matrices(out), ta ? left.transpose() : left, tb ? right.transpose() : right, 0.5F,
                      false);
      std::vector<double> expected = direct_product(a, b, n, m, inner, cols, ta, tb, 0.5);
      CHECK(worst(tensors.read(out), expected) < error);
      device.multiply(Matrices(out), ta ? left.transpose() : left, tb ? right.transpose() : right, 0.5F,
                      true);
      for (double& value : expected) value *= 2.0;
      CHECK(worst(tensors.read(out), expected) < error);
    }
  // Every third matrix alone.
  const Tensor out = tensors.of(Floats(static_cast<size_t>(n * m * cols), 2.0F), {n, m, cols});
  device.multiply(Matrices(out).every(3, 1), Matrices(tensors.of(a, {n, m, inner})).every(3, 1),
                  Matrices(tensors.of(b, {n, inner, cols})).every(3, 1), 1.0F, false);
  std::vector<double> expected = direct_product(a, b, n, m, inner, cols, false, false, 1.0);
  std::fill_n(expected.begin(), m * cols, 2.0);
  std::fill(expected.begin() + 2 * m * cols, expected.end(), 2.0);
  CHECK(worst(tensors.read(out), expected) < error);
}

void check_gradients(Backend* backend, double error) {
  check_rotation(backend, error);
  check_norm(backend, error);
  check_divergence(backend, error);
}

void check_optimiser(Backend* backend, double error) {
  Tensors tensors(backend);
  Distillation& device = *backend->distillation();
  const int64_t n = 20000;  // more numbers than a task takes
  const Floats start = random_floats(n, 15), gradients = random_floats(n, 16, 0.01F);
  const Tensor p = tensors.of(start, {n}), g = tensors.of(gradients, {n}), m = tensors.empty({n}),
               v = tensors.empty({n});
  device.fill(m, 0.0F);
  device.fill(v, 0.0F);
  std::vector<double> ep(start.begin(), start.end()), em(ep.size()), ev(ep.size());
  AdamWStep step;
  step.weight_decay = 0.1;
  step.gradient_scale = 0.25;
  for (step.number = 1; step.number <= 5; ++step.number) {
    step.learning_rate = 0.01 * static_cast<double>(step.number);
    device.adamw(p, g, m, v, step);
    const auto t = static_cast<double>(step.number);
    for (size_t i = 0; i < ep.size(); ++i) {
      const double gradient = 0.25 * gradients[i];
      em[i] = 0.9 * em[i] + 0.1 * gradient;
      ev[i] = 0.999 * ev[i] + 0.001 * gradient * gradient;
      ep[i] = ep[i] * (1.0 - step.learning_rate * 0.1) -
              step.learning_rate * (em[i] / (1.0 - std::pow(0.9, t))) /
                  (std::sqrt(ev[i] / (1.0 - std::pow(0.999, t))) + 1e-8);
    }
  }
  CHECK(worst(tensors.read(p), ep) < error);
}

void check_squares(Backend* backend, double error) {
  Tensors tensors(backend);
  const int64_t n_rows = 3, width = 20000;  // more numbers than a task takes
  const Floats x = random_floats(n_rows * width, 17);
  for (const int64_t n : {int64_t{1}, width - 7, width}) {
    INFO(n << " of " << width << " numbers");
    std::vector<double> found(static_cast<size_t>(n_rows)), expected(found.size(), 0.0);
    backend->distillation()->sums_of_squares(found.data(), tensors.of(x, {n_rows, width}), n);
    for (int64_t row = 0; row < n_rows; ++row)
      for (int64_t i = 0; i < n; ++i)
        expected[static_cast<size_t>(row)] +=
            std::pow(static_cast<double>(x[static_cast<size_t>(row * width + i)]), 2);
    for (size_t row = 0; row < found.size(); ++row) CHECK(found[row] == Approx(expected[row]).epsilon(error));
  }
}

}  // namespace seer::testing
