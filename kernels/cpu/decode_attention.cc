#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace seer {
namespace {

// The number of keys of a task. It is fixed, so that the order of the sum, and with it every bit of the
// result, does not depend on the number of threads.
constexpr int64_t kSplitTokens = 1024;

// The logarithm of a sum over no keys.
constexpr float kNoKeys = -std::numeric_limits<float>::infinity();

}  // namespace

void CpuBackend::decode_attention(const Tensor& out, const Tensor& q, const PagedKv& kv,
                                  const BlockMask* mask) {
  const std::span<const Segment> decodes = step_.step.decodes;
  assert(!decodes.empty() && decodes.back().row < out.dim(0));
  attend_decodes(out.rows(decodes.front().row, 1).as<float>(), nullptr, q, kv, decodes, mask);
}

void CpuBackend::decode_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv) {
  assert(step_.decode_parts.size() == step_.step.decodes.size());
  attend_part(part, q, kv, step_.decode_parts, nullptr);
}

void CpuBackend::masked_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv,
                                       const BlockMask& mask, const BlockMask&) {
  attend_part(part, q, kv, step_.step.decodes, &mask);
}

void CpuBackend::attend_part(const Tensor& part, const Tensor& q, const PagedKv& kv,
                             std::span<const Segment> segments, const BlockMask* mask) {
  assert(!segments.empty() && segments.front().row == step_.step.decodes.front().row);
  const int64_t n = static_cast<int64_t>(segments.size()), n_rows = n * q.dim(1);
  assert(part.numel() == attention_part_size(n, q.dim(1), q.dim(2)));
  auto* out = part.as<float>();
  float* log_sums = out + n_rows * q.dim(2);
  std::fill(out, log_sums, 0.0F);
  std::fill(log_sums, log_sums + n_rows, kNoKeys);
  attend_decodes(out, log_sums, q, kv, segments, mask);
}

void CpuBackend::merge_attention(const Tensor& out, const Tensor& parts) {
  const int64_t n_rows = out.dim(0) * out.dim(1), d_head = out.dim(2), n_parts = parts.dim(0);
  assert(parts.dim(1) == attention_part_size(out.dim(0), out.dim(1), d_head));
  for (int64_t row = 0; row < n_rows; ++row) {
    const auto log_sum = [&](int64_t i) { return parts.rows(i, 1).as<float>()[n_rows * d_head + row]; };
    float top = kNoKeys, total = 0.0F;
    for (int64_t i = 0; i < n_parts; ++i) top = std::max(top, log_sum(i));
    float* o = out.as<float>() + row * d_head;
    std::fill(o, o + d_head, 0.0F);
    for (int64_t i = 0; i < n_parts; ++i) {
      if (log_sum(i) == kNoKeys) continue;
      const float weight = std::exp(log_sum(i) - top);
      const float* x = parts.rows(i, 1).as<float>() + row * d_head;
      total += weight;
      for (int64_t d = 0; d < d_head; ++d) o[d] += weight * x[d];
    }
    if (total == 0.0F) continue;
    for (int64_t d = 0; d < d_head; ++d) o[d] /= total;
  }
}

void CpuBackend::attend_decodes(float* out, float* log_sums, const Tensor& q, const PagedKv& kv,
                                std::span<const Segment> segments, const BlockMask* mask) {
  const int64_t n_heads = q.dim(1), d_head = q.dim(2), page = kv.page_tokens(), n_kv_heads = kv.n_kv_heads();
  const int64_t group = n_heads / n_kv_heads;
  assert(segments.back().row < q.dim(0));
  const float scale = 1.0F / std::sqrt(static_cast<float>(d_head));
  const int64_t split_pages = std::max<int64_t>(1, kSplitTokens / page);

  struct Split {
    const Segment* segment;
    int64_t kv_head;
    const int32_t* kept;  // the list of kept pages; null: all
    int64_t begin, end;   // of the list, or of all pages
  };
  std::vector<Split> splits;  // the splits of one segment and KV head are adjacent
  const int64_t n_segments = static_cast<int64_t>(segments.size());
  assert(mask == nullptr || (mask->n_heads() == n_kv_heads && mask->n_rows() == n_segments));
  for (const Segment& segment : segments) {
    assert(segment.n_tokens == 1 && segment.row == segments.front().row + (&segment - segments.data()));
    for (int64_t h = 0; h < n_kv_heads; ++h) {
      const int64_t list = h * n_segments + (&segment - segments.data());
      const int32_t* kept =
          mask == nullptr ? nullptr : mask->blocks.as<int32_t>() + list * mask->row_capacity();
      const int64_t n = kept == nullptr ? blocks_of(segment.end(), page) : mask->counts.as<int32_t>()[list];
      for (int64_t i = 0; i < n; i += split_pages)
        splits.push_back({&segment, h, kept, i, std::min(n, i + split_pages)});
    }
  }
  const int64_t n_splits = static_cast<int64_t>(splits.size()), partial_size = group * (d_head + 2);
  float* partials =
      scratch_.reserve(n_splits * partial_size);  // for each: [group, d_head], max [group], sum [group]
  reserve_thread_scratch(group * (d_head + page));
  const simd::WeightType type = weight_type(kv.k.dtype);

  pool_.run(n_splits, [&](int64_t task, int thread) {
    const Split& split = splits[static_cast<size_t>(task)];
    const Segment& segment = *split.segment;
    float* sums = partials + task * partial_size;
    float* row_max = sums + group * d_head;
    float* row_sum = row_max + group;
    std::fill(sums, row_max, 0.0F);
    std::fill(row_max, row_sum, kNoKeys);
    std::fill(row_sum, row_sum + group, 0.0F);
    float* scaled_q = thread_scratch(thread);
    const float* q_in = q.as<float>() + (segment.row * n_heads + split.kv_head * group) * d_head;
    for (int64_t i = 0; i < group * d_head; ++i) scaled_q[i] = q_in[i] * scale;

    const auto block = [&](int64_t i) { return split.kept == nullptr ? i : split.kept[i]; };
    for (int64_t i = split.begin; i < split.end; ++i) {
      const int64_t b = block(i), id = segment.page_table[b];
      if (id < 0) continue;  // another rank has it
      const int64_t next_id = i + 1 < split.end ? segment.page_table[block(i + 1)] : -1;
      const void* next = next_id >= 0 ? kv.k_head(next_id, split.kv_head) : nullptr;
      simd_.decode_block(sums, row_max, row_sum, scaled_q + group * d_head, scaled_q,
                         kv.k_head(id, split.kv_head), kv.v_head(id, split.kv_head), next, type, group,
                         d_head, std::min(page, segment.end() - b * page));
    }
  });

  // Merges the splits of a segment and KV head, in order.
  for (int64_t i = 0; i < n_splits;) {
    const Split& first = splits[static_cast<size_t>(i)];
    int64_t last = i;
    while (last < n_splits && splits[static_cast<size_t>(last)].segment == first.segment &&
           splits[static_cast<size_t>(last)].kv_head == first.kv_head)
      ++last;
    for (int64_t g = 0; g < group; ++g) {
      const auto max_of = [&](int64_t s) { return partials[s * partial_size + group * d_head + g]; };
      const auto sum_of = [&](int64_t s) { return partials[s * partial_size + group * (d_head + 1) + g]; };
      float row_max = max_of(i);
      for (int64_t s = i + 1; s < last; ++s) row_max = std::max(row_max, max_of(s));
      const int64_t row = (first.segment->row - segments.front().row) * n_heads + first.kv_head * group + g;
      float* o = out + row * d_head;
      std::fill(o, o + d_head, 0.0F);
      // All sums are 0 if there are no keys. The maximum cannot tell: it is -infinity then, but also if the
      // query is NaN, and in that case the sums are NaN.
      bool has_keys = false;
      for (int64_t s = i; s < last; ++s) has_keys = has_keys || sum_of(s) != 0.0F;
      if (!has_keys) continue;
      float total = 0.0F;
      for (int64_t s = i; s < last; ++s) {
        const float weight = std::exp(max_of(s) - row_max);
        const float* partial = partials + s * partial_size;
        total += sum_of(s) * weight;
        for (int64_t d = 0; d < d_head; ++d) o[d] += partial[g * d_head + d] * weight;
      }
      for (int64_t d = 0; d < d_head; ++d) o[d] /= total;
      if (log_sums != nullptr) log_sums[row] = row_max + std::log(total);
    }
    i = last;
  }
}

}  // namespace seer
