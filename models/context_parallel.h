// A prompt divided among ranks by its tokens, as context parallelism: each rank holds all weights, and of
// every sequence the pages that belong to it. It computes the rows of the blocks whose pages it has; what
// those rows attend to is brought together one layer and one sequence at a time. A token that is decoded
// attends to each rank's pages where they are, and what comes of it is merged.
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
// Prefill rows of a block are computed by the owner of its page: a rank may have none in a step. Rows of
// decodes are computed by every rank, from the same numbers, so that nothing but attention is exchanged; only
// the owner of the page stores their keys, and only rank 0 makes their logits.
class ContextParallel {
 public:
  // `gate` is null for a model without gates. Throws Error{kMemory}.
  ContextParallel(Backend* backend, Communicator* comm, const ModelConfig& model, const GateConfig* gate,
                  const KvCache* cache, const StepLimits& limits);
  // What a rank allocates beside weights, activations and cache: the pages of one layer of one context, and
  // what decodes attend to on every rank.
  static int64_t arena_bytes(const Backend& backend, const ModelConfig& model, const GateConfig* gate,
                             const StepLimits& limits, int64_t n_ranks);
  // A rank's part of a step may have more segments than the step: each run of blocks is one, and a decode's
  // part of its pages.
  static StepLimits local_limits(const StepLimits& limits);

  // A prefill of the whole step.
  struct Sequence {
    Segment segment;  // with global page ids
    const PrefillPlan* plan;
    int64_t n_blocks;                  // up to its end
    std::vector<int64_t> last_blocks;  // [n_ranks]: the last block of which a rank has rows, -1 without any
    size_t first, n;                   // this rank's segments: of local().step.prefills
    int64_t first_block_row;           // of them, in the local step
    bool wants_logits;                 // of any of its rows
    DecoderStats stats;                // pages, summed over layers

    bool sparse() const { return plan->select.has_value(); }
  };

  // Makes this rank's part of a step. Valid until the next call, as is what follows.
  void divide(const DecoderStep& in);
  // Rows, segments, plans and logit rows of this rank: its prefills, whose page tables lead to pages(), then
  // all decodes, whose tables and parts lead to the rank's cache. n_tokens may be 0.
  const DecoderStep& local() const { return local_; }
  std::vector<Sequence>& sequences() { return sequences_; }
  std::span<const Segment> segments_of(const Sequence& s) const {
    return local_.step.prefills.subspan(s.first, s.n);
  }

  bool decodes_want_logits() const { return decodes_want_logits_; }
  // For decode_attention_part, of the step's decodes.
  Tensor attention_part() const;
  // Every rank's, for merge_attention: [n_ranks, attention_part_size()].
  Tensor gather_attention(const Tensor& part);

  // Pages of one layer of one sequence, block b at b: where local prefills append and what they attend to.
  const PagedKv& pages() const { return pages_; }
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
  // Rank 0 has all of them: nothing to gather.
  bool rank_0_has(int64_t first, int64_t n) const { return logit_rows_of(0, first, n).n == n; }
  Tensor local_logits(const Tensor& out) const { return comm_->rank() == 0 ? local_logits_ : out; }
  // `out` [n, n_vocab] on rank 0: every rank's rows in the step's order.
  void gather_logits(const Tensor& out, const Tensor& mine, int64_t first, int64_t n);

 private:
  struct Moves {
    std::vector<int64_t> travel;  // blocks that some rank lacks
    std::vector<int64_t> stay;    // own blocks that this rank wants and has stored before this step
  };
  int64_t owner(const Segment& s, int64_t block) const { return s.page_table[block] / cache_->n_pages(); }
  int64_t local_page(const Segment& s, int64_t block) const {
    return s.page_table[block] % cache_->n_pages();
  }
  int64_t n_blocks(const Segment& s) const { return (s.end() + page_tokens_ - 1) / page_tokens_; }
  Moves moves(const Sequence& s, const std::function<bool(int64_t rank, int64_t block)>& wanted) const;
  Moves all_moves(const Sequence& s) const;
  void bring(const Tensor& to, const Tensor& from, const Sequence& s, const Moves& moves);
  LogitRows logit_rows_of(int rank, int64_t first, int64_t n) const;
  void divide_prefill(const DecoderStep& in, size_t i);
  void divide_decode(const DecoderStep& in, const Segment& segment);
  void take_rows(const DecoderStep& in, int64_t row, int64_t n, int64_t rank);

  Backend* backend_;
  Communicator* comm_;
  const KvCache* cache_;
  int64_t page_tokens_;
  Buffer arena_;
  PagedKv pages_;                     // [n_blocks of a context, ...]
  Tensor send_, receive_;             // as many elements as a batch of pages has
  Tensor marks_;                      // f32 [n_ranks * n_blocks]: who wants which block
  bool reaches_peers_ = false;        // part_ lies in memory that ranks share
  Tensor part_, parts_;               // f32: what the most decodes attend to here, and on every rank
  Tensor local_logits_, all_logits_;  // f32 [n_logits, n_vocab]; on rank 0
  std::vector<float> host_marks_;
  int64_t n_heads_, d_head_;
  std::vector<int32_t> identity_;  // page table of every local prefill segment

  std::vector<int32_t> ids_;
  std::vector<Segment> prefills_, decodes_, decode_parts_;
  std::vector<int32_t> decode_tables_;  // of decodes_ and decode_parts_
  bool decodes_want_logits_ = false;
  std::vector<PrefillPlan> plans_;
  std::vector<int64_t> logit_rows_;              // local rows
  std::vector<std::vector<int64_t>> logits_of_;  // of each rank: numbers of the step's logit rows, ascending
  std::vector<std::pair<int64_t, int64_t>> rows_;  // of the step: rank that makes logits, local row there
  std::vector<int64_t> n_rows_of_;                 // each rank
  std::vector<Sequence> sequences_;
  DecoderStep local_;
};

}  // namespace seer
