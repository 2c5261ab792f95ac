// The choice of a token from its logits.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/cpu_backend.h"

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

// The first of the largest; NaN is never the largest.
int32_t argmax(std::span<const float> logits) {
  size_t best = 0;
  float best_logit = kNever;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > best_logit) best = i, best_logit = logits[i];
  return static_cast<int32_t>(best);
}

// What a draw needs beside the logits, for every id of the vocabulary.
struct DrawScratch {
  double* p;     // probability relative to the likeliest token's, which has 1
  int32_t* ids;  // in any order
  static int64_t n_floats(int64_t n_vocab) { return 3 * n_vocab; }
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

  // Whatever is kept is a first part of the ranking: `last` ends it.
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
    // Tokens less likely than this add up to less than 1 - top_p: only the others need sorting.
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

void CpuBackend::sample(std::span<int32_t> ids, const Tensor& logits, std::span<const SampleRow> rows) {
  const int64_t n = logits.dim(0), n_vocab = logits.dim(1);
  assert(n == static_cast<int64_t>(ids.size()) && n == static_cast<int64_t>(rows.size()));
  reserve_thread_scratch(DrawScratch::n_floats(n_vocab));
  pool_.run(n, [&](int64_t r, int thread) {
    const std::span<float> own(logits.as<float>() + r * n_vocab, static_cast<size_t>(n_vocab));
    const SampleRow& row = rows[static_cast<size_t>(r)];
    change(own, row.changes);
    const int32_t best = argmax(own);
    int32_t& id = ids[static_cast<size_t>(r)];
    if (!std::isfinite(own[static_cast<size_t>(best)])) {
      id = -1;
    } else {
      id = row.temperature == 0.0 ? best : draw(own, best, row, DrawScratch(thread_scratch(thread), n_vocab));
    }
  });
}

}  // namespace seer
