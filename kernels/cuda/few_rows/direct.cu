// Every warp takes whole rows of the weight, one after another, so that a multiprocessor reads its share of
// the matrix as one steady stream. The input is in shared memory.
//
// Weights do not depend on the kernel before this one. So a block asks for its first ones before it waits for
// that kernel: some go into registers, more into L2. The prefetch into L2 is meant to keep memory busy during
// attention, which reads little at short contexts. (No measurement shows that it pays: asking for a row for
// each warp or for 32 MB made no difference to decoding on an H100.)
#include "kernels/cuda/few_rows/common.cuh"

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

// With 4 rows, reading the inputs from shared memory delays the stream, and cuBLASLt is faster.
constexpr int kMaxRows = 2;
constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kUnroll = 8;               // 16-byte loads that a lane has in flight
constexpr int kStep = kUnroll * 32 * 8;  // elements of a weight row that a warp takes at once
// This is more than half of a multiprocessor's shared memory, so that no two of these blocks share a
// multiprocessor while another one is idle.
constexpr int kMinSharedBytes = 120 << 10;
// Prefetched by all blocks together: as much as L2 holds next to other data.
constexpr int64_t kPrefetchBytes = int64_t{32} << 20;

// Element i of lane l's load u of a step lies at u * 256 + l * 8 + i: each load of a warp is 512 consecutive
// bytes.
__device__ __forceinline__ void load_weights(Bf16x8 (&w)[kUnroll], const Bf16* row, int64_t at, int64_t d_in,
                                             int lane) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int64_t k = at + u * 256 + lane * 8;
    w[u] = k < d_in ? load8_streaming(row + k) : Bf16x8{};
  }
}

template <int kRows>
__device__ __forceinline__ void multiply(float (&acc)[kRows], const Bf16x8 (&w)[kUnroll], const Bf16* x,
                                         int64_t at, int64_t d_in, int lane) {
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int64_t k = at + u * 256 + lane * 8;
    if (k >= d_in) break;
    float wf[8];
    w[u].to_floats(wf);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float xf[8];
      load8(x + r * d_in + k).to_floats(xf);
#pragma unroll
      for (int i = 0; i < 8; ++i) acc[r] += wf[i] * xf[i];
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kThreads, 1) few_rows_kernel(const FewRowsParams p) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float warps[kWarps];
  auto* x = reinterpret_cast<Bf16*>(shared);  // [kRows, d_in], then the norm's [d_in]
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const auto* weight = static_cast<const Bf16*>(p.weight);
  const int64_t n_units = few_rows_units(p);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kWarps + warp,
                stride = static_cast<int64_t>(gridDim.x) * kWarps;

  Bf16x8 w[kUnroll];
  if (first < n_units) load_weights(w, weight + first * p.d_in, 0, p.d_in, lane);
  ptx::let_next_kernel_start();
  const int64_t n_ahead = kPrefetchBytes / (stride * p.d_in * 2);  // rows that each warp prefetches
  if (lane == 0)
    for (int64_t i = 0; i < (n_ahead > 1 ? n_ahead : 1) && first + i * stride < n_units; ++i)
      ptx::prefetch_l2(weight + (first + i * stride) * p.d_in, static_cast<uint32_t>(p.d_in * 2));
  Bf16* norm = x + kRows * p.d_in;
  if (p.norm != nullptr)
    for (int64_t k = threadIdx.x * 8; k < p.d_in; k += kThreads * 8)
      store8(norm + k, load8(static_cast<const Bf16*>(p.norm) + k));
  ptx::wait_for_previous_kernel();
  stage_input<kRows, kThreads>(x, norm, warps, p);

  // `w` holds the first step of the row that is multiplied next.
  const auto dot = [&](float(&acc)[kRows], int64_t row, int64_t next_row) {
#pragma unroll
    for (float& a : acc) a = 0.0F;
    for (int64_t at = 0; at < p.d_in; at += kStep) {
      multiply<kRows>(acc, w, x, at, p.d_in, lane);
      if (at + kStep < p.d_in) {
        load_weights(w, weight + row * p.d_in, at + kStep, p.d_in, lane);
      } else if (next_row >= 0) {
        load_weights(w, weight + next_row * p.d_in, 0, p.d_in, lane);
      }
    }
#pragma unroll
    for (float& a : acc) a = warp_sum(a);
    if (p.bias != nullptr) {
      const float b = __bfloat162float(static_cast<const Bf16*>(p.bias)[row]);
#pragma unroll
      for (float& a : acc) a += b;
    }
  };

  for (int64_t unit = first; unit < n_units; unit += stride) {
    const int64_t next = unit + stride < n_units ? unit + stride : -1;
    float acc[kRows], before[kRows] = {};
    if (lane == 0) load_unit<kRows>(before, unit, p);
    if (p.swiglu) {
      float up[kRows];
      dot(acc, unit, unit + n_units);
      dot(up, unit + n_units, next);
#pragma unroll
      for (int r = 0; r < kRows; ++r) acc[r] *= up[r] / (1.0F + __expf(-acc[r]));
    } else {
      dot(acc, unit, next);
    }
    if (lane == 0) store_unit<kRows>(acc, before, unit, p);
  }
}

template <int kRows>
cudaError_t launch_rows(const FewRowsParams& p, int n_multiprocessors, int max_shared_bytes,
                        cudaStream_t stream) {
  const int shared_bytes =
      std::max(static_cast<int>((kRows + 1) * p.d_in * 2), std::min(kMinSharedBytes, max_shared_bytes));
  return launch(few_rows_kernel<kRows>, dim3(static_cast<unsigned>(n_multiprocessors)), kThreads,
                shared_bytes, stream, p);
}

}  // namespace

bool few_rows_direct_fits(int64_t n, int64_t d_in, int max_shared_bytes) {
  return n <= kMaxRows && (n + 1) * d_in * 2 <= max_shared_bytes;
}

cudaError_t launch_few_rows_direct(const FewRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                                   cudaStream_t stream) {
  return params.n == 1 ? launch_rows<1>(params, n_multiprocessors, max_shared_bytes, stream)
                       : launch_rows<2>(params, n_multiprocessors, max_shared_bytes, stream);
}

}  // namespace seer::cuda
