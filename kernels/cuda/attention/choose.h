// Chooses the prefill kernel for a GPU and a shape.
//
//   GPU                 d_head        page        kernel
//   Hopper (sm_90)      64, 128       64          prefill_sm90: wgmma, bulk tensor copies
//   Hopper (sm_90)      other         any         prefill_sm80: mma.sync
//   Ampere and newer    any           any         prefill_sm80
#pragma once

#include <cstdint>

#include "kernels/cuda/device.h"

namespace seer::cuda {

enum class PrefillKernel { kMma, kWgmma };

inline PrefillKernel choose_prefill(const Device& device, int64_t d_head, int64_t page_tokens) {
  return device.is_hopper() && (d_head == 64 || d_head == 128) && page_tokens == 64 ? PrefillKernel::kWgmma
                                                                                    : PrefillKernel::kMma;
}

}  // namespace seer::cuda
