// The kernel. One thread block computes kTileRows queries of one head. A warp owns 16 or 32 of them and walks
// all keys, so that softmax needs no exchange between warps. See DESIGN.md in this folder.
#pragma once

#include <cmath>

#include "kernels/cuda/attention/prefill_sm80/params.h"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/ptx/mma.cuh"

namespace seer::cuda {

template <int kDHead_, int kWarps_, int kWarpTiles_, int kKeys_>
struct PrefillShape {
  static constexpr int kDHead = kDHead_;
  static constexpr int kWarps = kWarps_;
  static constexpr int kWarpTiles = kWarpTiles_;  // 16-row tiles a warp owns
  static constexpr int kKeys = kKeys_;            // keys of a step
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kTileRows = kWarps * kWarpTiles * 16;
  static constexpr int kStages = 2;
  static constexpr int kKeyBytes = kKeys * kDHead * 2;
  // With one row tile a warp keeps its queries in registers; two would leave too few for the accumulators.
  static constexpr bool kQueriesInRegisters = kWarpTiles == 1;
  static constexpr int kQueryBytes = kTileRows * kDHead * 2;
  // As many as registers allow for accumulators of this size.
  static constexpr int kBlocksPerSm = kWarpTiles == 2 ? 2 : kDHead <= 128 ? 3 : 1;
  static constexpr int kKvBytes = 2 * kStages * kKeyBytes;
  static constexpr int kSharedBytes =
      kQueriesInRegisters ? (kKvBytes > kQueryBytes ? kKvBytes : kQueryBytes) : kQueryBytes + kKvBytes;
};

// The place of the keys of one step of the kernel's loop. If pages have 128 tokens, a block takes two steps.
struct KeyStep {
  int page;         // page id
  int row_in_page;  // of the first key
  int first_key;    // its position in the sequence
};

// The steps of one query tile, in order.
template <class Shape>
class KeySteps {
 public:
  __device__ KeySteps(const PrefillSm80Params& p, const int32_t* list, int count, int last_position)
      : table_(p.page_table),
        list_(list),
        page_tokens_(p.page_tokens),
        shift_(p.page_tokens > Shape::kKeys ? 1 : 0),
        n_steps_(count << shift_) {
    // The queries in the first half of a diagonal block of 128 see no key of its second half.
    if (n_steps_ > 0 && first_key(n_steps_ - 1, block(n_steps_ - 1)) > last_position) --n_steps_;
  }
  __device__ int n_steps() const { return n_steps_; }
  __device__ bool begins_block(int step) const { return (step & shift_) == 0; }
  __device__ int block(int step) const {
    const int index = step >> shift_;
    return list_ == nullptr ? index : list_[index];
  }
  __device__ KeyStep at(int step, int block_index) const {
    return {table_[block_index], (step & shift_) * Shape::kKeys, first_key(step, block_index)};
  }

 private:
  __device__ int first_key(int step, int block_index) const {
    return block_index * page_tokens_ + (step & shift_) * Shape::kKeys;
  }
  const int32_t* table_;
  const int32_t* list_;
  int page_tokens_, shift_, n_steps_;
};

// What the ordinary kernels do with the largest scores of rows in a block: nothing. The kernels of
// attention/block_maxima have MaximaRowsSm80 instead, which writes them to memory.
template <class Shape>
struct NoMaximaSm80 {
  static constexpr bool kWrites = false;
  struct Out {};
};

template <class Shape, class Maxima = NoMaximaSm80<Shape>>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocksPerSm)
    prefill_sm80_kernel(const PrefillSm80Params p, [[maybe_unused]] const typename Maxima::Out maxima_out) {
  constexpr int kDHead = Shape::kDHead, kKeys = Shape::kKeys, kWarpTiles = Shape::kWarpTiles;
  constexpr int kDSteps = kDHead / 16, kKeyTiles = kKeys / 8, kOutTiles = kDHead / 8;
  using DTile = Tile<kDHead>;
  extern __shared__ __align__(128) unsigned char shared[];
  const uint32_t shared_q = ptx::shared_address(shared);
  const uint32_t shared_k = shared_q + (Shape::kQueriesInRegisters ? 0 : Shape::kQueryBytes);
  const uint32_t shared_v = shared_k + Shape::kStages * Shape::kKeyBytes;

  // Consecutive thread blocks take the heads of one KV group at one query tile, then the same at the tile
  // before it (long rows first), then the next KV head. So the keys in flight belong to few KV heads and stay
  // in L2.
  const int group = p.n_heads / p.n_kv_heads;
  const int n_tiles =
      static_cast<int>((p.n_tokens - p.first_token + Shape::kTileRows - 1) / Shape::kTileRows);
  const int in_group = static_cast<int>(blockIdx.x) % group;
  const int tile = n_tiles - 1 - static_cast<int>(blockIdx.x) / group % n_tiles;
  const int kv_head = static_cast<int>(blockIdx.x) / group / n_tiles;
  const int head = kv_head * group + in_group;

  const int64_t token = p.first_token + static_cast<int64_t>(tile) * Shape::kTileRows;  // of the segment
  const int n_queries = static_cast<int>(min(static_cast<int64_t>(Shape::kTileRows), p.n_tokens - token));
  const int first_position = static_cast<int>(p.start + token);
  const int last_position = first_position + n_queries - 1;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int g = lane / 4, t = lane % 4;

  const int32_t* list = nullptr;
  int count = last_position / p.page_tokens + 1;
  if (p.counts != nullptr) {
    const int64_t mask_row = static_cast<int64_t>(head) * p.n_mask_rows + token / p.page_tokens;
    list = p.blocks + mask_row * p.row_capacity;
    count = p.counts[mask_row];
  }
  const KeySteps<Shape> steps(p, list, count, last_position);
  const int n_steps = steps.n_steps();

  // Queries go through shared memory into mma's A layout. If they are kept in registers, keys overwrite them
  // in shared memory.
  const int64_t stride = static_cast<int64_t>(p.n_heads) * kDHead;
  const auto* q = static_cast<const __nv_bfloat16*>(p.q) + (p.row + token) * stride + head * kDHead;
  DTile::template load<Shape::kTileRows, Shape::kThreads>(shared_q, q, stride, n_queries, thread);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  __syncthreads();
  const auto query_fragment = [&](uint32_t(&a)[4], int row_tile, int d_step) {
    const int row = (warp * kWarpTiles + row_tile) * 16 + lane % 16;
    ptx::ldmatrix_x4(a, shared_q + DTile::offset(row, d_step * 2 + lane / 16));
  };
  uint32_t q_registers[Shape::kQueriesInRegisters ? kDSteps : 1][4];
  if constexpr (Shape::kQueriesInRegisters) {
#pragma unroll
    for (int i = 0; i < kDSteps; ++i) query_fragment(q_registers[i], 0, i);
    __syncthreads();  // every warp has its queries before keys overwrite them
  }

  // Loads the keys and values of a step. K and V are separate groups of copies, so that the scores can start
  // when K is there. The list and the page table are two dependent loads, which are made two steps and one
  // step ahead.
  const int64_t head_stride = static_cast<int64_t>(p.page_tokens) * kDHead;
  KeyStep ahead = {};   // the step that is loaded next
  int block_ahead = 0;  // the block of the step after it
  if (n_steps > 0) ahead = steps.at(0, steps.block(0));
  if (n_steps > 1) block_ahead = steps.block(1);
  const auto load_step = [&](int step) {
    if (step < n_steps) {
      const int stage = step % Shape::kStages;
      const int64_t at = (static_cast<int64_t>(ahead.page) * p.n_kv_heads + kv_head) * head_stride +
                         ahead.row_in_page * kDHead;
      // Keys after the tile's last query become zeros: nothing has written them yet, and 0 * NaN is NaN.
      const int n_valid = last_position + 1 - ahead.first_key;
      DTile::template load<kKeys, Shape::kThreads>(shared_k + stage * Shape::kKeyBytes,
                                                   static_cast<const __nv_bfloat16*>(p.k) + at, kDHead,
                                                   n_valid, thread);
      ptx::cp_async_commit();
      DTile::template load<kKeys, Shape::kThreads>(shared_v + stage * Shape::kKeyBytes,
                                                   static_cast<const __nv_bfloat16*>(p.v) + at, kDHead,
                                                   n_valid, thread);
      ptx::cp_async_commit();
      if (step + 1 < n_steps) ahead = steps.at(step + 1, block_ahead);
      if (step + 2 < n_steps) block_ahead = steps.block(step + 2);
    } else {
      ptx::cp_async_commit();  // empty groups keep the waits' counts right
      ptx::cp_async_commit();
    }
  };

  float out[kWarpTiles][kOutTiles][4] = {};
  float row_max[kWarpTiles][2], row_sum[kWarpTiles][2] = {};
#pragma unroll
  for (int m = 0; m < kWarpTiles; ++m) row_max[m][0] = row_max[m][1] = -INFINITY;
  [[maybe_unused]] Maxima maxima;
  const float scale = p.scale * 1.4426950408889634F;  // exp(x) = 2^(x log2 e)

  int next_key = ahead.first_key;
  load_step(0);
  for (int step = 0; step < n_steps; ++step) {
    const int stage = step % Shape::kStages, first_key = next_key;
    next_key = ahead.first_key;
    ptx::cp_async_wait<1>();  // this step's K; its V may still be on the way
    __syncthreads();          // and every warp is done with the step before, whose stage is loaded next
    load_step(step + 1);

    float scores[kWarpTiles][kKeyTiles][4] = {};
    const uint32_t keys = shared_k + stage * Shape::kKeyBytes;
#pragma unroll
    for (int i = 0; i < kDSteps; ++i) {
      uint32_t a[kWarpTiles][4];
      if constexpr (!Shape::kQueriesInRegisters) {
#pragma unroll
        for (int m = 0; m < kWarpTiles; ++m) query_fragment(a[m], m, i);
      }
#pragma unroll
      for (int n = 0; n < kKeyTiles; n += 2) {
        // Matrices: keys n*8.. at columns 0 and 8, then keys n*8+8.. likewise.
        uint32_t b[4];
        ptx::ldmatrix_x4(b, keys + DTile::offset(n * 8 + lane / 16 * 8 + lane % 8, i * 2 + lane / 8 % 2));
#pragma unroll
        for (int m = 0; m < kWarpTiles; ++m) {
          if constexpr (Shape::kQueriesInRegisters) {
            ptx::mma_16x8x16(scores[m][n], q_registers[i], b[0], b[1]);
            ptx::mma_16x8x16(scores[m][n + 1], q_registers[i], b[2], b[3]);
          } else {
            ptx::mma_16x8x16(scores[m][n], a[m], b[0], b[1]);
            ptx::mma_16x8x16(scores[m][n + 1], a[m], b[2], b[3]);
          }
        }
      }
    }

    if (first_key + kKeys - 1 > first_position) {  // a diagonal block for some row of the tile
#pragma unroll
      for (int m = 0; m < kWarpTiles; ++m) {
        const int row = first_position + (warp * kWarpTiles + m) * 16 + g;
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
          for (int c = 0; c < 4; ++c)
            if (first_key + n * 8 + 2 * t + c % 2 > row + c / 2 * 8) scores[m][n][c] = -INFINITY;
      }
    }

    // Online softmax (Milakov and Gimelshein, 2018, arXiv:1805.02867); each row is held by the four lanes of
    // a quad.
#pragma unroll
    for (int m = 0; m < kWarpTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float top = Maxima::kWrites ? -INFINITY : row_max[m][half];
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
          top = fmaxf(top, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 2));
        if constexpr (Maxima::kWrites) {
          maxima.see(m, half, top, steps.block(step), steps.begins_block(step));
          top = fmaxf(top, row_max[m][half]);
        }
        // A row that has seen no key yet has the maximum -inf. The shift is 0 then, because -inf - -inf would
        // be NaN.
        const float shift = top == -INFINITY ? 0.0F : top * scale;
        const float correction = ptx::exp2_approx(row_max[m][half] * scale - shift);
        row_max[m][half] = top;
        float sum = 0.0F;
#pragma unroll
        for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
          for (int c = 2 * half; c < 2 * half + 2; ++c) {
            scores[m][n][c] = ptx::exp2_approx(scores[m][n][c] * scale - shift);
            sum += scores[m][n][c];
          }
        row_sum[m][half] = row_sum[m][half] * correction + sum;
#pragma unroll
        for (int n = 0; n < kOutTiles; ++n) {
          out[m][n][2 * half] *= correction;
          out[m][n][2 * half + 1] *= correction;
        }
      }

    if constexpr (Maxima::kWrites) {
      const int next = step + 1;
      if (next == n_steps || (steps.begins_block(next) && steps.block(next) % Maxima::kBlocks == 0))
        maxima.write(p, maxima_out, head, token, n_queries, steps.block(step));
    }

    ptx::cp_async_wait<2>();  // this step's V
    __syncthreads();
    const uint32_t values = shared_v + stage * Shape::kKeyBytes;
#pragma unroll
    for (int i = 0; i < kKeys / 16; ++i) {
      uint32_t a[kWarpTiles][4];
#pragma unroll
      for (int m = 0; m < kWarpTiles; ++m) {
        a[m][0] = ptx::pack_bf16(scores[m][2 * i][0], scores[m][2 * i][1]);
        a[m][1] = ptx::pack_bf16(scores[m][2 * i][2], scores[m][2 * i][3]);
        a[m][2] = ptx::pack_bf16(scores[m][2 * i + 1][0], scores[m][2 * i + 1][1]);
        a[m][3] = ptx::pack_bf16(scores[m][2 * i + 1][2], scores[m][2 * i + 1][3]);
      }
#pragma unroll
      for (int n = 0; n < kOutTiles; n += 2) {
        // Matrices: keys 0.. and 8.. of columns n*8, then of columns n*8+8.
        uint32_t b[4];
        ptx::ldmatrix_x4_transposed(
            b, values + DTile::offset(i * 16 + lane / 8 % 2 * 8 + lane % 8, n + lane / 16));
#pragma unroll
        for (int m = 0; m < kWarpTiles; ++m) {
          ptx::mma_16x8x16(out[m][n], a[m], b[0], b[1]);
          ptx::mma_16x8x16(out[m][n + 1], a[m], b[2], b[3]);
        }
      }
    }
  }
  ptx::cp_async_wait<0>();

#pragma unroll
  for (int m = 0; m < kWarpTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = row_sum[m][half];
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      const int row = (warp * kWarpTiles + m) * 16 + g + half * 8;
      if (row >= n_queries) continue;
      if constexpr (Maxima::kWrites) maxima.end_row(p, maxima_out, head, token + row, row_max[m][half], sum);
      const float inverse = 1.0F / sum;
      auto* o = static_cast<__nv_bfloat16*>(p.out) + (p.row + token + row) * stride + head * kDHead;
#pragma unroll
      for (int n = 0; n < kOutTiles; ++n)
        *reinterpret_cast<uint32_t*>(o + n * 8 + 2 * t) =
            ptx::pack_bf16(out[m][n][2 * half] * inverse, out[m][n][2 * half + 1] * inverse);
    }
}

}  // namespace seer::cuda
