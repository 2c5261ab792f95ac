// The operations that train gates (kernels/distillation.h). Work is divided into parts whose sizes do not
// depend on the number of threads, and sums over parts are taken in the order of the parts. So the bits of
// the results do not depend on the number of threads.
#include "kernels/distillation.h"

#include <cblas.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rotate.h"

namespace seer {
namespace {

constexpr int64_t kRowsOfPart = 64;        // rows of matrices that a task takes
constexpr int64_t kNumbersOfPart = 16384;  // numbers of a list that a task takes

constexpr int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

// Rotates by the transpose of the matrix that rotate() multiplies by.
void rotate_transposed(float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cos[i] + b * sin[i];
    x[i + half] = b * cos[i] - a * sin[i];
  }
}

// Divides the first n numbers by their sum, and sets those after them to 0. If the sum is 0, all become 0.
void normalise_to_1(float* x, int64_t n, int64_t size) {
  double total = 0.0;
  for (int64_t i = 0; i < n; ++i) total += x[i];
  const auto inverse = static_cast<float>(total > 0.0 ? 1.0 / total : 0.0);
  for (int64_t i = 0; i < n; ++i) x[i] *= inverse;
  std::fill(x + n, x + size, 0.0F);
}

// Raises out[b] to exp(maxima[b] - log_sum) for b < n.
void raise_to_probabilities(float* out, const float* maxima, float log_sum, int64_t n) {
  for (int64_t b = 0; b < n; ++b) out[b] = std::max(out[b], std::exp(maxima[b] - log_sum));
}

// Replaces n scores by scale * (softmax(scores) - truth), and returns KL(truth || softmax(scores)).
double replace_by_gradient(float* scores, const float* truth, int64_t n, float scale) {
  double weight = 0.0;
  for (int64_t b = 0; b < n; ++b) weight += truth[b];
  if (weight == 0.0) {
    std::fill(scores, scores + n, 0.0F);
    return 0.0;
  }
  const float top = *std::max_element(scores, scores + n);
  double total = 0.0;
  for (int64_t b = 0; b < n; ++b) total += std::exp(scores[b] - top);
  const double log_total = std::log(total) + top;
  double loss = 0.0;
  for (int64_t b = 0; b < n; ++b) {
    const double log_p = scores[b] - log_total;
    if (truth[b] > 0.0F) loss += truth[b] * (std::log(static_cast<double>(truth[b])) - log_p);
    scores[b] = scale * (static_cast<float>(std::exp(log_p)) - truth[b]);
  }
  return loss;
}

}  // namespace

void CpuBackend::prefill_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums,
                               const ScoredRows& rows, int64_t page_tokens, int64_t first_token) {
  const int64_t n_tokens = maxima.dim(1), width = maxima.dim(2), n_blocks = truth.dim(2);
  assert(truth.dim(0) == maxima.dim(0) && truth.dim(1) == rows.n && width >= n_blocks);
  assert(first_token % page_tokens == 0);
  const int64_t begin = rows.row_from(first_token / page_tokens),
                n_rows = rows.row_from(blocks_of(first_token + n_tokens, page_tokens)) - begin;
  pool_.run(truth.dim(0) * n_rows, [&](int64_t task, int) {
    const int64_t head = task / n_rows, i = begin + task % n_rows, n = rows.visible(i);
    float* out = truth.as<float>() + (head * rows.n + i) * n_blocks;
    std::fill(out, out + n, 0.0F);
    const int64_t from = rows.position(i) * page_tokens - first_token,
                  end = std::min(n_tokens, from + page_tokens);
    for (int64_t t = from; t < end; ++t)
      raise_to_probabilities(out, maxima.as<float>() + (head * n_tokens + t) * width,
                             log_sums.as<float>()[head * n_tokens + t], n);
    normalise_to_1(out, n, n_blocks);
  });
}

void CpuBackend::decode_truth(const Tensor& truth, const Tensor& maxima, const Tensor& log_sums,
                              const ScoredRows& rows, int64_t first_token) {
  const int64_t n_tokens = maxima.dim(1), width = maxima.dim(2), n_blocks = truth.dim(2);
  const int64_t group = maxima.dim(0) / truth.dim(0);
  assert(truth.dim(1) == rows.n && width >= n_blocks);
  const int64_t begin = rows.row_from(first_token), n_rows = rows.row_from(first_token + n_tokens) - begin;
  pool_.run(truth.dim(0) * n_rows, [&](int64_t task, int) {
    const int64_t kv_head = task / n_rows, i = begin + task % n_rows, n = rows.visible(i);
    const int64_t t = rows.position(i) - first_token;
    float* out = truth.as<float>() + (kv_head * rows.n + i) * n_blocks;
    std::fill(out, out + n, 0.0F);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head)
      raise_to_probabilities(out, maxima.as<float>() + (head * n_tokens + t) * width,
                             log_sums.as<float>()[head * n_tokens + t], n);
    normalise_to_1(out, n, n_blocks);
  });
}

void CpuBackend::split_heads(const Tensor& out, const Tensor& in) {
  const int64_t n_heads = out.dim(0), n_rows = out.dim(1), width = out.dim(2);
  assert(in.dim(0) >= n_rows && in.dim(1) == n_heads && in.dim(2) == width);
  for (int64_t h = 0; h < n_heads; ++h)
    for (int64_t r = 0; r < n_rows; ++r)
      std::copy_n(in.as<float>() + (r * n_heads + h) * width, width,
                  out.as<float>() + (h * n_rows + r) * width);
}

void CpuBackend::group_queries(const Tensor& out, const Tensor& qkv, const HeadNorms& norms,
                               const ScoredRows& rows, int64_t n_heads, int64_t d_head) {
  const int64_t n_kv_heads = out.dim(0), group = n_heads / n_kv_heads, width = out.dim(2);
  const bool mean = width == d_head && group > 1;
  assert(out.dim(1) == rows.n && (mean || width == group * d_head));
  const FloatNorms weights = float_norms(norms, d_head);
  reserve_thread_scratch(group * d_head);
  pool_.run(n_kv_heads * rows.n, [&](int64_t task, int thread) {
    const int64_t kv_head = task / rows.n, i = task % rows.n;
    const float* in = qkv.as<float>() + rows.position(i) * qkv.dim(1) + kv_head * group * d_head;
    const float* heads = normalise({in, d_head}, group, weights.q, weights.eps, d_head, thread).data;
    float* to = out.as<float>() + task * width;
    if (!mean) {
      std::copy_n(heads, width, to);
      return;
    }
    for (int64_t d = 0; d < d_head; ++d) {
      float sum = 0.0F;
      for (int64_t g = 0; g < group; ++g) sum += heads[g * d_head + d];
      to[d] = sum / static_cast<float>(group);
    }
  });
}

void CpuBackend::multiply(const Matrices& out, const Matrices& a, const Matrices& b, float scale,
                          bool accumulate) {
  assert(!out.transposed && out.n == a.n && out.n == b.n && out.rows == a.rows && out.cols == b.cols &&
         a.cols == b.rows);
  const int64_t n_parts = parts_of(out.rows, kRowsOfPart);
  pool_.run(out.n * n_parts, [&](int64_t task, int) {
    const int64_t i = task / n_parts, row = task % n_parts * kRowsOfPart;
    const int64_t n_rows = std::min(kRowsOfPart, out.rows - row);
    const float* a_part = a.data + i * a.stride + row * (a.transposed ? 1 : a.row_stride);
    cblas_sgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans,
                b.transposed ? CblasTrans : CblasNoTrans, static_cast<int>(n_rows),
                static_cast<int>(out.cols), static_cast<int>(a.cols), scale, a_part,
                static_cast<int>(a.row_stride), b.data + i * b.stride, static_cast<int>(b.row_stride),
                accumulate ? 1.0F : 0.0F, out.data + i * out.stride + row * out.row_stride,
                static_cast<int>(out.row_stride));
  });
}

void CpuBackend::rotate_heads(const Tensor& x, const RopeTable& rope, bool back) {
  const int64_t n_rows = x.dim(1), width = x.dim(2), half = rope.cos.dim(1);
  assert(rope.cos.dim(0) == n_rows && 2 * half <= width);
  pool_.run(x.dim(0) * parts_of(n_rows, kRowsOfPart), [&](int64_t task, int) {
    const int64_t n_parts = parts_of(n_rows, kRowsOfPart), head = task / n_parts,
                  begin = task % n_parts * kRowsOfPart;
    for (int64_t r = begin; r < std::min(n_rows, begin + kRowsOfPart); ++r) {
      float* row = x.as<float>() + (head * n_rows + r) * width;
      const float *cos = rope.cos.as<float>() + r * half, *sin = rope.sin.as<float>() + r * half;
      if (back) {
        rotate_transposed(row, cos, sin, half);
      } else {
        rotate(row, row, cos, sin, half);
      }
    }
  });
}

void CpuBackend::normalise(const Tensor& out, const Tensor& x, const Tensor& weight, float eps) {
  const int64_t width = weight.numel(), n_rows = x.numel() / width;
  pool_.run(parts_of(n_rows, kRowsOfPart), [&](int64_t part, int) {
    const int64_t end = std::min(n_rows, (part + 1) * kRowsOfPart);
    for (int64_t r = part * kRowsOfPart; r < end; ++r)
      simd_.rms_norm(out.as<float>() + r * width, x.as<float>() + r * width, weight.as<float>(), width, eps);
  });
}

// With y = w x s and s = 1 / sqrt(mean(x^2) + eps): dx = s (w dy) - x s^3 sum(w dy x) / width, dw = sum of dy
// x s.
void CpuBackend::normalise_back(const Tensor& dy, const Tensor& d_weight, const Tensor& x,
                                const Tensor& weight, float eps) {
  const int64_t width = weight.numel(), n_rows = x.numel() / width, n_parts = parts_of(n_rows, kRowsOfPart);
  float* partial = formed_.reserve(n_parts * width);  // [n_parts, width]: of the weight's gradient
  const float* w = weight.as<float>();
  pool_.run(n_parts, [&](int64_t part, int) {
    float* sums = partial + part * width;
    std::fill(sums, sums + width, 0.0F);
    const int64_t end = std::min(n_rows, (part + 1) * kRowsOfPart);
    for (int64_t r = part * kRowsOfPart; r < end; ++r) {
      const float* in = x.as<float>() + r * width;
      float* gradient = dy.as<float>() + r * width;
      float squares = 0.0F, product = 0.0F;
      for (int64_t i = 0; i < width; ++i) {
        squares += in[i] * in[i];
        product += w[i] * gradient[i] * in[i];
      }
      const float scale = 1.0F / std::sqrt(squares / static_cast<float>(width) + eps);
      const float along = product * scale * scale * scale / static_cast<float>(width);
      for (int64_t i = 0; i < width; ++i) {
        sums[i] += gradient[i] * in[i] * scale;
        gradient[i] = scale * w[i] * gradient[i] - along * in[i];
      }
    }
  });
  if (!d_weight) return;
  for (int64_t part = 0; part < n_parts; ++part)
    for (int64_t i = 0; i < width; ++i) d_weight.as<float>()[i] += partial[part * width + i];
}

void CpuBackend::kl_divergence(const Tensor& losses, const Tensor& scores, const Tensor& truth,
                               const Tensor& weights, const ScoredRows& rows, float scale) {
  const int64_t n_blocks = scores.dim(2);
  assert(scores.dim(1) == rows.n && losses.numel() == scores.dim(0) * rows.n &&
         truth.numel() == scores.numel() && (!weights || weights.numel() == rows.n));
  pool_.run(scores.dim(0) * rows.n, [&](int64_t task, int) {
    float* row = scores.as<float>() + task * n_blocks;
    const int64_t i = task % rows.n, n = std::min(n_blocks, rows.visible(i));
    const float of_row = weights ? scale * weights.as<float>()[i] : scale;
    losses.as<float>()[task] = static_cast<float>(
        n == 0 ? 0.0 : replace_by_gradient(row, truth.as<float>() + task * n_blocks, n, of_row));
    std::fill(row + n, row + n_blocks, 0.0F);
  });
}

void CpuBackend::fill(const Tensor& out, float value) { std::fill_n(out.as<float>(), out.numel(), value); }

void CpuBackend::copy(const Tensor& out, const Tensor& in) {
  assert(out.numel() == in.numel());
  std::copy_n(in.as<float>(), in.numel(), out.as<float>());
}

void CpuBackend::write(const Tensor& out, const float* host) {
  std::copy_n(host, out.numel(), out.as<float>());
}

void CpuBackend::sums_of_squares(double* sums, const Tensor& x, int64_t n) {
  const int64_t n_rows = x.dim(0), width = x.dim(1), n_parts = parts_of(n, kNumbersOfPart);
  assert(n <= width);
  std::vector<double> of_parts(static_cast<size_t>(n_rows * n_parts));
  pool_.run(n_rows * n_parts, [&](int64_t task, int) {
    const float* row = x.as<float>() + task / n_parts * width;
    const int64_t first = task % n_parts * kNumbersOfPart, end = std::min(n, first + kNumbersOfPart);
    double sum = 0.0;
    for (int64_t i = first; i < end; ++i) sum += static_cast<double>(row[i]) * row[i];
    of_parts[static_cast<size_t>(task)] = sum;
  });
  for (int64_t row = 0; row < n_rows; ++row) {
    const auto first = of_parts.begin() + row * n_parts;
    sums[row] = std::accumulate(first, first + n_parts, 0.0);
  }
}

void CpuBackend::adamw(const Tensor& parameters, const Tensor& gradients, const Tensor& moments,
                       const Tensor& second_moments, const AdamWStep& step) {
  const auto number = static_cast<double>(step.number);
  const auto rate = static_cast<float>(step.learning_rate / (1.0 - std::pow(step.beta1, number)));
  const auto second = static_cast<float>(1.0 / (1.0 - std::pow(step.beta2, number)));
  const auto decay = static_cast<float>(1.0 - step.learning_rate * step.weight_decay);
  const auto beta1 = static_cast<float>(step.beta1), beta2 = static_cast<float>(step.beta2),
             epsilon = static_cast<float>(step.epsilon), scale = static_cast<float>(step.gradient_scale);
  const int64_t n = parameters.numel();
  pool_.run(parts_of(n, kNumbersOfPart), [&](int64_t part, int) {
    const int64_t end = std::min(n, (part + 1) * kNumbersOfPart);
    for (int64_t i = part * kNumbersOfPart; i < end; ++i) {
      const float g = gradients.as<float>()[i] * scale;
      float &m = moments.as<float>()[i], &v = second_moments.as<float>()[i], &p = parameters.as<float>()[i];
      m = beta1 * m + (1.0F - beta1) * g;
      v = beta2 * v + (1.0F - beta2) * g * g;
      p = p * decay - rate * m / (std::sqrt(v * second) + epsilon);
    }
  });
}

}  // namespace seer
