// Chooses tokens from logits, and computes their probabilities.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/host_logits.h"

namespace seer {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void change(std::span<float> logits, std::span<const LogitChange> changes) {
  for (const LogitChange& c : changes) {
    if (c.id < 0 || static_cast<size_t>(c.id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(c.id)];
    logit = c.banned ? kNever : (logit > 0.0F ? logit / c.divide : logit * c.divide) - c.subtract;
  }
}

// Returns the first of the largest logits. NaN is never the largest.
int32_t argmax(std::span<const float> logits) {
  size_t best = 0;
  float best_logit = kNever;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > best_logit) best = i, best_logit = logits[i];
  return static_cast<int32_t>(best);
}

// The data of a draw besides the logits, for every id of the vocabulary.
struct DrawScratch {
  double* p;     // probability relative to that of the likeliest token, which has 1
  int32_t* ids;  // in any order
  DrawScratch(float* memory, int64_t n_vocab)
      : p(reinterpret_cast<double*>(memory)), ids(reinterpret_cast<int32_t*>(memory + 2 * n_vocab)) {}
};

int32_t draw(std::span<const float> logits, int32_t best, const SampleRow& row, const DrawScratch& scratch) {
  const auto logit = [&](int32_t id) { return logits[static_cast<size_t>(id)]; };
  const auto likelier = [&](int32_t a, int32_t b) {
    return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
  };
  int32_t *const begin = scratch.ids, *end = begin;
  for (size_t i = 0; i < logits.size(); ++i)
    if (std::isfinite(logits[i])) *end++ = static_cast<int32_t>(i);

  // The kept tokens are always the beginning of the ranking, and `last` ends it.
  int32_t last = *std::max_element(begin, end, likelier);
  if (row.top_k > 0 && row.top_k < end - begin) {
    std::nth_element(begin, begin + row.top_k - 1, end, likelier);
    end = begin + row.top_k;
    last = end[-1];
  }
  double total = 0.0;
  for (const int32_t* id = begin; id != end; ++id)
    total += scratch.p[*id] = std::exp(static_cast<double>(logit(*id) - logit(best)) / row.temperature);
  if (row.top_p < 1.0) {
    // All tokens less likely than this together have less than 1 - top_p, so only the others need sorting.
    const double rare = (1.0 - row.top_p) * total / static_cast<double>(end - begin);
    end = std::partition(begin, end, [&](int32_t id) { return id == best || scratch.p[id] >= rare; });
    std::sort(begin, end, likelier);
    double mass = 0.0;
    const int32_t* next = begin;
    do last = *next, mass += scratch.p[*next++];
    while (next != end && mass < row.top_p * total);
  }

  const auto kept = [&](int32_t id) {
    return std::isfinite(logit(id)) && !likelier(last, id) && scratch.p[id] >= row.min_p;
  };
  const auto n_vocab = static_cast<int32_t>(logits.size());
  total = 0.0;
  for (int32_t id = 0; id < n_vocab; ++id)
    if (kept(id)) total += scratch.p[id];
  double left = row.uniform * total;
  int32_t chosen = best;
  for (int32_t id = 0; id < n_vocab; ++id) {
    if (!kept(id)) continue;
    chosen = id;
    left -= scratch.p[id];
    if (left < 0.0) break;
  }
  return chosen;
}

}  // namespace

int32_t choose_token(std::span<float> logits, const SampleRow& row, float* scratch) {
  change(logits, row.changes);
  const int32_t best = argmax(logits);
  if (!std::isfinite(logits[static_cast<size_t>(best)])) return -1;
  if (row.temperature == 0.0) return best;
  return draw(logits, best, row, DrawScratch(scratch, static_cast<int64_t>(logits.size())));
}

double log_sum_exp(std::span<const float> logits) {
  // Partial sums of few numbers are in float, their total is in double.
  constexpr size_t kPart = 1024;
  alignas(64) float part[kPart];
  const simd::Functions& simd = simd::functions();
  float largest = kNever;
  for (const float logit : logits) {
    if (std::isnan(logit)) return logit;
    largest = std::max(largest, logit);
  }
  if (!std::isfinite(largest)) return largest;
  double total = 0.0;
  for (size_t at = 0; at < logits.size(); at += kPart) {
    const std::span<const float> in = logits.subspan(at, std::min(kPart, logits.size() - at));
    std::copy(in.begin(), in.end(), part);
    total += simd.exp_sum(part, static_cast<int64_t>(in.size()), largest);
  }
  return static_cast<double>(largest) + std::log(total);
}

void CpuBackend::sample(std::span<int32_t> ids, const Tensor& logits, std::span<const SampleRow> rows) {
  const int64_t n = logits.dim(0), n_vocab = logits.dim(1);
  assert(n == static_cast<int64_t>(ids.size()) && n == static_cast<int64_t>(rows.size()));
  reserve_thread_scratch(choose_token_scratch(n_vocab));
  pool_.run(n, [&](int64_t r, int thread) {
    const std::span<float> own(logits.as<float>() + r * n_vocab, static_cast<size_t>(n_vocab));
    ids[static_cast<size_t>(r)] = choose_token(own, rows[static_cast<size_t>(r)], thread_scratch(thread));
  });
}

}  // namespace seer
