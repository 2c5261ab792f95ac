// The inner loops of the references, which no sanitizer watches: they read rows that the caller has bounded,
// and with its checks at every element they took half of the kernels' tests.
#pragma once

#include <cstdint>

namespace seer::testing::reference {

#define SEER_NOT_SANITIZED __attribute__((no_sanitize("address", "undefined")))

// The product of a[0, n) and b[0, n), summed from `sum` on in order.
SEER_NOT_SANITIZED inline double dot(const float* a, const float* b, int64_t n, double sum = 0.0) {
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// out[0, n) += weight * x[0, n)
SEER_NOT_SANITIZED inline void add_scaled(double* out, double weight, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] += weight * x[i];
}

#undef SEER_NOT_SANITIZED

}  // namespace seer::testing::reference
