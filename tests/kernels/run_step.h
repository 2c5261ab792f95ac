// Opens steps of test cases on a backend, and brings what several operations share to it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tests/kernels/cases.h"
#include "tests/kernels/device.h"

namespace seer::testing {

std::vector<Segment> views(const std::vector<CaseSegment>& segments);

// Returns the numbers of the parts' keys: StepInput::largest_parts, as if no other rank had more.
std::vector<int64_t> part_sizes(const std::vector<Segment>& parts);

// Open a step of these segments. The backend keeps the spans, so the caller must keep their data alive.
void begin_step(Backend& backend, const StepInput& in, int64_t page);
void begin_step(Backend& backend, std::span<const int32_t> ids, std::span<const int64_t> rows,
                const std::vector<Segment>& prefills, const std::vector<Segment>& decodes, int64_t page,
                const std::vector<Segment>& parts = {});
void begin_step(Backend& backend, const PagedCase& c, const std::vector<Segment>& prefills,
                const std::vector<Segment>& decodes);

// Uploads the lists of kept blocks. The parts of lists that no kernel may read get an index that no page
// table has.
BlockMask upload_mask(Device& device, const CaseMask& mask, int64_t n_heads, int64_t n_rows);
HeadNorms upload_norms(Device& device, const CaseNorms& norms);

}  // namespace seer::testing
