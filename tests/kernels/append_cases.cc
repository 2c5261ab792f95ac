// The cases of append_kv.
#include <utility>

#include "tests/kernels/paged_cases.h"

namespace seer::testing {
namespace {

AppendKvCase make_append_case(Random& random, CaseTypes types, const PagedShape& shape) {
  AppendKvCase c;
  set_shape(&c, shape);
  const int64_t page = shape.page;
  lay_out(&c, random, {{0, 2 * page + 1}, {2 * page, 65}}, {page - 1, page, 1, 3 * page + 5});
  c.qkv = random.tensor(types.activation, {c.n_tokens, (c.n_heads + 2 * c.n_kv_heads) * c.d_head}, 2.0F);
  const auto earlier = [](const CaseSegment& s) { return s.start; };
  c.k = make_pool(c, random, types.kv, 1.0F, earlier);
  c.v = make_pool(c, random, types.kv, 1.0F, earlier);
  c.cos = c.sin = HostTensor::filled(DType::kF32, {c.n_tokens, c.d_head / 2}, kNan);
  for (const std::vector<CaseSegment>* segments : {&c.prefills, &c.decodes})
    for (const CaseSegment& s : *segments) fill_rope(&c.cos, &c.sin, s.row, s.n_tokens, s.start, 1);
  return c;
}

// Of every three tokens one stays, one becomes small, and one so small that the mean of its squares is far
// below 1e-6.
void shrink_tokens(HostTensor* qkv) {
  constexpr float kFactors[] = {1.0F, 0x1p-6F, 0x1p-14F};
  for (int64_t t = 0; t < qkv->dim(0); ++t)
    for (float* x = qkv->at(t); x < qkv->at(t + 1); ++x) *x *= kFactors[t % 3];
}

}  // namespace

std::vector<AppendKvCase> append_kv_cases(CaseTypes types) {
  Random random(10);
  std::vector<AppendKvCase> cases;
  for (const PagedShape& shape : kPagedShapes) cases.push_back(make_append_case(random, types, shape));
  for (const PagedShape& shape : kOddGroups) cases.push_back(make_append_case(random, types, shape));
  return cases;
}

std::vector<AppendKvCase> elsewhere_append_kv_cases(CaseTypes types) {
  std::vector<AppendKvCase> cases = append_kv_cases(types);
  for (AppendKvCase& c : norm_append_kv_cases(types)) cases.push_back(std::move(c));
  for (AppendKvCase& c : cases) {
    for (const size_t i : {size_t{0}, size_t{3}}) c.decodes[i].page_table.back() = -1;
    // Earlier pages may be on another rank too; nothing is written there.
    c.decodes[1].page_table.front() = -1;
    c.name += ", the first and the last decode's page elsewhere";
  }
  return cases;
}

std::vector<AppendKvCase> norm_append_kv_cases(CaseTypes types) {
  Random random(20);
  const GatePools none{}, avg{false, false, true}, extremes{true, true, false}, all{true, true, true};
  constexpr DType kStored[] = {DType::kBF16, DType::kF32, DType::kF16};
  std::vector<AppendKvCase> cases;
  std::vector<PagedShape> shapes(std::begin(kPagedShapes), std::end(kPagedShapes));
  shapes.push_back({7, 1, 64, 64});  // an odd number of heads altogether
  for (const PagedShape& shape : shapes)
    for (const auto& [q_pools, k_pools] : {std::pair{none, none}, {avg, all}, {extremes, avg}}) {
      AppendKvCase c = make_append_case(random, types, shape);
      c.norms = make_norms(random, c.d_head, kStored[cases.size() % 3], cases.size() % 2 == 0 ? 1e-6 : 1e-5);
      c.q_pools = q_pools;
      c.k_pools = k_pools;
      shrink_tokens(&c.qkv);
      c.name += ", norms " + c.norms.q.description() + ", " + std::to_string(q_pools.count()) + " and " +
                std::to_string(k_pools.count()) + " pools";
      cases.push_back(std::move(c));
    }
  return cases;
}

}  // namespace seer::testing
