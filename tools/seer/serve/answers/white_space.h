#pragma once

#include <cctype>

namespace seer::serve {

inline bool is_space(char byte) { return std::isspace(static_cast<unsigned char>(byte)) != 0; }

}  // namespace seer::serve
