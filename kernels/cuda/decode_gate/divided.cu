// The choice of pages for decoded tokens if ranks divide the pages: one kernel scores the pages that are
// here, and another one keeps pages by the sum of all ranks' scores.
#include "kernels/cuda/decode_gate/choose.cuh"
#include "kernels/cuda/decode_gate/head_sizes.cuh"
#include "kernels/cuda/decode_gate/page_keys.cuh"
#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/decode_gate/query.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

// A thread block, or a cluster of them, writes the scores of one decode and KV head.
template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    decode_gate_scores_kernel(const __grid_constant__ DecodeGateSelectParams p) {
  extern __shared__ __align__(16) float floats[];
  ptx::let_next_kernel_start();
  const int size = cluster_size(), rank = static_cast<int>(blockIdx.x) % size;
  const int head = static_cast<int>(blockIdx.y), decode = static_cast<int>(blockIdx.z);
  const int group = p.n_heads / p.n_kv_heads;
  const SelectMemory<Shape> memory(floats, group);
  const QueryProduct<Shape> product(p, head, rank, size);
  const bool dense = p.rules[decode].n_best == DecodeGateRule::kAll;
  const int n_keys = __ldcg(p.positions + decode) + 1;
  const int n_full = n_keys / p.page_tokens;
  const int n_old = min(n_full, (n_keys - 1) / p.page_tokens);  // full pages of earlier steps
  const int32_t* table = p.tables + __ldcg(p.table_offsets + decode);
  PageKeys<Shape, /*kDivided=*/true> keys(p, head, rank, size, n_full, n_old, table);
  ptx::wait_for_previous_kernel();

  float* out = p.scores + (static_cast<int64_t>(head) * p.n_decodes + decode) * p.capacity;
  const int64_t first_zero = dense ? 0 : n_full;  // the open block has no gate key; its score is 0
  for (int64_t j = first_zero + rank * Shape::kThreads + static_cast<int>(threadIdx.x); j < p.capacity;
       j += size * Shape::kThreads)
    out[j] = 0.0F;
  if (dense) return;
  make_query<Shape>(p, product, memory, head, decode, group, size);
  keys.score(memory.query, n_old, [&](int block, float score) { out[block] = score; });
  cluster_barrier(size);  // the cluster's other blocks have read this block's part of the query
}

template <class Shape>
cudaError_t launch_scores(const DecodeGateSelectParams& p, int cluster, cudaStream_t stream) {
  constexpr auto* kKernel = decode_gate_scores_kernel<Shape>;
  const dim3 grid(static_cast<unsigned>(cluster), static_cast<unsigned>(p.n_kv_heads),
                  static_cast<unsigned>(p.n_decodes));
  const cudaError_t error = prefer_shared_memory(kKernel);
  if (error != cudaSuccess) return error;
  const int64_t bytes = select_bytes(Shape::kDHead, Shape::kWarps, p.n_heads / p.n_kv_heads, /*n_blocks=*/0);
  return launch_clusters(kKernel, grid, cluster, Shape::kThreads, static_cast<int>(bytes), stream, p);
}

constexpr int kKeepThreads = kSelectNarrowWarps * 32;

// A thread block makes the list of one decode and KV head, as the select kernel does from the same scores.
__global__ void __launch_bounds__(kKeepThreads)
    decode_gate_keep_kernel(const __grid_constant__ DecodeGateKeepParams p) {
  extern __shared__ uint32_t row[];
  __shared__ ChooseMemory<kSelectNarrowWarps> chooser;
  ptx::let_next_kernel_start();
  const int decode = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const int64_t list = static_cast<int64_t>(blockIdx.y) * p.n_decodes + decode;
  int32_t* out = p.blocks + list * p.capacity;
  float* scores = p.scores + list * p.capacity;
  // Rules and positions are on the device before the step's kernels run.
  const DecodeGateRule rule = p.rules[decode];
  const int n = __ldcg(p.positions + decode) / p.page_tokens + 1;
  ptx::wait_for_previous_kernel();
  if (rule.n_best != DecodeGateRule::kAll) {
    for (int j = thread; j < n; j += kKeepThreads)
      row[j] = __float_as_uint(fmaf(__ldcg(scores + j), 1.0F, 0.0F));  // adding 0 turns -0 into 0
    __syncthreads();
    write_scores(chooser, scores, row, n, n);
  }
  int n_kept = n;
  if (rule.n_best == DecodeGateRule::kAll || rule.n_best >= n) {
    for (int j = thread; j < n; j += kKeepThreads) out[j] = j;
  } else {
    n_kept = choose(chooser, out, row, n, rule);
  }
  if (thread == 0) p.counts[list] = n_kept;
}

}  // namespace

cudaError_t launch_decode_gate_scores(const DecodeGateSelectParams& params, int n_multiprocessors,
                                      bool has_clusters, cudaStream_t stream) {
  const SelectDivision division = divide_select(params, n_multiprocessors, has_clusters);
  return for_select_shape(params.d_head, division.n_warps, [&](auto shape) {
    return launch_scores<decltype(shape)>(params, division.cluster, stream);
  });
}

cudaError_t launch_decode_gate_keep(const DecodeGateKeepParams& params, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(params.n_decodes), static_cast<unsigned>(params.n_kv_heads));
  const cudaError_t error = prefer_shared_memory(decode_gate_keep_kernel);
  if (error != cudaSuccess) return error;
  return launch(decode_gate_keep_kernel, grid, kKeepThreads, static_cast<int>(params.capacity * 4), stream,
                params);
}

}  // namespace seer::cuda
