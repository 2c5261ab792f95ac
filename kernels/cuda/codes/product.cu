// Products of up to 16 rows with codes: bound by reading the codes once, which are widened to bf16 in
// registers and multiplied by tensor cores. A block takes 16 rows of the weight at a time, or 8 of gate and
// the 8 of up that belong to them, and its warps divide their chunks. DESIGN.md next to this file has the
// arithmetic.
#include <algorithm>
#include <cassert>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/codes/decode.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/cp_async.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kTileRows = 16;
constexpr int kStages = 6;                   // of a warp's ring
constexpr int kStageBytes = kTileRows * 64;  // a chunk of 16 rows
constexpr int kRingBytes = kWarps * kStages * kStageBytes;
constexpr int kPartialPitch = 20;  // floats from column to column: lanes of a store hit all banks

template <DType kType>
constexpr int kChunkCodes = kType == DType::kU4 ? 128 : 64;

// Elements from row to row of inputs in shared memory, so that two neighbouring rows' accesses of 8 lanes
// meet in no bank: lanes read 64 bytes together for codes of 4 bits, and 16 of every 32 for those of 8.
int64_t shared_pitch(const CodeMatrix& w) {
  const int64_t n_chunks = w.pitch() / CodeMatrix::kChunkBytes;
  return w.type == DType::kU4 ? n_chunks * kChunkCodes<DType::kU4> + 32
                              : n_chunks * kChunkCodes<DType::kI8> + 8;
}

int partial_bytes(int n_tiles) { return 2 * kWarps * n_tiles * 8 * kPartialPitch * 4; }

int tiles_of(int64_t n) { return n <= 8 ? 1 : 2; }

// Dynamic shared memory: the ring, two sets of the warps' partial sums, and the inputs and the norm if they
// fit.
struct SharedSizes {
  int64_t x_pitch = 0;  // 0: inputs stay in global memory
  int64_t bytes = 0;

  SharedSizes(const CodeMatrix& w, int64_t n, bool norm, int64_t max_shared_bytes) {
    bytes = kRingBytes + partial_bytes(tiles_of(n));
    const int64_t pitch = shared_pitch(w), inputs = (n + (norm ? 1 : 0)) * pitch * 2;
    if (bytes + inputs > max_shared_bytes) return;
    x_pitch = pitch;
    bytes += inputs;
  }
};

struct Kernel {
  CodeRowsParams p;
  int64_t pitch;
  int n_groups, group;
  int64_t x_pitch;  // of inputs in shared memory, or 0
};

// The row of the weight in row i of a tile.
__device__ __forceinline__ int64_t weight_row(const CodeRowsParams& p, int64_t tile, int i) {
  if (!p.swiglu) return min(tile * kTileRows + i, p.w.d_out - 1);
  const int64_t half = p.w.d_out / 2;
  return min(tile * 8 + i % 8, half - 1) + (i < 8 ? 0 : half);
}

// Copies the inputs to shared memory, with zeros after each row. If there is a norm, which shared memory
// holds already, they are normalised. The warps divide the rows.
__device__ void stage_inputs(Bf16* shared, const Bf16* norm, float* squares, const Kernel& k) {
  const CodeRowsParams& p = k.p;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  int warps_a_row = kWarps;
  while (warps_a_row > 1 && warps_a_row * p.n > kWarps) warps_a_row /= 2;
  const int rows_at_once = kWarps / warps_a_row, part = warp % warps_a_row;
  const int64_t d_in = p.w.d_in;
  for (int first = 0; first < p.n; first += rows_at_once) {
    const int row = first + warp / warps_a_row;
    const bool mine = row < p.n;
    const Bf16* x = static_cast<const Bf16*>(p.x) + row * d_in;
    Bf16* out = shared + row * k.x_pitch;
    float sum = 0.0F;
    for (int64_t i = (part * 32 + lane) * 8; mine && i < k.x_pitch; i += warps_a_row * 256) {
      if (i >= d_in) {
        store8(out + i, Bf16x8{});
        continue;
      }
      const Bf16x8 v = load8(x + i);
      store8(out + i, v);
      float f[8];
      v.to_floats(f);
#pragma unroll
      for (const float e : f) sum += e * e;
    }
    if (norm == nullptr) continue;
    sum = warp_sum(sum);
    if (lane == 0) squares[warp] = sum;
    __syncthreads();
    sum = 0.0F;
    for (int w = warp - part; w < warp - part + warps_a_row; ++w) sum += squares[w];
    const float scale = rsqrtf(sum / static_cast<float>(d_in) + p.eps);
    for (int64_t i = (part * 32 + lane) * 8; mine && i < d_in; i += warps_a_row * 256) {
      float f[8], w[8];
      load8(out + i).to_floats(f);  // this thread's own
      load8(norm + i).to_floats(w);
#pragma unroll
      for (int e = 0; e < 8; ++e) f[e] *= scale * w[e];
      store8(out + i, Bf16x8::from_floats(f));
    }
    __syncthreads();  // `squares` is used again
  }
}

// What one lane multiplies, and a tile's sums so far of its warp.
template <DType kType, int kTiles, int kParts, bool kShared>
struct Product {
  static constexpr int kScales = kParts == 0 ? 1 : kParts;

  // Products that follow one another on the same sums wait for each other, so there are two sets of sums.
  // (One would do for more tiles, but a row's result shall not depend on how many rows there are.)
  float even[kTiles][4], odd[kTiles][4];
  // The lane's inputs of chunk 0 in each tile's row of x; in shared memory, or in global memory up to x_end.
  const Bf16* x[kTiles];
  int x_end;

  __device__ void begin(const Bf16* first, int64_t pitch, int n, int d_in, int lane) {
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

  // a and b: the lane's 16 bytes of its two rows' chunk.
  __device__ __forceinline__ void multiply(const uint4& a, const uint4& b, int chunk,
                                           const float (&scale)[kScales][2],
                                           const uint32_t (&zeros)[kScales][2]) {
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
        const auto decode = kType == DType::kI8 ? decode_i8 : decode_e4m3;
        decode(pa[0], pa[1], wa[2 * j]);
        decode(pa[2], pa[3], wa[2 * j + 1]);
        decode(pb[0], pb[1], wb[2 * j]);
        decode(pb[2], pb[3], wb[2 * j + 1]);
      }
      const int k = chunk * kChunkCodes<kType> + j * (kType == DType::kU4 ? 32 : 8);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4 v = inputs(i, k);
        const uint32_t first[4] = {pa[0], pb[0], pa[1], pb[1]}, second[4] = {pa[2], pb[2], pa[3], pb[3]};
        if constexpr (kParts == 0) {
          ptx::mma_16x8x16(even[i], first, v.x, v.y);
          ptx::mma_16x8x16(odd[i], second, v.z, v.w);
        } else {
          ptx::mma_16x8x16(part_even[i], first, v.x, v.y);
          ptx::mma_16x8x16(part_odd[i], second, v.z, v.w);
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

// The codes that one lane asks for: in the order in which it will multiply them, so it waits for no one else.
struct Feed {
  const char* from[2] = {};  // of the next chunk, in the lane's two rows
  int64_t tile;
  int chunk;

  __device__ void begin_tile(const Kernel& k, int lane) {
    const int64_t offset = static_cast<int64_t>(chunk) * CodeMatrix::kChunkBytes + lane % 4 * 16;
#pragma unroll
    for (int r = 0; r < 2; ++r)
      from[r] =
          static_cast<const char*>(k.p.w.codes) + weight_row(k.p, tile, lane / 4 + 8 * r) * k.pitch + offset;
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
__device__ void store_tile(const float* partial, int64_t tile, bool scaled, const CodeRowsParams& p) {
  const int i = static_cast<int>(threadIdx.x), column = i / kTileRows, r = i % kTileRows;
  if (column >= p.n || i >= kTiles * 8 * kTileRows) return;
  const auto value = [&](int row_in_tile, int64_t row) {
    float v = total<kTiles>(partial, column, row_in_tile);
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
// outputs are multiplied by. kShared: inputs are in shared memory.
template <DType kType, int kTiles, int kParts, bool kShared>
__global__ void __launch_bounds__(kThreads, 1) code_rows_kernel(const Kernel k) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ float squares[kWarps];
  using Lane = Product<kType, kTiles, kParts, kShared>;
  const CodeRowsParams& p = k.p;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;
  unsigned char* ring = shared + warp * kStages * kStageBytes + lane * 16;
  auto* partial = reinterpret_cast<float*>(shared + kRingBytes);
  constexpr int kPartialFloats = kWarps * kTiles * 8 * kPartialPitch;
  auto* shared_x = reinterpret_cast<Bf16*>(partial + 2 * kPartialFloats);

  const int n_chunks = static_cast<int>(k.pitch / CodeMatrix::kChunkBytes);
  const int64_t n_units = p.swiglu ? p.w.d_out / 2 : p.w.d_out, per_tile = p.swiglu ? 8 : kTileRows;
  const int64_t n_tiles = (n_units + per_tile - 1) / per_tile, first_tile = blockIdx.x, step = gridDim.x;

  Feed feed;
  feed.tile = warp < n_chunks ? first_tile : n_tiles;
  feed.chunk = warp;
  if (feed.tile < n_tiles) feed.begin_tile(k, lane);
  const uint32_t ring_address = ptx::shared_address(ring);
  const auto fill = [&](int stage) {
    if (feed.tile < n_tiles) {
      ptx::cp_async_16(ring_address + stage * kStageBytes, feed.from[0], true);
      ptx::cp_async_16(ring_address + stage * kStageBytes + kStageBytes / 2, feed.from[1], true);
      feed.from[0] += kWarps * CodeMatrix::kChunkBytes;
      feed.from[1] += kWarps * CodeMatrix::kChunkBytes;
      if ((feed.chunk += kWarps) >= n_chunks) {
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
  Bf16* shared_norm = p.norm == nullptr ? nullptr : shared_x + p.n * k.x_pitch;
  if (shared_norm != nullptr)
    for (int64_t i = threadIdx.x * 8; i < p.w.d_in; i += kThreads * 8)
      store8(shared_norm + i, load8(static_cast<const Bf16*>(p.norm) + i));
  ptx::wait_for_previous_kernel();
  if (kShared) {
    if (shared_norm != nullptr) __syncthreads();
    stage_inputs(shared_x, shared_norm, squares, k);
    __syncthreads();
  }

  Lane product;
  product.begin(kShared ? shared_x : static_cast<const Bf16*>(p.x), kShared ? k.x_pitch : p.w.d_in, p.n,
                static_cast<int>(p.w.d_in), lane);
  float scale[Lane::kScales][2];
  uint32_t zeros[Lane::kScales][2];
  // Of the lane's two rows, the scales and zeros of a chunk.
  const auto load_scales = [&](int64_t tile, int chunk) {
    constexpr int kChunk = kChunkCodes<kType>;
    const int64_t rows[2] = {weight_row(p, tile, g), weight_row(p, tile, g + 8)};
#pragma unroll
    for (int i = 0; i < Lane::kScales; ++i) {
      const int group =
          kParts == 0 ? 0 : min((chunk * kChunk + i * (kChunk / Lane::kScales)) / k.group, k.n_groups - 1);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int64_t at = group * p.w.d_out + rows[r];
        if (kParts != 0) scale[i][r] = p.w.scale[at];
        if (kType == DType::kU4) zeros[i][r] = p.w.zero == nullptr ? 8U : p.w.zero[at];
      }
    }
  };
  if (warp < n_chunks && first_tile < n_tiles) load_scales(first_tile, warp);
  int stage = 0, set = 0;
  for (int64_t tile = first_tile; tile < n_tiles; tile += step, set ^= 1) {
    product.clear();
    for (int chunk = warp; chunk < n_chunks; chunk += kWarps) {
      float now_scale[Lane::kScales][2];
      uint32_t now_zeros[Lane::kScales][2];
#pragma unroll
      for (int i = 0; i < Lane::kScales; ++i)
#pragma unroll
        for (int r = 0; r < 2; ++r) now_scale[i][r] = scale[i][r], now_zeros[i][r] = zero_pair(zeros[i][r]);
      // Those of the next chunk are on their way during this one's products.
      if (kParts != 0 || kType == DType::kU4) {
        const bool more = chunk + kWarps < n_chunks;
        if (more || tile + step < n_tiles)
          load_scales(more ? tile : tile + step, more ? chunk + kWarps : warp);
      }
      ptx::cp_async_wait<kStages - 1>();
      const uint4 a = *reinterpret_cast<const uint4*>(ring + stage * kStageBytes),
                  b = *reinterpret_cast<const uint4*>(ring + stage * kStageBytes + kStageBytes / 2);
      product.multiply(a, b, chunk, now_scale, now_zeros);
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
    store_tile<kTiles>(partial + set * kPartialFloats, tile, kParts != 0, p);
  }
}

struct Launch {
  Kernel kernel;
  SharedSizes sizes;
  int n_multiprocessors;
  cudaStream_t stream;

  template <DType kType, int kTiles, int kParts, bool kShared>
  cudaError_t run() const {
    const auto f = code_rows_kernel<kType, kTiles, kParts, kShared>;
    const cudaError_t error = prefer_shared_memory(f);
    if (error != cudaSuccess) return error;
    return launch(f, dim3(static_cast<unsigned>(n_multiprocessors)), kThreads, static_cast<int>(sizes.bytes),
                  stream, kernel);
  }
  template <DType kType, int kTiles, int kParts>
  cudaError_t tiled() const {
    return sizes.x_pitch != 0 ? run<kType, kTiles, kParts, true>() : run<kType, kTiles, kParts, false>();
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
  const Launch l{{params, w.pitch(), static_cast<int>(w.n_groups()),
                  static_cast<int>(std::min(w.group, w.d_in)), sizes.x_pitch},
                 sizes,
                 n_multiprocessors,
                 stream};
  const bool whole = w.group >= w.d_in;
  switch (w.type) {
    case DType::kF8E4M3:
      return whole ? l.typed<DType::kF8E4M3, 0>() : l.typed<DType::kF8E4M3, 1>();
    case DType::kI8:
      return l.typed<DType::kI8, 0>();
    default:
      return whole           ? l.typed<DType::kU4, 0>()
             : w.group == 32 ? l.typed<DType::kU4, 4>()
             : w.group == 64 ? l.typed<DType::kU4, 2>()
                             : l.typed<DType::kU4, 1>();
  }
}

}  // namespace seer::cuda
