// Which prefill kernel runs where.
//
//   GPU                 d_head        page        kernel
//   Hopper (sm_90)      64, 128       64          sparse_prefill: wgmma, bulk tensor copies
//   Hopper (sm_90)      other         any         mma_prefill
//   Ampere and newer    any           any         mma_prefill
//
// sm_90a code runs on compute capability 9.0 alone, so newer GPUs take the portable kernel too.
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace seer::cuda {

enum class PrefillKernel { kMma, kWgmma };

inline PrefillKernel choose_prefill(const Device& device, int64_t d_head, int64_t page_tokens) {
  const bool hopper = device.compute_major == 9 && device.compute_minor == 0;
  return hopper && (d_head == 64 || d_head == 128) && page_tokens == 64 ? PrefillKernel::kWgmma
                                                                        : PrefillKernel::kMma;
}

}  // namespace seer::cuda
