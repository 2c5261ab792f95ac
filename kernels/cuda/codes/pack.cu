// The layout of codes on a GPU.
//
// Codes of 8 bits are in order. Of 4 bits, the product kernel's lane t of four takes 16 bytes of each chunk
// of 128 codes, and word j of these holds codes 32 j + 8 t to 32 j + 8 t + 7: so the four lanes multiply 32
// codes that lie together at a time, which share a scale in every format. In a word, nibbles 0 to 7 hold its
// codes 0, 2, 4, 6, 1, 3, 5, 7. So a shift and a mask bring the codes of a pair to the last bits of two bf16
// numbers.
#include <bit>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/codes/decode.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256;

dim3 blocks_for(int64_t n) { return {static_cast<unsigned>((n + kThreads - 1) / kThreads)}; }

__device__ int64_t thread_index() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

// Returns the place, in a row of a CodeMatrix, of the word with codes 8 m to 8 m + 7.
__device__ int64_t word_of(int64_t m) {
  const int64_t chunk = m / 16, j = m % 16 / 4, t = m % 4;
  return chunk * 16 + t * 4 + j;
}

// Each thread writes one word of the output, which has n_words in each row. Words beyond the input's get
// codes of 8, which are multiplied by zeros.
__global__ void __launch_bounds__(kThreads)
    pack_u4_kernel(uint32_t* out, const uint32_t* in, int64_t n_rows, int64_t n_words, int64_t n_words_in) {
  const int64_t i = thread_index();
  if (i >= n_rows * n_words) return;
  const int64_t row = i / n_words, m = i % n_words;
  uint32_t packed = 0x88888888U;
  if (m < n_words_in) {
    const uint32_t codes = in[row * n_words_in + m];
    packed = 0;
#pragma unroll
    for (int c = 0; c < 8; ++c) packed |= (codes >> 4 * c & 15U) << 4 * (c / 2 + c % 2 * 4);
  }
  out[row * n_words + word_of(m)] = packed;
}

// Each thread writes eight bytes of the output.
__global__ void __launch_bounds__(kThreads)
    pad_rows_kernel(uint2* out, const uint2* in, int64_t n_rows, int64_t n_out, int64_t n_in) {
  const int64_t i = thread_index();
  if (i >= n_rows * n_out) return;
  const int64_t row = i / n_out, m = i % n_out;
  out[i] = m < n_in ? in[row * n_in + m] : uint2{0, 0};
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    transpose_kernel(T* out, int64_t ld, const T* in, int64_t n_rows, int64_t n_columns) {
  const int64_t i = thread_index();
  if (i >= n_rows * n_columns) return;
  const int64_t column = i / n_rows, row = i % n_rows;
  out[column * ld + row] = in[row * n_columns + column];
}

// Each thread takes eight weights.
template <DType kType>
__global__ void __launch_bounds__(kThreads)
    to_bf16_kernel(__nv_bfloat16* out, CodeMatrix w, int64_t pitch, int64_t n) {
  const int64_t i = thread_index(), per_row = w.d_in / 8;
  if (i >= n) return;
  const int64_t row = i / per_row, m = i % per_row, at = m * 8 / w.group * w.d_out + row;
  const uint32_t* words = reinterpret_cast<const uint32_t*>(static_cast<const char*>(w.codes) + row * pitch);
  alignas(16) uint32_t pairs[4];
  if constexpr (kType == DType::kU4) {
    decode_u4(pairs, words[word_of(m)], ZeroPair<__nv_bfloat162>::of(w.zero == nullptr ? 8 : w.zero[at]));
  } else {
    Decode<kType, __nv_bfloat162>::four(pairs[0], pairs[1], words[2 * m]);
    Decode<kType, __nv_bfloat162>::four(pairs[2], pairs[3], words[2 * m + 1]);
  }
  const float scale = w.scale[at];
  float weights[8];
  reinterpret_cast<const Bf16x8*>(pairs)->to_floats(weights);
#pragma unroll
  for (float& f : weights) f *= scale;
  store8(out + row * w.d_in + m * 8, Bf16x8::from_floats(weights));
}

__global__ void __launch_bounds__(kThreads)
    spread_scales_kernel(float* out, const float* scale, int64_t d_out, int64_t n) {
  const int64_t i = thread_index();
  if (i < n) out[i] = scale[i % d_out];
}

template <class T>
cudaError_t transpose(T* out, int64_t ld, const T* in, int64_t n_rows, int64_t n_columns,
                      cudaStream_t stream) {
  transpose_kernel<<<blocks_for(n_rows * n_columns), kThreads, 0, stream>>>(out, ld, in, n_rows, n_columns);
  return cudaPeekAtLastError();
}

}  // namespace

bool code_groups_fit(DType type, int64_t group, int64_t d_in) {
  if (group >= d_in) return true;
  const int64_t least = type == DType::kU4 ? 32 : 64;
  return type != DType::kI8 && group >= least && std::has_single_bit(static_cast<uint64_t>(group));
}

cudaError_t launch_pack_codes(void* out, const void* in, DType type, int64_t n_rows, int64_t d_in,
                              cudaStream_t stream) {
  const int64_t pitch = CodeMatrix::code_pitch(type, d_in);
  if (type == DType::kU4) {
    pack_u4_kernel<<<blocks_for(n_rows * pitch / 4), kThreads, 0, stream>>>(
        static_cast<uint32_t*>(out), static_cast<const uint32_t*>(in), n_rows, pitch / 4, d_in / 8);
  } else {
    pad_rows_kernel<<<blocks_for(n_rows * pitch / 8), kThreads, 0, stream>>>(
        static_cast<uint2*>(out), static_cast<const uint2*>(in), n_rows, pitch / 8, d_in / 8);
  }
  return cudaPeekAtLastError();
}

cudaError_t launch_transpose(float* out, int64_t ld, const float* in, int64_t n_rows, int64_t n_columns,
                             cudaStream_t stream) {
  return transpose(out, ld, in, n_rows, n_columns, stream);
}

cudaError_t launch_transpose(uint8_t* out, int64_t ld, const uint8_t* in, int64_t n_rows, int64_t n_columns,
                             cudaStream_t stream) {
  return transpose(out, ld, in, n_rows, n_columns, stream);
}

cudaError_t launch_spread_scales(const CodeMatrix& w, cudaStream_t stream) {
  const int64_t n = w.d_in / CodeMatrix::kSpreadGroup * w.d_out;
  spread_scales_kernel<<<blocks_for(n), kThreads, 0, stream>>>(w.spread_scale(), w.scale, w.d_out, n);
  return cudaPeekAtLastError();
}

cudaError_t launch_to_bf16(void* out, const CodeMatrix& w, cudaStream_t stream) {
  const int64_t n = w.d_out * w.d_in / 8;
  const auto kernel = w.type == DType::kU4   ? to_bf16_kernel<DType::kU4>
                      : w.type == DType::kI8 ? to_bf16_kernel<DType::kI8>
                                             : to_bf16_kernel<DType::kF8E4M3>;
  kernel<<<blocks_for(n), kThreads, 0, stream>>>(static_cast<__nv_bfloat16*>(out), w, w.pitch(), n);
  return cudaPeekAtLastError();
}

}  // namespace seer::cuda
