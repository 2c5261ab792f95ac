// The demo model as the engine's tests use it: a short context, greedy requests, real text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace seer::testing {

using Ids = std::vector<int32_t>;

// Over prompts of eight blocks these keep three quarters and some three fifths, the last two rows included.
inline const SparseRule kDense;
inline const SparseRule kThreshold = SparseRule::parse("threshold=0.1");
inline const SparseRule kNzRatio = SparseRule::parse("nz_ratio=0.2");
inline const SparseRule kNzRatioRow = SparseRule::parse("nz_ratio_row=0.2");

// Pages are float32 unless a test asks for bf16: then ways to compute the same tokens differ in the last bits
// of a sum alone, and tokens that are compared cannot be near a tie by chance.
EngineOptions demo_options(int64_t ctx_size, int64_t chunk_size = 64,
                           const std::string& kv_cache_dtype = "f32");
std::shared_ptr<Engine> load_demo(int64_t ctx_size, int64_t chunk_size = 64,
                                  const std::string& kv_cache_dtype = "f32");
// How far log-probabilities of the demo model may lie apart if they are computed in other steps or on other
// ranks: by the last bits of sums over float32 pages. Over bf16 pages these bits decide how numbers on a tie
// are rounded, and later layers round numbers that differ by that: seen 6e-3, where rounding all numbers
// moves logits by up to 0.05.
double logprob_margin(const std::string& kv_cache_dtype);
// The demo model's weights and configuration in an empty folder, by links; no tokenizer.
void link_model_without_tokenizer(const std::filesystem::path& dir);

// The first n tokens of a long document, BOS in front.
Ids document(int64_t n);
Ids slice(const Ids& ids, int64_t begin, int64_t end);
Ids join(const Ids& a, const Ids& b);

GenerateRequest greedy(const Ids& prompt, int64_t max_new_tokens, const SparseRule& rule = kDense);

// Requests under way together in one engine give the tokens and densities that each gives in another, alone.
void check_together(Engine& together, Engine& alone, const std::vector<GenerateRequest>& requests);

}  // namespace seer::testing
