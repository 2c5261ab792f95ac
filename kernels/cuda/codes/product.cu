// Products of up to 16 rows with codes: bound by reading the codes once, which are widened to float16 in
// registers and multiplied by tensor cores. A block takes 16 rows of the weight at a time, or 8 of gate and
// the 8 of up that belong to them, and its warps divide their chunks. DESIGN.md next to this file has the
// arithmetic.
#include <algorithm>
#include <bit>
#include <cassert>
#include <climits>
#include <type_traits>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/codes/decode.cuh"
#include "kernels/cuda/codes/stage.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/cp_async.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

// What one lane multiplies, and a tile's sums so far of its warp.
template <DType kType, int kTiles, int kParts, class Pair>
struct Product {
  static constexpr bool kShared = std::is_same_v<Pair, __half2>;
  static constexpr int kScales = kParts == 0 ? 1 : kParts;

  // Products that follow one another on the same sums wait for each other, so there are two sets of sums.
  // (One would do for more tiles, but a row's result shall not depend on how many rows there are.)
  float even[kTiles][4], odd[kTiles][4];
  // The lane's inputs of chunk 0 in each tile's row of x: float16 in shared memory, or bf16 in global memory
  // up to x_end.
  const uint16_t* x[kTiles];
  int x_end;

  __device__ void begin(const uint16_t* first, int64_t pitch, int n, int d_in, int lane) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
      x[i] = first + min(i * 8 + g, n - 1) * pitch + t * (kType == DType::kU4 ? 8 : 16);
    x_end = d_in - t * (kType == DType::kU4 ? 8 : 16);
  }
  __device__ void clear() {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) even[i][e] = odd[i][e] = 0.0F;
  }
  __device__ float total(int tile, int e) const { return even[tile][e] + odd[tile][e]; }

  __device__ static void fold(float (&sum)[kTiles][4], float (&part)[kTiles][4], const float (&scale)[2]) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        sum[i][e] += scale[e / 2] * part[i][e];
        part[i][e] = 0.0F;
      }
  }

  // Eight inputs of one row of x: k is the first, counted from the lane's first.
  __device__ __forceinline__ uint4 inputs(int tile, int k) const {
    if (!kShared && k >= x_end) return uint4{0, 0, 0, 0};
    return *reinterpret_cast<const uint4*>(x[tile] + k);
  }

  __device__ __forceinline__ static void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                             uint32_t b1) {
    if constexpr (kShared) {
      ptx::mma_16x8x16_f16(c, a, b0, b1);
    } else {
      ptx::mma_16x8x16(c, a, b0, b1);
    }
  }

  // a and b: the lane's 16 bytes of its two rows' chunk.
  __device__ __forceinline__ void multiply(const uint4& a, const uint4& b, int chunk,
                                           const float (&scale)[kScales][2],
                                           const ZeroPair<Pair> (&zeros)[kScales][2]) {
    const uint32_t wa[4] = {a.x, a.y, a.z, a.w}, wb[4] = {b.x, b.y, b.z, b.w};
    float part_even[kTiles][4] = {}, part_odd[kTiles][4] = {};
    constexpr int kSteps = kType == DType::kU4 ? 4 : 2;  // of eight codes a lane
#pragma unroll
    for (int j = 0; j < kSteps; ++j) {
      uint32_t pa[4], pb[4];
      if constexpr (kType == DType::kU4) {
        constexpr int kWords = 4 / kScales;  // that share a scale
        decode_u4(pa, wa[j], zeros[j / kWords][0]);
        decode_u4(pb, wb[j], zeros[j / kWords][1]);
      } else {
        Decode<kType, Pair>::four(pa[0], pa[1], wa[2 * j]);
        Decode<kType, Pair>::four(pa[2], pa[3], wa[2 * j + 1]);
        Decode<kType, Pair>::four(pb[0], pb[1], wb[2 * j]);
        Decode<kType, Pair>::four(pb[2], pb[3], wb[2 * j + 1]);
      }
      const int k = chunk * kChunkCodes<kType> + j * (kType == DType::kU4 ? 32 : 8);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4 v = inputs(i, k);
        const uint32_t first[4] = {pa[0], pb[0], pa[1], pb[1]}, second[4] = {pa[2], pb[2], pa[3], pb[3]};
        if constexpr (kParts == 0) {
          mma(even[i], first, v.x, v.y);
          mma(odd[i], second, v.z, v.w);
        } else {
          mma(part_even[i], first, v.x, v.y);
          mma(part_odd[i], second, v.z, v.w);
        }
      }
      if constexpr (kParts > 1)
        if ((j + 1) % (kSteps / kParts) == 0) {
          fold(even, part_even, scale[j / (kSteps / kParts)]);
          fold(odd, part_odd, scale[j / (kSteps / kParts)]);
        }
    }
    if constexpr (kParts == 1) {
      fold(even, part_even, scale[0]);
      fold(odd, part_odd, scale[0]);
    }
  }
};

// What one lane asks for, in the order in which its warp will multiply it: codes, which it multiplies itself,
// and scales, which the warp shares.
template <int kParts>
struct Feed {
  const char* codes[2] = {};      // of the next chunk, in the lane's two rows
  const float* scales = nullptr;  // of group 0, in row lane % 16 of the tile
  int tile, chunk;

  __device__ void begin_tile(const Kernel& k, int lane) {
    const int64_t offset = static_cast<int64_t>(chunk) * CodeMatrix::kChunkBytes + lane % 4 * 16;
#pragma unroll
    for (int r = 0; r < 2; ++r)
      codes[r] =
          static_cast<const char*>(k.p.w.codes) + k.weight_row(tile, lane / 4 + 8 * r) * k.pitch + offset;
    if (kParts != 0) scales = k.p.w.scale + k.weight_row(tile, lane % kTileRows);
  }

  // Fills a stage of the warp's ring, and goes on to the next chunk.
  __device__ __forceinline__ void fill(uint32_t stage, const Kernel& k, int lane) {
    ptx::cp_async_16(stage + lane * 16, codes[0], true);
    ptx::cp_async_16(stage + kChunkBytes / 2 + lane * 16, codes[1], true);
#pragma unroll
    for (int i = 0; i < (kParts + 1) / 2; ++i) {
      const int part = 2 * i + lane / kTileRows;
      if (part < kParts)
        ptx::cp_async_4(stage + kChunkBytes + (i * 32 + lane) * 4,
                        scales + k.group_begin<kParts>(chunk, part));
    }
    codes[0] += kWarps * CodeMatrix::kChunkBytes;
    codes[1] += kWarps * CodeMatrix::kChunkBytes;
    chunk += kWarps;
  }
};

// One output of the tile: the sum of what the warps have.
template <int kTiles>
__device__ __forceinline__ float total(const float* partial, int column, int row) {
  float sum = 0.0F;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += partial[(w * kTiles * 8 + column) * kPartialPitch + row];
  return sum;
}

template <int kTiles>
__device__ void store_tile(const float* partial, const float* factor, int64_t tile, bool scaled,
                           const CodeRowsParams& p) {
  const int i = static_cast<int>(threadIdx.x), column = i / kTileRows, r = i % kTileRows;
  if (column >= p.n || i >= kTiles * 8 * kTileRows) return;
  const auto value = [&](int row_in_tile, int64_t row) {
    float v = total<kTiles>(partial, column, row_in_tile) * factor[column];
    if (!scaled) v *= p.w.scale[row];
    return p.bias == nullptr ? v : v + __bfloat162float(static_cast<const Bf16*>(p.bias)[row]);
  };
  if (p.swiglu) {
    const int64_t half = p.w.d_out / 2, unit = tile * 8 + r;
    if (r >= 8 || unit >= half) return;
    const float gate = value(r, unit), up = value(r + 8, unit + half);
    static_cast<Bf16*>(p.out)[column * half + unit] = __float2bfloat16(gate * up / (1.0F + __expf(-gate)));
    return;
  }
  const int64_t row = tile * kTileRows + r;
  if (row >= p.w.d_out) return;
  const float v = value(r, row);
  const int64_t at = column * p.w.d_out + row;
  if (p.float_out) {
    static_cast<float*>(p.out)[at] = v;
  } else {
    Bf16* out = static_cast<Bf16*>(p.out) + at;
    *out = __float2bfloat16(p.accumulate ? v + __bfloat162float(*out) : v);
  }
}

// kParts: scales of a row's chunk, whose sums are folded one by one; 0 if a row has one scale, which its
// outputs are multiplied by. Pair: __half2 if inputs are in shared memory, else __nv_bfloat162.
template <DType kType, int kTiles, int kParts, class Pair>
__global__ void __launch_bounds__(kThreads, 1) code_rows_kernel(const Kernel k) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ Staging staging;
  using Lane = Product<kType, kTiles, kParts, Pair>;
  const CodeRowsParams& p = k.p;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;
  constexpr int kStageBytes = stage_bytes(kParts);
  constexpr int kStages = stages_of(kType);
  unsigned char* ring = shared + warp * kStages * kStageBytes;
  auto* partial = reinterpret_cast<float*>(shared + ring_bytes(kType, kParts));
  constexpr int kPartialFloats = kWarps * kTiles * 8 * kPartialPitch;
  auto* shared_x = reinterpret_cast<uint16_t*>(partial + 2 * kPartialFloats);

  const int n_chunks = static_cast<int>(k.pitch / CodeMatrix::kChunkBytes);
  const int n_units = p.swiglu ? k.d_out / 2 : k.d_out, per_tile = p.swiglu ? 8 : kTileRows;
  const int n_tiles = (n_units + per_tile - 1) / per_tile;
  const int first_tile = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);

  Feed<kParts> feed;
  feed.tile = warp < n_chunks ? first_tile : n_tiles;
  feed.chunk = warp;
  if (feed.tile < n_tiles) feed.begin_tile(k, lane);
  const uint32_t ring_address = ptx::shared_address(ring);
  const auto fill = [&](int stage) {
    if (feed.tile < n_tiles) {
      feed.fill(ring_address + stage * kStageBytes, k, lane);
      if (feed.chunk >= n_chunks) {
        feed.chunk = warp;
        feed.tile += step;
        if (feed.tile < n_tiles) feed.begin_tile(k, lane);
      }
    }
    ptx::cp_async_commit();
  };
#pragma unroll
  for (int s = 0; s < kStages; ++s) fill(s);
  ptx::let_next_kernel_start();
  auto* shared_norm = p.norm == nullptr ? nullptr : reinterpret_cast<Bf16*>(shared_x + p.n * k.x_pitch);
  if (shared_norm != nullptr)
    for (int64_t i = threadIdx.x * 8; i < p.w.d_in; i += kThreads * 8)
      store8(shared_norm + i, load8(static_cast<const Bf16*>(p.norm) + i));
  if (threadIdx.x < kMostCodeRows) staging.factor[threadIdx.x] = 1.0F;
  ptx::wait_for_previous_kernel();
  __syncthreads();
  if (Lane::kShared) stage_inputs(reinterpret_cast<__half*>(shared_x), shared_norm, &staging, k);

  Lane product;
  product.begin(Lane::kShared ? shared_x : static_cast<const uint16_t*>(p.x),
                Lane::kShared ? k.x_pitch : p.w.d_in, p.n, static_cast<int>(p.w.d_in), lane);
  // Of the lane's two rows, the zeros of a chunk.
  uint32_t zeros[Lane::kScales][2];
  const auto load_zeros = [&](int tile, int chunk) {
#pragma unroll
    for (int i = 0; i < Lane::kScales; ++i)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int begin = kParts == 0 ? 0 : k.group_begin<kParts>(chunk, i);
        zeros[i][r] = p.w.zero == nullptr ? 8U : p.w.zero[begin + k.weight_row(tile, g + 8 * r)];
      }
  };
  if (kType == DType::kU4 && warp < n_chunks && first_tile < n_tiles) load_zeros(first_tile, warp);
  int stage = 0, set = 0;
  for (int tile = first_tile; tile < n_tiles; tile += step, set ^= 1) {
    product.clear();
    for (int chunk = warp; chunk < n_chunks; chunk += kWarps) {
      ZeroPair<Pair> now_zeros[Lane::kScales][2];
      if constexpr (kType == DType::kU4) {
#pragma unroll
        for (int i = 0; i < Lane::kScales; ++i)
#pragma unroll
          for (int r = 0; r < 2; ++r) now_zeros[i][r] = ZeroPair<Pair>::of(zeros[i][r]);
        // Those of the next chunk are on their way during this one's products.
        const bool more = chunk + kWarps < n_chunks;
        if (p.w.zero != nullptr && (more || tile + step < n_tiles))
          load_zeros(more ? tile : tile + step, more ? chunk + kWarps : warp);
      }
      ptx::cp_async_wait<kStages - 1>();
      if (kParts != 0) __syncwarp();  // other lanes' scales have come too
      const unsigned char* from = ring + stage * kStageBytes;
      const uint4 a = *reinterpret_cast<const uint4*>(from + lane * 16),
                  b = *reinterpret_cast<const uint4*>(from + kChunkBytes / 2 + lane * 16);
      float scale[Lane::kScales][2];
#pragma unroll
      for (int i = 0; i < kParts; ++i)
#pragma unroll
        for (int r = 0; r < 2; ++r)
          scale[i][r] = reinterpret_cast<const float*>(from + kChunkBytes)[i * kTileRows + g + 8 * r];
      product.multiply(a, b, chunk, scale, now_zeros);
      if (kParts != 0) __syncwarp();  // other lanes have read theirs
      fill(stage);
      if (++stage == kStages) stage = 0;
    }
    float* mine = partial + set * kPartialFloats + warp * kTiles * 8 * kPartialPitch;
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        mine[(i * 8 + 2 * t + e % 2) * kPartialPitch + g + e / 2 * 8] = product.total(i, e);
    // One barrier a tile: the other set is written before the next.
    __syncthreads();
    store_tile<kTiles>(partial + set * kPartialFloats, staging.factor, tile, kParts != 0, p);
  }
}

struct Launch {
  Kernel kernel;
  SharedSizes sizes;
  int n_multiprocessors;
  cudaStream_t stream;

  template <DType kType, int kTiles, int kParts, class Pair>
  cudaError_t run() const {
    const auto f = code_rows_kernel<kType, kTiles, kParts, Pair>;
    const cudaError_t error = prefer_shared_memory(f);
    if (error != cudaSuccess) return error;
    return launch(f, dim3(static_cast<unsigned>(n_multiprocessors)), kThreads, static_cast<int>(sizes.bytes),
                  stream, kernel);
  }
  template <DType kType, int kTiles, int kParts>
  cudaError_t tiled() const {
    return sizes.x_pitch != 0 ? run<kType, kTiles, kParts, __half2>()
                              : run<kType, kTiles, kParts, __nv_bfloat162>();
  }
  template <DType kType, int kParts>
  cudaError_t typed() const {
    return tiles_of(kernel.p.n) == 1 ? tiled<kType, 1, kParts>() : tiled<kType, 2, kParts>();
  }
};

}  // namespace

bool code_rows_take_norm(const CodeMatrix& w, int64_t n, int max_shared_bytes) {
  return n <= kMostCodeRows && SharedSizes(w, n, true, max_shared_bytes).x_pitch != 0;
}

cudaError_t launch_code_rows(const CodeRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                             cudaStream_t stream) {
  const CodeMatrix& w = params.w;
  assert(params.n <= kMostCodeRows && code_groups_fit(w.type, w.group, w.d_in));
  const SharedSizes sizes(w, params.n, params.norm != nullptr, max_shared_bytes);
  assert(params.norm == nullptr || sizes.x_pitch != 0);
  assert(w.d_out * w.n_groups() <= INT_MAX);
  const int64_t chunk = CodeMatrix::kChunkBytes * 8 / dtype_bits(w.type);
  const auto chunks_a_group = static_cast<uint64_t>(std::max<int64_t>(w.group / chunk, 1));
  const Kernel kernel{params,
                      w.pitch(),
                      static_cast<int>(w.d_out),
                      static_cast<int>(w.n_groups()),
                      std::countr_zero(chunks_a_group),
                      sizes.x_pitch};
  const Launch l{kernel, sizes, n_multiprocessors, stream};
  const int parts = parts_of(w);
  switch (w.type) {
    case DType::kF8E4M3:
      return parts == 0 ? l.typed<DType::kF8E4M3, 0>() : l.typed<DType::kF8E4M3, 1>();
    case DType::kI8:
      return l.typed<DType::kI8, 0>();
    default:
      return parts == 0   ? l.typed<DType::kU4, 0>()
             : parts == 4 ? l.typed<DType::kU4, 4>()
             : parts == 2 ? l.typed<DType::kU4, 2>()
                          : l.typed<DType::kU4, 1>();
  }
}

}  // namespace seer::cuda
