// The implementation of the public Engine: the model, its page pool, and the scheduler that runs both.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/src/model_runner.h"
#include "engine/src/own_process.h"
#include "engine/src/page_transfer.h"
#include "engine/src/prefix_cache.h"
#include "engine/src/rank_leader.h"
#include "engine/src/scheduler.h"
#include "engine/src/session_file.h"
#include "kernels/backend.h"
#include "models/generation_config.h"
#include "models/model.h"
#include "models/page_fingerprint.h"
#include "seer/engine.h"
#include "tokenizer/tokenizer.h"

namespace seer {

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(const EngineOptions& options);

  const ModelInfo& model() const override { return model_info_; }
  const EngineInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override;
  std::unique_ptr<Session> new_session() override;
  std::unique_ptr<Generation> submit(GenerateRequest request) override;
  std::unique_ptr<Session> load_session(const std::string& path, SavedSession* saved) override;
  EngineStats stats() const override {
    check_process();
    return scheduler_->stats();
  }
  std::optional<Error> failure() const override {
    check_process();
    return scheduler_->failure();
  }

  // Throws Error{kUsage} in a process that was forked from the one that loaded the engine.
  void check_process() const { process_.check("the engine"); }
  bool in_own_process() const noexcept { return process_.here(); }

  // Sessions use these.
  const ModelConfig& config() const { return model_.config(); }
  // Returns the rule under which a request runs: its own, else the gates', else dense. Throws Error{kUsage}
  // if a sparse rule is out of range, or the model has no gates for it.
  SparseRule resolve(const std::optional<SparseRule>& asked) const;
  // Returns the rule under which a request's tokens are decoded, likewise.
  DecodeRule resolve(const std::optional<SparseDecodeRule>& asked) const;
  // Returns the rule for the request's prompt, and checks its head_factors. Throws Error{kUsage}.
  SparseRule resolve(const EvaluateRequest& request) const;
  bool last_block_dense() const {
    const GateWeights* gates = model_.gates().set().prefill;
    return gates != nullptr && gates->config.rule.last_block_dense;
  }
  PrefillTraits prefill_traits() const;
  // Returns what the scheduler needs, besides the prompt, to carry out `asked` after the tokens `held`.
  // Throws Error{kUsage}.
  RequestSetup setup(const GenerateRequest& asked, std::span<const int32_t> held) const;
  // Throws Error{kUsage} if `ids` cannot follow n_held tokens.
  void check_prompt(std::span<const int32_t> ids, int64_t n_held) const;
  // Throws Error if this engine cannot go on with a session that was read from `path`. The caller must have
  // the turn.
  void check_session(const SessionHead& head, const std::string& path);
  Scheduler& scheduler() { return *scheduler_; }
  PrefixCache* pages() { return pages_.get(); }  // use it only under the scheduler's mutex
  // The caller of these two must have the scheduler's turn.
  Decoder& decoder() { return model_.decoder(); }
  Backend& backend() { return model_.backend(); }
  const KvCache& cache() const { return model_.cache(); }
  TieredPages* tiers() { return scheduler_->tiers(); }  // null if there are none
  PageTransfer& page_transfer() { return *page_transfer_; }
  // Returns what the contents of pages depend on, on all ranks. The first call reads all weights; see
  // page_fingerprint() for the time that this takes.
  const PageFingerprint& fingerprint();

 private:
  void load_tokenizer_files();
  void open_model();
  void size_steps();
  void size_batch();
  void size_pool();
  void load_weights();
  void size_cache();
  // engine_tiers.cc
  void check_tiers() const;  // before the model is loaded
  std::unique_ptr<TieredPages> make_tiers();
  bool has_tiers() const { return !options_.disk_cache_dir.empty() || options_.host_cache_bytes > 0; }
  void describe_model();
  void describe_sampling();
  void describe_gates(const GateWeights& gates);
  void describe_decode_gates(const DecodeGateWeights& gates);
  void warn_untuned(const std::string& gates, const std::string& rule);
  bool divided() const { return layout_.n_owners > 1; }
  int64_t pages_of_rank() const { return info_.n_pages / layout_.n_owners; }
  int64_t pages_that_fit(int64_t room, int64_t n_blocks) const;
  int64_t step_bytes(const StepLimits& limits) const;
  const TextTokenizer* text_tokenizer() const;
  // Throws Error{kUsage} for the first id outside of the model's vocabulary; `what` names the ids.
  void check_ids(std::span<const int32_t> ids, const std::string& what) const;
  void check_tokens(std::span<const int32_t> ids) const;
  void check_request(const GenerateRequest& asked) const;
  void log(LogLevel level, const std::string& message) const;

  OwnProcess process_;
  EngineOptions options_;
  std::optional<DType> kv_dtype_asked_;  // asked for by the options; checked before any file is read
  Activations activations_;              // likewise
  GenerationConfig generation_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Model model_;
  RankLeader ranks_;  // after model_, because it uses model_'s backend
  StepLimits limits_;
  PageLayout layout_;  // of one owner, unless ranks divide prompts
  std::unique_ptr<PrefixCache> pages_;
  std::unique_ptr<ModelRunner> runner_;
  std::optional<PageTransfer> page_transfer_;
  std::optional<PageFingerprint> fingerprint_;  // for the holder of the turn
  ModelInfo model_info_;
  EngineInfo info_;
  std::unique_ptr<Scheduler> scheduler_;  // last: its thread uses the rest
};

}  // namespace seer
