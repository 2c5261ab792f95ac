// A prompt divided among ranks by its tokens, as context parallelism: each rank holds all weights, and of
// every sequence the pages that belong to it. It computes the rows of the blocks whose pages it has; what
// those rows attend to is brought together one layer and one sequence at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/decoder_step.h"
#include "models/kv_cache.h"

namespace seer {

// One thread at a time; every rank makes the same calls. Holds references.
//
// Page ids of a step are global: page p belongs to rank p / n, and is its page p % n, for caches of n pages.
// Prefill rows of a block and the token that a decode appends are computed by the owner of their page. A
// rank may have no rows in a step.
class ContextParallel {
 public:
  // `gate` is null for a model without gates. Throws Error{kMemory}.
  ContextParallel(Backend* backend, Communicator* comm, const ModelConfig& model, const GateConfig* gate,
                  const KvCache* cache, const StepLimits& limits);
  // What a rank allocates beside weights, activations and cache: the pages of one layer of one context.
  static int64_t arena_bytes(const Backend& backend, const ModelConfig& model, const GateConfig* gate,
                             const StepLimits& limits, int64_t n_ranks);
  // A rank's part of a step may have more segments than the step: each run of blocks is one.
  static StepLimits local_limits(const StepLimits& limits);

  // A prefill or a decode of the whole step.
  struct Sequence {
    Segment segment;                   // with global page ids
    const PrefillPlan* plan;           // null: decodes
    int64_t n_blocks;                  // up to its end
    std::vector<int64_t> last_blocks;  // [n_ranks]: the last block of which a rank has rows, -1 without any
    size_t first, n;                   // this rank's segments: of local().step.prefills, or of its decodes
    int64_t first_block_row;           // of them, in the local step
    bool wants_logits;                 // of any of its rows
    DecoderStats stats;                // pages, summed over layers

    bool sparse() const { return plan != nullptr && plan->select.has_value(); }
  };

  // Makes this rank's part of a step. Valid until the next call, as is what follows.
  void divide(const DecoderStep& in);
  // Rows, segments, plans and logit rows of this rank. Its page tables lead to pages(); n_tokens may be 0.
  const DecoderStep& local() const { return local_; }
  std::vector<Sequence>& sequences() { return sequences_; }
  std::span<const Segment> segments_of(const Sequence& s) const {
    return (s.plan == nullptr ? local_.step.decodes : local_.step.prefills).subspan(s.first, s.n);
  }

  // Pages of one layer of one sequence, block b at b: where local segments append and what they attend to.
  const PagedKv& pages() const { return pages_; }
  // The page that a decode goes on writing. Before it is appended to.
  void load_open_page(int64_t layer, const Sequence& s);
  // What was appended, into the rank's cache. Before anything is brought together.
  void store(int64_t layer, const Sequence& s);
  // Gate keys that rows of any rank are scored against, to where they are missing.
  void bring_gate_keys(int64_t layer, const Sequence& s);
  // Keys and values likewise; of a sparse prompt only what a row of some rank kept: `masks` are of this
  // rank's segments. Counts what travelled.
  void bring_pages(int64_t layer, Sequence* s, std::span<const BlockMask> masks);

  // Collects what a layer's local segments report, and reports the sequence's on rank 0.
  class Report {
   public:
    Report(ContextParallel* ranks, const Sequence* s, int64_t n_heads);
    void add(const GateReport& part);
    void deliver(int64_t layer, const GateObserver& observer);

   private:
    int64_t words() const { return n_heads_ * (2 * n_blocks_ + 1); }  // of a row
    std::vector<std::vector<int64_t>> rows_;                          // of each rank, ascending
    ContextParallel* ranks_;
    const Sequence* s_;
    int64_t n_heads_, n_blocks_, most_ = 0;
    std::vector<int32_t> mine_;  // by row, [n_heads] of scores, count and blocks
    int64_t n_added_ = 0;
  };

  // Rows of logits first .. first + n of the step's: which of them this rank has, by their number among its
  // own, and where it puts them.
  struct LogitRows {
    int64_t first, n;
  };
  LogitRows logit_rows(int64_t first, int64_t n) const { return logit_rows_of(comm_->rank(), first, n); }
  Tensor local_logits(const Tensor& out) const { return comm_->rank() == 0 ? local_logits_ : out; }
  // `out` [n, n_vocab] on rank 0: every rank's rows in the step's order.
  void gather_logits(const Tensor& out, const Tensor& mine, int64_t first, int64_t n);

 private:
  struct Moves {
    std::vector<int64_t> travel;  // blocks that some rank lacks
    std::vector<int64_t> stay;    // own blocks that this rank wants and has stored before this step
  };
  int64_t owner(const Sequence& s, int64_t block) const {
    return s.segment.page_table[block] / cache_->n_pages();
  }
  int64_t local_page(const Sequence& s, int64_t block) const {
    return s.segment.page_table[block] % cache_->n_pages();
  }
  Moves moves(const Sequence& s, const std::function<bool(int64_t rank, int64_t block)>& wanted) const;
  Moves all_moves(const Sequence& s) const;
  void bring(const Tensor& to, const Tensor& from, const Sequence& s, const Moves& moves);
  LogitRows logit_rows_of(int rank, int64_t first, int64_t n) const;
  void divide_prefill(const DecoderStep& in, size_t i);
  void divide_decode(const DecoderStep& in, size_t i);
  void take_rows(const DecoderStep& in, int64_t row, int64_t n, int64_t rank);

  Backend* backend_;
  Communicator* comm_;
  const KvCache* cache_;
  int64_t page_tokens_;
  Buffer arena_;
  PagedKv pages_;                     // [n_blocks of a context, ...]
  Tensor send_, receive_;             // as many elements as a batch of pages has
  Tensor marks_;                      // f32 [n_ranks * n_blocks]: who wants which block
  Tensor local_logits_, all_logits_;  // f32 [n_logits, n_vocab]; on rank 0
  std::vector<float> host_marks_;
  std::vector<int32_t> identity_;  // page table of every local segment

  std::vector<int32_t> ids_;
  std::vector<Segment> prefills_, decodes_;
  std::vector<PrefillPlan> plans_;
  std::vector<int64_t> logit_rows_;              // local rows
  std::vector<std::vector<int64_t>> logits_of_;  // of each rank: numbers of the step's logit rows, ascending
  std::vector<std::pair<int64_t, int64_t>> rows_;  // of the step: rank, local row there
  std::vector<int64_t> n_rows_of_;                 // each rank
  std::vector<Sequence> sequences_;
  DecoderStep local_;
};

}  // namespace seer
