// The choice of pages for decoded tokens. One thread block, or a cluster of them, serves one token and KV
// head: it makes the gate query, scores the keys of all full pages, and lists the kept pages. If ranks divide
// the pages, divided.cu has the kernels that do this in two parts.
#include <algorithm>

#include "kernels/cuda/decode_gate/choose.cuh"
#include "kernels/cuda/decode_gate/head_sizes.cuh"
#include "kernels/cuda/decode_gate/page_keys.cuh"
#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/decode_gate/query.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    decode_gate_select_kernel(const __grid_constant__ DecodeGateSelectParams p) {
  extern __shared__ __align__(16) float floats[];
  ptx::let_next_kernel_start();
  const int size = cluster_size(), rank = static_cast<int>(blockIdx.x) % size;
  const int head = static_cast<int>(blockIdx.y), decode = static_cast<int>(blockIdx.z);
  const int group = p.n_heads / p.n_kv_heads;
  const SelectMemory<Shape> memory(floats, group);
  const int thread = static_cast<int>(threadIdx.x);
  const QueryProduct<Shape> product(p, head, rank, size);
  // Positions, rules and tables are on the device before the step's kernels run.
  const DecodeGateRule rule = p.rules[decode];
  const int n_keys = __ldcg(p.positions + decode) + 1;
  const int n = (n_keys + p.page_tokens - 1) / p.page_tokens, n_full = n_keys / p.page_tokens;
  const int32_t* table = p.tables + __ldcg(p.table_offsets + decode);
  const int64_t list = static_cast<int64_t>(head) * p.n_decodes + decode;
  int32_t* out = p.blocks + list * p.capacity;
  const int n_old = min(n_full, (n_keys - 1) / p.page_tokens);  // full pages of earlier steps
  PageKeys<Shape, /*kDivided=*/false> keys(p, head, rank, size, n_full, n_old, table);
  ptx::wait_for_previous_kernel();

  const bool all = rule.n_best == DecodeGateRule::kAll || rule.n_best >= n;
  if (all && (p.scores == nullptr || rule.n_best == DecodeGateRule::kAll)) {
    for (int j = rank * Shape::kThreads + thread; j < n; j += size * Shape::kThreads) out[j] = j;
    if (rank == 0 && thread == 0) p.counts[list] = n;
    return;
  }
  make_query<Shape>(p, product, memory, head, decode, group, size);

  uint32_t first_row = ptx::shared_address(memory.row);
#if __CUDA_ARCH__ >= 900
  if (size > 1) first_row = ptx::map_shared(first_row, 0);
#endif
  keys.score(memory.query, n_old, [&](int block, float score) {
    const uint32_t word = __float_as_uint(fmaf(score, 1.0F, 0.0F));  // adding 0 turns -0 into 0
#if __CUDA_ARCH__ >= 900
    if (size > 1) return ptx::store_cluster(first_row + static_cast<uint32_t>(block) * 4, word);
#endif
    memory.row[block] = word;
  });
  // The open block has no key, and the score 0.
  if (rank == 0 && thread == 0 && n_full < n) memory.row[n_full] = 0U;
  cluster_barrier(size);
  if (rank != 0) return;
  __shared__ ChooseMemory<Shape::kWarps> chooser;
  if (p.scores != nullptr) write_scores(chooser, p.scores + list * p.capacity, memory.row, n, p.capacity);
  if (all) {
    for (int j = thread; j < n; j += Shape::kThreads) out[j] = j;
    if (thread == 0) p.counts[list] = n;
    return;
  }
  const int n_kept = choose(chooser, out, memory.row, n, rule);
  if (thread == 0) p.counts[list] = n_kept;
}

template <class Shape>
cudaError_t launch_select(const DecodeGateSelectParams& p, int cluster, cudaStream_t stream) {
  constexpr auto* kKernel = decode_gate_select_kernel<Shape>;
  const dim3 grid(static_cast<unsigned>(cluster), static_cast<unsigned>(p.n_kv_heads),
                  static_cast<unsigned>(p.n_decodes));
  const cudaError_t error = prefer_shared_memory(kKernel);
  if (error != cudaSuccess) return error;
  const int64_t bytes = select_bytes(Shape::kDHead, Shape::kWarps, p.n_heads / p.n_kv_heads, p.capacity);
  return launch_clusters(kKernel, grid, cluster, Shape::kThreads, static_cast<int>(bytes), stream, p);
}

}  // namespace

cudaError_t launch_decode_gate_select(const DecodeGateSelectParams& params, int n_multiprocessors,
                                      bool has_clusters, cudaStream_t stream) {
  const SelectDivision division = divide_select(params, n_multiprocessors, has_clusters);
  return for_select_shape(params.d_head, division.n_warps, [&](auto shape) {
    return launch_select<decltype(shape)>(params, division.cluster, stream);
  });
}

int64_t decode_gate_max_blocks(int max_shared_bytes, int d_head, int group) {
  // Static shared memory counts as well.
  const int64_t left = max_shared_bytes - select_bytes(d_head, kSelectNarrowWarps, group, 0) -
                       static_cast<int64_t>(sizeof(ChooseMemory<kSelectNarrowWarps>));
  return std::max<int64_t>(0, left / 4);
}

}  // namespace seer::cuda
