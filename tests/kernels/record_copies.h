// Checks a backend's RecordCopier.
#pragma once

#include "kernels/backend.h"

namespace seer::testing {

// Checks that records of several tensors are copied in both directions byte for byte, whole and by parts,
// whatever number divides their sizes, and that no other byte changes.
void check_record_copies(Backend& backend);

}  // namespace seer::testing
