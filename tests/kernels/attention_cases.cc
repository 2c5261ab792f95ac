// The cases of attention over pages: masks, prefills and decodes.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "tests/kernels/paged_cases.h"

namespace seer::testing {
namespace {

AttentionCase make_attention_case(Random& random, CaseTypes types, const PagedShape& shape,
                                  const std::vector<Run>& prefills, const std::vector<int64_t>& decodes) {
  AttentionCase c;
  set_shape(&c, shape);
  lay_out(&c, random, prefills, decodes);
  // Scores have a standard deviation of 2: some keys matter, but none alone decides.
  c.q = random.tensor(types.activation, {c.n_tokens, c.n_heads, c.d_head}, 2.5F);
  const auto all = [](const CaseSegment& s) { return s.end(); };
  c.k = make_pool(c, random, types.kv, 2.5F, all);
  c.v = make_pool(c, random, types.kv, 1.0F, all);
  c.first_tokens.assign(prefills.size(), 0);
  return c;
}

// A quarter of the rows keeps a single block, a quarter leaves the diagonal out, and the rest is random.
CaseMask make_mask(Random& random, const PagedCase& c, const CaseSegment& segment) {
  const int64_t first = segment.start / c.page, n_rows = c.n_rows(segment);
  CaseMask mask;
  mask.row_capacity = first + n_rows + 2;
  for (int64_t i = 0; i < c.n_heads * n_rows; ++i) {
    const auto diagonal = static_cast<int32_t>(first + i % n_rows);
    std::vector<int32_t> row;
    const int64_t kind = random.below(4);
    if (kind > 0)
      for (int32_t j = 0; j < diagonal; ++j)
        if (random.below(3) == 0) row.push_back(j);
    if (kind > 1) row.push_back(diagonal);
    if (row.empty()) row.push_back(static_cast<int32_t>(random.below(diagonal + 1)));
    mask.kept.push_back(std::move(row));
  }
  return mask;
}

// Sets every key and value tile that no row keeps to NaN. Returns how many there are.
int64_t poison_dropped(AttentionCase* c, size_t i) {
  const CaseSegment& segment = c->prefills[i];
  const int64_t n_rows = c->n_rows(segment), tile = c->page * c->d_head;
  int64_t n_poisoned = 0;
  for (int64_t kv_head = 0; kv_head < c->n_kv_heads; ++kv_head) {
    std::set<int32_t> kept;
    for (int64_t row = kv_head * c->group() * n_rows; row < (kv_head + 1) * c->group() * n_rows; ++row) {
      const std::vector<int32_t>& list = c->masks[i].kept[static_cast<size_t>(row)];
      kept.insert(list.begin(), list.end());
    }
    for (size_t block = 0; block < segment.page_table.size(); ++block) {
      if (kept.count(static_cast<int32_t>(block)) != 0) continue;
      for (HostTensor* pool : {&c->k, &c->v}) {
        float* at = pool->at(segment.page_table[block]) + kv_head * tile;
        std::fill(at, at + tile, kNan);
      }
      ++n_poisoned;
    }
  }
  return n_poisoned;
}

// Returns a list that a rule might keep of n blocks: all, only the first and the last, or those and others.
std::vector<int32_t> keep_some(Random& random, int64_t n) {
  const int64_t kind = random.below(4);
  std::vector<int32_t> kept;
  for (int64_t b = 0; b < n; ++b)
    if (b == 0 || b == n - 1 || kind == 0 || (kind > 1 && random.below(4) == 0))
      kept.push_back(static_cast<int32_t>(b));
  return kept;
}

// Sets the tiles that decodes do not keep to NaN.
void poison_dropped_by_decodes(AttentionCase* c) {
  const int64_t tile = c->page * c->d_head;
  for (int64_t h = 0; h < c->n_kv_heads; ++h)
    for (size_t i = 0; i < c->decodes.size(); ++i) {
      const std::vector<int32_t>& list = c->decode_mask.kept[static_cast<size_t>(h) * c->decodes.size() + i];
      const std::vector<int32_t>& table = c->decodes[i].page_table;
      for (size_t block = 0; block < table.size(); ++block) {
        if (std::binary_search(list.begin(), list.end(), static_cast<int32_t>(block))) continue;
        for (HostTensor* pool : {&c->k, &c->v}) std::fill_n(pool->at(table[block]) + h * tile, tile, kNan);
      }
    }
}

// Steps of two prefills, from the start and from later pages, and decodes of unequal length.
std::vector<AttentionCase> prefill_cases(Random& random, CaseTypes types) {
  std::vector<AttentionCase> cases;
  for (const PagedShape& shape : kPagedShapes) {
    const int64_t page = shape.page;
    cases.push_back(
        make_attention_case(random, types, shape, {{0, 127}, {2 * page, page + 1}}, {5, 3 * page - 1}));
    cases.push_back(make_attention_case(random, types, shape, {{0, 1}, {page, 63}}, {}));
    cases.push_back(make_attention_case(random, types, shape, {{0, 65}, {3 * page, 64}}, {page}));
    // The last layer starts at the page of the first wanted row.
    AttentionCase later = make_attention_case(random, types, shape, {{0, 2 * page + 7}, {page, page}}, {1});
    later.first_tokens = {2 * page, 0};
    cases.push_back(std::move(later));
  }
  for (const PagedShape& shape : kOddGroups) {
    cases.push_back(make_attention_case(random, types, shape, {{0, 65}, {64, 63}}, {5}));
    cases.push_back(make_attention_case(random, types, shape, {{192, 129}}, {}));
  }
  return cases;
}

}  // namespace

std::vector<AttentionCase> dense_prefill_cases(CaseTypes types) {
  Random random(14);
  std::vector<AttentionCase> cases = prefill_cases(random, types);
  // There are so many heads that a GPU takes neighbouring rows together, at the beginning of the prompt and
  // after other blocks.
  cases.push_back(make_attention_case(random, types, {136, 8, 64, 64}, {{0, 130}}, {}));
  cases.push_back(make_attention_case(random, types, {136, 8, 128, 64}, {{64, 65}}, {}));
  cases.push_back(make_attention_case(random, types, {140, 20, 64, 64}, {{0, 130}}, {}));
  cases.push_back(make_attention_case(random, types, {135, 27, 128, 64}, {{64, 65}}, {}));
  return cases;
}

std::vector<AttentionCase> masked_prefill_cases(CaseTypes types) {
  Random random(15);
  std::vector<AttentionCase> cases = prefill_cases(random, types);
  for (AttentionCase& c : cases) {
    for (const CaseSegment& segment : c.prefills) c.masks.push_back(make_mask(random, c, segment));
    int64_t n_poisoned = 0;
    for (size_t i = 0; i < c.prefills.size(); ++i) n_poisoned += poison_dropped(&c, i);
    c.name += ", " + std::to_string(n_poisoned) + " tiles dropped";
  }
  return cases;
}

std::vector<AttentionCase> growing_scores_cases(CaseTypes types) {
  Random random(18);
  std::vector<AttentionCase> cases;
  for (const PagedShape& shape :
       {PagedShape{8, 2, 128, 64}, PagedShape{4, 1, 64, 64}, PagedShape{2, 2, 96, 32}})
    for (const bool grows : {true, false}) {
      AttentionCase c = make_attention_case(random, types, shape, {{0, 513}}, {});
      for (float& x : c.q.values) x = std::abs(x);
      const CaseSegment& segment = c.prefills[0];
      const auto n_blocks = static_cast<float>(segment.page_table.size());
      for (size_t b = 0; b < segment.page_table.size(); ++b) {
        const float step = (grows ? static_cast<float>(b) : n_blocks - static_cast<float>(b)) / n_blocks;
        float* page = c.k.at(segment.page_table[b]);
        for (int64_t i = 0; i < c.n_kv_heads * c.page * c.d_head; ++i)
          page[i] = std::abs(page[i]) * 64.0F * step;
      }
      // These are rounded again, as for a device.
      c.q = {types.activation, c.q.shape, std::move(c.q.values)};
      c.k = {types.kv, c.k.shape, std::move(c.k.values)};
      c.name += grows ? ", scores grow" : ", scores shrink";
      cases.push_back(std::move(c));
    }
  return cases;
}

std::vector<AttentionCase> decode_cases(CaseTypes types) {
  Random random(16);
  std::vector<AttentionCase> cases;
  // The CPU splits a sequence after 1024 keys.
  for (const PagedShape& shape : kPagedShapes) {
    cases.push_back(
        make_attention_case(random, types, shape, {{0, 2}}, {0, 62, 63, 64, 126, 127, 1023, 1024, 2100}));
    cases.push_back(make_attention_case(random, types, shape, {}, {700}));
  }
  for (const PagedShape& shape : kOddGroups)
    cases.push_back(make_attention_case(random, types, shape, {{0, 2}}, {0, 63, 64, 1100}));
  return cases;
}

std::vector<AttentionCase> masked_decode_cases(CaseTypes types) {
  Random random(24);
  std::vector<AttentionCase> cases;
  // Lists of one block, of all blocks, and of some. On the CPU a long list is split into runs of 1024 keys.
  const auto add = [&](const PagedShape& shape, const std::vector<int64_t>& decodes) {
    AttentionCase c = make_attention_case(random, types, shape, {}, decodes);
    for (int64_t h = 0; h < c.n_kv_heads; ++h)
      for (size_t i = 0; i < c.decodes.size(); ++i)
        c.decode_mask.kept.push_back(keep_some(random, static_cast<int64_t>(c.decodes[i].page_table.size())));
    for (const CaseSegment& s : c.decodes)
      c.decode_mask.row_capacity =
          std::max(c.decode_mask.row_capacity, static_cast<int64_t>(s.page_table.size()) + 1);
    poison_dropped_by_decodes(&c);
    c.name += ", masked";
    cases.push_back(std::move(c));
  };
  for (const PagedShape& shape :
       {PagedShape{8, 2, 128, 64}, PagedShape{4, 4, 96, 64}, PagedShape{8, 1, 128, 64},
        PagedShape{4, 1, 64, 16}, PagedShape{2, 2, 8, 32}, PagedShape{2, 1, 256, 64}}) {
    add(shape, {0, 62, 63, 64, 126, 127, 1023, 1024, 2100});
    add(shape, {3000});
  }
  for (const PagedShape& shape : kOddGroups) add(shape, {0, 63, 64, 1100});
  add({8, 2, 128, 16}, {20000, 5, 4097});
  add({8, 8, 128, 64}, {9001});
  add({4, 4, 64, 64}, {5000, 2049, 3});
  return cases;
}

std::vector<AttentionCase> long_attention_cases(CaseTypes types) {
  Random random(17);
  std::vector<AttentionCase> cases;
  for (const PagedShape& shape : {PagedShape{8, 8, 64, 64}, PagedShape{8, 2, 128, 64},
                                  PagedShape{8, 1, 128, 128}, PagedShape{14, 2, 128, 64}}) {
    cases.push_back(make_attention_case(random, types, shape, {{0, 4097}}, {}));
    cases.push_back(make_attention_case(random, types, shape, {{2048, 2049}}, {}));
    cases.push_back(make_attention_case(random, types, shape, {}, {4096, 1, 8000, 63, 64, 2047}));
    // One long sequence, and two: a GPU then has larger clusters of blocks for each head.
    cases.push_back(make_attention_case(random, types, shape, {}, {12000}));
    cases.push_back(make_attention_case(random, types, shape, {}, {2048, 7001}));
    AttentionCase masked = make_attention_case(random, types, shape, {{0, 4097}}, {});
    masked.masks.push_back(make_mask(random, masked, masked.prefills[0]));
    poison_dropped(&masked, 0);
    cases.push_back(std::move(masked));
  }
  return cases;
}

}  // namespace seer::testing
