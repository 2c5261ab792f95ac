// The GPU that a backend runs on.
#pragma once

#include <cstdint>
#include <string>

namespace seer::cuda {

struct Device {
  int index = 0;
  std::string name;
  int compute_major = 0, compute_minor = 0;
  int n_multiprocessors = 0;
  int max_shared_bytes = 0;  // dynamic shared memory of a block; static memory of kernels is subtracted
  int64_t total_bytes = 0;

  // sm_90a code runs on compute capability 9.0 only. Newer GPUs use the portable kernels, as older ones do.
  bool is_hopper() const { return compute_major == 9 && compute_minor == 0; }

  // Checks that GPU `index` can be used, and makes it the calling thread's device. Throws Error{kDevice} if
  // there is no driver, the driver is older than the toolkit, there is no such GPU, or it is older than
  // sm_80; the message says which.
  static Device open(int index);
};

}  // namespace seer::cuda
