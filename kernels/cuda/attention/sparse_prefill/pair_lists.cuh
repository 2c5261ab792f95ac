// Puts what the two tiles of each item share at the front of both lists, in ascending order, what each wants
// alone behind it, and counts the former. Online softmax does not mind the order of keys.
#pragma once

#include "kernels/cuda/attention/sparse_prefill/items.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {

inline constexpr int kPairWarps = 4;

// A warp an item; `words` 32-bit words hold a bit for every block of the prompt.
__global__ void __launch_bounds__(kPairWarps * 32) pair_lists_kernel(const WgmmaPrefillParams p, int words) {
  extern __shared__ uint32_t bits[];  // [warps][2][words]
  ptx::wait_for_previous_kernel();
  if (blockIdx.x == 0 && threadIdx.x == 0) *p.next_item = 0;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const Items items(p);
  const int i = static_cast<int>(blockIdx.x) * kPairWarps + warp;
  if (i >= items.n_items) return;
  Item item = items.at(p, i);
  uint32_t* mine[2] = {bits + warp * 2 * words, bits + (warp * 2 + 1) * words};
  for (int w = lane; w < 2 * words; w += 32) mine[0][w] = 0;
  __syncwarp();
#pragma unroll
  for (int tile = 0; tile < 2; ++tile)
    for (int k = lane; k < item.count[tile]; k += 32) {
      const int block = item.list[tile][k];
      atomicOr(&mine[tile][block / 32], 1U << (block % 32));
    }
  __syncwarp();
  int n_shared = 0;
  for (int w = lane; w < words; w += 32) n_shared += __popc(mine[0][w] & mine[1][w]);
  for (int mask = 16; mask > 0; mask /= 2) n_shared += __shfl_xor_sync(0xffffffffU, n_shared, mask);
  if (lane == 0) p.n_shared[items.shared_slot(p, item)] = n_shared;

#pragma unroll
  for (int tile = 0; tile < 2; ++tile) {
    if (item.count[tile] == 0) continue;
    auto* out = const_cast<int32_t*>(item.list[tile]);
    int at_shared = 0, at_private = n_shared;  // where the next 32 words' blocks begin
    for (int base = 0; base < words; base += 32) {
      const int w = base + lane;
      const uint32_t own = w < words ? mine[tile][w] : 0, other = w < words ? mine[1 - tile][w] : 0;
      uint32_t shared = own & other, alone = own & ~other;
      // Both counts in one scan: a row has fewer than 65536 blocks.
      const int counts = __popc(shared) | __popc(alone) << 16;
      int before = counts;
      for (int step = 1; step < 32; step *= 2) {
        const int up = __shfl_up_sync(0xffffffffU, before, step);
        if (lane >= step) before += up;
      }
      const int sum = __shfl_sync(0xffffffffU, before, 31);
      before -= counts;
      int to_shared = at_shared + (before & 0xffff), to_private = at_private + (before >> 16);
      for (; shared != 0; shared &= shared - 1)
        out[to_shared++] = w * 32 + __ffs(static_cast<int>(shared)) - 1;
      for (; alone != 0; alone &= alone - 1) out[to_private++] = w * 32 + __ffs(static_cast<int>(alone)) - 1;
      at_shared += sum & 0xffff;
      at_private += sum >> 16;
    }
  }
}

}  // namespace seer::cuda
