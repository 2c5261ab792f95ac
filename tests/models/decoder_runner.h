// A tiny model with a KV cache and a decoder, which runs step by step as in the engine.
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

// Returns the largest difference of an element. It is infinite if shapes differ or anything is NaN.
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

// The tokens that a step adds to one sequence.
struct Part {
  std::vector<int32_t> ids;
  int64_t start = 0;
  std::vector<int32_t> pages;   // the sequence's page table
  int64_t n_prompt_tokens = 0;  // 0: the prompt ends with `ids`
  std::optional<SelectRule> select = std::nullopt;
  DecodeRule decode = {};  // of a decode
};

struct RunnerOptions {
  int64_t page_tokens = 64;
  int64_t n_pages = 12;
  int64_t n_tokens = 256;  // tokens of the largest step
  int64_t n_logits = 7;    // rows of logits in one round; most steps take several rounds
  int n_threads = 2;
  DType kv_dtype = DType::kF32;
  std::string gates = {};        // a folder; empty: no gates
  std::string more_gates = {};   // a second folder of gates, of the other kind
  Communicator* comm = nullptr;  // if there are several ranks, this runner is one of them
  bool round_inputs = false;     // round the inputs of quantised products, as their format says
  bool divided = false;          // the ranks divide prompts, and n_pages by tokens; each has the whole model
};

// The gates of a tiny model, as files in a folder of their own.
class GatesDir {
 public:
  explicit GatesDir(const TinyModel& model, const TinyGates& gates = {});
  RunnerOptions options() const;  // options that use these gates

 private:
  int64_t block_;
  TempDir dir_;
};

class DecoderRunner {
 public:
  explicit DecoderRunner(const TinyModel& model, const RunnerOptions& options = {})
      : DecoderRunner(model.path(), options) {}
  explicit DecoderRunner(const std::string& model_dir, const RunnerOptions& options = {});

  // Runs one step. Returns the logits of `rows`, or of every row if none are named.
  Logits step(const std::vector<Part>& prefills, const std::vector<Part>& decodes = {},
              const std::vector<int64_t>& rows = {});
  // Computes this rank's part of the next step of rank 0. Call it on ranks other than 0.
  void follow();
  // Runs a step that wants no logits. Returns how often they were offered nevertheless.
  int step_without_logits(const std::vector<Part>& prefills);
  const DecoderStats& stats() const { return stats_; }
  void fill_pages(float value);
  void on_gate(GateObserver observer) { on_gate_ = std::move(observer); }
  void on_decode_gate(DecodeGateObserver observer) { on_decode_gate_ = std::move(observer); }
  // The statistics of the last step's decodes.
  const std::vector<DecoderStats>& decode_stats() const { return decode_stats_; }
  const KvCache& cache() const { return *cache_; }
  Backend& backend() { return *backend_; }
  void before_attention(std::function<void(int64_t layer)> wait) { before_attention_ = std::move(wait); }
  // `observer` is called for each round of logits; if it returns false, no more follow.
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
  Gates gates_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
  DecoderStats stats_;
  std::vector<DecoderStats> decode_stats_;
  GateObserver on_gate_;
  DecodeGateObserver on_decode_gate_;
  std::function<bool(int64_t first, int64_t n_rows)> on_logits_;
  std::function<void(int64_t layer)> before_attention_;
  int n_rounds_ = 0;
};

// Returns `n` ids below n_vocab; another seed gives another list.
std::vector<int32_t> random_ids(int64_t n, int64_t n_vocab, uint64_t seed);

}  // namespace seer::testing
