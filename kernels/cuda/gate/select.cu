// Computes the scores of block rows against gate keys, softmax or top-k, and lists of kept blocks, in one
// launch.
#include <cassert>

#include "kernels/cuda/gate/params.h"
#include "kernels/cuda/gate/row.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"
#include "kernels/cuda/ptx/shared.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kWarps = 16;
constexpr int kThreads = kWarps * 32;
constexpr uint32_t kMinusInfinity = 0xff800000U;  // as a float
constexpr int kBinBytes = kWarps * kBinWords * 4;
static_assert(kVector == kWarps * 8);  // a vector of the row: eight columns from every warp

// The sizes that the launcher chooses.
struct SelectPlan {
  int tile_rows;   // block rows of a head that a thread block handles
  int stride;      // floats from row to row
  KeptCount kept;  // unused for a threshold
};

// A dot product may take its terms in any order. So lane t takes elements [8t, 8t + 8) of every 32 of both
// sides in one 16-byte load, instead of the four loads of 4 bytes in mma's layout.
template <int kDGate>
struct Operands {
  static constexpr int kSteps = kDGate / 32;
  // The stride of queries in shared memory. Rows alternate between the halves of the banks.
  static constexpr int kQueryStride = kDGate * 2 % 128 == 0 ? kDGate + 32 : kDGate;
};

__device__ int64_t list_of(const GateSelectParams& p, int head, int64_t row) {
  return static_cast<int64_t>(head) * p.n_rows + row;
}

template <bool kThreshold>
__device__ void select_row(const GateSelectParams& p, const ScoreRow& row, int head, int64_t list,
                           KeptCount kept, uint32_t* bins) {
  int32_t* out = p.blocks + list * p.row_capacity;
  float* scores = p.scores == nullptr ? nullptr : p.scores + list * p.rule.n_prompt_blocks;
  const bool dense = p.rule.row_is_dense(row.n_causal - 1);
  int n = 0;
  if constexpr (kThreshold) {
    const float total = dense && scores == nullptr ? 0.0F : exponentiate(row);
    if (scores != nullptr)
      for (int j = row.lane; j < row.n_causal; j += 32) scores[j] = __uint_as_float(row.words[j]) / total;
    const float least = p.rule.threshold_of(head) * total;
    n = dense ? write_all(out, row)
              : write_kept(out, row, [&](uint32_t word) { return __uint_as_float(word) > least; });
  } else if (const int64_t k = kept.of_row(row.n_causal); dense || k >= row.n_causal) {
    n = write_all(out, row);
  } else {
    const Cut cut = find_cut(row, static_cast<int>(k), bins);
    int n_before = 0;  // how many keys equal to the cut came before
    n = cut.n_equal == 0 ? write_kept(out, row, [&](uint32_t key) { return key > cut.above; })
                         : write_kept(out, row, [&](uint32_t key) {
                             const bool equal = key == cut.above;
                             const unsigned votes = __ballot_sync(0xffffffffU, equal);
                             const int rank = n_before + __popc(votes & ((1U << row.lane) - 1U));
                             n_before += __popc(votes);
                             return key > cut.above || (equal && rank < cut.n_equal);
                           });
  }
  if (n == 0) n = write_diagonal(out, row);
  if (row.lane == 0) p.counts[list] = n;
  if (scores != nullptr)
    for (int64_t j = row.n_causal + row.lane; j < p.rule.n_prompt_blocks; j += 32) scores[j] = 0.0F;
}

template <int kDGate, int kMTiles, bool kThreshold>
__global__ void __launch_bounds__(kThreads, 1)
    gate_select_kernel(const __grid_constant__ GateSelectParams p, const SelectPlan plan) {
  extern __shared__ __align__(
      16) unsigned char shared[];  // bins [warps, kBinWords], words [tile_rows, stride]
  constexpr int kSteps = Operands<kDGate>::kSteps, kQueryStride = Operands<kDGate>::kQueryStride;
  static_assert(kMTiles * 16 * kQueryStride * 2 <= kBinBytes);  // queries lie there until the bins are used
  auto* bins = reinterpret_cast<uint32_t*>(shared);
  auto* queries = reinterpret_cast<Bf16*>(shared);
  auto* words = reinterpret_cast<uint32_t*>(shared + kBinBytes);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int g = lane / 4, t = lane % 4;
  const int head = static_cast<int>(blockIdx.y), gate_head = head * p.n_gate_heads / p.n_heads;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * plan.tile_rows;
  const int n_rows = static_cast<int>(min(static_cast<int64_t>(plan.tile_rows), p.n_rows - first_row));
  const int first_causal = static_cast<int>(p.first_block + first_row) + 1;  // blocks that the first row sees
  const int n_causal = first_causal + n_rows - 1;                            // blocks that the last row sees
  const auto* keys = static_cast<const Bf16*>(p.gate_k);
  const auto key_of = [&](int page) {
    return keys + (static_cast<int64_t>(page) * p.n_gate_heads + gate_head) * kDGate;
  };
  ptx::let_next_kernel_start();

  // Page tables are copied before a step's kernels run, so prefetches may use them early. Keys of earlier
  // steps were written long ago. If a key is not written yet, its prefetch does no harm, since L2 always
  // holds the newest value.
  const int n_vectors = (n_causal + kVector - 1) / kVector;
  const auto page_ids = [&](int i) {  // page ids of the warp's columns in vectors [i, i + 4)
    return p.table[min((i + lane / 8) * kVector + warp * 8 + lane % 8, n_causal - 1)];
  };
  int ids = page_ids(0), ids_ahead = page_ids(4);
#pragma unroll 1
  for (int64_t j = static_cast<int64_t>(blockIdx.x) * kThreads + thread; j < p.first_block;
       j += static_cast<int64_t>(gridDim.x) * kThreads)
    for (int line = 0; line < kDGate; line += 64) ptx::prefetch_l2_line(key_of(p.table[j]) + line);
  ptx::wait_for_previous_kernel();

  int n_loaded = 0;
  const auto load_keys = [&](uint4(&b)[kSteps]) {
    const int page = __shfl_sync(0xffffffffU, ids, n_loaded % 4 * 8 + g);
    const Bf16* key = key_of(page) + t * 8;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) b[s] = __ldcg(reinterpret_cast<const uint4*>(key + s * 32));
    if (++n_loaded % 4 == 0) {
      ids = ids_ahead;
      ids_ahead = page_ids(n_loaded + 4);
    }
  };
  uint4 next[kSteps];
  load_keys(next);

  constexpr int kChunks = kDGate / 8;
#pragma unroll 1
  for (int i = thread; i < kMTiles * 16 * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    uint4 q = {};
    if (row < n_rows)
      q = *reinterpret_cast<const uint4*>(static_cast<const Bf16*>(p.gate_q) +
                                          ((first_row + row) * p.n_heads + head) * kDGate + chunk * 8);
    *reinterpret_cast<uint4*>(queries + row * kQueryStride + chunk * 8) = q;
  }
  __syncthreads();
  uint32_t a[kMTiles][kSteps][2][4];
#pragma unroll
  for (int m = 0; m < kMTiles; ++m)
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const Bf16* at = queries + (m * 16 + g) * kQueryStride + s * 32 + t * 8;
      const uint4 low = *reinterpret_cast<const uint4*>(at),
                  high = *reinterpret_cast<const uint4*>(at + 8 * kQueryStride);
      a[m][s][0][0] = low.x, a[m][s][0][1] = high.x, a[m][s][0][2] = low.y, a[m][s][0][3] = high.y;
      a[m][s][1][0] = low.z, a[m][s][1][1] = high.z, a[m][s][1][2] = low.w, a[m][s][1][3] = high.w;
    }

  const float scale = 1.0F / sqrtf(static_cast<float>(kDGate));
  constexpr uint32_t kBelowAll = kThreshold ? kMinusInfinity : 0U;
  const auto word_of = [&](float product) {
    const float score = fmaf(product, scale, 0.0F);  // adding 0 turns -0 into 0
    return kThreshold ? __float_as_uint(score) : sortable(score);
  };
  uint32_t fragment = ptx::shared_address(words + g * plan.stride + warp * 8 + 2 * t);
  const int eight_rows = plan.stride * 32;  // in bytes
  for (int v = 0; v < n_vectors; ++v) {
    float c[kMTiles][4] = {};
    const auto multiply = [&](const uint4(&b)[kSteps]) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s)
#pragma unroll
        for (int m = 0; m < kMTiles; ++m) {
          ptx::mma_16x8x16(c[m], a[m][s][0], b[s].x, b[s].y);
          ptx::mma_16x8x16(c[m], a[m][s][1], b[s].z, b[s].w);
        }
    };
    if constexpr (kDGate <= 128) {
      uint4 b[kSteps];
#pragma unroll
      for (int s = 0; s < kSteps; ++s) b[s] = next[s];
      if (v + 1 < n_vectors) load_keys(next);
      multiply(b);
    } else {  // there are no registers for two sets of keys
      multiply(next);
      if (v + 1 < n_vectors) load_keys(next);
    }
    const int j = v * kVector + warp * 8;
    uint2 pairs[2 * kMTiles];  // of rows g, g + 8, ...
#pragma unroll
    for (int i = 0; i < 2 * kMTiles; ++i)
      pairs[i] = make_uint2(word_of(c[i / 2][i % 2 * 2]), word_of(c[i / 2][i % 2 * 2 + 1]));
    if (j + 8 > first_causal) {  // not all of them are causal
#pragma unroll
      for (int i = 0; i < 2 * kMTiles; ++i) {
        const int n = first_causal + 8 * i + g - j - 2 * t;
        if (n < 1) pairs[i].x = kBelowAll;
        if (n < 2) pairs[i].y = kBelowAll;
      }
    }
#pragma unroll
    for (int i = 0; i < 2 * kMTiles; ++i)
      if (8 * i + g < n_rows) ptx::store_8(fragment + i * eight_rows, pairs[i].x, pairs[i].y);
    fragment += kVector * 4;
    if constexpr (!kThreshold) {
      if (p.scores == nullptr) continue;
#pragma unroll
      for (int i = 0; i < 4 * kMTiles; ++i) {
        const int row = i / 2 * 8 + g, block = j + 2 * t + i % 2;
        if (row < n_rows && block < first_causal + row)
          p.scores[list_of(p, head, first_row + row) * p.rule.n_prompt_blocks + block] =
              c[i / 4][i % 4] * scale;
      }
    }
  }
  __syncthreads();

  for (int r = warp; r < n_rows; r += kWarps) {
    const int row_causal = first_causal + r;
    const ScoreRow row{words + r * plan.stride, row_causal, (row_causal + kVector - 1) / kVector, lane};
    select_row<kThreshold>(p, row, head, list_of(p, head, first_row + r), plan.kept, bins + warp * kBinWords);
  }
}

// Rows lie eight banks apart, so that a warp's fragments go to different banks.
int64_t row_stride(int64_t n_blocks) { return (n_blocks + kVector - 1) / kVector * kVector + 8; }

template <int kDGate, int kMTiles>
cudaError_t launch_tiles(const GateSelectParams& p, const SelectPlan& plan, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((p.n_rows + plan.tile_rows - 1) / plan.tile_rows),
                  static_cast<unsigned>(p.n_heads));
  return launch(p.rule.by_threshold() ? gate_select_kernel<kDGate, kMTiles, true>
                                      : gate_select_kernel<kDGate, kMTiles, false>,
                grid, kThreads, kBinBytes + plan.tile_rows * plan.stride * 4, stream, p, plan);
}

template <int kDGate>
cudaError_t launch_select(const GateSelectParams& p, int n_multiprocessors, int max_shared_bytes,
                          cudaStream_t stream) {
  // With 256 channels, two row tiles would leave no registers for keys.
  constexpr int kMostTiles = kDGate <= 128 ? 2 : 1;
  SelectPlan plan = {};
  plan.stride = static_cast<int>(row_stride(p.first_block + p.n_rows));
  // Every tile reads the keys once, so high tiles are better. But whole rows must fit into shared memory, and
  // every multiprocessor should have a tile.
  plan.tile_rows = kMostTiles * 16;
  const auto too_high = [&] {
    const int64_t n_tiles = (p.n_rows + plan.tile_rows - 1) / plan.tile_rows * p.n_heads;
    return kBinBytes + static_cast<int64_t>(plan.tile_rows) * plan.stride * 4 > max_shared_bytes ||
           (2 * n_tiles <= n_multiprocessors && plan.tile_rows > 8);
  };
  while (plan.tile_rows > 1 && too_high()) plan.tile_rows /= 2;
  if (kBinBytes + static_cast<int64_t>(plan.tile_rows) * plan.stride * 4 > max_shared_bytes)
    return cudaErrorInvalidValue;  // the backend refuses such contexts
  if (!p.rule.by_threshold()) plan.kept = p.rule.kept_count();
  if constexpr (kMostTiles == 2)
    if (plan.tile_rows > 16) return launch_tiles<kDGate, 2>(p, plan, stream);
  return launch_tiles<kDGate, 1>(p, plan, stream);
}

}  // namespace

int64_t gate_max_blocks(int max_shared_bytes) {
  return ((max_shared_bytes - kBinBytes) / 4 - 8) / kVector * kVector;
}

cudaError_t launch_gate_select(const GateSelectParams& params, int n_multiprocessors, int max_shared_bytes,
                               cudaStream_t stream) {
  switch (params.d_gate) {
    case 64:
      return launch_select<64>(params, n_multiprocessors, max_shared_bytes, stream);
    case 96:
      return launch_select<96>(params, n_multiprocessors, max_shared_bytes, stream);
    case 128:
      return launch_select<128>(params, n_multiprocessors, max_shared_bytes, stream);
    case 256:
      return launch_select<256>(params, n_multiprocessors, max_shared_bytes, stream);
    default:
      assert(false && "the backend refuses other gate sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
