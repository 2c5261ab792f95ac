// The kernel: one persistent block a multiprocessor, of two consumer warpgroups and a producer. See
// DESIGN.md.
#pragma once

#include "kernels/cuda/attention/sparse_prefill/consumer.cuh"
#include "kernels/cuda/attention/sparse_prefill/producer.cuh"

namespace seer::cuda {

template <int kDHead>
__global__ void __launch_bounds__(WgmmaShape<kDHead>::kThreads, 1)
    wgmma_prefill_kernel(const WgmmaPrefillParams p, const __grid_constant__ PageMaps maps) {
  using Shape = WgmmaShape<kDHead>;
  extern __shared__ unsigned char dynamic_shared[];
  __shared__ WgmmaBarriers<kDHead> barriers;
  const uint32_t shared_k = (ptx::shared_address(dynamic_shared) + 1023U) & ~1023U;
  const uint32_t shared_v = shared_k + Shape::kSlots * Shape::kTileBytes;
  if (threadIdx.x == 0) {
    const auto init = [](uint64_t& barrier, uint32_t arrivals) {
      ptx::mbarrier_init(ptx::shared_address(&barrier), arrivals);
    };
    for (int s = 0; s < Shape::kSlots; ++s) {
      init(barriers.full_k[s], 1);
      init(barriers.full_v[s], 1);
      init(barriers.empty_k[s], 8);
      init(barriers.empty_v[s], 8);
    }
    for (int i = 0; i < 2; ++i) {
      init(barriers.full_item[i], 1);
      init(barriers.empty_item[i], 8);
    }
    ptx::fence_barrier_init();
    ptx::tma_prefetch_map(&maps.k);
    ptx::tma_prefetch_map(&maps.v);
  }
  __syncthreads();
  const int warpgroup = static_cast<int>(threadIdx.x) / 128;
  if (warpgroup == Shape::kConsumers) {
    ptx::give_registers<40>();
    if (threadIdx.x / 32 % 4 == 0) produce<kDHead>(p, maps, barriers, shared_k, shared_v);
  } else {
    ptx::take_registers<232>();
    Consumer<kDHead>(p, barriers, shared_k, shared_v, warpgroup).run();
  }
}

}  // namespace seer::cuda
