// Returns the memory of a large request to the system.
#pragma once

#include <malloc.h>

#include <cstddef>

namespace seer::serve {

// Create it before the first copy of a request's body, and destroy it after the last. The C library keeps
// freed memory for later requests: after a request of 30 MB the process would stay 200 MB larger for good.
class LargeRequest {
 public:
  explicit LargeRequest(size_t body_bytes) : is_large_(body_bytes >= kLarge) {}
  ~LargeRequest() {
    if (is_large_) ::malloc_trim(0);  // takes some milliseconds
  }
  LargeRequest(const LargeRequest&) = delete;
  LargeRequest& operator=(const LargeRequest&) = delete;

 private:
  static constexpr size_t kLarge = size_t{1} << 20;
  const bool is_large_;
};

}  // namespace seer::serve
