// The choice of pages for decoded tokens. One thread block, or a cluster of them, serves one token and KV
// head: it makes the gate query, scores the keys of all full pages, and lists the kept pages.
#include <algorithm>
#include <cassert>

#include "kernels/cuda/decode_gate/choose.cuh"
#include "kernels/cuda/decode_gate/finish.cuh"
#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/cluster.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kMaxCluster = 8;

template <int kDHead>
struct SelectShape {
  static constexpr int kChunks = kDHead / 8;  // pieces of 8 components
  // Weights: one thread for each chunk of outputs, times rows of inputs.
  static constexpr int kRows = kThreads / kChunks;
  // Keys: a warp scores kKeys at a time, with kLanes lanes for each.
  static constexpr int kLanes = kChunks <= 8 ? 8 : kChunks <= 16 ? 16 : 32;
  static constexpr int kKeys = 32 / kLanes;
  static constexpr int kBatch = 8;  // keys that a lane loads at the same time
};

// The shared memory of a thread block. Each block of a cluster has the same layout; only the first one's row
// of scores is used.
template <int kDHead>
struct SelectMemory {
  float* heads;    // [group * kDHead]: query heads, normalised
  float* sums;     // [kRows, kDHead]: products of each thread row
  float* partial;  // [kDHead]: the block's part of the query
  float* query;    // [kDHead]
  uint32_t* row;   // [n_blocks]: scores, as floats

  __device__ SelectMemory(float* memory, int group)
      : heads(memory),
        sums(heads + group * kDHead),
        partial(sums + SelectShape<kDHead>::kRows * kDHead),
        query(partial + kDHead),
        row(reinterpret_cast<uint32_t*>(query + kDHead)) {}
};

int64_t select_bytes(int d_head, int group, int64_t n_blocks) {
  const int64_t rows = kThreads / (d_head / 8);
  return 4 * (static_cast<int64_t>(group) * d_head + rows * d_head + 2 * d_head + n_blocks);
}

__device__ int cluster_size() {
#if __CUDA_ARCH__ >= 900
  return static_cast<int>(ptx::n_cluster_blocks());
#else
  return 1;
#endif
}

__device__ void cluster_barrier(int size) {
#if __CUDA_ARCH__ >= 900
  if (size > 1) {
    ptx::cluster_arrive();
    ptx::cluster_wait();
    return;
  }
#endif
  __syncthreads();
}

// Writes the heads of a group to memory, normalised if there is a norm. A warp does one head.
template <int kDHead>
__device__ void load_heads(const DecodeGateSelectParams& p, const Bf16* heads, int group, float* out) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const auto* norm = static_cast<const Bf16*>(p.head_norm);
  for (int h = warp; h < group; h += kWarps) {
    float x[(kDHead + 31) / 32], squares = 0.0F;
#pragma unroll
    for (int i = 0; i < kDHead / 32; ++i) {
      x[i] = __bfloat162float(heads[h * kDHead + i * 32 + lane]);
      squares += x[i] * x[i];
    }
    const float scale = norm == nullptr ? 1.0F : rsqrtf(warp_sum(squares) / kDHead + p.head_eps);
#pragma unroll
    for (int i = 0; i < kDHead / 32; ++i) {
      const float weight = norm == nullptr ? 1.0F : __bfloat162float(norm[i * 32 + lane]);
      out[h * kDHead + i * 32 + lane] = x[i] * scale * weight;
    }
  }
}

// Replaces the first head by the mean of all.
template <int kDHead>
__device__ void average_heads(float* heads, int group) {
  for (int d = static_cast<int>(threadIdx.x); d < kDHead; d += kThreads) {
    float sum = 0.0F;
    for (int h = 0; h < group; ++h) sum += heads[h * kDHead + d];
    heads[d] = sum / static_cast<float>(group);
  }
}

// The thread block's share of the product that makes the query: its inputs, and their weights. The first
// weights are asked for before the previous kernel has ended, because no kernel of a step writes weights.
template <int kDHead>
struct QueryProduct {
  using Shape = SelectShape<kDHead>;
  static constexpr int kAhead = 4;
  const Bf16* weights;  // of the head: [n_inputs, kDHead]
  int row, chunk;       // of this thread
  int begin, end;       // inputs of this block
  uint4 ahead[kAhead];

  __device__ QueryProduct(const DecodeGateSelectParams& p, int head, int rank, int size)
      : weights(static_cast<const Bf16*>(p.weights) + static_cast<int64_t>(head) * p.n_inputs * kDHead),
        row(static_cast<int>(threadIdx.x) / Shape::kChunks),
        chunk(static_cast<int>(threadIdx.x) % Shape::kChunks) {
    const int each = (p.n_inputs + size - 1) / size;
    begin = rank * each;
    end = min(p.n_inputs, begin + each);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) ahead[i] = load(begin + row + i * Shape::kRows);
  }
  __device__ uint4 load(int input) const {
    if (row >= Shape::kRows || input >= end) return uint4{};
    return __ldg(reinterpret_cast<const uint4*>(weights + static_cast<int64_t>(input) * kDHead) + chunk);
  }
  // Writes this thread's products to sums [kRows, kDHead].
  __device__ void multiply(const float* x, float* sums) const {
    if (row >= Shape::kRows) return;
    float total[8] = {};
    const auto add = [&](int input, const uint4& raw) {
      if (input >= end) return;
      float w[8];
      reinterpret_cast<const Bf16x8*>(&raw)->to_floats(w);
      const float factor = x[input];
#pragma unroll
      for (int j = 0; j < 8; ++j) total[j] += factor * w[j];
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i) add(begin + row + i * Shape::kRows, ahead[i]);
#pragma unroll 4
    for (int input = begin + row + kAhead * Shape::kRows; input < end; input += Shape::kRows)
      add(input, load(input));
    auto* out = reinterpret_cast<float4*>(sums + row * kDHead + chunk * 8);
    out[0] = {total[0], total[1], total[2], total[3]};
    out[1] = {total[4], total[5], total[6], total[7]};
  }
};

// Adds up the rows of sums.
template <int kDHead>
__device__ void add_rows(const float* sums, float* out) {
  for (int d = static_cast<int>(threadIdx.x); d < kDHead; d += kThreads) {
    float total = 0.0F;
#pragma unroll
    for (int r = 0; r < SelectShape<kDHead>::kRows; ++r) total += sums[r * kDHead + d];
    out[d] = total;
  }
}

// Adds up the blocks' parts of the query, in the order of the blocks.
template <int kDHead>
__device__ void gather_query(float* query, const float* partial, int size) {
  for (int d = static_cast<int>(threadIdx.x); d < kDHead; d += kThreads) {
    float total = partial[d];
#if __CUDA_ARCH__ >= 900
    if (size > 1) {
      const uint32_t at = ptx::shared_address(partial + d);
      total = 0.0F;
      for (int b = 0; b < size; ++b)
        total += ptx::load_cluster(ptx::map_shared(at, static_cast<uint32_t>(b)));
    }
#endif
    query[d] = total;
  }
}

// Normalises and rotates the query, and scales it, so that its product with a key is a score. One warp does
// it.
template <int kDHead>
__device__ void finish_query(const DecodeGateSelectParams& p, float* query, int decode, int lane) {
  constexpr int kHalf = kDHead / 2;
  const float scale = 1.0F / sqrtf(static_cast<float>(kDHead));
  const int64_t at = static_cast<int64_t>(decode) * kHalf;
  normalise_and_rotate<kDHead>(query, static_cast<const Bf16*>(p.norm), p.rotates ? p.cos + at : nullptr,
                               p.sin + at, lane, [&](int i, float low, float high) {
                                 query[i] = low * scale;
                                 query[i + kHalf] = high * scale;
                               });
}

// The keys of full pages that one part of a warp scores. If the cluster has n such parts, each of them scores
// every n-th full page of the sequence. Earlier steps wrote the keys of the pages that they filled. So of
// these the first keys are asked for before the previous kernel has ended, and the others are brought to L2.
template <int kDHead>
struct PageKeys {
  using Shape = SelectShape<kDHead>;
  const Bf16* keys;  // of this head
  const int32_t* table;
  int64_t page_stride;  // elements from page to page
  int n;                // full pages
  int first, step;      // this part's pages are first, first + step, ...
  int chunk;            // of a key, this lane's
  uint4 ahead[Shape::kBatch];

  __device__ PageKeys(const DecodeGateSelectParams& p, int head, int rank, int size, int n_full, int n_old,
                      const int32_t* pages)
      : keys(static_cast<const Bf16*>(p.gate_k) + static_cast<int64_t>(head) * kDHead),
        table(pages),
        page_stride(static_cast<int64_t>(p.n_kv_heads) * kDHead),
        n(n_full) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    chunk = lane % Shape::kLanes;
    first = (rank * kWarps + warp) * Shape::kKeys + lane / Shape::kLanes;
    step = size * kWarps * Shape::kKeys;
    load(ahead, first, n_old);
    for (int b = first + Shape::kBatch * step; b < n_old; b += step)
      if (chunk % 8 == 0 && chunk < Shape::kChunks) ptx::prefetch_l2_line(key(__ldcg(table + b)));
  }
  __device__ const uint4* key(int page) const {
    return reinterpret_cast<const uint4*>(keys + page * page_stride) + chunk;
  }
  // Loads this lane's chunk of the keys `from`, `from` + step and so on below `end`.
  __device__ void load(uint4 (&raw)[Shape::kBatch], int from, int end) const {
    int page[Shape::kBatch];
#pragma unroll
    for (int i = 0; i < Shape::kBatch; ++i)
      page[i] = from + i * step < end && chunk < Shape::kChunks ? __ldcg(table + from + i * step) : -1;
#pragma unroll
    for (int i = 0; i < Shape::kBatch; ++i) raw[i] = page[i] < 0 ? uint4{} : __ldcg(key(page[i]));
  }
  // Hands each score to put(page number, score). n_old is as in the constructor.
  template <class Put>
  __device__ void score(const float* query, int n_old, const Put& put) {
    float q[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) q[j] = chunk < Shape::kChunks ? query[chunk * 8 + j] : 0.0F;
    const auto add = [&](int block, const uint4& raw) {
      float k[8], score = 0.0F;
      reinterpret_cast<const Bf16x8*>(&raw)->to_floats(k);
#pragma unroll
      for (int j = 0; j < 8; ++j) score += q[j] * k[j];
#pragma unroll
      for (int mask = Shape::kLanes / 2; mask > 0; mask /= 2)
        score += __shfl_xor_sync(0xffffffffU, score, mask);
      if (block < n && chunk == 0) put(block, score);
    };
    // The key of a page that this step filled has not been asked for yet, because an earlier kernel of the
    // step wrote it.
    if (n_old < n && first % step == n_old % step) {
      const int i = (n_old - first) / step;
#pragma unroll
      for (int j = 0; j < Shape::kBatch; ++j)
        if (j == i && chunk < Shape::kChunks) ahead[j] = __ldcg(key(__ldcg(table + n_old)));
    }
    for (int from = first; from - first % Shape::kKeys < n; from += step * Shape::kBatch) {
      uint4 raw[Shape::kBatch];
      const int next = from + step * Shape::kBatch;
      load(raw, next, n);
#pragma unroll
      for (int i = 0; i < Shape::kBatch; ++i) add(from + i * step, ahead[i]);
#pragma unroll
      for (int i = 0; i < Shape::kBatch; ++i) ahead[i] = raw[i];
    }
  }
};

// Writes the softmaxed scores of a row of n raw ones.
__device__ void write_scores(ChooseMemory<kWarps>& memory, float* out, uint32_t* row, int n,
                             int64_t capacity) {
  const float top = largest(memory, row, n), total = sum_exponentials(memory, row, n, top);
  for (int64_t j = threadIdx.x; j < capacity; j += kThreads)
    out[j] = j < n ? __expf(__uint_as_float(row[j]) - top) / total : 0.0F;
}

template <int kDHead>
__global__ void __launch_bounds__(kThreads)
    decode_gate_select_kernel(const __grid_constant__ DecodeGateSelectParams p) {
  extern __shared__ __align__(16) float floats[];
  ptx::let_next_kernel_start();
  const int size = cluster_size(), rank = static_cast<int>(blockIdx.x) % size;
  const int head = static_cast<int>(blockIdx.y), decode = static_cast<int>(blockIdx.z);
  const int group = p.n_heads / p.n_kv_heads;
  const SelectMemory<kDHead> memory(floats, group);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const QueryProduct<kDHead> product(p, head, rank, size);
  // Positions, rules and tables are on the device before the step's kernels run.
  const DecodeGateRule rule = p.rules[decode];
  const int n_keys = __ldcg(p.positions + decode) + 1;
  const int n = (n_keys + p.page_tokens - 1) / p.page_tokens, n_full = n_keys / p.page_tokens;
  const int32_t* table = p.tables + __ldcg(p.table_offsets + decode);
  const int64_t list = static_cast<int64_t>(head) * p.n_decodes + decode;
  int32_t* out = p.blocks + list * p.capacity;
  const int n_old = min(n_full, (n_keys - 1) / p.page_tokens);  // full pages of earlier steps
  PageKeys<kDHead> keys(p, head, rank, size, n_full, n_old, table);
  ptx::wait_for_previous_kernel();

  const bool all = rule.n_best == DecodeGateRule::kAll || rule.n_best >= n;
  if (all && (p.scores == nullptr || rule.n_best == DecodeGateRule::kAll)) {
    for (int j = rank * kThreads + thread; j < n; j += size * kThreads) out[j] = j;
    if (rank == 0 && thread == 0) p.counts[list] = n;
    return;
  }
  const int64_t width = static_cast<int64_t>(p.n_heads + 2 * p.n_kv_heads) * kDHead;
  load_heads<kDHead>(p, static_cast<const Bf16*>(p.qkv) + decode * width + head * group * kDHead, group,
                     memory.heads);
  __syncthreads();
  if (p.n_inputs != group * kDHead) average_heads<kDHead>(memory.heads, group);
  __syncthreads();
  if (p.n_inputs > 0) {
    product.multiply(memory.heads, memory.sums);
    __syncthreads();
    add_rows<kDHead>(memory.sums, memory.partial);
    cluster_barrier(size);
    gather_query<kDHead>(memory.query, memory.partial, size);
  } else {
    for (int d = thread; d < kDHead; d += kThreads) memory.query[d] = memory.heads[d];
    cluster_barrier(size);  // every block has begun, so others may write to the first one's memory
  }
  __syncthreads();
  if (thread < 32) finish_query<kDHead>(p, memory.query, decode, lane);
  __syncthreads();

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
  __shared__ ChooseMemory<kWarps> chooser;
  if (p.scores != nullptr) write_scores(chooser, p.scores + list * p.capacity, memory.row, n, p.capacity);
  if (all) {
    for (int j = thread; j < n; j += kThreads) out[j] = j;
    if (thread == 0) p.counts[list] = n;
    return;
  }
  const int n_kept = choose(chooser, out, memory.row, n, rule);
  if (thread == 0) p.counts[list] = n_kept;
}

template <int kDHead>
cudaError_t launch_select(const DecodeGateSelectParams& p, int n_multiprocessors, bool has_clusters,
                          cudaStream_t stream) {
  const int n_lists = p.n_decodes * p.n_kv_heads;
  // A multiprocessor has room for two thread blocks, but then clusters of more than two blocks wait for room
  // (DESIGN.md).
  const auto fits = [&](int blocks) { return blocks * n_lists <= (blocks == 2 ? 2 : 1) * n_multiprocessors; };
  int size = 1;
  if (has_clusters)
    while (size < kMaxCluster && fits(size * 2)) size *= 2;
  const dim3 grid(static_cast<unsigned>(size), static_cast<unsigned>(p.n_kv_heads),
                  static_cast<unsigned>(p.n_decodes));
  const cudaError_t error = prefer_shared_memory(decode_gate_select_kernel<kDHead>);
  if (error != cudaSuccess) return error;
  const int64_t bytes = select_bytes(kDHead, p.n_heads / p.n_kv_heads, p.capacity);
  return launch_clusters(decode_gate_select_kernel<kDHead>, grid, size, kThreads, static_cast<int>(bytes),
                         stream, p);
}

}  // namespace

cudaError_t launch_decode_gate_select(const DecodeGateSelectParams& params, int n_multiprocessors,
                                      bool has_clusters, cudaStream_t stream) {
  switch (params.d_head) {
    case 64:
      return launch_select<64>(params, n_multiprocessors, has_clusters, stream);
    case 96:
      return launch_select<96>(params, n_multiprocessors, has_clusters, stream);
    case 128:
      return launch_select<128>(params, n_multiprocessors, has_clusters, stream);
    case 256:
      return launch_select<256>(params, n_multiprocessors, has_clusters, stream);
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

int64_t decode_gate_max_blocks(int max_shared_bytes, int d_head, int group) {
  // Static shared memory counts as well.
  const int64_t left =
      max_shared_bytes - select_bytes(d_head, group, 0) - static_cast<int64_t>(sizeof(ChooseMemory<kWarps>));
  return std::max<int64_t>(0, left / 4);
}

}  // namespace seer::cuda
