#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace seer {
namespace {

using simd::kTileQueries;

// Up to 64 neighbouring queries of one head. They share a list of key blocks.
struct Tile {
  int32_t head;
  int32_t mask_row;  // row of the block mask; unused without one
  int64_t query;     // first query, counted from the segment's start
  int64_t n_queries;
  int64_t n_blocks;  // the length of its list
};

// Makes the tiles. With a mask, a tile must stay within its block row; without one, it takes a full set of
// lanes whatever the page size.
std::vector<Tile> make_tiles(const Segment& segment, int64_t n_heads, int64_t page, const BlockMask* mask,
                             int64_t first_token) {
  std::vector<Tile> tiles;
  const int64_t span = mask == nullptr ? kTileQueries : page;
  for (int64_t begin = first_token; begin < segment.n_tokens; begin += span) {
    const int64_t end = std::min(segment.n_tokens, begin + span), mask_row = begin / page;
    for (int64_t query = begin; query < end; query += kTileQueries) {
      const int64_t n_queries = std::min(kTileQueries, end - query);
      const int64_t causal = (segment.start + query + n_queries + page - 1) / page;
      for (int64_t h = 0; h < n_heads; ++h) {
        const int64_t kept =
            mask == nullptr ? causal : mask->counts.as<int32_t>()[h * mask->n_rows() + mask_row];
        tiles.push_back({static_cast<int32_t>(h), static_cast<int32_t>(mask_row), query, n_queries, kept});
      }
    }
  }
  // Threads take tiles in this order. Long lists come first, so that little is left to wait for at the end.
  // Heads of one KV group stay together, because their keys are in the cache then.
  std::stable_sort(tiles.begin(), tiles.end(),
                   [](const Tile& a, const Tile& b) { return a.n_blocks > b.n_blocks; });
  return tiles;
}

}  // namespace

void CpuBackend::prefill_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                   const Segment& segment, const BlockMask* mask, int64_t first_token) {
  attend_prefill(out, q, kv, segment, mask, first_token, nullptr);
}

void CpuBackend::attention_with_maxima(const Tensor& out, const Tensor& maxima, const Tensor& log_sums,
                                       const Tensor& q, const PagedKv& kv, const Segment& part) {
  assert(part.row == part.start && maxima.dim(0) == q.dim(1) && maxima.dim(1) == part.n_tokens &&
         maxima.dim(2) >= blocks_of(part.end(), kv.page_tokens()));
  const Maxima both{maxima, log_sums};
  attend_prefill(out, q, kv, part, nullptr, 0, &both);
}

void CpuBackend::attend_prefill(const Tensor& out, const Tensor& q, const PagedKv& kv, const Segment& segment,
                                const BlockMask* mask, int64_t first_token, const Maxima* maxima) {
  const int64_t n_heads = q.dim(1), d_head = q.dim(2), page = kv.page_tokens();
  const int64_t group = n_heads / kv.n_kv_heads(), stride = n_heads * d_head;
  const int64_t n_scores = std::max(page, kTileQueries) * kTileQueries;
  const float scale = 1.0F / std::sqrt(static_cast<float>(d_head));
  assert(segment.start % page == 0 && first_token % page == 0 && kv.d_head() == d_head && page <= 128);

  const std::vector<Tile> tiles = make_tiles(segment, n_heads, page, mask, first_token);
  const bool narrow = kv.k.dtype != DType::kF32;
  reserve_thread_scratch((2 * d_head + 3) * kTileQueries + n_scores + (narrow ? 2 * page * d_head : 0));
  pool_.run(static_cast<int64_t>(tiles.size()), [&](int64_t task, int thread) {
    const Tile& tile = tiles[static_cast<size_t>(task)];
    float* scratch = thread_scratch(thread);
    float* q_t = scratch;
    float* out_t = q_t + d_head * kTileQueries;
    float* row_max = out_t + d_head * kTileQueries;
    float* row_sum = row_max + kTileQueries;
    float* block_max = row_sum + kTileQueries;
    float* scores = block_max + kTileQueries;
    const simd::AttentionTile state{
        d_head, q_t, out_t, row_max, row_sum, scores, maxima == nullptr ? nullptr : block_max};
    float* wide = state.scores + n_scores;  // used if pages are narrow: the keys of a block, then its values
    const int64_t offset = (segment.row + tile.query) * stride + tile.head * d_head;
    simd_.transpose_queries(q_t, q.as<float>() + offset, stride, tile.n_queries, d_head, scale);
    simd_.attention_begin(state);

    const int32_t* list = mask == nullptr
                              ? nullptr
                              : mask->blocks.as<int32_t>() +
                                    (tile.head * mask->n_rows() + tile.mask_row) * mask->row_capacity();
    const int64_t first_position = segment.start + tile.query, end_position = first_position + tile.n_queries;
    for (int64_t i = 0; i < tile.n_blocks; ++i) {
      const int64_t block = list == nullptr ? i : list[i];
      const int64_t block_start = block * page;
      // Keys after the tile's last query are invisible to it, and may not be written yet.
      const int64_t n_keys = std::min(page, end_position - block_start);
      // This is a guard only: lists have causal blocks, which all begin before the tile's end.
      if (n_keys <= 0) break;
      const int64_t page_id = segment.page_table[block], kv_head = tile.head / group;
      const void *k = kv.k_head(page_id, kv_head), *v = kv.v_head(page_id, kv_head);
      if (narrow) {  // widened once for 64 queries, which takes some 2% of the products' time
        simd_.to_float(wide, k, weight_type(kv.k.dtype), n_keys * d_head);
        simd_.to_float(wide + page * d_head, v, weight_type(kv.v.dtype), n_keys * d_head);
        k = wide;
        v = wide + page * d_head;
      }
      simd_.attention_block(state, static_cast<const float*>(k), static_cast<const float*>(v), n_keys,
                            first_position - block_start);
      if (maxima != nullptr) {
        const int64_t width = maxima->blocks.dim(2), first_row = tile.head * segment.n_tokens + tile.query;
        float* to = maxima->blocks.as<float>() + first_row * width + block;
        for (int64_t lane = 0; lane < tile.n_queries; ++lane) to[lane * width] = block_max[lane];
      }
    }
    if (maxima != nullptr)
      for (int64_t lane = 0; lane < tile.n_queries; ++lane)
        maxima->log_sums.as<float>()[tile.head * segment.n_tokens + tile.query + lane] =
            row_max[lane] + std::log(row_sum[lane]);
    simd_.attention_end(state, out.as<float>() + offset, stride, tile.n_queries);
  });
}

}  // namespace seer
