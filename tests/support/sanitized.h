// Whether a sanitizer is active, which makes loops over floats some ten times slower. A test whose work grows
// with the prompt then takes a shorter prompt, with as many chunks and ranks; builds without a sanitizer take
// the long one.
#pragma once

// GCC defines macros for this; clang (before 22) has features.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SEER_SANITIZED 1
#endif
#endif
#ifndef SEER_SANITIZED
#define SEER_SANITIZED 0
#endif

namespace seer::testing {

inline constexpr bool kSanitized = SEER_SANITIZED;

}  // namespace seer::testing
