#include "tests/kernels/paged_cases.h"

#include <cmath>
#include <utility>

namespace seer::testing {

void set_shape(PagedCase* c, const PagedShape& shape) {
  c->n_heads = shape.n_heads;
  c->n_kv_heads = shape.n_kv_heads;
  c->d_head = shape.d_head;
  c->page = shape.page;
}

void lay_out(PagedCase* c, Random& random, const std::vector<Run>& prefills,
             const std::vector<int64_t>& decode_starts) {
  constexpr int64_t kSparePages = 3;
  const auto add = [&](std::vector<CaseSegment>* to, int64_t start, int64_t n_tokens) {
    to->push_back({c->n_tokens, n_tokens, start, {}});
    c->n_tokens += n_tokens;
    const int64_t n = (start + n_tokens + c->page - 1) / c->page;
    to->back().page_table.resize(static_cast<size_t>(n));
    c->n_pages += n;
  };
  for (const Run& run : prefills) add(&c->prefills, run.start, run.n_tokens);
  for (const int64_t start : decode_starts) add(&c->decodes, start, 1);
  c->n_pages += kSparePages;
  const std::vector<int32_t> ids = random.permutation(c->n_pages);
  size_t next = 0;
  for (std::vector<CaseSegment>* segments : {&c->prefills, &c->decodes})
    for (CaseSegment& s : *segments)
      for (int32_t& id : s.page_table) id = ids[next++];

  c->name = std::to_string(c->n_heads) + "/" + std::to_string(c->n_kv_heads) + " heads of " +
            std::to_string(c->d_head) + ", group of " + std::to_string(c->group()) + ", pages of " +
            std::to_string(c->page) + ", prefill";
  for (const Run& run : prefills)
    c->name += " " + std::to_string(run.n_tokens) + "@" + std::to_string(run.start);
  c->name += ", decode";
  for (const int64_t start : decode_starts) c->name += " @" + std::to_string(start);
}

HostTensor make_pool(const PagedCase& c, Random& random, DType type, float magnitude,
                     const std::function<int64_t(const CaseSegment&)>& n_filled) {
  constexpr float kStale = 50.0F;
  HostTensor pool = HostTensor::filled(type, {c.n_pages, c.n_kv_heads, c.page, c.d_head}, kNan);
  for (const std::vector<CaseSegment>* segments : {&c.prefills, &c.decodes})
    for (const CaseSegment& s : *segments)
      for (size_t block = 0; block < s.page_table.size(); ++block)
        for (int64_t i = 0; i < c.n_kv_heads * c.page; ++i) {
          const int64_t position = static_cast<int64_t>(block) * c.page + i % c.page;
          const float m = position < n_filled(s) ? magnitude : kStale;
          float* slot = pool.at(s.page_table[block]) + i * c.d_head;
          for (int64_t d = 0; d < c.d_head; ++d) slot[d] = random.uniform(-m, m);
        }
  return {type, pool.shape, std::move(pool.values)};
}

void fill_rope(HostTensor* cos, HostTensor* sin, int64_t row, int64_t n_rows, int64_t start, int64_t stride) {
  const int64_t half = cos->dim(1);
  for (int64_t r = 0; r < n_rows; ++r)
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(start + r * stride) *
                           std::pow(1e4, -static_cast<double>(i) / static_cast<double>(half));
      cos->at(row + r)[i] = static_cast<float>(std::cos(angle));
      sin->at(row + r)[i] = static_cast<float>(std::sin(angle));
    }
}

CaseNorms make_norms(Random& random, int64_t d_head, DType stored, double eps) {
  const auto weight = [&] {
    HostTensor w = HostTensor::filled(DType::kBF16, {d_head}, 0.0F);
    for (float& x : w.values) x = random.uniform(0.5F, 1.5F) * (random.below(2) == 0 ? 1.0F : -1.0F);
    w = {DType::kBF16, w.shape, std::move(w.values)};  // rounded
    return HostTensor(stored, w.shape, std::move(w.values));
  };
  CaseNorms norms;
  norms.q = weight();
  norms.k = weight();
  norms.eps = eps;
  return norms;
}

}  // namespace seer::testing
