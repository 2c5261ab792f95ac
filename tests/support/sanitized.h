// Whether a sanitizer watches, which makes loops over floats some ten times slower. What only grows with a
// prompt is then shown on a shorter one, with as many chunks and ranks: the unwatched build shows it on the
// long one.
#pragma once

namespace seer::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace seer::testing
