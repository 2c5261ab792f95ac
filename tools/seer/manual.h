// Texts about the whole program: the overview of `seer --help`, and the manual page.
#pragma once

#include <string>

namespace seer::cli {

// The parts that a build may lack, because what they need was not found when it was configured.
struct Parts {
  bool cuda, nccl, mpi;
};
Parts built_parts();  // of this build
// Returns lines for the overview that name each missing part, and the package that brings it; empty if none
// is missing.
std::string left_out(const Parts& parts);

std::string overview();
std::string manual_page();  // seer.1, in man(7) macros

}  // namespace seer::cli
