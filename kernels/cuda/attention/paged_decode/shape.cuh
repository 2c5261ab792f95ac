// Sizes of decode attention, and how a sequence's keys are divided among thread blocks.
#pragma once

#include <cmath>

#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/ptx/mma.cuh"

namespace seer::cuda {

inline constexpr int kDecodeNarrowWarps = 4, kDecodeWideWarps = 8;
inline constexpr int kDecodeRows = 16;       // query heads of a block: the rows of one mma tile
inline constexpr int kDecodeSliceKeys = 16;  // keys of a slice
inline constexpr int kDecodeMaxSplits = 64;

// Says which keys a launch attends to: all keys of the sequences; only the part of them that this rank has,
// whose results are merged with those of other ranks; or the keys of listed pages.
enum class DecodeKeys { kAll, kPart, kListed };

// One partial result: for each of kDecodeRows rows, kDHead sums, then the maximum and the total.
template <int kDHead>
inline constexpr int kDecodeRowFloats = kDHead + 2;
template <int kDHead>
inline constexpr int kDecodePartialFloats = kDecodeRows* kDecodeRowFloats<kDHead>;

// kWarps: of a thread block, kDecodeNarrowWarps or kDecodeWideWarps.
template <int kDHead, int kWarps>
struct DecodeShape {
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kMostCluster = kWarps == kDecodeWideWarps ? kDecodeWideCluster : kDecodeNarrowCluster;
  static constexpr int kStages = kDHead <= 128 ? 3 : 2;
  static constexpr int kSliceBytes = kDecodeSliceKeys * kDHead * 2;  // of K, and as much of V
  static constexpr int kWarpBytes = kStages * 2 * kSliceBytes;
  static constexpr int kPipelineBytes = kWarps * kWarpBytes;
  // The results of the warps, then of the block, take the place of the keys at the end.
  static constexpr int kCombineBytes = (kWarps + 1) * kDecodePartialFloats<kDHead> * 4;
  static constexpr int kSharedBytes = kPipelineBytes > kCombineBytes ? kPipelineBytes : kCombineBytes;
};

// How the slices of one sequence, of kDecodeSliceKeys keys each, are divided. All arguments are the same for
// the blocks of a sequence.
template <int kWarps>
struct DecodePlan {
  int n_slices;
  int split_slices;  // from the first slice of a split to that of the next
  // From the first slice of a split to its end: whole rounds, in which every warp takes one slice. If the
  // slices are dealt: all slices.
  int end_slices;
  int step;      // from a warp's slice to its next one
  int n_splits;  // splits that have keys

  // If the slices are dealt, the warps of all splits get one slice each in turn, so that a warp's slices do
  // not depend on how many there are. Else a split has consecutive slices.
  __device__ DecodePlan(int n_keys, int most_splits, int cluster, bool dealt) {
    n_slices = (n_keys + kDecodeSliceKeys - 1) / kDecodeSliceKeys;
    if (dealt) {
      split_slices = kWarps;
      end_slices = n_slices;
      step = most_splits * kWarps;
      n_splits = min(most_splits, (n_slices + kWarps - 1) / kWarps);
      return;
    }
    const int rounds = (n_slices + kWarps - 1) / kWarps;
    const int rounds_of_cluster = (rounds + cluster - 1) / cluster;
    const bool one_cluster = cluster > 1 && rounds_of_cluster <= kClusterRounds;
    const int split_rounds =
        one_cluster ? rounds_of_cluster : max(kMinRounds, (rounds + most_splits - 1) / most_splits);
    split_slices = end_slices = split_rounds * kWarps;
    step = kWarps;
    n_splits = (n_slices + split_slices - 1) / split_slices;
  }

  __device__ int first_slice(int split, int warp) const { return split * split_slices + warp; }
  // The number of a warp's slices.
  __device__ int count(int split, int warp) const {
    const int end = min(n_slices, split * split_slices + end_slices), first = first_slice(split, warp);
    return max(0, (end - first + step - 1) / step);
  }

 private:
  // A split that is combined through global memory has at least this many rounds, so that combining costs
  // less than it saves.
  static constexpr int kMinRounds = 2;
  // If one cluster can do it in so many rounds of each block, it takes all keys of a KV head: more clusters
  // would read them sooner, but would have to combine through global memory. (8 rounds of 4 blocks with 4
  // warps are kDecodeNarrowKeys.)
  static constexpr int kClusterRounds = 8;
};

}  // namespace seer::cuda
