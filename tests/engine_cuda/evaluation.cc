#include "tests/engine_cuda/evaluation.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/backend.h"
#include "tests/kernels/gpu.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

int64_t block_count(size_t mask_size, int64_t n_heads) {
  return std::lround(std::sqrt(static_cast<double>(mask_size) / static_cast<double>(n_heads)));
}

// One row of scores and its mask, both n blocks wide; i is the row.
int64_t count_row_errors(const SparseRule& rule, int64_t i, int64_t n, const float* scores,
                         const uint8_t* mask) {
  const int64_t n_causal = i + 1, n_kept = std::count(mask, mask + n, uint8_t{1});
  int64_t errors = std::count(mask + n_causal, mask + n, uint8_t{1});
  if (rule.method == SparseRule::Method::kThreshold) {
    // A row that kept nothing keeps its diagonal block. The device compares with the rule in float32.
    const auto value = static_cast<float>(rule.value);
    const bool none = std::none_of(scores, scores + n_causal, [&](float s) { return s > value; });
    for (int64_t j = 0; j < n_causal; ++j)
      errors += (mask[j] != 0) != (scores[j] > value || (none && j == i)) ? 1 : 0;
    return errors;
  }
  const double most = rule.method == SparseRule::Method::kNzRatioRow
                          ? rule.value * static_cast<double>(n_causal)
                          : (1.0 - std::sqrt(1.0 - rule.value)) * static_cast<double>(n);
  const auto k = std::max<int64_t>(1, static_cast<int64_t>(most));
  errors += std::abs(n_kept - std::min(k, n_causal));
  float lowest_kept = INFINITY, highest_dropped = -INFINITY;
  for (int64_t j = 0; j < n_causal; ++j) {
    if (mask[j] != 0) lowest_kept = std::min(lowest_kept, scores[j]);
    if (mask[j] == 0) highest_dropped = std::max(highest_dropped, scores[j]);
  }
  return errors + (highest_dropped > lowest_kept ? 1 : 0);
}

}  // namespace

bool have_gpu() { return gpu() != nullptr; }

void prepare_gpu_ranks(int n_ranks) {
  if (cuda_device_count() >= n_ranks) return;
  ::setenv("NCCL_SOCKET_IFNAME", "lo", /*overwrite=*/0);
  ::setenv("NCCL_IB_DISABLE", "1", /*overwrite=*/0);
}

EngineOptions demo_options(const std::string& device) {
  EngineOptions options;
  options.model_dir = (demo_model() / "model").string();
  options.gates_dir = (demo_model() / "gates").string();
  options.device = device;
  options.gpu_memory_utilization = 0.5;
  options.prefix_cache = false;  // the results of one case must not serve the next
  // The CPU rounds nothing, since a GPU is compared with it.
  if (device == "cpu") options.kv_cache_dtype = "f32";
  return options;
}

std::vector<int32_t> document_tokens(const Engine& engine, int64_t n) {
  const std::string text = read_file(demo_model().parent_path() / "long-document" / "document.txt");
  std::vector<int32_t> tokens = engine.tokenizer().encode(text);
  tokens.resize(std::min(tokens.size(), static_cast<size_t>(n)));
  return tokens;
}

Evaluation evaluate(Engine& engine, const std::vector<int32_t>& tokens, const SparseRule& rule,
                    int64_t n_logits) {
  Evaluation out;
  EvaluateRequest request;
  request.tokens = tokens;
  request.sparse = rule;
  request.n_last_logits = n_logits;
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    out.n_vocab = n_vocab;
    out.logits.insert(out.logits.end(), logits, logits + n_rows * n_vocab);
    return true;
  };
  request.on_gate = [&](const GateRows& rows) {
    const auto size = static_cast<size_t>(rows.n_heads * rows.n_blocks * rows.n_blocks);
    std::vector<float>& scores = out.scores[rows.layer];
    std::vector<uint8_t>& mask = out.masks[rows.layer];
    scores.resize(size);
    mask.resize(size);
    for (int64_t h = 0; h < rows.n_heads; ++h) {
      const int64_t from = h * rows.n_rows * rows.n_blocks, n = rows.n_rows * rows.n_blocks;
      const int64_t to = (h * rows.n_blocks + rows.first_row) * rows.n_blocks;
      std::copy(rows.scores + from, rows.scores + from + n, scores.begin() + to);
      std::copy(rows.mask + from, rows.mask + from + n, mask.begin() + to);
    }
  };
  engine.new_session()->evaluate(request);
  return out;
}

int64_t count_rule_errors(const SparseRule& rule, bool last_dense, int64_t n_heads,
                          const std::vector<float>& scores, const std::vector<uint8_t>& mask) {
  const int64_t n = block_count(mask.size(), n_heads);
  int64_t errors = 0;
  for (int64_t row = 0; row < n_heads * n; ++row) {
    const int64_t i = row % n;
    const uint8_t* kept = mask.data() + row * n;
    if (last_dense && i >= n - 2) {
      errors +=
          i + 1 - std::count(kept, kept + i + 1, uint8_t{1}) + std::count(kept + i + 1, kept + n, uint8_t{1});
    } else {
      errors += count_row_errors(rule, i, n, scores.data() + row * n, kept);
    }
  }
  return errors;
}

double bf16_reach(const SparseRule& rule, const std::vector<float>& scores) {
  if (rule.method == SparseRule::Method::kThreshold) return 0.2 * rule.value;
  double largest = 0.0;
  for (const float s : scores) largest = std::max(largest, std::abs(static_cast<double>(s)));
  return 0.01 * largest;
}

Difference difference(const std::vector<float>& actual, const std::vector<float>& expected) {
  Difference d = {0.0, 0.0, 0.0};
  if (actual.size() != expected.size() || actual.empty()) return {INFINITY, INFINITY, 0.0};
  for (size_t i = 0; i < actual.size(); ++i) {
    const double one = std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    if (std::isnan(one)) return {INFINITY, INFINITY, 0.0};
    d.worst = std::max(d.worst, one);
    d.mean += one / static_cast<double>(actual.size());
    d.largest = std::max(d.largest, std::abs(static_cast<double>(expected[i])));
  }
  return d;
}

}  // namespace seer::testing
