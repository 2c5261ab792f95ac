// One warp chooses from one row of scores in shared memory.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/vector.cuh"

namespace seer::cuda {

inline constexpr int kBins = 256;
inline constexpr int kBinWords =
    kBins + 4;  // one more bin, for keys that do not count; rows are multiples of 16 bytes
inline constexpr int kVector = 128;  // words a warp reads at once, four a lane

// A row's scores, as floats or as sortable keys; its warp may overwrite them.
struct ScoreRow {
  uint32_t* words;  // [n_vectors * kVector]; from n_causal on -inf or the key 0, below all others
  int n_causal, n_vectors;
  int lane;
};

// Returns an integer above 0 that is larger for larger floats. NaN counts as the lowest. x must not be -0.
__device__ __forceinline__ uint32_t sortable(float x) {
  const auto bits = static_cast<int32_t>(__float_as_uint(fmaxf(x, -INFINITY)));  // fmaxf drops a NaN
  return static_cast<uint32_t>(bits ^ ((bits >> 31) | INT32_MIN));
}

// Replaces the scores by exp(score - largest); returns their sum.
__device__ __forceinline__ float exponentiate(const ScoreRow& row) {
  auto* x = reinterpret_cast<float4*>(row.words) + row.lane;
  float top = -INFINITY;
#pragma unroll 4
  for (int v = 0; v < row.n_vectors; ++v) {
    const float4 s = x[v * 32];
    top = fmaxf(fmaxf(fmaxf(top, s.x), fmaxf(s.y, s.z)), s.w);
  }
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, mask));
  float total = 0.0F;
#pragma unroll 4
  for (int v = 0; v < row.n_vectors; ++v) {
    float4 s = x[v * 32];
    s = {__expf(s.x - top), __expf(s.y - top), __expf(s.z - top), __expf(s.w - top)};
    x[v * 32] = s;
    total += (s.x + s.y) + (s.z + s.w);
  }
  __syncwarp();
  return warp_sum(total);
}

// Describes the k largest keys: those above `above`, and the first n_equal of those equal to it.
struct Cut {
  uint32_t above;
  int n_equal;
};

// The bin in which the k-th largest key lies.
struct Bin {
  int digit;
  int before;  // keys in higher bins
  int size;    // keys in this bin
};

// Finds the bin of the `left`-th largest key among kBins bins of counts. A warp does this together.
__device__ __forceinline__ Bin find_bin(const uint32_t* bins, int lane, int left) {
  constexpr unsigned kFull = 0xffffffffU;
  const auto* own_bins = reinterpret_cast<const uint4*>(bins) + lane * 2;  // eight bins a lane
  const uint4 a = own_bins[0], b = own_bins[1];
  const int c[8] = {static_cast<int>(a.x), static_cast<int>(a.y), static_cast<int>(a.z),
                    static_cast<int>(a.w), static_cast<int>(b.x), static_cast<int>(b.y),
                    static_cast<int>(b.z), static_cast<int>(b.w)};
  const int own = ((c[0] + c[1]) + (c[2] + c[3])) + ((c[4] + c[5]) + (c[6] + c[7]));
  int from_here = own;  // keys in this lane's bins and above
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_down_sync(kFull, from_here, step);
    if (lane + step < 32) from_here += other;
  }
  const bool here = from_here >= left && from_here - own < left;
  int digit = 0, before = 0, size = 0, sum = from_here;  // sum: keys of digit i and of higher digits
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (sum >= left) {
      digit = i;
      size = c[i];
      before = sum - c[i];
    }
    sum -= c[i];
  }
  const int source = __ffs(static_cast<int>(__ballot_sync(kFull, here))) - 1;
  return {__shfl_sync(kFull, lane * 8 + digit, source), __shfl_sync(kFull, before, source),
          __shfl_sync(kFull, size, source)};
}

// Finds the k largest keys by a radix selection from the top, eight bits in each round. A round counts the
// keys of [low, low + 2^(shift + 8)) by digit, and goes on with the digit in which the k-th key lies, until
// all of that digit's keys are wanted. k must be below n_causal; `bins` [kBinWords] is the warp's own.
__device__ __forceinline__ Cut find_cut(const ScoreRow& row, int k, uint32_t* bins) {
  const auto* keys = reinterpret_cast<const uint4*>(row.words) + row.lane;
  auto* own_bins = reinterpret_cast<uint4*>(bins) + row.lane * 2;  // eight bins a lane
  uint32_t low = 0;
  int left = k;  // keys still to be found in the range
  for (int shift = 24;; shift -= 8) {
    own_bins[0] = own_bins[1] = uint4{};
    __syncwarp();
    // Keys outside the range go to the last bin, because a branch around the atomic would cost more.
    const auto count = [&](uint32_t key) {
      atomicAdd(&bins[min((key - low) >> shift, static_cast<uint32_t>(kBins))], 1U);
    };
    uint4 next = keys[0];  // read ahead, because the compiler moves no read before an atomic
#pragma unroll 2
    for (int v = 1; v <= row.n_vectors; ++v) {
      const uint4 x = next;
      if (v < row.n_vectors) next = keys[v * 32];
      count(x.x);
      count(x.y);
      count(x.z);
      count(x.w);
    }
    __syncwarp();
    const Bin bin = find_bin(bins, row.lane, left);
    left -= bin.before;
    low += static_cast<uint32_t>(bin.digit) << shift;
    // low is not 0 here: if it were, all keys would be wanted, but k is below their number.
    if (bin.size == left) return {low - 1, 0};
    if (shift == 0) return {low, left};
  }
}

// Writes the blocks for which keep(word) is true, in ascending order, and returns how many there are. 32
// words are tested at a time. The list overwrites the row's own words as it grows.
template <class Keep>
__device__ __forceinline__ int write_kept(int32_t* out, const ScoreRow& row, Keep&& keep) {
  constexpr unsigned kFull = 0xffffffffU;
  int n = 0;
  // A round takes 32 words of 32 blocks, one word for each lane.
  for (int first_word = 0; first_word * 32 < row.n_causal; first_word += 32) {
    const int n_words = min(32, (row.n_causal + 31) / 32 - first_word);
    const uint32_t* words = row.words + first_word * 32 + row.lane;
    uint32_t mine = 0;
#pragma unroll 4
    for (int w = 0; w < n_words; ++w) {
      const unsigned votes = __ballot_sync(kFull, keep(words[w * 32]));
      if (row.lane == w) mine = votes;
    }
    const int word = first_word + row.lane;
    int upto = __popc(mine);  // kept blocks in all words up to this lane's
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(kFull, upto, step);
      if (row.lane >= step) upto += other;
    }
    // The list never overwrites words that are still to be read, because at most as many blocks are kept as
    // have been read.
    __syncwarp();
    for (int at = n + upto - __popc(mine); mine != 0; mine &= mine - 1)
      row.words[at++] = static_cast<uint32_t>(word * 32 + __ffs(static_cast<int>(mine)) - 1);
    n += __shfl_sync(kFull, upto, 31);
  }
  __syncwarp();
  for (int i = row.lane; i < n; i += 32) out[i] = static_cast<int32_t>(row.words[i]);
  return n;
}

// Writes every causal block.
__device__ __forceinline__ int write_all(int32_t* out, const ScoreRow& row) {
  for (int j = row.lane; j < row.n_causal; j += 32) out[j] = j;
  return row.n_causal;
}

// Writes the diagonal block, for a row that kept nothing.
__device__ __forceinline__ int write_diagonal(int32_t* out, const ScoreRow& row) {
  if (row.lane == 0) out[0] = row.n_causal - 1;
  return 1;
}

}  // namespace seer::cuda
