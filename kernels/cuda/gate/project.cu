// Computes gate keys, written to their pages, and gate queries, written by rows, in one launch.
#include <algorithm>
#include <cassert>

#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/gate/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kTileRows = 32;  // 8192 tokens in blocks of 64 give 4 tiles x 32 heads, one for each SM
constexpr int kStep = 32;      // every d_in is a multiple of it
constexpr int kPanelBytes = kTileRows * kStep * 2;
constexpr int kRingBytes = 48 << 10;  // 48 KiB; together with the widest input's 48 KiB it stays within
                                      // sm_86's 99
[[maybe_unused]] constexpr int kMaxInput = 768;

// A block multiplies 32 rows of one head by the head's whole matrix. Each warp has 16 columns: eight, and the
// eight that RoPE pairs with them.
template <int kDGate>
struct Shape {
  static constexpr int kThreads = kDGate / 16 * 32;
  static constexpr int kStageBytes = kStep * kDGate * 2;
  static constexpr int kStages = kRingBytes / kStageBytes < 8 ? kRingBytes / kStageBytes : 8;
  static_assert(kStages >= 3);
};

struct Rows {
  int64_t first;
  int count;  // up to kTileRows
};

// Loads the input as panels of kStep columns. Rows from `count` on become zeros.
template <int kThreads>
__device__ void load_input(uint32_t shared, const Bf16* in, int64_t stride, int d_in, int count, int thread) {
  constexpr int kChunks = kTileRows * kStep / 8;  // 16-byte chunks of a panel
  for (int i = thread; i < d_in / kStep * kChunks; i += kThreads) {
    const int panel = i / kChunks, row = i % kChunks / (kStep / 8), chunk = i % (kStep / 8);
    const bool valid = row < count;
    ptx::cp_async_16(shared + panel * kPanelBytes + Tile<kStep>::offset(row, chunk),
                     in + (valid ? row * stride + panel * kStep + chunk * 8 : 0), valid);
  }
}

__device__ void rotate(float& low, float& high, float cos, float sin) {
  const float a = low, b = high;
  low = a * cos - b * sin;
  high = b * cos + a * sin;
}

// Rotates queries of a gate with one weight. Each thread takes eight channels and their partners.
template <int kDGate>
__device__ void rotate_queries(const GateProjectParams& p, int head, const Rows& rows) {
  const int n_pairs = p.half / 8, n_plain = kDGate / 8 - 2 * n_pairs;
  const auto at = [&](int row) { return ((rows.first + row) * p.q.n_out + head) * kDGate; };
  const auto* in = static_cast<const Bf16*>(p.q.in);
  auto* out = static_cast<Bf16*>(p.q.out);
  for (int i = threadIdx.x; i < rows.count * n_pairs; i += Shape<kDGate>::kThreads) {
    const int row = i / n_pairs, d = i % n_pairs * 8;
    const int64_t angle = (rows.first + row) * p.half + d;
    float low[8], high[8];
    load8(in + at(row) + d).to_floats(low);
    load8(in + at(row) + d + p.half).to_floats(high);
#pragma unroll
    for (int e = 0; e < 8; ++e) rotate(low[e], high[e], p.cos[angle + e], p.sin[angle + e]);
    store8(out + at(row) + d, Bf16x8::from_floats(low));
    store8(out + at(row) + d + p.half, Bf16x8::from_floats(high));
  }
  for (int i = threadIdx.x; i < rows.count * n_plain; i += Shape<kDGate>::kThreads) {
    const int64_t d = at(i / n_plain) + 2 * p.half + i % n_plain * 8;
    store8(out + d, load8(in + d));
  }
}

template <int kDGate>
__global__ void __launch_bounds__(Shape<kDGate>::kThreads)
    gate_project_kernel(const __grid_constant__ GateProjectParams p) {
  extern __shared__ __align__(128) unsigned char shared[];  // ring of weights, then the input's panels
  constexpr int kThreads = Shape<kDGate>::kThreads, kStages = Shape<kDGate>::kStages,
                kStageBytes = Shape<kDGate>::kStageBytes;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int g = lane / 4, t = lane % 4;
  const bool is_key = static_cast<int>(blockIdx.y) < p.k.n_out;
  const GateProjectParams::Side side = is_key ? p.k : p.q;
  const int head = static_cast<int>(blockIdx.y) - (is_key ? 0 : p.k.n_out);
  const int64_t first_row = static_cast<int64_t>(blockIdx.x) * kTileRows;
  const Rows rows{first_row, static_cast<int>(min(static_cast<int64_t>(kTileRows), p.n_rows - first_row))};
  ptx::let_next_kernel_start();
  if (side.weights == nullptr) {
    ptx::wait_for_previous_kernel();
    rotate_queries<kDGate>(p, head, rows);
    return;
  }

  // No kernel of a step writes weights or page tables, so their loads may overlap the kernel before this one.
  const auto* weights =
      static_cast<const Bf16*>(side.weights) + static_cast<int64_t>(head) * side.d_in * kDGate;
  const int n_steps = side.d_in / kStep;
  const uint32_t ring = ptx::shared_address(shared), input = ring + kStages * kStageBytes;
  const auto load_weights = [&](int step) {
    if (step < n_steps)
      Tile<kDGate>::template load<kStep, kThreads>(ring + step % kStages * kStageBytes,
                                                   weights + static_cast<int64_t>(step) * kStep * kDGate,
                                                   kDGate, kStep, thread);
    ptx::cp_async_commit();
  };
#pragma unroll
  for (int step = 0; step < kStages; ++step) load_weights(step);
  const auto row_of = [&](int i) { return i / 2 * 16 + i % 2 * 8 + g; };  // row of accumulators 2 (i % 2)
  int64_t out_rows[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out_rows[i] = rows.first + row_of(i);
    if (is_key && row_of(i) < rows.count) out_rows[i] = p.table[p.first_block + out_rows[i]];
  }

  ptx::wait_for_previous_kernel();
  const int64_t in_stride = static_cast<int64_t>(side.n_in) * side.d_in;
  load_input<kThreads>(input,
                       static_cast<const Bf16*>(side.in) + rows.first * in_stride +
                           static_cast<int64_t>(head / (side.n_out / side.n_in)) * side.d_in,
                       in_stride, side.d_in, rows.count, thread);
  ptx::cp_async_commit();

  // Tiles of eight columns. If a gate is wider than a head, its further columns come after the rotated ones.
  const bool rotated = warp < p.half / 8;
  const int low_tile = rotated ? warp : 2 * warp, high_tile = rotated ? warp + p.half / 8 : low_tile + 1;
  float2 cos[4] = {}, sin[4] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (!rotated || row_of(i) >= rows.count) continue;
    const int64_t angle = (rows.first + row_of(i)) * p.half + warp * 8 + 2 * t;
    cos[i] = *reinterpret_cast<const float2*>(p.cos + angle);
    sin[i] = *reinterpret_cast<const float2*>(p.sin + angle);
  }

  float acc[2][2][4] = {};  // [16 rows][low, high tile]
  for (int step = 0; step < n_steps; ++step) {
    // In the first step, the input's copies are the youngest. Each later step adds one group of copies.
    if (step == 0) {
      ptx::cp_async_wait<0>();
    } else {
      ptx::cp_async_wait<kStages - 2>();
    }
    __syncthreads();  // every thread's copies have arrived, and none reads the previous stage any more
    if (step > 0) load_weights(step - 1 + kStages);
    const uint32_t stage = ring + step % kStages * kStageBytes, panel = input + step * kPanelBytes;
#pragma unroll
    for (int k = 0; k < kStep / 16; ++k) {
      uint32_t a[2][4], b[4];
#pragma unroll
      for (int m = 0; m < 2; ++m)
        ptx::ldmatrix_x4(a[m], panel + Tile<kStep>::offset(m * 16 + lane % 16, k * 2 + lane / 16));
      ptx::ldmatrix_x4_transposed(
          b, stage + Tile<kDGate>::offset(k * 16 + lane % 16, lane / 16 == 0 ? low_tile : high_tile));
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        ptx::mma_16x8x16(acc[m][0], a[m], b[0], b[1]);
        ptx::mma_16x8x16(acc[m][1], a[m], b[2], b[3]);
      }
    }
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (row_of(i) >= rows.count) continue;
    float* low = &acc[i / 2][0][i % 2 * 2];
    float* high = &acc[i / 2][1][i % 2 * 2];
    if (rotated) {
      rotate(low[0], high[0], cos[i].x, sin[i].x);
      rotate(low[1], high[1], cos[i].y, sin[i].y);
    }
    Bf16* out = static_cast<Bf16*>(side.out) + (out_rows[i] * side.n_out + head) * kDGate + 2 * t;
    *reinterpret_cast<uint32_t*>(out + low_tile * 8) = ptx::pack_bf16(low[0], low[1]);
    *reinterpret_cast<uint32_t*>(out + high_tile * 8) = ptx::pack_bf16(high[0], high[1]);
  }
}

template <int kDGate>
cudaError_t launch_project(const GateProjectParams& p, cudaStream_t stream) {
  const int d_in = std::max(p.k.d_in, p.q.weights == nullptr ? 0 : p.q.d_in);
  const int bytes = Shape<kDGate>::kStages * Shape<kDGate>::kStageBytes + d_in / kStep * kPanelBytes;
  const dim3 grid(static_cast<unsigned>((p.n_rows + kTileRows - 1) / kTileRows),
                  static_cast<unsigned>(p.k.n_out + p.q.n_out));
  return launch(gate_project_kernel<kDGate>, grid, Shape<kDGate>::kThreads, bytes, stream, p);
}

}  // namespace

cudaError_t launch_gate_project(const GateProjectParams& params, cudaStream_t stream) {
  for ([[maybe_unused]] const GateProjectParams::Side& side : {params.k, params.q})
    assert(side.d_in % kStep == 0 && side.d_in <= kMaxInput && side.n_out % side.n_in == 0 &&
           (side.weights != nullptr || (side.d_in == params.d_gate && side.n_in == side.n_out)));
  assert(params.half % 8 == 0 && 2 * params.half <= params.d_gate && params.k.weights != nullptr);
  switch (params.d_gate) {
    case 64:
      return launch_project<64>(params, stream);
    case 96:
      return launch_project<96>(params, stream);
    case 128:
      return launch_project<128>(params, stream);
    case 256:
      return launch_project<256>(params, stream);
    default:
      assert(false && "the backend refuses other gate sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
