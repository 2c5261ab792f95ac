// The kernel. A thread block takes one split of one sequence's keys, for up to 16 query heads that share a KV
// head. Blocks of neighbouring splits are a cluster, which combines their results. See DESIGN.md in this
// folder.
#pragma once

#include "kernels/cuda/attention/paged_decode/combine.cuh"
#include "kernels/cuda/attention/paged_decode/slices.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {

// The heads of a thread block.
struct DecodeHeads {
  int sequence, kv_head;
  int n_rows, first_head;  // query heads
  int slot;                // the number of this sequence and these heads in the launch

  __device__ explicit DecodeHeads(const DecodeParams& p) : sequence(static_cast<int>(blockIdx.z)) {
    const int group = p.n_heads / p.n_kv_heads, n_row_groups = (group + kDecodeRows - 1) / kDecodeRows;
    const int head_group = static_cast<int>(blockIdx.y);
    kv_head = head_group / n_row_groups;
    const int first_row = head_group % n_row_groups * kDecodeRows;
    n_rows = min(kDecodeRows, group - first_row);
    first_head = kv_head * group + first_row;
    slot = sequence * static_cast<int>(gridDim.y) + head_group;
  }
};

// What a thread block does in its cluster.
struct DecodeCluster {
  int rank, index;  // the block's place in its cluster; the cluster's place among those of the same heads
  int n_with_keys;  // the first n_with_keys blocks of this cluster have keys; 0 or less if none has
  int n_combining;  // blocks of this cluster that combine results: the same number in every cluster with keys
  int n_clusters;   // clusters of the same heads that have keys

  template <int kWarps>
  __device__ DecodeCluster(const DecodePlan<kWarps>& plan, int size) {
    rank = static_cast<int>(blockIdx.x) % size;
    index = static_cast<int>(blockIdx.x) / size;
    n_with_keys = min(size, plan.n_splits - index * size);
    n_clusters = (plan.n_splits + size - 1) / size;
    n_combining = n_clusters > 1 ? size : n_with_keys;
  }
  __device__ bool takes_part() const { return n_with_keys > 0 && rank < n_combining; }
};

// Divides the elements of rows `first`, `first` + `step` and so on (below n_rows) among the block's threads,
// and calls visit(row, d) for each element of this thread.
template <int kDHead, int kThreads, class Visit>
__device__ void for_elements(int n_rows, int first, int step, const Visit& visit) {
  const int n = (n_rows - first + step - 1) / step * kDHead;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads)
    visit(first + i / kDHead * step, i % kDHead);
}

// The list of kept pages of a sequence and KV head. The sequence's last page is in it, and only that page may
// be partly filled.
struct DecodeList {
  const int32_t* blocks = nullptr;
  int n_keys;  // in the listed pages

  __device__ DecodeList(const DecodeParams& p, const DecodeHeads& heads, int n_all_keys) {
    const int list = heads.kv_head * p.n_sequences + heads.sequence;
    blocks = p.blocks + list * p.list_capacity;
    const int n_before = (n_all_keys - 1) / p.page_tokens * p.page_tokens;  // keys of pages before the last
    n_keys = (__ldcg(p.counts + list) - 1) * p.page_tokens + n_all_keys - n_before;
  }
};

// Returns the page of slice number `slice` of a list whose count is not known yet. If the list has no such
// slice, the result is meaningless, but the function reads only entries that exist in the launch's arrays.
__device__ inline int page_of_listed(const DecodeParams& p, const DecodeHeads& heads, int n_all_keys,
                                     int slice) {
  const int list = heads.kv_head * p.n_sequences + heads.sequence;
  const int64_t entry =
      min(static_cast<int64_t>(slice * kDecodeSliceKeys / p.page_tokens), p.list_capacity - 1);
  const int block = __ldcg(p.blocks + list * p.list_capacity + entry);
  const int last = (n_all_keys - 1) / p.page_tokens;
  return __ldcg(p.tables + __ldcg(p.table_offsets + heads.sequence) + max(0, min(block, last)));
}

// If the part's pages are listed (DecodePartLists), each KV head of a sequence has a number of keys and a
// page table of its own.
__device__ inline bool has_part_lists(const DecodeParams& p) { return p.list_capacity > 0; }
__device__ inline int part_list(const DecodeParams& p, const DecodeHeads& heads) {
  return heads.kv_head * p.n_sequences + heads.sequence;
}

// Returns the place in `tables` at which the page table of the block's keys begins.
template <DecodeKeys kKeys>
__device__ int64_t table_offset(const DecodeParams& p, const DecodeHeads& heads) {
  if (kKeys == DecodeKeys::kPart && has_part_lists(p)) return part_list(p, heads) * p.list_capacity;
  return __ldcg(p.table_offsets + heads.sequence);
}

// Attends to the block's split and leaves the warps' partial results in shared memory. `pages`: see
// DecodeSlices.
template <int kDHead, int kWarps, DecodeKeys kKeys>
__device__ void attend_to_split(const DecodeParams& p, const DecodeHeads& heads,
                                const DecodePlan<kWarps>& plan, const int32_t* list, int n_keys,
                                bool has_pages, int pages, unsigned char* shared) {
  using Shape = DecodeShape<kDHead, kWarps>;
  constexpr bool kListed = kKeys == DecodeKeys::kListed;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int split = static_cast<int>(blockIdx.x);
  DecodeSlices<kDHead, kWarps, kListed> slices{p,
                                               p.tables + table_offset<kKeys>(p, heads),
                                               list,
                                               n_keys,
                                               heads.kv_head,
                                               lane,
                                               plan.first_slice(split, warp),
                                               plan.step,
                                               plan.count(split, warp),
                                               ptx::shared_address(shared) + warp * Shape::kWarpBytes,
                                               has_pages,
                                               pages};
#pragma unroll
  for (int i = 0; i < Shape::kStages - 1; ++i)
    if (slices.is_old(i)) slices.copy(i);
  ptx::wait_for_previous_kernel();
#pragma unroll
  for (int i = 0; i < Shape::kStages - 1; ++i) {
    if (!slices.is_old(i)) slices.copy(i);
    ptx::cp_async_commit();
  }
  DecodeWarp<kDHead> state(lane, p.scale);
  const int64_t first_query = static_cast<int64_t>(heads.sequence) * p.n_heads + heads.first_head;
  state.load_queries(static_cast<const __nv_bfloat16*>(p.q) + first_query * kDHead, heads.n_rows);
  for (int i = 0; i < slices.n; ++i) {
    slices.copy(i + Shape::kStages - 1);
    ptx::cp_async_commit();
    ptx::cp_async_wait<Shape::kStages - 1>();
    __syncwarp();
    state.attend(slices.keys(i), slices.values(i), slices.n_valid(i));
    __syncwarp();  // every lane has read this stage before it is loaded again
  }
  ptx::cp_async_wait<0>();
  __syncthreads();  // the rings' memory is free for the results
  state.store(reinterpret_cast<float*>(shared) + warp * kDecodePartialFloats<kDHead>);
  __syncthreads();
}

// A block calls this after it has written its rows of its cluster's partial result: rows `rank`, `rank` +
// n_combining and so on. In each cluster the block of the same rank has the same rows. The last of these
// blocks to call this combines their rows, in the order of the clusters.
template <int kDHead, int kThreads, bool kPart>
__device__ void combine_clusters(const DecodeParams& p, const DecodeHeads& heads,
                                 const DecodeCluster& cluster, const float* first_partial,
                                 const DecodeOutput<kDHead, kPart>& output) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* arrived = p.counters + heads.slot * p.division.cluster + cluster.rank;
    last = atomicAdd(arrived, 1) == cluster.n_clusters - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  for_elements<kDHead, kThreads>(heads.n_rows, cluster.rank, cluster.n_combining, [&](int row, int d) {
    const DecodePlace<kDHead> at(row, d);
    output.put(row, d, combine_global<kDHead>(first_partial, cluster.n_clusters, at));
  });
}

// kPart: ranks divide a sequence's pages, so this GPU has only some of its keys, or none.
template <int kDHead, int kWarps, DecodeKeys kKeys>
__global__ void __launch_bounds__(kWarps * 32) paged_decode_kernel(const DecodeParams p) {
  constexpr bool kPart = kKeys == DecodeKeys::kPart, kListed = kKeys == DecodeKeys::kListed;
  using Shape = DecodeShape<kDHead, kWarps>;
  constexpr int kThreads = Shape::kThreads;
  extern __shared__ __align__(128) unsigned char shared[];
  ptx::let_next_kernel_start();
  const DecodeHeads heads(p);
  const DecodeOutput<kDHead, kPart> output(
      p, static_cast<int64_t>(heads.sequence) * p.n_heads + heads.first_head);
  // A copy to the device wrote positions and tables before the step's first kernel began, and earlier steps
  // wrote all keys but the last. So all of these but the last key may be read before the previous kernel has
  // ended.
  int place = heads.sequence;
  if (kPart && has_part_lists(p)) {
    ptx::wait_for_previous_kernel();  // that kernel makes the tables of listed pages
    place = part_list(p, heads);
  }
  int n_keys = __ldcg(p.positions + place) + 1;
  if (kPart && n_keys == 0) {
    if (blockIdx.x != 0) return;
    ptx::wait_for_previous_kernel();
    if constexpr (kPart)
      for_elements<kDHead, kThreads>(heads.n_rows, 0, 1, [&](int row, int d) { output.put_nothing(row, d); });
    return;
  }
  const int32_t* list = nullptr;
  // If one cluster takes each list, the slices are dealt in turn (see DecodePlan), so that their pages can be
  // looked up at the same time as the count.
  const bool dealt = kListed && p.division.n_splits == p.division.cluster;
  int pages = 0;
  if constexpr (kListed) {
    ptx::wait_for_previous_kernel();  // that kernel writes the list
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    const int first = (static_cast<int>(blockIdx.x) + p.division.n_splits * lane) * kWarps + warp;
    if (dealt) pages = page_of_listed(p, heads, n_keys, first);
    const DecodeList kept(p, heads, n_keys);
    list = kept.blocks;
    n_keys = kept.n_keys;
  }
  const DecodePlan<kWarps> plan(n_keys, p.division.n_splits, p.division.cluster, dealt);
  const DecodeCluster cluster(plan, p.division.cluster);
  if (!cluster.takes_part()) return;
  attend_to_split<kDHead, kWarps, kKeys>(p, heads, plan, list, n_keys, dealt, pages, shared);

  const auto* warps = reinterpret_cast<const float*>(shared);
  const int n_most_clusters = p.division.n_splits / p.division.cluster;
  float* first_partial =
      p.partials + static_cast<int64_t>(heads.slot) * n_most_clusters * kDecodePartialFloats<kDHead>;
  const auto finish = [&](int row, int d, const DecodeElement& x) {
    if (cluster.n_clusters == 1) return output.put(row, d, x);
    DecodePlace<kDHead>(row, d).put(first_partial + cluster.index * kDecodePartialFloats<kDHead>, x);
  };
  if (p.division.cluster == 1) {
    for_elements<kDHead, kThreads>(heads.n_rows, 0, 1, [&](int row, int d) {
      finish(row, d, combine_warps<kWarps>(warps, DecodePlace<kDHead>(row, d)));
    });
    if (cluster.n_clusters > 1) combine_clusters<kDHead, kThreads>(p, heads, cluster, first_partial, output);
    return;
  }
#if __CUDA_ARCH__ >= 900
  float* block = reinterpret_cast<float*>(shared) + kWarps * kDecodePartialFloats<kDHead>;
  for_elements<kDHead, kThreads>(heads.n_rows, 0, 1, [&](int row, int d) {
    const DecodePlace<kDHead> at(row, d);
    at.put(block, combine_warps<kWarps>(warps, at));
  });
  ptx::cluster_arrive();
  ptx::cluster_wait();
  for_elements<kDHead, kThreads>(heads.n_rows, cluster.rank, cluster.n_combining, [&](int row, int d) {
    finish(row, d,
           combine_cluster<Shape::kMostCluster>(ptx::shared_address(block), cluster.n_with_keys,
                                                DecodePlace<kDHead>(row, d)));
  });
  ptx::cluster_arrive();
  if (cluster.n_clusters > 1 && cluster.rank < heads.n_rows)
    combine_clusters<kDHead, kThreads>(p, heads, cluster, first_partial, output);
  ptx::cluster_wait();  // the other blocks have read this block's result
#endif
}

}  // namespace seer::cuda
