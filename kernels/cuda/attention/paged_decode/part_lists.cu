// Makes page tables from lists of kept pages: each table has those of the list's pages that this rank has.
#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

// Consecutive blocks of a list, which one warp takes.
struct ListShare {
  const int32_t *blocks, *table;
  int begin, end;

  // Goes through the blocks 32 at a time, one for each lane, and calls visit(page, mask of the lanes whose
  // pages are here) in every lane. The page is -1 in a lane without a block, or whose page is not here.
  template <class Visit>
  __device__ void for_pages(int lane, const Visit& visit) const {
#pragma unroll 4
    for (int j = begin + lane; j - lane < end; j += 32) {
      const int page = j < end ? __ldcg(table + __ldcg(blocks + j)) : -1;
      visit(page, __ballot_sync(0xffffffffU, page >= 0));
    }
  }
};

// A thread block makes one table. Each warp counts the pages of its share that are here, so that every warp
// knows how many come before its own, and then writes them.
__global__ void __launch_bounds__(kThreads) decode_part_lists_kernel(const DecodePartLists p) {
  __shared__ int counts[kWarps];
  ptx::let_next_kernel_start();
  const int sequence = static_cast<int>(blockIdx.x);
  const int list = static_cast<int>(blockIdx.y) * p.n_sequences + sequence;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  // A copy to the device wrote positions and tables before the step's first kernel began.
  const int last = __ldcg(p.last_positions + sequence);
  const int32_t* table = p.tables + __ldcg(p.table_offsets + sequence);
  const bool has_last = __ldcg(table + last / p.page_tokens) >= 0;
  ptx::wait_for_previous_kernel();

  const int n = __ldcg(p.counts + list);
  const int each = ((n + 31) / 32 + kWarps - 1) / kWarps * 32;  // blocks of a warp
  const ListShare share{p.blocks + list * p.list_capacity, table, warp * each, min(n, (warp + 1) * each)};
  int n_mine = 0;
  share.for_pages(lane, [&](int, unsigned here) { n_mine += __popc(here); });
  if (lane == 0) counts[warp] = n_mine;
  __syncthreads();
  int n_before = 0, n_pages = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) n_before = n_pages;
    n_pages += counts[w];
  }
  int32_t* out = p.pages + list * p.list_capacity + n_before;
  share.for_pages(lane, [&](int page, unsigned here) {
    if (page >= 0) out[__popc(here & ((1U << lane) - 1U))] = page;
    out += __popc(here);
  });
  // Every list ends with its sequence's last page, and only that one may be partly filled.
  const int n_missing = has_last ? p.page_tokens - 1 - last % p.page_tokens : 0;
  if (thread == 0) p.positions[list] = n_pages * p.page_tokens - n_missing - 1;
}

}  // namespace

cudaError_t launch_decode_part_lists(const DecodePartLists& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.n_sequences), static_cast<unsigned>(params.n_kv_heads));
  const cudaError_t error = prefer_shared_memory(decode_part_lists_kernel);
  if (error != cudaSuccess) return error;
  return launch(decode_part_lists_kernel, grid, kThreads, 0, stream, params);
}

}  // namespace seer::cuda
