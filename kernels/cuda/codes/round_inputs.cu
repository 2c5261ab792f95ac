// Rounds the inputs of FP8 products. In one pass over memory it makes each row, finds its largest magnitude,
// and writes its codes.
#include <cuda_fp8.h>

#include <cassert>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/input_codes.h"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

// Threads of a block, which takes one row. A few rows leave most of the GPU idle, and take as long as one
// row. So their blocks have more threads, each with eight numbers once or twice.
constexpr int kThreads = 256, kThreadsOfFewRows = 1024;
constexpr int64_t kFewRows = 256;
constexpr int kGroup = 128;  // inputs that share a scale in kE4M3Token128: those of 16 lanes

enum class Source : uint8_t { kPlain, kNorm, kSwiglu };

__device__ __forceinline__ float largest(const Bf16x8& v) {
  float f[8];
  v.to_floats(f);
  return largest_magnitude(f);
}

__device__ __forceinline__ float token_scale(float most) {
  return fmaxf(__fdiv_rn(most, kLargestE4M3), kLeastE4M3Scale);
}

// Returns the nearest codes, ties to even. Numbers that are too large saturate.
__device__ __forceinline__ uint2 to_codes(const Bf16x8& v, float scale) {
  float f[8];
  v.to_floats(f);
  uint32_t words[2] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = {__fdiv_rn(f[2 * i], scale), __fdiv_rn(f[2 * i + 1], scale)};
    words[i / 2] |= static_cast<uint32_t>(__nv_cvt_float2_to_fp8x2(pair, __NV_SATFINITE, __NV_E4M3))
                    << i % 2 * 16;
  }
  return {words[0], words[1]};
}

// The row that is rounded. Each thread makes the eight numbers from `threadIdx.x * 8` on, then the eight
// that lie kThreads * 8 further, and so on. A row that must be read twice waits in shared memory in between,
// where each thread reads what it wrote.
template <Source kSource, int kThreads>
struct InputRow {
  const RoundedInputs& in;
  int64_t row;
  Bf16* kept;
  Bf16x8 first_norm;  // the norm's weights for this thread's first numbers
  float norm_scale;

  // This may be called before the previous kernel has ended, as no kernel of a step writes weights.
  __device__ __forceinline__ InputRow(const RoundedInputs& in, int64_t row, Bf16* kept)
      : in(in), row(row), kept(kept), first_norm{}, norm_scale(0.0F) {
    if (kSource == Source::kNorm && threadIdx.x * 8 < in.d_in)
      first_norm = load8(static_cast<const Bf16*>(in.norm) + threadIdx.x * 8);
  }

  // Must be called once by all threads before make().
  __device__ __forceinline__ void read(float* warps) {
    if constexpr (kSource == Source::kNorm) {
      float squares = 0.0F;
      for (int64_t i = threadIdx.x * 8; i < in.d_in; i += kThreads * 8) {
        const Bf16x8 v = load8(static_cast<const Bf16*>(in.x) + row * in.d_in + i);
        store8(kept + i, v);
        float f[8];
        v.to_floats(f);
#pragma unroll
        for (const float e : f) squares += e * e;
      }
      norm_scale = rsqrtf(block_sum<kThreads>(squares, warps) / static_cast<float>(in.d_in) + in.eps);
    }
  }

  // Returns the numbers from i on.
  __device__ __forceinline__ Bf16x8 make(int64_t i) const {
    const auto* x = static_cast<const Bf16*>(in.x);
    if constexpr (kSource == Source::kPlain) return load8(x + row * in.d_in + i);
    float f[8], other[8];
    if constexpr (kSource == Source::kNorm) {
      load8(kept + i).to_floats(f);
      (i < kThreads * 8 ? first_norm : load8(static_cast<const Bf16*>(in.norm) + i)).to_floats(other);
#pragma unroll
      for (int e = 0; e < 8; ++e) f[e] *= norm_scale * other[e];
    } else {
      load8(x + row * 2 * in.d_in + i).to_floats(f);
      load8(x + (row * 2 + 1) * in.d_in + i).to_floats(other);
#pragma unroll
      for (int e = 0; e < 8; ++e) f[e] *= other[e] / (1.0F + __expf(-f[e]));
    }
    return Bf16x8::from_floats(f);
  }
};

// Stores the one scale of a row in all of its places.
__device__ __forceinline__ void store_scale(float* scales, int64_t row, float scale,
                                            const RoundedInputs& in) {
  if (in.columns == 0) {
    if (threadIdx.x == 0) scales[row] = scale;
    return;
  }
  for (int64_t g = threadIdx.x; g < in.d_in / kGroup; g += blockDim.x) scales[g * in.columns + row] = scale;
}

template <Source kSource, InputCodes kCodes, int kThreads>
__global__ void __launch_bounds__(kThreads)
    round_inputs_kernel(uint8_t* out, int64_t ld_out, float* scales, const RoundedInputs in) {
  extern __shared__ __align__(16) unsigned char shared[];
  __shared__ float warps[2][kThreads / 32];
  auto* kept = reinterpret_cast<Bf16*>(shared);
  const int64_t row = blockIdx.x, d_in = in.d_in;
  ptx::let_next_kernel_start();
  InputRow<kSource, kThreads> inputs(in, row, kept);
  ptx::wait_for_previous_kernel();
  uint8_t* codes = out + row * ld_out;
  inputs.read(warps[0]);
  if constexpr (kCodes == InputCodes::kE4M3Token) {
    float most = 0.0F;
    for (int64_t i = threadIdx.x * 8; i < d_in; i += kThreads * 8) {
      const Bf16x8 v = inputs.make(i);
      store8(kept + i, v);
      most = fmaxf(most, largest(v));
    }
    const float scale = token_scale(block_max<kThreads>(most, warps[1]));
    store_scale(scales, row, scale, in);
    for (int64_t i = threadIdx.x * 8; i < d_in; i += kThreads * 8)
      *reinterpret_cast<uint2*>(codes + i) = to_codes(load8(kept + i), scale);
  } else if constexpr (kCodes == InputCodes::kE4M3Static) {
    store_scale(scales, row, in.static_scale, in);
    for (int64_t i = threadIdx.x * 8; i < d_in; i += kThreads * 8)
      *reinterpret_cast<uint2*>(codes + i) = to_codes(inputs.make(i), in.static_scale);
  } else {
    // All lanes must take part in the comparison within their group, so the loop ends at the end of a group.
    const int64_t end = (d_in + kGroup - 1) / kGroup * kGroup;
    for (int64_t i = threadIdx.x * 8; i - i % kGroup < end; i += kThreads * 8) {
      const bool inside = i < d_in;
      const Bf16x8 v = inside ? inputs.make(i) : Bf16x8{};
      const float scale = token_scale(warp_max<kGroup / 8>(largest(v)));
      if (!inside) continue;
      if (i % kGroup == 0) scales[i / kGroup * in.columns + row] = scale;
      *reinterpret_cast<uint2*>(codes + i) = to_codes(v, scale);
    }
  }
  // Rows are padded with zeros, which are multiplied by zeros of the weight.
  for (int64_t i = d_in + threadIdx.x * 8; i < ld_out; i += kThreads * 8)
    *reinterpret_cast<uint2*>(codes + i) = uint2{0, 0};
}

template <Source kSource, InputCodes kCodes>
cudaError_t launch_codes(void* out, int64_t ld_out, float* scale, const RoundedInputs& in,
                         cudaStream_t stream) {
  const bool keeps = kCodes == InputCodes::kE4M3Token || kSource == Source::kNorm;
  const int shared_bytes = keeps ? static_cast<int>(in.d_in * 2) : 0;
  const bool few = in.n <= kFewRows;
  const auto kernel = few ? round_inputs_kernel<kSource, kCodes, kThreadsOfFewRows>
                          : round_inputs_kernel<kSource, kCodes, kThreads>;
  return launch(kernel, dim3(static_cast<unsigned>(in.n)), few ? kThreadsOfFewRows : kThreads, shared_bytes,
                stream, static_cast<uint8_t*>(out), ld_out, scale, in);
}

template <Source kSource>
cudaError_t launch_source(void* out, int64_t ld_out, float* scale, const RoundedInputs& in,
                          cudaStream_t stream) {
  switch (in.codes) {
    case InputCodes::kE4M3Token:
      return launch_codes<kSource, InputCodes::kE4M3Token>(out, ld_out, scale, in, stream);
    case InputCodes::kE4M3Token128:
      return launch_codes<kSource, InputCodes::kE4M3Token128>(out, ld_out, scale, in, stream);
    case InputCodes::kE4M3Static:
      return launch_codes<kSource, InputCodes::kE4M3Static>(out, ld_out, scale, in, stream);
    default:
      assert(false);
      return cudaErrorInvalidValue;
  }
}

}  // namespace

cudaError_t launch_round_inputs(void* out, int64_t ld_out, float* scale, const RoundedInputs& in,
                                cudaStream_t stream) {
  if (in.swiglu) return launch_source<Source::kSwiglu>(out, ld_out, scale, in, stream);
  if (in.norm != nullptr) return launch_source<Source::kNorm>(out, ld_out, scale, in, stream);
  return launch_source<Source::kPlain>(out, ld_out, scale, in, stream);
}

}  // namespace seer::cuda
