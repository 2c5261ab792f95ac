// Attention in parts: which part each block of a decode belongs to.
#include <utility>

#include "tests/kernels/cases.h"

namespace seer::testing {
namespace {

template <class Owner>
AttentionPartsCase divide(const AttentionCase& whole, int64_t n_parts, const std::string& how,
                          Owner&& owner) {
  AttentionPartsCase c;
  static_cast<AttentionCase&>(c) = whole;
  c.n_parts = n_parts;
  c.name += ", in " + std::to_string(n_parts) + " parts, " + how;
  for (const CaseSegment& s : c.decodes) {
    std::vector<int64_t> owners;
    for (size_t b = 0; b < s.page_table.size(); ++b) owners.push_back(owner(static_cast<int64_t>(b)));
    c.owners.push_back(std::move(owners));
  }
  return c;
}

}  // namespace

CaseSegment AttentionPartsCase::part(size_t decode, int64_t which) const {
  const CaseSegment& whole = decodes.at(decode);
  CaseSegment out{whole.row, 1, -1, {}};
  for (size_t b = 0; b < whole.page_table.size(); ++b) {
    if (owners.at(decode).at(b) != which) continue;
    out.page_table.push_back(whole.page_table[b]);
    out.start += std::min(page, whole.end() - static_cast<int64_t>(b) * page);
  }
  return out;
}

AttentionPartsCase in_parts(const AttentionCase& c, int64_t n_parts, int64_t run) {
  return divide(c, n_parts, "runs of " + std::to_string(run),
                [&](int64_t block) { return block / run % n_parts; });
}

std::vector<AttentionPartsCase> attention_parts_cases(CaseTypes types) {
  Random random(19);
  std::vector<AttentionPartsCase> cases;
  for (const AttentionCase& c : decode_cases(types))
    for (int64_t n_parts = 1; n_parts <= 4; ++n_parts) {
      cases.push_back(in_parts(c, n_parts, 1));  // parts may consist of pages with one key
      if (n_parts == 1) continue;
      cases.push_back(divide(c, n_parts, "all in the last", [&](int64_t) { return n_parts - 1; }));
      cases.push_back(divide(c, n_parts, "by chance", [&](int64_t) { return random.below(n_parts); }));
    }
  return cases;
}

}  // namespace seer::testing
