// Shortens a name from a file for a message, because such a name may be as long as the file.
#pragma once

#include <string>
#include <string_view>

namespace seer {

inline std::string shown_name(std::string_view name) {
  constexpr size_t kShown = 120;
  if (name.size() <= kShown) return std::string(name);
  return std::string(name.substr(0, kShown)) + "... (" + std::to_string(name.size()) + " bytes)";
}

}  // namespace seer
