// Catch2 2.13 (Debian 12) or 3.x (Ubuntu 24.04), whichever is installed.
#pragma once

#if defined(SEER_CATCH2_V2)
#include <catch2/catch.hpp>
#else
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
#endif

#if defined(SEER_CATCH2_V2)
inline auto ContainsSubstring(const std::string& text) { return Catch::Matchers::Contains(text); }
#endif
