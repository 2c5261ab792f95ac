// The kernel: one persistent thread block on each multiprocessor, with three warpgroups of consumers and one
// of producers. See DESIGN.md in this folder.
#pragma once

#include "kernels/cuda/attention/prefill_sm90/consumer.cuh"
#include "kernels/cuda/attention/prefill_sm90/producer.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {

// What every thread does. `maps` must be a __grid_constant__ parameter of the kernel.
template <int kDHead, bool kBundled, class Maxima>
__device__ __forceinline__ void attend_prefill_sm90(const PrefillSm90Params& p, const Items& items,
                                                    const TileMaps& maps, const Maxima& maxima) {
  using Shape = WgmmaShape<kDHead>;
  extern __shared__ unsigned char dynamic_shared[];
  __shared__ WgmmaBarriers<kDHead> barriers;
  const uint32_t shared_k = (ptx::shared_address(dynamic_shared) + 1023U) & ~1023U;
  if (threadIdx.x == 0) {
    const auto init = [](uint64_t& barrier, uint32_t arrivals) {
      ptx::mbarrier_init(ptx::shared_address(&barrier), arrivals);
    };
    for (int s = 0; s < Shape::kSlots; ++s) {
      init(barriers.full_k[s], 1);
      init(barriers.full_v[s], 1);
      constexpr int users = kBundled ? kConsumers : 1;
      init(barriers.empty_k[s], users * kConsumerWarps);
      init(barriers.empty_v[s], users * kConsumerWarps);
    }
    for (int c = 0; c < kConsumers; ++c) {
      init(barriers.full_q[c], 1);
      init(barriers.empty_q[c], kConsumerWarps);
      for (int place = 0; place < Shape::kQueue; ++place) init(barriers.full_entry[c][place], 1);
    }
    ptx::fence_barrier_init();
    ptx::tma_prefetch_map(&maps.k);
    ptx::tma_prefetch_map(&maps.v);
    ptx::tma_prefetch_map(&maps.q);
  }
  __syncthreads();
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == kConsumers) {
    ptx::give_registers<32>();
    const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
    const Feed<kDHead> feed(maps, barriers, shared_k);
    if constexpr (kBundled) {
      if (warp == 0) produce_bundles<kDHead>(p, items, feed);
    } else if (warp < kConsumers) {
      produce_tiles<kDHead>(p, items, feed, warp);
    }
  } else {
    ptx::take_registers<160>();
    Consumer<kDHead, kBundled, Maxima>(p, barriers, shared_k, warpgroup, maxima).run();
  }
}

template <int kDHead, bool kBundled>
__global__ void __launch_bounds__(WgmmaShape<kDHead>::kThreads, 1)
    prefill_sm90_kernel(const PrefillSm90Params p, const Items items, const __grid_constant__ TileMaps maps) {
  attend_prefill_sm90<kDHead, kBundled>(p, items, maps, NoMaxima{});
}

}  // namespace seer::cuda
