// A tiny model with a KV cache and a decoder, driven step by step as the engine does it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder.h"
#include "tests/models/tiny_model.h"

namespace seer::testing {

using Logits = std::vector<std::vector<float>>;  // by row, [n_vocab] each

// The largest of an element; infinite where shapes differ or anything is NaN.
template <class T>
double difference(const Logits& a, const std::vector<std::vector<T>>& b) {
  if (a.size() != b.size()) return INFINITY;
  double worst = 0.0;
  for (size_t r = 0; r < a.size(); ++r) {
    if (a[r].size() != b[r].size()) return INFINITY;
    for (size_t c = 0; c < a[r].size(); ++c) {
      const double d = std::abs(static_cast<double>(a[r][c]) - static_cast<double>(b[r][c]));
      if (std::isnan(d)) return INFINITY;
      worst = std::max(worst, d);
    }
  }
  return worst;
}

// Tokens that one sequence adds in a step.
struct Part {
  std::vector<int32_t> ids;
  int64_t start = 0;
  std::vector<int32_t> pages;   // the sequence's page table
  int64_t n_prompt_tokens = 0;  // 0: start + ids
  std::optional<SelectRule> select = std::nullopt;
};

struct RunnerOptions {
  int64_t page_tokens = 64;
  int64_t n_pages = 12;
  int64_t n_tokens = 256;  // of the largest step
  int64_t n_logits = 7;    // rows at once: most steps take several rounds
  int n_threads = 2;
  DType kv_dtype = DType::kF32;
  std::string gates = {};        // a folder
  Communicator* comm = nullptr;  // with several ranks: this runner is one of them
  bool round_inputs = false;     // of quantised products, as their format says
  bool divided = false;          // the ranks divide prompts and n_pages by tokens, and not the model
};

// Gates of a tiny model as files in a folder of their own.
class GatesDir {
 public:
  explicit GatesDir(const TinyModel& model, const TinyGates& gates = {});
  RunnerOptions options() const;  // that use them

 private:
  int64_t block_;
  TempDir dir_;
};

class DecoderRunner {
 public:
  explicit DecoderRunner(const TinyModel& model, const RunnerOptions& options = {})
      : DecoderRunner(model.path(), options) {}
  explicit DecoderRunner(const std::string& model_dir, const RunnerOptions& options = {});

  // One step; logits of `rows`, or of every row where none are named.
  Logits step(const std::vector<Part>& prefills, const std::vector<Part>& decodes = {},
              const std::vector<int64_t>& rows = {});
  // On ranks other than 0: computes its part of the next step of rank 0.
  void follow();
  // Without any logits; how often they were offered all the same.
  int step_without_logits(const std::vector<Part>& prefills);
  const DecoderStats& stats() const { return stats_; }
  void fill_pages(float value);
  void on_gate(GateObserver observer) { on_gate_ = std::move(observer); }
  // Called for each round of logits; false ends them.
  void on_logits(std::function<bool(int64_t first, int64_t n_rows)> observer) {
    on_logits_ = std::move(observer);
  }

 private:
  Logits forward(const std::vector<Part>& prefills, const std::vector<Part>& decodes,
                 const std::vector<int64_t>& rows);

  RunnerOptions options_;
  ModelConfig config_;
  Shard shard_;
  std::unique_ptr<Backend> backend_;
  ModelWeights weights_;
  std::optional<GateWeights> gates_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
  DecoderStats stats_;
  GateObserver on_gate_;
  std::function<bool(int64_t first, int64_t n_rows)> on_logits_;
  int n_rounds_ = 0;
};

// `n` ids below n_vocab, another list for another seed.
std::vector<int32_t> random_ids(int64_t n, int64_t n_vocab, uint64_t seed);

}  // namespace seer::testing
