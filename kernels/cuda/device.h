// The GPU a backend runs on.
#pragma once

#include <cstdint>
#include <string>

namespace seer::cuda {

struct Device {
  int index = 0;
  std::string name;
  int compute_major = 0, compute_minor = 0;
  int n_multiprocessors = 0;
  int max_shared_bytes = 0;  // dynamic shared memory of a block, less what kernels use statically
  int64_t total_bytes = 0;

  // sm_90a code runs on compute capability 9.0 alone: newer GPUs take the portable kernels too.
  bool is_hopper() const { return compute_major == 9 && compute_minor == 0; }

  // Checks that `index` can be used and makes it the calling thread's device. Throws Error{kDevice}: no
  // driver, a driver older than the toolkit, no such GPU, or one older than sm_80; the message says which.
  static Device open(int index);
};

}  // namespace seer::cuda
