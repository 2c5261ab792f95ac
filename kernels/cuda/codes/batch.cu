// Products of up to 64 rows with codes of 4 bits, in three kernels. The first turns the inputs into an image
// of the shared memory from which tensor cores read them. The second multiplies: codes become float16 in
// registers, and wgmma multiplies 64 rows of the weight with all inputs. The third adds up the partial sums
// of the slices of columns.
#include "kernels/cuda/codes/batch.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <climits>

#include "kernels/cuda/codes/decode.cuh"
#include "kernels/cuda/codes/power.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/bulk.cuh"
#include "kernels/cuda/ptx/cp_async.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/ptx/wgmma.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kChunkCodes = static_cast<int>(CodeMatrix::kChunkCodes);
constexpr int kWarpgroups = 4;  // of a block, each with a tile of its own
constexpr int kThreads = kWarpgroups * 128;
constexpr int kTileRows = 64;
constexpr int kWarpRows = 16;
constexpr int kStages = 4;
constexpr int kMostSliceChunks = 32;
// A warp's stage: 64 bytes of each of its rows, the rows' scales, and their zeros.
constexpr int kCodeBytes = kWarpRows * kChunkCodes / 2;
constexpr int kStageBytes = kCodeBytes + kWarpRows * 4 + kWarpRows;
constexpr int kRingBytes = kWarpgroups * 4 * kStages * kStageBytes;

// Bytes of a chunk of n_rows inputs in the image.
__host__ __device__ constexpr int chunk_bytes(int n_rows) { return n_rows * kChunkCodes * 2; }

// How a product is divided: the columns into `splits` slices of slice_chunks chunks, and the tiles of each
// slice among `columns` blocks.
struct Division {
  int splits = 0, slice_chunks = 0, columns = 0;

  Division(const CodeMatrix& w, int n_rows, int n_multiprocessors, int max_shared_bytes) {
    const int n_chunks = static_cast<int>(w.pitch()) * 2 / kChunkCodes;
    const int n_tiles = static_cast<int>((w.d_out + kTileRows - 1) / kTileRows);
    const int most_chunks =
        std::min(kMostSliceChunks, (max_shared_bytes - kRingBytes - 1024) / chunk_bytes(n_rows));
    double least = 0.0;
    for (int s = 1; s <= std::min(n_chunks, n_multiprocessors); ++s) {
      const int slice = (n_chunks + s - 1) / s, tiles_at_once = n_multiprocessors / s * kWarpgroups;
      if (slice > most_chunks || (s - 1) * slice >= n_chunks) continue;
      // The unit of costs is the time in which all blocks read a chunk for each warpgroup. Every partial sum
      // is written once and read once, 8 bytes in all.
      const double codes = (n_tiles + tiles_at_once - 1) / tiles_at_once * slice;
      const double unit = static_cast<double>(n_multiprocessors) * kWarpgroups * 4 * kStageBytes;
      const double cost = codes + s * static_cast<double>(n_rows * w.d_out * 8) / unit;
      if (splits != 0 && cost >= least) continue;
      least = cost;
      splits = s;
      slice_chunks = slice;
      columns = std::min(n_multiprocessors / s, (n_tiles + kWarpgroups - 1) / kWarpgroups);
    }
    assert(splits != 0);
  }
};

struct Kernel {
  CodeRowsParams p;
  void* image;      // of the inputs
  float* factors;   // of their rows
  float* partials;  // [splits, n, d_out]
  int64_t pitch;
  int n_chunks, n_tiles;
  int group_shift;  // a group has 1 << group_shift chunks
  int splits, slice_chunks;
};

// ---- inputs ----

constexpr int kInputThreads = 256;

// Writes one row of the image; a row after the last row of inputs is zeros. As in product.cu, the inputs
// become float16 numbers, multiplied by a power of two whose inverse is the row's factor.
//
// The image has panels of 64 columns: [panel][row][64], swizzled in 128 bytes. Within a chunk, columns are
// permuted. At step j, lane t of four has the codes of eight neighbouring columns, 32 j + 8 t + 2 i + e for i
// from 0 to 3 and e from 0 to 1, but wgmma multiplies its numbers with columns 32 j + 8 i + 2 t + e. So the
// image has the input of column 32 j + 8 t + 2 i + e in the place of column 32 j + 8 i + 2 t + e.
__global__ void __launch_bounds__(kInputThreads) batch_inputs_kernel(const Kernel k, int n_rows) {
  extern __shared__ __align__(16) Bf16 kept[];
  __shared__ float warps[2][kInputThreads / 32];
  const CodeRowsParams& p = k.p;
  const int row = static_cast<int>(blockIdx.x), d_in = static_cast<int>(p.w.d_in);
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const bool inside = row < p.n;
  const Bf16* x = static_cast<const Bf16*>(p.x) + static_cast<int64_t>(row) * d_in;
  float norm_scale = 1.0F;
  if (inside && p.norm != nullptr) {
    float squares = 0.0F;
    for (int i = static_cast<int>(threadIdx.x) * 8; i < d_in; i += kInputThreads * 8) {
      float f[8];
      load8(x + i).to_floats(f);
#pragma unroll
      for (const float e : f) squares += e * e;
    }
    norm_scale = rsqrtf(block_sum<kInputThreads>(squares, warps[0]) / static_cast<float>(d_in) + p.eps);
  }
  float most = 0.0F;
  for (int i = static_cast<int>(threadIdx.x) * 8; inside && i < d_in; i += kInputThreads * 8) {
    Bf16x8 v = load8(x + i);
    if (p.norm != nullptr) {
      float f[8], weights[8];
      v.to_floats(f);
      load8(static_cast<const Bf16*>(p.norm) + i).to_floats(weights);
#pragma unroll
      for (int e = 0; e < 8; ++e) f[e] *= norm_scale * weights[e];
      v = Bf16x8::from_floats(f);
    }
    store8(kept + i, v);
    most = fmaxf(most, largest_magnitude(v));
  }
  const float power = power_for(block_max<kInputThreads>(most, warps[1]));
  if (inside && threadIdx.x == 0) k.factors[row] = inverse_of_power(power);
  auto* image = static_cast<unsigned char*>(k.image);
  for (int i = static_cast<int>(threadIdx.x); i < k.n_chunks * (kChunkCodes / 8); i += kInputThreads) {
    const int chunk = i / 16, j = i % 16 / 4, t = i % 4;
    float f[8] = {};
    if (inside && i * 8 < d_in) load8(kept + i * 8).to_floats(f);
    unsigned char* panel = image + (static_cast<int64_t>(chunk * 2 + j / 2) * n_rows + row) * 128;
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      const __half2 h = __floats2half2_rn(f[2 * pair] * power, f[2 * pair + 1] * power);
      const int piece = j % 2 * 4 + pair;  // of 16 bytes
      *reinterpret_cast<__half2*>(panel + (piece ^ (row & 7)) * 16 + t * 4) = h;
    }
  }
}

// ---- products ----

// The copies of one lane, in the order in which its warp multiplies: the chunks of a slice, tile after tile.
template <bool kZeros>
struct Feed {
  const Kernel& k;
  int lane, first_chunk, n_chunks, tile, step;
  int chunk = 0;
  const char* codes[2] = {};
  const float* scale = nullptr;
  const uint8_t* zero = nullptr;

  __device__ __forceinline__ Feed(const Kernel& k, int lane, int first_chunk, int n_chunks, int tile,
                                  int step)
      : k(k), lane(lane), first_chunk(first_chunk), n_chunks(n_chunks), tile(tile), step(step) {
    begin_tile();
  }
  __device__ __forceinline__ void begin_tile() {
    if (tile >= k.n_tiles) return;
    const CodeMatrix& w = k.p.w;
    const int warp = static_cast<int>(threadIdx.x) / 32 % 4, first = tile * kTileRows + warp * kWarpRows;
    const int last = static_cast<int>(w.d_out) - kWarpRows;  // warps with rows after the end read these
    const int row = min(first, last);
#pragma unroll
    for (int r = 0; r < 2; ++r)
      codes[r] = static_cast<const char*>(w.codes) + (row + r * 8 + lane / 4) * k.pitch +
                 first_chunk * (kChunkCodes / 2) + lane % 4 * 16;
    scale = w.scale + row + lane % kWarpRows;
    if (kZeros) zero = w.zero + row;
  }
  __device__ __forceinline__ void fill(uint32_t stage) {
    if (tile < k.n_tiles) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        ptx::cp_async_16(stage + r * 512 + lane * 16, codes[r], true);
        codes[r] += kChunkCodes / 2;
      }
      const int64_t group =
          static_cast<int64_t>((first_chunk + chunk) >> k.group_shift) * static_cast<int>(k.p.w.d_out);
      if (lane < kWarpRows) ptx::cp_async_4(stage + kCodeBytes + lane * 4, scale + group);
      if (kZeros && lane == kWarpRows)
        ptx::cp_async_16(stage + kCodeBytes + kWarpRows * 4, zero + group, true);
      if (++chunk == n_chunks) {
        chunk = 0;
        tile += step;
        begin_tile();
      }
    }
    ptx::cp_async_commit();
  }
};

// A lane's sums of a tile so far, and of the chunk that is being multiplied.
template <int kN>
struct BatchTile {
  float sum[kN / 2], chunk_sum[kN / 2];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (float& x : sum) x = 0.0F;
  }

  // Multiplies a chunk. `a` and `b` are the lane's codes in its two rows.
  __device__ __forceinline__ void multiply(const uint4& a, const uint4& b,
                                           const ZeroPair<__half2> (&zeros)[2], uint64_t inputs,
                                           const float (&scale)[2]) {
    const uint32_t words[2][4] = {{a.x, a.y, a.z, a.w}, {b.x, b.y, b.z, b.w}};
    constexpr uint64_t kPanel = kN * 128 >> 4, kStep = 32 >> 4;  // in a descriptor's units of 16 bytes
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      uint32_t operand[2][2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int j = 2 * half + i;
        uint32_t pa[4], pb[4];
        decode_u4(pa, words[0][j], zeros[0]);
        decode_u4(pb, words[1][j], zeros[1]);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          operand[i][m][0] = pa[2 * m];
          operand[i][m][1] = pb[2 * m];
          operand[i][m][2] = pa[2 * m + 1];
          operand[i][m][3] = pb[2 * m + 1];
        }
        ptx::wgmma_fence();
#pragma unroll
        for (int m = 0; m < 2; ++m)
          ptx::wgmma_64xNx16_f16(chunk_sum, operand[i][m], inputs + half * kPanel + (2 * i + m) * kStep,
                                 j + m != 0);
        ptx::wgmma_commit();
      }
      // With many sums, the second half's operands need the registers of the first.
      if (kN == 64 && half == 0) ptx::wgmma_wait<0>();
    }
    ptx::wgmma_wait<0>();
    ptx::pin_registers(chunk_sum);
#pragma unroll
    for (int i = 0; i < kN / 2; ++i) sum[i] += scale[i / 2 % 2] * chunk_sum[i];
  }
};

template <int kN, bool kZeros>
__global__ void __launch_bounds__(kThreads, 1) code_batch_kernel(const Kernel k) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ uint64_t arrived[kMostSliceChunks];
  const CodeRowsParams& p = k.p;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int split = static_cast<int>(blockIdx.x) % k.splits, column = static_cast<int>(blockIdx.x) / k.splits;
  const int columns = static_cast<int>(gridDim.x) / k.splits;
  const int first_chunk = split * k.slice_chunks, n_chunks = min(k.slice_chunks, k.n_chunks - first_chunk);
  const int first_tile = column * kWarpgroups + warp / 4, step = columns * kWarpgroups;
  unsigned char* ring = shared + k.slice_chunks * chunk_bytes(kN) + warp * kStages * kStageBytes;
  const uint32_t ring_address = ptx::shared_address(ring);

  Feed<kZeros> feed(k, lane, first_chunk, n_chunks, first_tile, step);
#pragma unroll 1
  for (int s = 0; s < kStages; ++s) feed.fill(ring_address + s * kStageBytes);
  ptx::let_next_kernel_start();
  if (thread == 0) {
    for (int c = 0; c < n_chunks; ++c) ptx::mbarrier_init(ptx::shared_address(&arrived[c]), 1);
    ptx::fence_barrier_init();
  }
  __syncthreads();
  ptx::wait_for_previous_kernel();
  if (thread == 0) {
    const uint64_t policy = ptx::evict_last_policy();
    const auto* image = static_cast<const unsigned char*>(k.image);
#pragma unroll 1
    for (int c = 0; c < n_chunks; ++c) {
      const uint32_t barrier = ptx::shared_address(&arrived[c]);
      ptx::mbarrier_arrive_expect(barrier, chunk_bytes(kN));
      ptx::bulk_load(ptx::shared_address(shared + c * chunk_bytes(kN)),
                     image + static_cast<int64_t>(first_chunk + c) * chunk_bytes(kN), chunk_bytes(kN),
                     barrier, policy);
    }
  }

  const int g = lane / 4, t = lane % 4;
  const uint64_t inputs = ptx::SharedOperand(ptx::shared_address(shared)).descriptor();
  BatchTile<kN> product;
  int stage = 0;
  for (int tile = first_tile; tile < k.n_tiles; tile += step) {
    product.clear();
    for (int chunk = 0; chunk < n_chunks; ++chunk) {
      ptx::cp_async_wait<kStages - 1>();
      __syncwarp();  // other lanes' scales have arrived too
      const unsigned char* from = ring + stage * kStageBytes;
      const uint4 a = *reinterpret_cast<const uint4*>(from + lane * 16);
      const uint4 b = *reinterpret_cast<const uint4*>(from + 512 + lane * 16);
      float scale[2];
      ZeroPair<__half2> zeros[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        scale[r] = reinterpret_cast<const float*>(from + kCodeBytes)[g + 8 * r];
        zeros[r] = ZeroPair<__half2>::of(kZeros ? from[kCodeBytes + kWarpRows * 4 + g + 8 * r] : 8U);
      }
      ptx::mbarrier_wait(ptx::shared_address(&arrived[chunk]), 0);
      product.multiply(a, b, zeros, inputs + static_cast<uint64_t>(chunk * chunk_bytes(kN) >> 4), scale);
      __syncwarp();  // other lanes have read their scales
      feed.fill(ring_address + stage * kStageBytes);
      if (++stage == kStages) stage = 0;
    }
    const int row = tile * kTileRows + warp % 4 * kWarpRows + g;
    const int64_t d_out = p.w.d_out;
#pragma unroll
    for (int i = 0; i < kN / 2; ++i) {
      const int input = i / 4 * 8 + 2 * t + i % 2, output = row + i / 2 % 2 * 8;
      if (input < p.n && output < d_out)
        k.partials[(static_cast<int64_t>(split) * p.n + input) * d_out + output] = product.sum[i];
    }
  }
#endif
}

// ---- outputs ----

constexpr int kOutputThreads = 256;

__device__ __forceinline__ float4 total(const Kernel& k, int64_t row, int64_t output) {
  const int64_t d_out = k.p.w.d_out, stride = k.p.n * d_out;
  const float* from = k.partials + row * d_out + output;
  float4 sum = {};
#pragma unroll 4
  for (int s = 0; s < k.splits; ++s) {
    const float4 v = *reinterpret_cast<const float4*>(from + s * stride);
    sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
  }
  const float factor = k.factors[row];
  sum = {sum.x * factor, sum.y * factor, sum.z * factor, sum.w * factor};
  if (k.p.bias != nullptr) {
    const auto* bias = static_cast<const Bf16*>(k.p.bias) + output;
    sum = {sum.x + __bfloat162float(bias[0]), sum.y + __bfloat162float(bias[1]),
           sum.z + __bfloat162float(bias[2]), sum.w + __bfloat162float(bias[3])};
  }
  return sum;
}

// Each thread stores four outputs of a row.
__global__ void __launch_bounds__(kOutputThreads) batch_outputs_kernel(const Kernel k) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const CodeRowsParams& p = k.p;
  const int64_t row = blockIdx.y, width = p.swiglu ? p.w.d_out / 2 : p.w.d_out;
  const int64_t output = (static_cast<int64_t>(blockIdx.x) * kOutputThreads + threadIdx.x) * 4;
  if (output >= width) return;
  const float4 sums = total(k, row, output);
  float v[4] = {sums.x, sums.y, sums.z, sums.w};
  const int64_t at = row * width + output;
  if (p.swiglu) {
    const float4 up = total(k, row, output + width);
    const float of_up[4] = {up.x, up.y, up.z, up.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = v[i] * of_up[i] / (1.0F + __expf(-v[i]));
  }
  if (p.float_out) {
    *reinterpret_cast<float4*>(static_cast<float*>(p.out) + at) = {v[0], v[1], v[2], v[3]};
    return;
  }
  auto* out = static_cast<__nv_bfloat162*>(p.out) + at / 2;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (p.accumulate) {
      const float2 before = __bfloat1622float2(out[i]);
      v[2 * i] += before.x;
      v[2 * i + 1] += before.y;
    }
    out[i] = __floats2bfloat162_rn(v[2 * i], v[2 * i + 1]);
  }
}

int rows_of(int n) { return n <= 32 ? 32 : 64; }

template <int kN>
cudaError_t launch_products(const Kernel& k, const Division& division, cudaStream_t stream) {
  const auto kernel = k.p.w.zero == nullptr ? code_batch_kernel<kN, false> : code_batch_kernel<kN, true>;
  const cudaError_t error = prefer_shared_memory(kernel);
  if (error != cudaSuccess) return error;
  return launch(kernel, dim3(static_cast<unsigned>(division.splits * division.columns)), kThreads,
                division.slice_chunks * chunk_bytes(kN) + kRingBytes, stream, k);
}

}  // namespace

bool code_batch_fits(const CodeMatrix& w) {
  return w.type == DType::kU4 && (w.group >= w.d_in || w.group % kChunkCodes == 0) && w.d_out % 16 == 0;
}

cudaError_t launch_code_batch(const CodeRowsParams& params, const CodeBatchScratch& scratch,
                              int n_multiprocessors, int max_shared_bytes, cudaStream_t stream) {
  const CodeMatrix& w = params.w;
  assert(params.n <= kMostBatchRows && code_batch_fits(w) && w.d_out <= INT_MAX);
  const int n_rows = rows_of(params.n);
  const Division division(w, n_rows, n_multiprocessors, max_shared_bytes);
  const auto chunks_a_group = static_cast<uint64_t>(std::max<int64_t>(w.group / kChunkCodes, 1));
  const Kernel k{params,
                 scratch.inputs,
                 scratch.factors(w),
                 scratch.partials,
                 w.pitch(),
                 static_cast<int>(w.pitch()) * 2 / kChunkCodes,
                 static_cast<int>((w.d_out + kTileRows - 1) / kTileRows),
                 w.group >= w.d_in ? 31 : std::countr_zero(chunks_a_group),
                 division.splits,
                 division.slice_chunks};
  cudaError_t error = launch(batch_inputs_kernel, dim3(static_cast<unsigned>(n_rows)), kInputThreads,
                             static_cast<int>(w.d_in * 2), stream, k, n_rows);
  if (error != cudaSuccess) return error;
  error = n_rows == 32 ? launch_products<32>(k, division, stream) : launch_products<64>(k, division, stream);
  if (error != cudaSuccess) return error;
  const int64_t width = params.swiglu ? w.d_out / 2 : w.d_out;
  const dim3 grid(static_cast<unsigned>((width / 4 + kOutputThreads - 1) / kOutputThreads),
                  static_cast<unsigned>(params.n));
  return launch(batch_outputs_kernel, grid, kOutputThreads, 0, stream, k);
}

}  // namespace seer::cuda
