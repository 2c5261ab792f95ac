// Memory that a large request has used goes back to the system.
#pragma once

#include <malloc.h>

#include <cstddef>

namespace seer::serve {

// To be made before the first copy of a request's body and to outlive the last. The C library keeps what is
// freed for later requests: after one of 30 MB the process would stay 200 MB larger for good.
class LargeRequest {
 public:
  explicit LargeRequest(size_t body_bytes) : is_large_(body_bytes >= kLarge) {}
  ~LargeRequest() {
    if (is_large_) ::malloc_trim(0);  // some milliseconds
  }
  LargeRequest(const LargeRequest&) = delete;
  LargeRequest& operator=(const LargeRequest&) = delete;

 private:
  static constexpr size_t kLarge = size_t{1} << 20;
  const bool is_large_;
};

}  // namespace seer::serve
