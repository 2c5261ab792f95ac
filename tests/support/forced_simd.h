// Sets SEER_SIMD for a test.
#pragma once

#include <cstdlib>
#include <string>

namespace seer::testing {

// Restores the variable at the end of its scope.
class ForcedSimd {
 public:
  ForcedSimd() {
    if (const char* value = std::getenv(kName)) before_ = value, was_set_ = true;
  }
  ~ForcedSimd() { was_set_ ? setenv(kName, before_.c_str(), 1) : unsetenv(kName); }
  ForcedSimd(const ForcedSimd&) = delete;
  ForcedSimd& operator=(const ForcedSimd&) = delete;
  void set(const char* value) { value != nullptr ? setenv(kName, value, 1) : unsetenv(kName); }

 private:
  static constexpr const char* kName = "SEER_SIMD";
  std::string before_;
  bool was_set_ = false;
};

}  // namespace seer::testing
