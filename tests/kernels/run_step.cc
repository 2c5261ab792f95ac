#include "tests/kernels/run_step.h"

#include <algorithm>

namespace seer::testing {
namespace {

// Fills the parts of block lists that no kernel may read, with an index that no page table has.
constexpr int32_t kNoBlock = INT32_MAX;

}  // namespace

std::vector<Segment> views(const std::vector<CaseSegment>& segments) {
  std::vector<Segment> out;
  out.reserve(segments.size());
  for (const CaseSegment& s : segments) out.push_back(s.view());
  return out;
}

std::vector<int64_t> part_sizes(const std::vector<Segment>& parts) {
  std::vector<int64_t> sizes;
  for (const Segment& s : parts) sizes.push_back(s.start + 1);
  return sizes;
}

void begin_step(Backend& backend, const StepInput& in, int64_t page) {
  StepLimits limits;
  limits.n_tokens = static_cast<int64_t>(std::max(in.ids.size(), in.logit_rows.size()));
  limits.n_sequences =
      static_cast<int64_t>(in.step.prefills.size() + in.step.decodes.size() + in.decode_parts.size());
  limits.page_tokens = page;
  for (const std::span<const Segment> segments : {in.step.prefills, in.step.decodes})
    for (const Segment& s : segments) limits.n_blocks = std::max(limits.n_blocks, s.end() / page + 1);
  backend.prepare(limits);
  backend.begin_step(in, page);
}

void begin_step(Backend& backend, std::span<const int32_t> ids, std::span<const int64_t> rows,
                const std::vector<Segment>& prefills, const std::vector<Segment>& decodes, int64_t page,
                const std::vector<Segment>& parts) {
  const std::vector<int64_t> sizes = part_sizes(parts);
  begin_step(backend, {ids, {static_cast<int64_t>(ids.size()), prefills, decodes}, rows, parts, {}, sizes},
             page);
}

void begin_step(Backend& backend, const PagedCase& c, const std::vector<Segment>& prefills,
                const std::vector<Segment>& decodes) {
  begin_step(backend, {}, {}, prefills, decodes, c.page);
}

BlockMask upload_mask(Device& device, const CaseMask& mask, int64_t n_heads, int64_t n_rows) {
  std::vector<int32_t> counts, blocks;
  for (const std::vector<int32_t>& row : mask.kept) {
    counts.push_back(static_cast<int32_t>(row.size()));
    blocks.insert(blocks.end(), row.begin(), row.end());
    blocks.insert(blocks.end(), static_cast<size_t>(mask.row_capacity) - row.size(), kNoBlock);
  }
  return {device.upload(counts, {n_heads, n_rows}),
          device.upload(blocks, {n_heads, n_rows, mask.row_capacity})};
}

HeadNorms upload_norms(Device& device, const CaseNorms& norms) {
  if (norms.q.empty()) return {};
  return {device.upload(norms.q), device.upload(norms.k), norms.eps};
}

}  // namespace seer::testing
