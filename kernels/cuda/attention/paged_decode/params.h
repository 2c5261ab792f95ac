// Decode attention: one new token of each sequence over all its pages, or over a part of them, whose results
// are merged with those of the other parts.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace seer::cuda {

// The most groups in one launch, over all sequences. A group is at most 16 query heads that share a KV head.
inline constexpr int64_t kDecodeMaxGroups = 65536;

// The most blocks in a cluster of narrow blocks, and of wide ones. Narrow clusters are no larger, because
// large clusters start later: with 8 narrow blocks, 128 keys took 5.9 us in place of 4.7.
inline constexpr int kDecodeNarrowCluster = 4, kDecodeWideCluster = 16;
// The blocks of a cluster if a KV head has many clusters, all of which must run at the same time. A
// multiprocessor holds two narrow blocks, and multiprocessors come in pairs, so clusters of 2 can fill the
// GPU.
inline constexpr int kDecodePair = 2;
// Up to this many keys of a KV head are taken by one cluster of narrow blocks.
inline constexpr int64_t kDecodeNarrowKeys = 2048;

// How many thread blocks take the keys of one sequence and KV head.
struct DecodeDivision {
  int n_splits;  // a multiple of `cluster`
  int cluster;   // blocks that combine their results in shared memory; 1 without clusters
  bool wide;     // a block has 8 warps and a multiprocessor's shared memory, not 4 warps and half of it
};

// Returns the length class of a sequence with n_keys keys: the least power of two that is not below n_keys,
// and at least kDecodeNarrowKeys. Sequences of one class are divided alike.
int64_t decode_length_class(int64_t n_keys);

// Divides keys so that all blocks run at the same time and fill the GPU, unless fewer blocks need less time
// because they can combine their results in shared memory. The result depends only on the arguments and on
// the GPU, so that the order of every sum, and with it every bit, is the same from run to run.
class DecodeDivider {
 public:
  // Must be made and used with the GPU as the thread's device.
  DecodeDivider(int n_multiprocessors, bool has_clusters)
      : n_multiprocessors_(n_multiprocessors), has_clusters_(has_clusters) {}
  // `longest` is the length class of the sequence that attends to the most keys, counting only those keys.
  DecodeDivision divide(int n_sequences, int n_heads, int n_kv_heads, int d_head, int64_t longest);

 private:
  DecodeDivision narrow(int n_groups, int max_cluster) const;
  // wide_pairs() returns as many clusters of 2 wide blocks as run at the same time. wide() returns the
  // largest clusters of wide blocks of which each group can have one, and as many of them as run at the same
  // time. The result is absent if no such cluster fits.
  std::optional<DecodeDivision> wide_pairs(int n_groups, int d_head);
  std::optional<DecodeDivision> wide(int n_groups, int d_head);
  bool fits(int d_head, int cluster, int n_clusters);

  int n_multiprocessors_;
  bool has_clusters_;
  std::map<std::pair<int, int>, int> n_active_;  // clusters that run at the same time, by d_head and size
};
struct DecodeParams {
  void* out;        // [n_sequences, n_heads, d_head]: bf16, or float for a part
  float* log_sums;  // [n_sequences, n_heads]: for a part, the natural logarithm of the sum of exp(scores);
                    // else null
  const void* q;    // bf16, as out
  const void* k;    // bf16 [n_pages, n_kv_heads, page_tokens, d_head]
  const void* v;
  const int32_t* positions;  // device [n_sequences]: the place of the last key in a sequence's pages. It is
                             // the new token's own key unless this is a part; -1 for a part without keys
  const int32_t* tables;     // device: the sequences' page tables
  const int32_t* table_offsets;  // device [n_sequences]: the place in `tables` at which each begins
  int n_sequences;
  int n_heads, n_kv_heads, d_head;
  int page_tokens;          // a multiple of 16
  DecodeDivision division;  // from DecodeDivider
  // The kept pages of each sequence and KV head, in ascending order. A sequence's last page must be among
  // them. Both pointers are null if all pages are attended to; they must be null if log_sums is given.
  const int32_t* counts;  // device [n_kv_heads, n_sequences]
  const int32_t*
      blocks;  // device [n_kv_heads, n_sequences, list_capacity]: places in the sequence's page table
  // If this is not 0 and log_sums is given, the part's keys are those of the kept pages that are here:
  // `positions` and `tables` are then DecodePartLists::positions and DecodePartLists::pages.
  int64_t list_capacity;
  float scale;
  int32_t* counters;  // device [kDecodeMaxGroups], zeros; every launch leaves zeros there
  float* partials;    // device, decode_partial_bytes(); used by launches with more than one split
};

// Makes the page tables of listed pages if ranks divide the pages of sequences: each list becomes a table of
// those of its pages that this rank has ("here").
struct DecodePartLists {
  int32_t* positions;     // [n_kv_heads, n_sequences]: the place of the last key in these pages; -1: no keys
  int32_t* pages;         // [n_kv_heads, n_sequences, list_capacity]
  const int32_t* counts;  // as in DecodeParams, and so are the following
  const int32_t* blocks;
  const int32_t* last_positions;  // device [n_sequences]: of each sequence's last key in the whole sequence
  const int32_t* tables;          // with -1 for pages of other ranks
  const int32_t* table_offsets;
  int64_t list_capacity;
  int n_sequences, n_kv_heads, page_tokens;
};
cudaError_t launch_decode_part_lists(const DecodePartLists& params, cudaStream_t stream);

int64_t decode_partial_bytes(int d_head, int n_multiprocessors);  // enough for every launch

// d_head must be 64, 96, 128 or 256. Returns the launch's error.
cudaError_t launch_paged_decode(const DecodeParams& params, cudaStream_t stream);

// Merges parts of the same queries. Each part is as paged_decode writes it: float outputs [n_rows, d_head],
// then logarithms [n_rows]; a row is a head of a sequence.
struct MergeParams {
  void* out;           // bf16 [n_rows, d_head]; zeros for a row without keys in any part
  const float* parts;  // [n_parts, n_rows * (d_head + 1)]
  int n_parts;
  int64_t n_rows;
  int d_head;
};
cudaError_t launch_merge_attention(const MergeParams& params, cudaStream_t stream);

}  // namespace seer::cuda
