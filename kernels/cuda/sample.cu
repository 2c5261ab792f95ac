#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/sample.h"

namespace seer::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
static_assert(kWarps == 32, "one warp reads what every warp has written, a lane each");
constexpr int kBatch = 8;  // loads that a thread has in flight: 32 KiB for a block, enough for L2's latency
constexpr int kDigitBits = 11;
constexpr int kBins = 1 << kDigitBits;
constexpr int kShortList = 2048;
constexpr unsigned kFull = 0xffffffffU;

// A token's weight is its probability relative to the likeliest token's, in units of 2^-40. Sums of integers
// are the same in any order, so that equal logits give equal tokens. A weight that rounds to 0 is never
// drawn. The weights of up to 2^23 tokens add up within 64 bits.
constexpr float kWeightOne = 0x1p40F;
constexpr int64_t kMostTokens = int64_t{1} << 23;
// A weight rounds to 0 if the probability is less than 2^-41 of the likeliest token's, which is so from 28.4
// temperatures below the largest logit on. The bins, each 1/64 of a temperature wide, reach 32 temperatures
// down.
constexpr float kBinsPerTemperature = 64.0F;

struct Shared {
  // 64-bit sums by digit, stored in two halves, because shared memory adds 32 bits at a time.
  uint32_t low[kBins], high[kBins];
  int32_t list_ids[kShortList];
  float list_logits[kShortList];
  uint64_t warps[kWarps];
  int32_t counts[2][kWarps];
  struct Boundary {
    uint64_t above, own, total;
    int digit;
  } boundary;
};

__device__ int lane_index() { return static_cast<int>(threadIdx.x) % 32; }
__device__ int warp_index() { return static_cast<int>(threadIdx.x) / 32; }

// ---- over the block; all threads must call these, and all get the result ----

struct Larger {
  __device__ uint64_t operator()(uint64_t a, uint64_t b) const { return a > b ? a : b; }
};
struct Plus {
  __device__ uint64_t operator()(uint64_t a, uint64_t b) const { return a + b; }
};

template <class Op>
__device__ uint64_t warp_reduce(uint64_t x, Op op) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x = op(x, __shfl_xor_sync(kFull, x, mask));
  return x;
}

template <class Op>
__device__ uint64_t block_reduce(uint64_t x, Op op, Shared& s) {
  x = warp_reduce(x, op);
  __syncthreads();  // all threads have read the old content of s.warps
  if (lane_index() == 0) s.warps[warp_index()] = x;
  __syncthreads();
  return warp_reduce(s.warps[lane_index()], op);
}

// Returns the sum of x over this lane and those before it.
template <class T>
__device__ T warp_scan(T x) {
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const T other = __shfl_up_sync(kFull, x, step);
    if (lane_index() >= step) x += other;
  }
  return x;
}

// ---- one row ----

// Convert floats to unsigned integers of the same order, and back.
__device__ uint32_t sortable(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0F);  // -0 equals 0
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}
__device__ float unsortable(uint32_t key) {
  return __uint_as_float((key & 0x80000000U) != 0 ? key & 0x7fffffffU : ~key);
}

// Logits in ascending order of their ids: the whole row, or a short list from it.
struct Logits {
  const float* values;
  const int32_t* ids;  // null: the id is the value's index
  int n;
  __device__ int id(int i) const { return ids == nullptr ? i : ids[i]; }
};

// Calls visit(i, logit) for every finite logit, in no particular order.
template <class Visit>
__device__ void each(const Logits& logits, Visit&& visit) {
  for (int base = static_cast<int>(threadIdx.x); base < logits.n; base += kThreads * kBatch) {
    float v[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = base + b * kThreads;
      v[b] = i < logits.n ? logits.values[i] : -INFINITY;
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (isfinite(v[b])) visit(base + b * kThreads, v[b]);
  }
}

// The tokens that are still kept, which are the beginning of the ranking. Three limits describe them.
struct Kept {
  float top;  // the largest logit
  float inv_temperature;
  uint64_t floor_weight = 1;
  int floor_bin = 0;
  uint32_t cut_key = 0;  // tokens are cut off if their key is below it, or equal to it with an id after
                         // cut_id
  int cut_id = INT32_MAX;

  // Every step is rounded, so that a logit has the same depth wherever it is computed.
  __device__ float depth(float logit) const { return __fmul_rn(__fsub_rn(top, logit), inv_temperature); }
  __device__ uint64_t weight(float logit) const { return __float2ull_rn(expf(-depth(logit)) * kWeightOne); }
  // Returns a bin that is larger for larger logits. Logits are spread evenly enough that few threads meet in
  // a bin.
  __device__ int bin(float logit) const {
    return kBins - 1 -
           static_cast<int>(fminf(depth(logit) * kBinsPerTemperature, static_cast<float>(kBins - 1)));
  }
  // Returns the token's weight, or 0 if it is not kept.
  __device__ uint64_t of(const Logits& logits, int i, float logit) const {
    const uint64_t w = weight(logit);
    if (w < floor_weight || bin(logit) < floor_bin) return 0;
    const uint32_t key = sortable(logit);
    return key > cut_key || (key == cut_key && logits.id(i) <= cut_id) ? w : 0;
  }
};

// ---- sums by digit ----

// Sets the bins to zero. No thread still reads them, since find_boundary's last barriers come after all
// reads.
__device__ void clear_bins(Shared& s) {
  for (int b = static_cast<int>(threadIdx.x); b < kBins; b += kThreads) s.low[b] = s.high[b] = 0;
  __syncthreads();
}

// The thread whose addition overflows the lower half adds the carry.
__device__ void add_to_bin(Shared& s, int bin, uint64_t amount) {
  const auto low = static_cast<uint32_t>(amount);
  const uint32_t before = atomicAdd(&s.low[bin], low);
  const uint32_t up = static_cast<uint32_t>(amount >> 32) + (before + low < before ? 1U : 0U);
  if (up != 0) atomicAdd(&s.high[bin], up);
}

// Finds the digit at which the sum from the top reaches `target` >= 1, and the sum above it. The digit is -1
// if the sum of all does not reach it.
__device__ Shared::Boundary find_boundary(Shared& s, uint64_t target) {
  static_assert(kBins == 2 * kThreads);
  __syncthreads();  // all additions are done
  if (threadIdx.x == 0) s.boundary = {0, 0, 0, -1};
  const int upper = kBins - 1 - 2 * static_cast<int>(threadIdx.x);
  const auto sum = [&](int bin) { return static_cast<uint64_t>(s.high[bin]) << 32 | s.low[bin]; };
  const uint64_t first = sum(upper), second = sum(upper - 1);
  const uint64_t inclusive = warp_scan(first + second);
  if (lane_index() == 31) s.warps[warp_index()] = inclusive;
  __syncthreads();
  const uint64_t warps = warp_scan(s.warps[lane_index()]);
  // Lane i has the sum over the warps before warp i. Every thread reads it from the lane that has its warp's
  // number.
  const uint64_t warps_before = __shfl_up_sync(kFull, warps, 1);
  const uint64_t before_warp = __shfl_sync(kFull, lane_index() == 0 ? 0 : warps_before, warp_index());
  const uint64_t before = before_warp + inclusive - first - second;
  if (before < target && target <= before + first) {
    s.boundary.above = before, s.boundary.own = first, s.boundary.digit = upper;
  } else if (before + first < target && target <= before + first + second) {
    s.boundary.above = before + first, s.boundary.own = second, s.boundary.digit = upper - 1;
  }
  if (threadIdx.x == kThreads - 1) s.boundary.total = before + first + second;
  __syncthreads();
  return s.boundary;
}

// ---- searches in the order of ids ----

// Returns the first index at which the sum of amount(i) exceeds target_of(the sum of all), which must be
// below that sum. In each round every warp sums up a part, and the next round divides the part in which the
// sum is exceeded.
template <class Amount, class Target>
__device__ int locate(int n, Shared& s, Amount&& amount, Target&& target_of) {
  int begin = 0, end = n;
  uint64_t target = 0;
  for (bool first = true; first || end - begin > 1; first = false) {
    const int part = (end - begin + kWarps - 1) / kWarps;
    const auto part_begin = [&](int warp) { return min(end, begin + warp * part); };
    const int to = part_begin(warp_index() + 1);
    uint64_t own = 0;
#pragma unroll kBatch
    for (int i = part_begin(warp_index()) + lane_index(); i < to; i += 32) own += amount(i);
    own = warp_reduce(own, Plus());
    __syncthreads();  // all threads have read the old content of s.warps
    if (lane_index() == 0) s.warps[warp_index()] = own;
    __syncthreads();
    // From here on every warp computes the same.
    const uint64_t its = s.warps[lane_index()], sum = warp_scan(its);
    if (first) target = target_of(__shfl_sync(kFull, sum, 31));
    const int warp = __ffs(static_cast<int>(__ballot_sync(kFull, sum > target))) - 1;
    target -= __shfl_sync(kFull, sum - its, warp);
    const int next = part_begin(warp);
    end = part_begin(warp + 1);  // part_begin() uses `begin`, so it must be called first
    begin = next;
  }
  return begin;
}

// ---- the beginning of the ranking ----

// Cuts the ranking at the place where the weights (or the number) of the tokens kept so far reaches `target`.
// This is a radix selection on the logits' bits. Its first digit is the bin, since the bits alone would crowd
// all logits into a few digits.
__device__ void cut_at(Kept* kept, const Logits& logits, Shared& s, uint64_t target, bool by_weight) {
  const Kept before = *kept;
  int bin = 0;
  uint32_t prefix = 0, mask = 0;
  Shared::Boundary at = {};
  for (int level = 0; level < 4; ++level) {
    // The digits are 11 bits from the top, 11 more, and the 10 that are left.
    const int shift = level == 3 ? 0 : 32 - level * kDigitBits;
    const int bits = level == 3 ? 32 - 2 * kDigitBits : kDigitBits;
    clear_bins(s);
    each(logits, [&](int i, float logit) {
      const uint64_t w = before.of(logits, i, logit);
      if (w == 0) return;
      const int own_bin = before.bin(logit);
      const uint32_t key = sortable(logit);
      if (level > 0 && (own_bin != bin || (key & mask) != prefix)) return;
      const int digit = level == 0 ? own_bin : static_cast<int>(key >> shift & ((1U << bits) - 1U));
      add_to_bin(s, digit, by_weight ? w : 1);
    });
    at = find_boundary(s, target);
    if (at.digit < 0) return;  // everything kept so far stays
    target -= at.above;
    if (level == 0) {
      bin = at.digit;
    } else {
      prefix |= static_cast<uint32_t>(at.digit) << shift;
      mask |= ((1U << bits) - 1U) << shift;
    }
  }
  // Of the tokens equal to the last one, keeps as many as needed, those with lower ids first.
  const uint64_t each_adds = by_weight ? before.weight(unsortable(prefix)) : 1;
  const uint64_t n_equal = at.own / each_adds, n_kept = (target + each_adds - 1) / each_adds;
  kept->cut_key = prefix;
  if (n_kept == n_equal && before.cut_key != prefix) {
    kept->cut_id = INT32_MAX;
    return;
  }
  const auto equal = [&](int i) -> uint64_t {
    const float logit = logits.values[i];
    return isfinite(logit) && sortable(logit) == prefix && before.of(logits, i, logit) != 0 ? 1 : 0;
  };
  kept->cut_id = logits.id(locate(logits.n, s, equal, [&](uint64_t) { return n_kept - 1; }));
}

// Moves the kept logits, in the order of their ids, to the short list if they fit. Returns how many there
// are. `total` gets the weight of the whole row, kept or not.
__device__ int shorten(const Logits& row, const Kept& kept, Shared& s, uint64_t* total) {
  int n = 0, parity = 0;
  uint64_t own_weight = 0;
  for (int tile = 0; tile < row.n; tile += kThreads * kBatch, parity ^= 1) {
    const int first = tile + warp_index() * 32 * kBatch + lane_index();
    float v[kBatch];
    unsigned votes[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) v[b] = first + b * 32 < row.n ? row.values[first + b * 32] : -INFINITY;
    int count = 0;
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const bool finite = isfinite(v[b]);
      if (finite) own_weight += kept.weight(v[b]);
      votes[b] = __ballot_sync(kFull, finite && kept.of(row, first + b * 32, v[b]) != 0);
      count += __popc(votes[b]);
    }
    // There are two sets of counts, so that one barrier is enough: no thread is a whole tile ahead.
    if (lane_index() == 0) s.counts[parity][warp_index()] = count;
    __syncthreads();
    const int sum = warp_scan(s.counts[parity][lane_index()]);
    const int n_tile = __shfl_sync(kFull, sum, 31);
    int at = n + __shfl_sync(kFull, sum, warp_index()) - count;
    if (n + n_tile <= kShortList) {
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        if ((votes[b] >> lane_index() & 1U) != 0) {
          const int slot = at + __popc(votes[b] & ((1U << lane_index()) - 1U));
          s.list_ids[slot] = first + b * 32;
          s.list_logits[slot] = v[b];
        }
        at += __popc(votes[b]);
      }
    }
    n += n_tile;
  }
  *total = block_reduce(own_weight, Plus(), s);  // its barriers also make the list visible
  return n;
}

// Applies top_k and top_p. It first leaves out tokens that are certain not to be kept. The others usually fit
// into the short list, so that the row need not be read again.
__device__ void keep_likeliest(Kept* kept, Logits* logits, const SampleRowParams& row, float own_top,
                               Shared& s) {
  const bool by_number = row.top_k > 0, by_weight = row.top_p < 1.0;
  if (by_number) {
    // The k-th largest logit of all is no smaller than the k-th largest of the threads' largest ones.
    clear_bins(s);
    if (isfinite(own_top) && kept->weight(own_top) > 0) add_to_bin(s, kept->bin(own_top), 1);
    kept->floor_bin = max(0, find_boundary(s, static_cast<uint64_t>(row.top_k)).digit);
  }
  // The total for top_p counts tokens that min_p drops, but only those that top_k kept.
  if (!(by_number && by_weight)) kept->floor_weight = max(kept->floor_weight, row.min_weight);
  if (by_weight && !by_number) {
    // All tokens less likely than this together have less than 1 - top_p.
    const double rare = (1.0 - row.top_p) * static_cast<double>(kWeightOne) / logits->n;
    kept->floor_weight = max(kept->floor_weight, static_cast<uint64_t>(rare));
  }
  uint64_t total = 0;
  const int n = shorten(*logits, *kept, s, &total);
  if (n <= kShortList) *logits = {s.list_logits, s.list_ids, n};
  if (by_number && n > row.top_k) cut_at(kept, *logits, s, static_cast<uint64_t>(row.top_k), false);
  if (!by_weight) return;
  if (by_number) {
    uint64_t own = 0;
    each(*logits, [&](int i, float logit) { own += kept->of(*logits, i, logit); });
    total = block_reduce(own, Plus(), s);
  }
  const auto target = static_cast<uint64_t>(ceil(row.top_p * static_cast<double>(total)));
  cut_at(kept, *logits, s, max(target, uint64_t{1}), true);
}

__global__ void __launch_bounds__(kThreads) sample_kernel(const SampleParams p) {
  __shared__ Shared s;
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const SampleRowParams row = p.rows[blockIdx.x];
  float* const values = p.logits + static_cast<int64_t>(blockIdx.x) * p.n_vocab;
  for (int64_t c = threadIdx.x; c < row.n_changes; c += kThreads) {
    const LogitChange change = p.changes[row.first_change + c];
    if (change.id < 0 || change.id >= p.n_vocab) continue;
    const float logit = values[change.id];
    // Every step is rounded, as on the CPU: there is no fused multiply-add.
    const float scaled = logit > 0.0F ? __fdiv_rn(logit, change.divide) : __fmul_rn(logit, change.divide);
    values[change.id] = change.banned ? -INFINITY : __fsub_rn(scaled, change.subtract);
  }
  __syncthreads();  // makes the changes visible to the block, the only one that reads this row

  // Finds the largest logit, and among equal ones the lowest id. Infinity, unlike NaN, is a candidate here.
  Logits logits = {values, nullptr, p.n_vocab};
  float own_top = -INFINITY;
  int own_id = 0;
  for (int base = static_cast<int>(threadIdx.x); base < logits.n; base += kThreads * kBatch) {
    float v[kBatch];
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      const int i = base + b * kThreads;
      v[b] = i < logits.n ? values[i] : -INFINITY;
    }
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (v[b] > own_top) own_top = v[b], own_id = base + b * kThreads;
  }
  const uint64_t best = block_reduce(
      static_cast<uint64_t>(sortable(own_top)) << 32 | ~static_cast<uint32_t>(own_id), Larger(), s);
  const float top = unsortable(static_cast<uint32_t>(best >> 32));
  int id = static_cast<int>(~static_cast<uint32_t>(best));
  if (!isfinite(top)) {
    id = -1;
  } else if (row.inv_temperature != 0.0F) {
    Kept kept{top, row.inv_temperature};
    if (row.top_k > 0 || row.top_p < 1.0) keep_likeliest(&kept, &logits, row, own_top, s);
    kept.floor_weight = max(kept.floor_weight, row.min_weight);
    const auto weight = [&](int i) {
      const float logit = logits.values[i];
      return isfinite(logit) ? kept.of(logits, i, logit) : 0;
    };
    // The likeliest token is always kept, so that the sum is not 0.
    id = logits.id(locate(logits.n, s, weight, [&](uint64_t total) {
      return min(total - 1, static_cast<uint64_t>(row.uniform * static_cast<double>(total)));
    }));
  }
  if (threadIdx.x == 0) p.ids[blockIdx.x] = id;
}

}  // namespace

SampleRowParams SampleRowParams::of(const SampleRow& row, int64_t first_change) {
  SampleRowParams p;
  if (row.temperature != 0.0) {
    // Keeps the number within the range of float32. 0 would mean greedy, and infinity times 0 is not a
    // number.
    const double inverse = 1.0 / row.temperature;
    p.inv_temperature = static_cast<float>(inverse < 1e-37 ? 1e-37 : inverse > 1e37 ? 1e37 : inverse);
  }
  p.top_k = static_cast<int32_t>(row.top_k < INT32_MAX ? row.top_k : INT32_MAX);
  p.top_p = row.top_p;
  p.uniform = row.uniform;
  p.min_weight = static_cast<uint64_t>(std::ceil(row.min_p * static_cast<double>(kWeightOne)));
  p.first_change = first_change;
  p.n_changes = static_cast<int64_t>(row.changes.size());
  return p;
}

cudaError_t launch_sample(const SampleParams& params, int64_t n, cudaStream_t stream) {
  if (params.n_vocab < 1 || params.n_vocab > kMostTokens) return cudaErrorInvalidValue;
  return launch(sample_kernel, dim3(static_cast<unsigned>(n)), kThreads, 0, stream, params);
}

}  // namespace seer::cuda
