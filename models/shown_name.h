// What a message shows of a name that a file gives: a name may be as long as its file.
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
