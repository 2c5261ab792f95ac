// Checks a backend's RecordCopier.
#pragma once

#include "kernels/backend.h"

namespace seer::testing {

// Records of several tensors come and go whole, whatever their sizes divide by, and no other byte changes.
void check_record_copies(Backend& backend);

}  // namespace seer::testing
