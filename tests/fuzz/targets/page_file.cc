// The head of a page's file on a disk. An input becomes the beginning of a head and gets a right checksum,
// because a stranger can compute that too. An input of a whole block is read as it is.
#include "engine/src/tiers/page_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/fuzz/support.h"

namespace seer::fuzz::page_file_target {
namespace {

void run(const std::string& bytes) {
  std::vector<std::byte> block(static_cast<size_t>(kPageFileBlock));
  const size_t n = std::min(bytes.size(), block.size());
  if (n > 0) std::memcpy(block.data(), bytes.data(), n);
  if (n < block.size()) {
    const size_t end = block.size() - sizeof(Checksum);
    const Checksum sum = checksum_of(std::span(block).first(end));
    std::memcpy(block.data() + end, &sum, sizeof sum);
  }
  std::string damage;
  const std::optional<PageFileHead> head = parse_page_head(block, &damage);
  if (!head) {
    expect(!damage.empty() && damage.size() < 200, "a refusal without a reason, or a long one");
    return;
  }
  expect(head->record_bytes > 0 && page_file_bytes(head->record_bytes) > head->record_bytes,
         "a page without a size");
  expect(std::isfinite(head->cost_s) && head->cost_s >= 0, "a cost that is no time");
  std::vector<std::byte> again(block.size());
  pack_page_head(*head, again);
  expect(parse_page_head(again, &damage) == head, "another head when it is written again");
}

const Registration kTarget({"page_file", run});

}  // namespace
}  // namespace seer::fuzz::page_file_target
