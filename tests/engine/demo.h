// The demo model for the engine's tests: a short context, greedy requests, real text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace seer::testing {

using Ids = std::vector<int32_t>;

// The sparse rules keep some three fifths to three quarters of a prompt of eight blocks, counting the last
// two rows.
inline const SparseRule kDense;
inline const SparseRule kThreshold = SparseRule::parse("threshold=0.1");
inline const SparseRule kNzRatio = SparseRule::parse("nz_ratio=0.2");
inline const SparseRule kNzRatioRow = SparseRule::parse("nz_ratio_row=0.2");
// Rules for decoding.
inline const SparseDecodeRule kDenseDecode;
inline const SparseDecodeRule kDecodeBudget = SparseDecodeRule::parse("budget=64");
inline const SparseDecodeRule kDecodeThreshold = SparseDecodeRule::parse("threshold=0.05");
inline const SparseDecodeRule kDecodeRatio = SparseDecodeRule::parse("ratio=0.25");
// Rules that keep fewer blocks, for tests that compute nothing.
inline const SparseRule kLowThreshold = SparseRule::parse("threshold=0.01");
inline const SparseRule kLowNzRatio = SparseRule::parse("nz_ratio=0.1");
inline const SparseRule kLowNzRatioRow = SparseRule::parse("nz_ratio_row=0.1");

// Pages are float32 unless a test asks for bf16. With float32, different ways to compute the same tokens
// differ only in the last bits of sums, so compared tokens cannot be near a tie by chance.
EngineOptions demo_options(int64_t ctx_size, int64_t chunk_size = 64,
                           const std::string& kv_cache_dtype = "f32");
std::shared_ptr<Engine> load_demo(int64_t ctx_size, int64_t chunk_size = 64,
                                  const std::string& kv_cache_dtype = "f32");
// Returns how much log-probabilities of the demo model may differ if they are computed in other steps or on
// other ranks. Over float32 pages only the last bits of sums differ. Over bf16 pages these bits decide how
// numbers on a tie are rounded, and later layers round numbers that differ by that. A difference of 6e-3 was
// seen, while rounding all numbers moves logits by up to 0.05.
double logprob_margin(const std::string& kv_cache_dtype);
// Links the demo model's weights and configuration into an empty folder, without a tokenizer.
void link_model_without_tokenizer(const std::filesystem::path& dir);

// Returns the first n tokens of a long document, which begin with BOS.
Ids document(int64_t n);
Ids slice(const Ids& ids, int64_t begin, int64_t end);
Ids join(const Ids& a, const Ids& b);

GenerateRequest greedy(const Ids& prompt, int64_t max_new_tokens, const SparseRule& rule = kDense);

// Checks that requests which run together in one engine give the same tokens and densities that each gives
// alone in another.
void check_together(Engine& together, Engine& alone, const std::vector<GenerateRequest>& requests);

}  // namespace seer::testing
