// Whether a sanitizer watches, which makes loops over floats some ten times slower. What only grows with a
// prompt is then shown on a shorter one, with as many chunks and ranks: the unwatched build shows it on the
// long one.
#pragma once

// GCC says it by macros, clang (before 22) by features.
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
