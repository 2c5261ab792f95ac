// How a thread block makes the list of kept blocks from one row of scores in shared memory.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/gate/row.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {

// What a thread block of kWarps warps needs in shared memory besides the row.
template <int kWarps>
struct ChooseMemory {
  alignas(16) uint32_t bins[kBinWords];
  Bin bin;
  float parts[kWarps];  // of a sum or a maximum
  int above[kWarps + 1], equal[kWarps + 1];
};

// Calls visit(word) for every word of the row. The block's threads share the n words evenly.
template <int kWarps, class Visit>
__device__ __forceinline__ void for_words(uint32_t* row, int n, Visit&& visit) {
#pragma unroll 4
  for (int j = static_cast<int>(threadIdx.x); j < n; j += kWarps * 32) visit(row[j]);
}

// Returns the largest of the row's floats.
template <int kWarps>
__device__ float largest(ChooseMemory<kWarps>& memory, uint32_t* row, int n) {
  float top = -INFINITY;
  for_words<kWarps>(row, n, [&](uint32_t& word) { top = fmaxf(top, __uint_as_float(word)); });
  top = warp_max(top);
  if (threadIdx.x % 32 == 0) memory.parts[threadIdx.x / 32] = top;
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) top = fmaxf(top, memory.parts[w]);
  __syncthreads();
  return top;
}

// Returns the sum of exp(x - top) over the row's floats.
template <int kWarps>
__device__ float sum_exponentials(ChooseMemory<kWarps>& memory, uint32_t* row, int n, float top) {
  float total = 0.0F;
  for_words<kWarps>(row, n, [&](uint32_t& word) { total += __expf(__uint_as_float(word) - top); });
  total = block_sum<kWarps * 32>(total, memory.parts);
  __syncthreads();
  return total;
}

// Finds the k largest of the row's words, which must be sortable() scores. A whole thread block does here
// what one warp does in find_cut(). k must be above 0 and below n.
template <int kWarps>
__device__ Cut find_block_cut(ChooseMemory<kWarps>& memory, uint32_t* row, int n, int k) {
  const int thread = static_cast<int>(threadIdx.x);
  uint32_t low = 0;
  int left = k;
  for (int shift = 24;; shift -= 8) {
    for (int i = thread; i < kBinWords; i += kWarps * 32) memory.bins[i] = 0;
    __syncthreads();
    for_words<kWarps>(row, n, [&](uint32_t& key) {
      atomicAdd(&memory.bins[min((key - low) >> shift, static_cast<uint32_t>(kBins))], 1U);
    });
    __syncthreads();
    if (thread < 32) {
      const Bin bin = find_bin(memory.bins, thread, left);
      if (thread == 0) memory.bin = bin;
    }
    __syncthreads();
    const Bin bin = memory.bin;
    left -= bin.before;
    low += static_cast<uint32_t>(bin.digit) << shift;
    // low is not 0 here: if it were, all keys would be wanted, but k is below their number.
    if (bin.size == left) return {low - 1, 0};
    if (shift == 0) return {low, left};
  }
}

// Writes the numbers of the words above the cut and of the first n_equal words that are equal to it, in
// ascending order, and returns how many there are. Each warp takes consecutive words. It counts its own
// first, so that every warp knows how many numbers come before its own.
template <int kWarps>
__device__ int write_block_list(ChooseMemory<kWarps>& memory, int32_t* out, const uint32_t* row, int n,
                                Cut cut) {
  constexpr unsigned kFull = 0xffffffffU;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int each = ((n + 31) / 32 + kWarps - 1) / kWarps * 32;  // words of a warp
  const int begin = warp * each, end = min(n, begin + each);
  int n_above = 0, n_equal = 0;
  for (int j = begin + lane; j - lane < end; j += 32) {
    const bool valid = j < end;
    n_above += __popc(__ballot_sync(kFull, valid && row[j] > cut.above));
    n_equal += __popc(__ballot_sync(kFull, valid && row[j] == cut.above));
  }
  if (lane == 0) {
    memory.above[warp] = n_above;
    memory.equal[warp] = n_equal;
  }
  __syncthreads();
  int at = 0, equal_before = 0, total = 0, all_equal = 0;
  for (int w = 0; w < kWarps; ++w) {
    const int kept = memory.above[w] + min(memory.equal[w], max(0, cut.n_equal - all_equal));
    if (w == warp) {
      at = total;
      equal_before = all_equal;
    }
    total += kept;
    all_equal += memory.equal[w];
  }
  for (int j = begin + lane; j - lane < end; j += 32) {
    const bool valid = j < end, equal = valid && row[j] == cut.above;
    const unsigned below = (1U << lane) - 1U, equals = __ballot_sync(kFull, equal);
    const bool keeps =
        (valid && row[j] > cut.above) || (equal && equal_before + __popc(equals & below) < cut.n_equal);
    const unsigned kept = __ballot_sync(kFull, keeps);
    if (keeps) out[at + __popc(kept & below)] = j;
    at += __popc(kept);
    equal_before += __popc(equals);
  }
  return total;
}

// Lists the blocks that the rule keeps, and the first and the last block in any case, and returns how many
// there are. The row has the scores of n blocks as floats, and is overwritten. The rule must be a threshold,
// or its n_best must be from 0 to n - 1.
template <int kWarps>
__device__ int choose(ChooseMemory<kWarps>& memory, int32_t* out, uint32_t* row, int n,
                      const DecodeGateRule& rule) {
  Cut cut{UINT32_MAX - 1, 0};
  if (rule.n_best == DecodeGateRule::kThreshold) {
    const float top = largest(memory, row, n);
    const float least = rule.threshold * sum_exponentials(memory, row, n, top);
    // Exponentials are at least 0, so they are ordered as their bits are. Those above `least` are kept.
    for_words<kWarps>(row, n,
                      [&](uint32_t& word) { word = __float_as_uint(__expf(__uint_as_float(word) - top)); });
    cut.above = __float_as_uint(least);
  } else {
    for_words<kWarps>(row, n, [&](uint32_t& word) { word = sortable(__uint_as_float(word)); });
    __syncthreads();
    if (rule.n_best > 0) cut = find_block_cut(memory, row, n, rule.n_best);
    // The first block is kept in any case, and its word is overwritten below. If its word equals the cut, it
    // is the first of the equal words that are kept, so one fewer of them is still to be found.
    if (cut.n_equal > 0 && row[0] == cut.above) --cut.n_equal;
  }
  __syncthreads();
  if (threadIdx.x == 0) row[0] = row[n - 1] = UINT32_MAX;
  __syncthreads();
  return write_block_list(memory, out, row, n, cut);
}

// Writes the softmaxed scores of a row of n raw ones, and 0 for the others of `capacity`.
template <int kWarps>
__device__ void write_scores(ChooseMemory<kWarps>& memory, float* out, uint32_t* row, int n,
                             int64_t capacity) {
  const float top = largest(memory, row, n), total = sum_exponentials(memory, row, n, top);
  for (int64_t j = threadIdx.x; j < capacity; j += kWarps * 32)
    out[j] = j < n ? __expf(__uint_as_float(row[j]) - top) / total : 0.0F;
}

}  // namespace seer::cuda
