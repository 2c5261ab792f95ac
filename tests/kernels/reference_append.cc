// Norms of heads, pools and rotation: what append_kv does.
#include <algorithm>
#include <cmath>

#include "tests/kernels/compare.h"
#include "tests/kernels/reference.h"

namespace seer::testing::reference {

std::vector<double> head_of(const HostTensor& qkv, int64_t row, int64_t head, int64_t d_head,
                            const HostTensor& weight, double eps) {
  const float* x = qkv.at(row) + head * d_head;
  std::vector<double> out(x, x + d_head);
  if (weight.empty()) return out;
  double squares = 0.0;
  for (const double value : out) squares += value * value;
  const double root = std::sqrt(squares / static_cast<double>(d_head) + eps);
  for (size_t d = 0; d < out.size(); ++d) out[d] = out[d] / root * weight.values[d];
  return out;
}

std::vector<double> pool(const std::vector<std::vector<double>>& heads, const GatePools& pools) {
  std::vector<double> max, min, avg;
  for (size_t d = 0; d < heads.front().size(); ++d) {
    double high = heads.front()[d], low = high, sum = 0.0;
    for (const std::vector<double>& head : heads) {
      high = std::max(high, head[d]);
      low = std::min(low, head[d]);
      sum += head[d];
    }
    max.push_back(high);
    min.push_back(low);
    avg.push_back(sum / static_cast<double>(heads.size()));
  }
  std::vector<double> out;
  if (pools.max) out.insert(out.end(), max.begin(), max.end());
  if (pools.min) out.insert(out.end(), min.begin(), min.end());
  if (pools.avg) out.insert(out.end(), avg.begin(), avg.end());
  return out;
}

namespace {

std::vector<double> pool_block(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                               const HostTensor& qkv, const HostTensor& weight, double eps,
                               const GatePools& pools) {
  std::vector<std::vector<double>> heads;
  for (int64_t t = block * c.page; t < std::min(segment.n_tokens, (block + 1) * c.page); ++t)
    heads.push_back(head_of(qkv, segment.row + t, head, c.d_head, weight, eps));
  return pool(heads, pools);
}

}  // namespace

std::vector<double> pooled_query(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                                 const HostTensor& qkv, const CaseNorms& norms, const GatePools& pools) {
  return pool_block(c, segment, block, head, qkv, norms.q, norms.eps, pools);
}

std::vector<double> pooled_key(const PagedCase& c, const CaseSegment& segment, int64_t block, int64_t head,
                               const HostTensor& qkv, const CaseNorms& norms, const GatePools& pools) {
  return pool_block(c, segment, block, c.n_heads + head, qkv, norms.k, norms.eps, pools);
}

AppendKv append_kv(const AppendKvCase& c) {
  AppendKv out;
  out.q.assign(static_cast<size_t>(c.n_tokens * c.n_heads * c.d_head), kUntouched);
  out.k.assign(c.k.values.begin(), c.k.values.end());
  out.v.assign(c.v.values.begin(), c.v.values.end());
  const auto put = [](std::vector<double>* to, int64_t at, const std::vector<double>& x) {
    std::copy(x.begin(), x.end(), to->begin() + at);
  };
  for (const std::vector<CaseSegment>* segments : {&c.prefills, &c.decodes})
    for (const CaseSegment& s : *segments)
      for (int64_t t = 0; t < s.n_tokens; ++t) {
        const int64_t row = s.row + t, position = s.start + t;
        const auto turned = [&](int64_t h, const HostTensor& weight) {
          return rotate(head_of(c.qkv, row, h, c.d_head, weight, c.norms.eps), c.cos.at(row), c.sin.at(row),
                        c.d_head / 2);
        };
        for (int64_t h = 0; h < c.n_heads; ++h)
          put(&out.q, (row * c.n_heads + h) * c.d_head, turned(h, c.norms.q));
        const int64_t page_id = s.page_table[static_cast<size_t>(position / c.page)];
        if (page_id < 0) continue;
        for (int64_t h = 0; h < c.n_kv_heads; ++h) {
          const int64_t slot = ((page_id * c.n_kv_heads + h) * c.page + position % c.page) * c.d_head;
          put(&out.k, slot, turned(c.n_heads + h, c.norms.k));
          put(&out.v, slot, head_of(c.qkv, row, c.n_heads + c.n_kv_heads + h, c.d_head, {}, 0.0));
        }
      }
  if (c.k_pools.count() == 0) return out;
  const auto append = [](std::vector<double>* to, const std::vector<double>& x) {
    to->insert(to->end(), x.begin(), x.end());
  };
  for (const CaseSegment& s : c.prefills)
    for (int64_t block = 0; block < c.n_rows(s); ++block) {
      for (int64_t h = 0; h < c.n_heads; ++h)
        append(&out.pooled_q, pooled_query(c, s, block, h, c.qkv, c.norms, c.q_pools));
      for (int64_t h = 0; h < c.n_kv_heads; ++h)
        append(&out.pooled_k, pooled_key(c, s, block, h, c.qkv, c.norms, c.k_pools));
    }
  return out;
}

}  // namespace seer::testing::reference
