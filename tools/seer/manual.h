// Texts about the whole program: the overview of `seer --help`, and the manual page.
#pragma once

#include <string>

namespace seer::cli {

std::string overview();
std::string manual_page();  // seer.1, in man(7) macros

}  // namespace seer::cli
