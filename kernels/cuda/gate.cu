#include "kernels/cuda/gate.h"

#include <cassert>
#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kRotateThreads = 128;

__global__ void __launch_bounds__(kRotateThreads) gate_rotate_kernel(const GateRotateParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t row = blockIdx.x;
  const int64_t width = static_cast<int64_t>(p.n_heads) * p.d_gate;
  const int64_t out_row = p.table == nullptr ? row : p.table[p.first_block + row];
  auto* out = static_cast<Bf16*>(p.out) + out_row * width;
  const auto in = [&](int64_t i) {
    return p.in_f32 != nullptr ? p.in_f32[row * width + i]
                               : __bfloat162float(static_cast<const Bf16*>(p.in_bf16)[row * width + i]);
  };
  for (int64_t i = threadIdx.x; i < width; i += kRotateThreads) {
    const int d = static_cast<int>(i % p.d_gate);
    float value = in(i);
    if (d < p.half) {
      value = value * p.cos[row * p.half + d] - in(i + p.half) * p.sin[row * p.half + d];
    } else if (d < 2 * p.half) {
      value = value * p.cos[row * p.half + d - p.half] + in(i - p.half) * p.sin[row * p.half + d - p.half];
    }
    out[i] = __float2bfloat16(value);
  }
}

constexpr int kSelectWarps = 4;
constexpr int kSelectThreads = kSelectWarps * 32;
constexpr int kBins = 256;
constexpr unsigned kFull = 0xffffffffU;

// What one warp needs to choose from one row.
struct Row {
  float* scores;  // [n_causal], shared
  int n_causal;
  int32_t* kept;  // the list to write
  int lane;
};

__device__ float warp_max(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x = fmaxf(x, __shfl_xor_sync(kFull, x, mask));
  return x;
}

__device__ void softmax(const Row& row) {
  float top = -INFINITY;
  for (int j = row.lane; j < row.n_causal; j += 32) top = fmaxf(top, row.scores[j]);
  top = warp_max(top);
  float total = 0.0F;
  for (int j = row.lane; j < row.n_causal; j += 32) {
    row.scores[j] = __expf(row.scores[j] - top);
    total += row.scores[j];
  }
  total = warp_sum(total);
  for (int j = row.lane; j < row.n_causal; j += 32) row.scores[j] /= total;
  __syncwarp();
}

// Writes the ascending list of blocks that `keep` takes, asked in order, 32 at a time; returns how many.
template <class Keep>
__device__ int compact(const Row& row, Keep&& keep) {
  int n = 0;
  for (int base = 0; base < row.n_causal; base += 32) {
    const int j = base + row.lane;
    const bool kept = keep(j, j < row.n_causal);
    const unsigned votes = __ballot_sync(kFull, kept);
    if (kept) row.kept[n + __popc(votes & ((1U << row.lane) - 1U))] = j;
    n += __popc(votes);
  }
  return n;
}

// Order of floats as unsigned integers; NaN counts as the lowest.
__device__ uint32_t sortable(float x) {
  if (isnan(x)) x = -INFINITY;
  const uint32_t bits = __float_as_uint(x + 0.0F);  // -0 equals 0
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// The k largest, earlier blocks first among equals: a radix selection, eight bits at a time from the top.
__device__ int keep_largest(const Row& row, int k, int32_t* bins) {
  uint32_t prefix = 0, mask = 0;
  int left = k;  // still to be found among those that share the prefix
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int b = row.lane; b < kBins; b += 32) bins[b] = 0;
    __syncwarp();
    for (int j = row.lane; j < row.n_causal; j += 32) {
      const uint32_t key = sortable(row.scores[j]);
      if ((key & mask) == prefix) atomicAdd(&bins[(key >> shift) & 255U], 1);
    }
    __syncwarp();
    // Lane l sums bins [8l, 8l + 8); the digit is where the count from the top reaches `left`.
    int own = 0;
    for (int b = 0; b < 8; ++b) own += bins[row.lane * 8 + b];
    int above = 0;  // in lanes above this one
    for (int l = 31; l > 0; --l) {
      const int other = __shfl_sync(kFull, own, l);
      if (l > row.lane) above += other;
    }
    const bool here = above < left && above + own >= left;
    int digit = 0, digit_above = above;
    if (here)
      for (digit = row.lane * 8 + 7; digit_above + bins[digit] < left; --digit) digit_above += bins[digit];
    const int source = __ffs(static_cast<int>(__ballot_sync(kFull, here))) - 1;
    digit = __shfl_sync(kFull, digit, source);
    left -= __shfl_sync(kFull, digit_above, source);
    prefix |= static_cast<uint32_t>(digit) << shift;
    mask |= 255U << shift;
    __syncwarp();
  }
  int equals = 0;  // seen so far
  return compact(row, [&](int j, bool valid) {
    const uint32_t key = valid ? sortable(row.scores[j]) : 0U;
    const bool equal = valid && key == prefix;
    const unsigned votes = __ballot_sync(kFull, equal);
    const int rank = equals + __popc(votes & ((1U << row.lane) - 1U));
    equals += __popc(votes);
    return valid && (key > prefix || (equal && rank < left));
  });
}

template <int kDGate>
__global__ void __launch_bounds__(kSelectThreads)
    gate_select_kernel(const GateSelectParams p, int tile_rows, int row_floats, int k) {
  extern __shared__ __align__(16) float shared_scores[];  // [tile_rows, row_floats], then [warps, bins]
  constexpr int kSteps = kDGate / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;
  const int head = static_cast<int>(blockIdx.y), gate_head = head * p.n_gate_heads / p.n_heads;
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * tile_rows;
  const int n_rows = static_cast<int>(min(static_cast<int64_t>(tile_rows), p.n_rows - first_row));
  const int first_causal =
      static_cast<int>(p.first_block + first_row) + 1;  // blocks the tile's first row sees
  const int n_causal = first_causal + n_rows - 1;       // and its last
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();

  // A dot product may take its terms in any order, so that lane t takes elements [8t, 8t + 8) of every 32 of
  // both sides in one 16-byte load where mma's layout would have four of 4 bytes.
  uint32_t a[kSteps][2][4];
  const auto* q = static_cast<const Bf16*>(p.gate_q);
  const auto query = [&](int row, int step) {
    if (row >= n_rows) return uint4{};
    return *reinterpret_cast<const uint4*>(q + ((first_row + row) * p.n_heads + head) * kDGate + step * 32 +
                                           t * 8);
  };
#pragma unroll
  for (int s = 0; s < kSteps; ++s) {
    const uint4 low = query(g, s), high = query(g + 8, s);
    a[s][0][0] = low.x, a[s][0][1] = high.x, a[s][0][2] = low.y, a[s][0][3] = high.y;
    a[s][1][0] = low.z, a[s][1][1] = high.z, a[s][1][2] = low.w, a[s][1][3] = high.w;
  }
  const float scale = 1.0F / sqrtf(static_cast<float>(kDGate));
  const auto* keys = static_cast<const Bf16*>(p.gate_k);
  for (int first = warp * 8; first < n_causal; first += kSelectWarps * 8) {
    const int block = min(first + g, n_causal - 1);
    const Bf16* key =
        keys + (static_cast<int64_t>(p.table[block]) * p.n_gate_heads + gate_head) * kDGate + t * 8;
    float c[4] = {};
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const uint4 b = *reinterpret_cast<const uint4*>(key + s * 32);
      ptx::mma_16x8x16(c, a[s][0], b.x, b.y);
      ptx::mma_16x8x16(c, a[s][1], b.z, b.w);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = g + i / 2 * 8, j = first + 2 * t + i % 2;
      if (row < n_rows && j < first_causal + row) shared_scores[row * row_floats + j] = c[i] * scale;
    }
  }
  __syncthreads();

  auto* bins = reinterpret_cast<int32_t*>(shared_scores + tile_rows * row_floats) + warp * kBins;
  const bool by_threshold = p.rule.method == SelectRule::Method::kThreshold;
  for (int r = warp; r < n_rows; r += kSelectWarps) {
    const int64_t list = static_cast<int64_t>(head) * p.n_rows + first_row + r;
    const Row row{shared_scores + r * row_floats, first_causal + r, p.blocks + list * p.row_capacity, lane};
    if (by_threshold) softmax(row);
    const bool all = (p.rule.last_block_dense && row.n_causal > p.rule.n_prompt_blocks - 2) ||
                     (!by_threshold && k >= row.n_causal);
    int n = 0;
    if (all) {
      n = compact(row, [](int, bool valid) { return valid; });
    } else if (by_threshold) {
      const auto threshold = static_cast<float>(p.rule.value);
      n = compact(row, [&](int j, bool valid) { return valid && row.scores[j] > threshold; });
    } else {
      n = keep_largest(row, k, bins);
    }
    if (lane == 0) {
      if (n == 0) row.kept[n++] = row.n_causal - 1;
      p.counts[list] = n;
    }
    if (p.scores != nullptr) {
      float* out = p.scores + list * p.rule.n_prompt_blocks;
      for (int64_t j = lane; j < p.rule.n_prompt_blocks; j += 32)
        out[j] = j < row.n_causal ? row.scores[j] : 0.0F;
    }
  }
}

constexpr int64_t kBinBytes = kSelectWarps * kBins * 4;
constexpr int64_t kMostShared = 220 << 10;
constexpr int64_t kSharedForTwo = 110 << 10;  // two blocks a multiprocessor

template <int kDGate>
cudaError_t launch_select(const GateSelectParams& p, cudaStream_t stream) {
  const int64_t n_blocks = p.first_block + p.n_rows, row_floats = (n_blocks + 3) / 4 * 4;
  // 16 rows fill mma's tile; longer prompts take fewer, so that whole rows stay in shared memory.
  int tile_rows = 16;
  while (tile_rows > 1 && tile_rows * row_floats * 4 + kBinBytes > kSharedForTwo) tile_rows /= 2;
  const int64_t bytes = tile_rows * row_floats * 4 + kBinBytes;
  if (bytes > kMostShared) return cudaErrorInvalidValue;  // the backend refuses such contexts
  // k largest of a row, as the method has it: of the whole prompt's blocks.
  const auto n_all = static_cast<double>(p.rule.n_prompt_blocks);
  const double kept =
      p.rule.method == SelectRule::Method::kNzRatio ? (1.0 - std::sqrt(1.0 - p.rule.value)) * n_all : 0.0;
  const int k = kept < 1.0 ? 1 : static_cast<int>(kept);
  const dim3 grid(static_cast<unsigned>((p.n_rows + tile_rows - 1) / tile_rows),
                  static_cast<unsigned>(p.n_heads));
  return launch(gate_select_kernel<kDGate>, grid, kSelectThreads, static_cast<int>(bytes), stream, p,
                tile_rows, static_cast<int>(row_floats), k);
}

}  // namespace

int64_t gate_max_blocks() { return (kMostShared - kBinBytes) / 4 - 4; }

cudaError_t launch_gate_rotate(const GateRotateParams& params, cudaStream_t stream) {
  return launch(gate_rotate_kernel, dim3(static_cast<unsigned>(params.n_rows)), kRotateThreads, 0, stream,
                params);
}

cudaError_t launch_gate_select(const GateSelectParams& params, cudaStream_t stream) {
  switch (params.d_gate) {
    case 64:
      return launch_select<64>(params, stream);
    case 96:
      return launch_select<96>(params, stream);
    case 128:
      return launch_select<128>(params, stream);
    case 256:
      return launch_select<256>(params, stream);
    default:
      assert(false && "the backend refuses other gate sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
