// Checks the operations that only ranks need, on any backend. Inputs are small integers, which every type
// holds exactly, so that results are exact too.
#pragma once

#include "kernels/backend.h"

namespace seer::testing {

void check_partial_embed(Backend& backend);  // ids outside the part give zeros
void check_add(Backend& backend);            // in the activations' type and in float32
void check_copy_columns(Backend& backend);
void check_copy_rows(Backend& backend);           // pages, of floats and of activations; also none at all
void check_rows_to_host(Backend& backend);        // pages to the host and back, with gaps between them
void check_mark_blocks(Backend& backend);         // of several masks, and of none
void check_merge_without_keys(Backend& backend);  // some parts without keys, and all
void check_random_slices(Backend& backend);       // rows, and columns of rows

}  // namespace seer::testing
