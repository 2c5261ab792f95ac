// Memory that takes up only the pages that are touched.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace seer {

// Returns zero-filled pages that the system commits at their first use, so that a large context costs nothing
// until it is filled. Throws Error{kMemory} with `purpose` and the size if the system refuses even the
// address space.
std::shared_ptr<void> allocate_lazily(int64_t bytes, const std::string& purpose);

}  // namespace seer
