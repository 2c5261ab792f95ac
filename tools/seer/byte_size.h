// Sizes in bytes on the command line: 4096, 512MiB, 1.5TiB.
#pragma once

#include <cstdint>
#include <string>

#include "tools/seer/args.h"

namespace seer::cli {

// Reads a number of bytes, at least 1: a number with a unit of K, M, G or T, or KiB, MiB, GiB or TiB, which
// mean powers of 1024, or without a unit. Throws Error{kUsage}.
int64_t parse_bytes(const std::string& text);

Setter into_bytes(int64_t& target);
// For DIR,SIZE. The folder's name may have commas itself.
Setter into_dir_and_bytes(std::string& dir, int64_t& bytes);

}  // namespace seer::cli
