// A decode step is a chain of products whose weights pass once from memory through the multiprocessors, and
// memory must not be idle between two of them. So each warp has a ring in shared memory, which the bulk copy
// engine fills with the rows that the warp will multiply. A multiprocessor has one block: if two blocks of a
// product shared one, another multiprocessor would be idle. DESIGN.md next to this file has the arithmetic.
#include <algorithm>

#include "kernels/cuda/few_rows/common.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/bulk.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"
#include "kernels/cuda/ptx/shared.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kMaxRows = 2;
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kStageElements = 1024;  // elements of one weight row
constexpr int kStageBytes = kStageElements * 2;
constexpr int kMostStages = 16;
constexpr int kLeastStages = 2;
// The first is about half of a multiprocessor's 227 KiB, for inputs and rings. The second is the least that a
// block takes, so that with its static memory two blocks do not fit on a multiprocessor.
constexpr int kHalfSharedBytes = 112 << 10;
constexpr int kMoreThanHalfBytes = 113 << 10;
// The bytes of weights that all blocks together prefetch into L2, besides those in the rings. At short
// contexts attention reads little memory, and takes about as long as memory takes for these bytes.
constexpr int64_t kAheadBytes = int64_t{8} << 20;

// The weight's elements in the order in which one warp multiplies them, a stage at a time.
struct Walk {
  const Bf16* weight;
  int64_t unit, n_units, stride, d_in;
  int n_parts, part = 0;
  int64_t k = 0;

  __device__ bool done() const { return unit >= n_units; }
  __device__ const Bf16* at() const { return weight + (unit + part * n_units) * d_in + k; }
  __device__ uint32_t bytes() const {
    return static_cast<uint32_t>(min(static_cast<int64_t>(kStageElements), d_in - k) * 2);
  }
  __device__ void next() {
    k += kStageElements;
    if (k < d_in) return;
    k = 0;
    if (++part < n_parts) return;
    part = 0;
    unit += stride;
  }
};

// In a chunk of 256 elements, lane l takes [8 l, 8 l + 8). Since the number of chunks is known, all loads can
// be in flight at once.
constexpr int kChunkElements = 256;
constexpr int kChunks = kStageElements / kChunkElements;

template <int kRows, int kChunks>
__device__ __forceinline__ void multiply(float (&acc)[kRows], const Bf16* w, const Bf16* x, int64_t d_in,
                                         int lane) {
  Bf16x8 weights[kChunks];
#pragma unroll
  for (int u = 0; u < kChunks; ++u) weights[u] = load8(w + u * kChunkElements + lane * 8);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    Bf16x8 inputs[kChunks];
#pragma unroll
    for (int u = 0; u < kChunks; ++u) inputs[u] = load8(x + r * d_in + u * kChunkElements + lane * 8);
    float sums[2] = {};
#pragma unroll
    for (int u = 0; u < kChunks; ++u) {
      float wf[8], xf[8];
      weights[u].to_floats(wf);
      inputs[u].to_floats(xf);
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[i % 2] += wf[i] * xf[i];
    }
    acc[r] += sums[0] + sums[1];
  }
}

// Multiplies the last `n` elements of a row, fewer than a stage. Whole chunks come first, because many
// models' widths are no multiple of a stage (3584 is 3.5 stages).
template <int kRows>
__device__ __forceinline__ void multiply_rest(float (&acc)[kRows], const Bf16* w, const Bf16* x, int64_t d_in,
                                              int n, int lane) {
  static_assert(kChunks == 4, "a case for every number of whole chunks");
  switch (n / kChunkElements) {
    case 3:
      multiply<kRows, 3>(acc, w, x, d_in, lane);
      break;
    case 2:
      multiply<kRows, 2>(acc, w, x, d_in, lane);
      break;
    case 1:
      multiply<kRows, 1>(acc, w, x, d_in, lane);
      break;
    default:
      break;
  }
  const int at = n / kChunkElements * kChunkElements + lane * 8;
  if (at >= n) return;
  float wf[8];
  load8(w + at).to_floats(wf);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    float xf[8];
    load8(x + r * d_in + at).to_floats(xf);
#pragma unroll
    for (int i = 0; i < 8; ++i) acc[r] += wf[i] * xf[i];
  }
}

template <int kRows>
__global__ void __launch_bounds__(kThreads, 2)
    few_rows_stream_kernel(const FewRowsParams p, int n_stages, int64_t n_ahead_bytes) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float sums[kWarps];
  // Lane 0 arrives with the number of bytes to come, the copy engine completes them, and the warp waits. The
  // warp itself refills a stage after reading it, so no one waits for an empty stage.
  __shared__ uint64_t full[kWarps][kMostStages];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  unsigned char* ring = shared + warp * n_stages * kStageBytes;
  auto* x =
      reinterpret_cast<Bf16*>(shared + kWarps * n_stages * kStageBytes);  // [kRows, d_in], the norm's [d_in]
  const int64_t n_units = few_rows_units(p), stride = static_cast<int64_t>(gridDim.x) * kWarps;
  Walk coming{static_cast<const Bf16*>(p.weight),
              static_cast<int64_t>(blockIdx.x) * kWarps + warp,
              n_units,
              stride,
              p.d_in,
              p.swiglu ? 2 : 1};
  Walk now = coming;

  const uint64_t policy = ptx::evict_first_policy();
  const auto fill = [&](int stage) {
    if (coming.done()) return;
    if (lane == 0) {
      const uint32_t barrier = ptx::shared_address(&full[warp][stage]);
      ptx::mbarrier_arrive_expect(barrier, coming.bytes());
      ptx::bulk_load(ptx::shared_address(ring + stage * kStageBytes), coming.at(), coming.bytes(), barrier,
                     policy);
    }
    coming.next();
  };
  if (lane == 0) {
    for (int s = 0; s < n_stages; ++s) ptx::mbarrier_init(ptx::shared_address(&full[warp][s]), 1);
    ptx::fence_barrier_init();
  }
  __syncwarp();
  for (int s = 0; s < n_stages; ++s) fill(s);
  ptx::let_next_kernel_start();
  if (lane == 0) {
    Walk ahead = coming;
    for (int64_t bytes = 0; bytes < n_ahead_bytes && !ahead.done(); bytes += kStageBytes) {
      ptx::prefetch_l2(ahead.at(), ahead.bytes());
      ahead.next();
    }
  }
  Bf16* norm = x + kRows * p.d_in;
  if (p.norm != nullptr)
    for (int64_t k = threadIdx.x * 8; k < p.d_in; k += kThreads * 8)
      store8(norm + k, load8(static_cast<const Bf16*>(p.norm) + k));
  ptx::wait_for_previous_kernel();
  stage_input<kRows, kThreads>(x, norm, sums, p);

  int stage = 0;
  uint32_t parity = 0;
  const auto dot = [&](float(&acc)[kRows], int64_t row) {
#pragma unroll
    for (float& a : acc) a = 0.0F;
    const auto wait = [&] {
      ptx::mbarrier_wait(ptx::shared_address(&full[warp][stage]), parity);
      return reinterpret_cast<const Bf16*>(ring + stage * kStageBytes);
    };
    const auto release = [&] {
      __syncwarp();  // all lanes have read the stage
      fill(stage);
      if (++stage == n_stages) {
        stage = 0;
        parity ^= 1U;
      }
    };
    int64_t k = 0;
    for (; k + kStageElements <= p.d_in; k += kStageElements) {
      multiply<kRows, kChunks>(acc, wait(), x + k, p.d_in, lane);
      release();
    }
    if (k < p.d_in) {
      multiply_rest<kRows>(acc, wait(), x + k, p.d_in, static_cast<int>(p.d_in - k), lane);
      release();
    }
#pragma unroll
    for (float& a : acc) a = warp_sum(a);
    if (p.bias != nullptr) {
      const float b = __bfloat162float(static_cast<const Bf16*>(p.bias)[row]);
#pragma unroll
      for (float& a : acc) a += b;
    }
  };

  for (int64_t unit = now.unit; unit < n_units; unit += stride) {
    float acc[kRows], before[kRows] = {};
    if (lane == 0) load_unit<kRows>(before, unit, p);
    dot(acc, unit);
    if (p.swiglu) {
      float up[kRows];
      dot(up, unit + n_units);
#pragma unroll
      for (int r = 0; r < kRows; ++r) acc[r] *= up[r] / (1.0F + __expf(-acc[r]));
    }
    if (lane == 0) store_unit<kRows>(acc, before, unit, p);
  }
}

// Returns the number of stages of a warp's ring that fit next to the inputs: in half of a multiprocessor's
// memory if that is enough, else in all of it. n_vectors counts the inputs, and the norm if there is one.
int stages(int64_t n_vectors, int64_t d_in, int max_shared_bytes) {
  const auto within = [&](int64_t bytes) {
    return static_cast<int>(
        std::clamp<int64_t>((bytes - n_vectors * d_in * 2) / (kWarps * kStageBytes), 0, kMostStages));
  };
  const int half = within(std::min(kHalfSharedBytes, max_shared_bytes));
  return half >= kLeastStages ? half : within(max_shared_bytes);
}

template <int kRows>
cudaError_t launch_rows(const FewRowsParams& p, int n_multiprocessors, int max_shared_bytes,
                        cudaStream_t stream) {
  const int n_vectors = kRows + (p.norm == nullptr ? 0 : 1);
  const int n_stages = stages(n_vectors, p.d_in, max_shared_bytes);
  const int used_bytes = kWarps * n_stages * kStageBytes + static_cast<int>(n_vectors * p.d_in * 2);
  const int shared_bytes = std::max(used_bytes, std::min(kMoreThanHalfBytes, max_shared_bytes));
  const cudaError_t error = prefer_shared_memory(few_rows_stream_kernel<kRows>);
  if (error != cudaSuccess) return error;
  return launch(few_rows_stream_kernel<kRows>, dim3(static_cast<unsigned>(n_multiprocessors)), kThreads,
                shared_bytes, stream, p, n_stages, kAheadBytes / (n_multiprocessors * kWarps));
}

}  // namespace

bool few_rows_stream_fits(int64_t n, int64_t d_in, int max_shared_bytes) {
  return n <= kMaxRows && stages(n + 1, d_in, max_shared_bytes) >= kLeastStages;
}

cudaError_t launch_few_rows_stream(const FewRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                                   cudaStream_t stream) {
  return params.n == 1 ? launch_rows<1>(params, n_multiprocessors, max_shared_bytes, stream)
                       : launch_rows<2>(params, n_multiprocessors, max_shared_bytes, stream);
}

}  // namespace seer::cuda
