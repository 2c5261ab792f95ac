// Products of up to 16 rows with codes. The time is that of reading the codes once; they are widened to
// float16 in registers and multiplied by tensor cores. A block takes 16 rows of the weight at a time (or 8 of
// gate and the 8 of up that belong to them), and its warps divide their chunks. DESIGN.md next to this file
// has the arithmetic.
#include <algorithm>
#include <bit>
#include <cassert>
#include <climits>
#include <type_traits>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/codes/decode.cuh"
#include "kernels/cuda/codes/stage.cuh"
#include "kernels/cuda/codes/store.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/cp_async.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

// The operands of one lane, and its warp's sums of a tile so far.
template <DType kType, int kTiles, int kChunkGroups, class Pair>
struct Product {
  static constexpr bool kShared = std::is_same_v<Pair, __half2>;
  static constexpr int kScales = kChunkGroups == 0 ? 1 : kChunkGroups;
  static constexpr int kVectors = row_bytes(kType) / 64;  // 16-byte vectors that a lane has of a row's chunk
  static constexpr int kSteps = 4;  // steps of a chunk; each takes eight codes for each lane and row
  // The distance in elements from a lane's first input to the next lane's first input.
  static constexpr int kFirst = kType == DType::kU4 ? 8 : 16;

  // Consecutive products on the same sums wait for each other, so there are two sets of sums. (With more
  // tiles one set would do, but a row's result must not depend on how many rows there are.)
  float even[kTiles][4], odd[kTiles][4];
  // The address of the lane's first input, in its row of each tile of eight rows: float16 in shared memory,
  // or bf16 in global memory, where the row ends x_end elements after it.
  const uint16_t* x[kTiles];
  int x_end;

  __device__ void begin(const uint16_t* first, int64_t pitch, int n, int d_in, int lane) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) x[i] = first + min(i * 8 + g, n - 1) * pitch + t * kFirst;
    x_end = d_in - t * kFirst;
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

  // Returns eight inputs of one row of x. `k` is the number of the first, counted from the lane's first.
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

  // Returns how many elements after the lane's first the inputs of step j of a chunk begin.
  __device__ __forceinline__ static constexpr int step_begin(int j) {
    return kType == DType::kU4 ? j * 32 : j / 2 * 64 + j % 2 * 8;
  }

  // Multiplies a chunk. `a` and `b` are the lane's parts of it in its two rows.
  __device__ __forceinline__ void multiply(const uint4 (&a)[kVectors], const uint4 (&b)[kVectors], int chunk,
                                           const float (&scale)[kScales][2],
                                           const ZeroPair<Pair> (&zeros)[kScales][2]) {
    float part_even[kTiles][4] = {}, part_odd[kTiles][4] = {};
#pragma unroll
    for (int j = 0; j < kSteps; ++j) {
      const auto word = [j](const uint4(&v)[kVectors], int i) {
        const int at = j * kVectors + i;
        const uint4& of = v[at / 4];
        return at % 4 == 0 ? of.x : at % 4 == 1 ? of.y : at % 4 == 2 ? of.z : of.w;
      };
      uint32_t pa[4], pb[4];
      if constexpr (kType == DType::kU4) {
        decode_u4(pa, word(a, 0), zeros[j * kScales / kSteps][0]);
        decode_u4(pb, word(b, 0), zeros[j * kScales / kSteps][1]);
      } else {
        Decode<kType, Pair>::four(pa[0], pa[1], word(a, 0));
        Decode<kType, Pair>::four(pa[2], pa[3], word(a, 1));
        Decode<kType, Pair>::four(pb[0], pb[1], word(b, 0));
        Decode<kType, Pair>::four(pb[2], pb[3], word(b, 1));
      }
      const int k = chunk * kChunkCodes + step_begin(j);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const uint4 v = inputs(i, k);
        const uint32_t first[4] = {pa[0], pb[0], pa[1], pb[1]}, second[4] = {pa[2], pb[2], pa[3], pb[3]};
        if constexpr (kChunkGroups == 0) {
          mma(even[i], first, v.x, v.y);
          mma(odd[i], second, v.z, v.w);
        } else {
          mma(part_even[i], first, v.x, v.y);
          mma(part_odd[i], second, v.z, v.w);
        }
      }
      if constexpr (kChunkGroups != 0)
        if ((j + 1) % (kSteps / kChunkGroups) == 0) {
          fold(even, part_even, scale[j / (kSteps / kChunkGroups)]);
          fold(odd, part_odd, scale[j / (kSteps / kChunkGroups)]);
        }
    }
  }
};

// The copies of one lane in the order in which its warp will multiply: codes, and the scales that the warp
// shares.
//
// One copy of all lanes takes contiguous pieces of rows: 128 bytes of 4 rows for codes of 8 bits, or 64 bytes
// of 8 rows for codes of 4 bits. Later, lanes read 16 bytes each of two neighbouring rows at a time. Rows of
// 128 bytes would have these in the same banks, so the halves of odd rows are exchanged.
template <DType kType, int kChunkGroups>
struct Feed {
  static constexpr int kRowBytes = row_bytes(kType), kLanes = kRowBytes / 16, kRowsAtOnce = 32 / kLanes;
  static constexpr int kCopies = kTileRows / kRowsAtOnce;

  const char* codes[kCopies] = {};  // addresses in the next chunk
  const float* scales = nullptr;    // address in group 0, in row lane % 16 of the tile
  int chunk;
  int left;     // chunks still to be loaded
  int to_tile;  // bytes from the end of the warp's last chunk of a tile to its first chunk of the next tile
  int n_chunks, first;

  // Returns the offset in a stage of the 16 bytes `piece` of a row.
  __device__ __forceinline__ static int place(int row, int piece) {
    return row * kRowBytes + (piece ^ (kType == DType::kU4 ? 0 : row % 2 * 4)) * 16;
  }

  __device__ __forceinline__ void begin(const Kernel& k, int warp, int lane, int tile, int n_tiles,
                                        int step) {
    n_chunks = static_cast<int>(k.pitch) / kRowBytes;
    first = chunk = warp;
    const int per_tile = max(0, (n_chunks - warp + kWarps - 1) / kWarps);
    left = per_tile * n_tiles;
    to_tile = step * k.per_tile * static_cast<int>(k.pitch) - per_tile * kWarps * kRowBytes;
    const char* row = static_cast<const char*>(k.p.w.codes) + k.weight_row(tile, lane / kLanes) * k.pitch +
                      warp * kRowBytes + lane % kLanes * 16;
#pragma unroll
    for (int r = 0; r < kCopies; ++r) {
      const int i = kRowsAtOnce * r;
      codes[r] = row + (i % (kTileRows / 2) + i / (kTileRows / 2) * k.upper) * k.pitch;
    }
    if (kChunkGroups != 0) scales = k.p.w.scale + k.weight_row(tile, lane % kTileRows);
  }

  // Starts the copies for a stage of the warp's ring, and advances to the next chunk.
  __device__ __forceinline__ void fill(uint32_t stage, const Kernel& k, int lane, int step) {
    if (left == 0) return;
    --left;
#pragma unroll
    for (int r = 0; r < kCopies; ++r) {
      ptx::cp_async_16(stage + place(lane / kLanes, lane % kLanes) + r * kRowsAtOnce * kRowBytes, codes[r],
                       true);
      codes[r] += kWarps * kRowBytes;
    }
#pragma unroll
    for (int i = 0; i < (kChunkGroups + 1) / 2; ++i) {
      const int group = 2 * i + lane / kTileRows;
      if (group < kChunkGroups)
        ptx::cp_async_4(stage + kTileRows * kRowBytes + (i * 32 + lane) * 4,
                        scales + k.group_begin<kChunkGroups>(chunk, group));
    }
    chunk += kWarps;
    if (chunk < n_chunks) return;
    chunk = first;
#pragma unroll
    for (int r = 0; r < kCopies; ++r) codes[r] += to_tile;
    if (kChunkGroups != 0) scales += step * k.per_tile;
  }
};

// Reads a lane's operands of a chunk from a stage: the codes and scales of its two rows, g and g + 8.
template <class Lane, class Source, int kChunkGroups, int kRowBytes>
__device__ __forceinline__ void read_stage(const unsigned char* from, int g, int t,
                                           uint4 (&a)[Lane::kVectors], uint4 (&b)[Lane::kVectors],
                                           float (&scale)[Lane::kScales][2]) {
#pragma unroll
  for (int i = 0; i < Lane::kVectors; ++i) {
    a[i] = *reinterpret_cast<const uint4*>(from + Source::place(g, t + 4 * i));
    b[i] = *reinterpret_cast<const uint4*>(from + Source::place(g + 8, t + 4 * i));
  }
#pragma unroll
  for (int i = 0; i < kChunkGroups; ++i)
#pragma unroll
    for (int r = 0; r < 2; ++r)
      scale[i][r] = reinterpret_cast<const float*>(from + kTileRows * kRowBytes)[i * kTileRows + g + 8 * r];
}

// Writes a lane's sums of a tile, for n rows of inputs, to its warp's place among the partial sums.
template <class Lane, int kTiles>
__device__ __forceinline__ void write_sums(float* to, const Lane& product, const float (&inverse)[kTiles][2],
                                           int n, int g, int t) {
#pragma unroll
  for (int i = 0; i < kTiles; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if (const int column = i * 8 + 2 * t + e % 2; column < n)
        to[column * kPartialPitch + g + e / 2 * 8] = product.total(i, e) * inverse[i][e % 2];
}

// Scales of whole rows are used when a tile is done. They are prefetched, since a load at that time would
// have to be waited for.
__device__ __forceinline__ void prefetch_row_scales(const Kernel& k, int first_tile, int n_tiles, int step) {
  for (int i = static_cast<int>(threadIdx.x); first_tile + i / 2 * step < n_tiles; i += kThreads)
    ptx::prefetch_l2_line(k.p.w.scale + k.weight_row(first_tile + i / 2 * step, i % 2 * (kTileRows / 2)));
}

// Reads the zeros of a lane's two rows, g and g + 8, in a chunk.
template <class Lane, int kChunkGroups>
__device__ __forceinline__ void read_zeros(const Kernel& k, int tile, int chunk, int g,
                                           uint32_t (&zeros)[Lane::kScales][2]) {
#pragma unroll
  for (int i = 0; i < Lane::kScales; ++i)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int begin = kChunkGroups == 0 ? 0 : k.group_begin<kChunkGroups>(chunk, i);
      zeros[i][r] = k.p.w.zero[begin + k.weight_row(tile, g + 8 * r)];
    }
}

// kChunkGroups: the number of scales that a row has in one chunk, each of which multiplies the sum of its
// group's codes; 0 if a row has a single scale, by which its outputs are multiplied. kZeros: groups of
// 4-bit codes have zeros of their own; else the zero is 8. Pair: __half2 if inputs are in shared memory, else
// __nv_bfloat162.
template <DType kType, int kTiles, int kChunkGroups, bool kZeros, class Pair>
__global__ void __launch_bounds__(kThreads, 1) code_rows_kernel(const Kernel k) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ Staging staging;
  using Lane = Product<kType, kTiles, kChunkGroups, Pair>;
  const CodeRowsParams& p = k.p;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, t = lane % 4;
  using Source = Feed<kType, kChunkGroups>;
  constexpr int kStageBytes = stage_bytes(kType, kChunkGroups);
  // Whether lanes read data that other lanes have copied.
  constexpr bool kSharedStages = kChunkGroups != 0 || kType != DType::kU4;
  unsigned char* ring = shared + warp * kStages * kStageBytes;
  auto* partial = reinterpret_cast<float*>(shared + ring_bytes(kType, kChunkGroups));
  const int batch = tiles_a_batch(p.n), tile_floats = partial_floats(p.n);
  auto* shared_x = reinterpret_cast<uint16_t*>(shared + ring_bytes(kType, kChunkGroups) + partial_bytes(p.n));

  const int n_chunks = static_cast<int>(k.pitch) / row_bytes(kType);
  const int n_units = p.swiglu ? k.d_out / 2 : k.d_out;
  const int n_tiles = (n_units + k.per_tile - 1) / k.per_tile;
  const int first_tile = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);

  Source feed;
  feed.begin(k, warp, lane, first_tile, max(0, (n_tiles - first_tile + step - 1) / step), step);
  const uint32_t ring_address = ptx::shared_address(ring);
  const auto fill = [&](int stage) {
    feed.fill(ring_address + stage * kStageBytes, k, lane, step);
    ptx::cp_async_commit();
  };
#pragma unroll 1
  for (int s = 0; s < kEarlyStages; ++s) fill(s);
  ptx::let_next_kernel_start();
  WarpInputs inputs(k, reinterpret_cast<__half*>(shared_x), &staging, warp, lane);
  if (Lane::kShared) inputs.begin();
  if (kChunkGroups == 0) prefetch_row_scales(k, first_tile, n_tiles, step);
  ptx::wait_for_previous_kernel();
  if (Lane::kShared) inputs.ask();
#pragma unroll 1
  for (int s = kEarlyStages; s < kStages; ++s) fill(s);
  // The inverses of the powers of two by which this warp's inputs are multiplied, for the lane's columns.
  float inverse[kTiles][2];
#pragma unroll
  for (int i = 0; i < kTiles; ++i) inverse[i][0] = inverse[i][1] = 1.0F;
  if (Lane::kShared) inputs.finish(inverse, 2 * t);

  Lane product;
  product.begin(Lane::kShared ? shared_x : static_cast<const uint16_t*>(p.x),
                Lane::kShared ? k.x_pitch : p.w.d_in, p.n, static_cast<int>(p.w.d_in), lane);
  uint32_t zeros[Lane::kScales][2];  // of the lane's two rows in the next chunk
  const auto load_zeros = [&](int tile, int chunk) {
    read_zeros<Lane, kChunkGroups>(k, tile, chunk, g, zeros);
  };
  if (kZeros && warp < n_chunks && first_tile < n_tiles) load_zeros(first_tile, warp);
  int stage = 0, in_batch = 0;
  bool first_batch = true;
  float* sums = partial;  // of the current batch
  for (int tile = first_tile; tile < n_tiles; tile += step) {
    product.clear();
    for (int chunk = warp; chunk < n_chunks; chunk += kWarps) {
      ZeroPair<Pair> now_zeros[Lane::kScales][2];
#pragma unroll
      for (int i = 0; i < Lane::kScales; ++i)
#pragma unroll
        for (int r = 0; r < 2; ++r) now_zeros[i][r] = ZeroPair<Pair>::of(kZeros ? zeros[i][r] : 8U);
      if constexpr (kZeros) {
        // The zeros of the next chunk are loaded during the products of this one.
        const bool more = chunk + kWarps < n_chunks;
        if (more || tile + step < n_tiles)
          load_zeros(more ? tile : tile + step, more ? chunk + kWarps : warp);
      }
      ptx::cp_async_wait<kStages - 1>();
      if (kSharedStages) __syncwarp();  // other lanes' copies have arrived too
      const unsigned char* from = ring + stage * kStageBytes;
      uint4 a[Lane::kVectors], b[Lane::kVectors];
      float scale[Lane::kScales][2];
      read_stage<Lane, Source, kChunkGroups, row_bytes(kType)>(from, g, t, a, b, scale);
      product.multiply(a, b, chunk, scale, now_zeros);
      if (kSharedStages) __syncwarp();  // other lanes have read their parts
      fill(stage);
      if (++stage == kStages) stage = 0;
    }
    float* mine = sums + in_batch * tile_floats + warp * p.n * kPartialPitch;
    write_sums(mine, product, inverse, p.n, g, t);
    if (++in_batch < batch && tile + step < n_tiles) continue;
    // One barrier is enough for a batch if the next batch is written elsewhere.
    __syncthreads();
    store_tiles(sums, &staging, first_batch, tile - (in_batch - 1) * step, step, in_batch, kChunkGroups != 0,
                p);
    first_batch = false;
    if (batches(p.n) == 1) {
      __syncthreads();  // the sums have been read
    } else {
      sums = sums == partial ? partial + batch * tile_floats : partial;
    }
    in_batch = 0;
  }
}

struct Launch {
  Kernel kernel;
  SharedSizes sizes;
  int n_multiprocessors;
  cudaStream_t stream;

  template <DType kType, int kTiles, int kChunkGroups, bool kZeros, class Pair>
  cudaError_t run() const {
    const auto f = code_rows_kernel<kType, kTiles, kChunkGroups, kZeros, Pair>;
    const cudaError_t error = prefer_shared_memory(f);
    if (error != cudaSuccess) return error;
    return launch(f, dim3(static_cast<unsigned>(n_multiprocessors)), kThreads, static_cast<int>(sizes.bytes),
                  stream, kernel);
  }
  template <DType kType, int kTiles, int kChunkGroups, bool kZeros>
  cudaError_t staged() const {
    return sizes.x_pitch != 0 ? run<kType, kTiles, kChunkGroups, kZeros, __half2>()
                              : run<kType, kTiles, kChunkGroups, kZeros, __nv_bfloat162>();
  }
  template <DType kType, int kTiles, int kChunkGroups>
  cudaError_t tiled() const {
    if constexpr (kType == DType::kU4)
      if (kernel.p.w.zero != nullptr) return staged<kType, kTiles, kChunkGroups, true>();
    return staged<kType, kTiles, kChunkGroups, false>();
  }
  template <DType kType, int kChunkGroups>
  cudaError_t typed() const {
    return tiles_of(kernel.p.n) == 1 ? tiled<kType, 1, kChunkGroups>() : tiled<kType, 2, kChunkGroups>();
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
  const auto chunks_a_group = static_cast<uint64_t>(std::max<int64_t>(w.group / kChunkCodes, 1));
  const Kernel kernel{params,
                      w.pitch(),
                      static_cast<int>(w.d_out),
                      static_cast<int>(w.n_groups()),
                      std::countr_zero(chunks_a_group),
                      sizes.x_pitch,
                      params.swiglu ? kTileRows / 2 : kTileRows,
                      params.swiglu ? static_cast<int>(w.d_out / 2) : kTileRows / 2};
  const Launch l{kernel, sizes, n_multiprocessors, stream};
  const int groups = chunk_groups(w);
  switch (w.type) {
    case DType::kF8E4M3:
      return groups == 0   ? l.typed<DType::kF8E4M3, 0>()
             : groups == 2 ? l.typed<DType::kF8E4M3, 2>()
                           : l.typed<DType::kF8E4M3, 1>();
    case DType::kI8:
      return l.typed<DType::kI8, 0>();
    default:
      return groups == 0   ? l.typed<DType::kU4, 0>()
             : groups == 4 ? l.typed<DType::kU4, 4>()
             : groups == 2 ? l.typed<DType::kU4, 2>()
                           : l.typed<DType::kU4, 1>();
  }
}

}  // namespace seer::cuda
