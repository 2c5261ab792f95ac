// Context parallelism: prompts are divided among ranks by their tokens. Each rank holds all weights, and a
// part of the pages of every sequence. It computes the rows of the blocks whose pages it owns. The pages that
// these rows attend to are brought together for one layer and one sequence at a time. For a token that is
// decoded no page moves: each rank attends to its own pages, and the results are merged.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/arena.h"
#include "models/decoder_step.h"
#include "models/gates.h"
#include "models/kv_cache.h"

namespace seer {

// One thread at a time; every rank makes the same calls. Holds references.
//
// Page ids of a step are global: if each rank's cache has n pages, then global page p is page p % n of rank
// p / n. The prefill rows of a block are computed by the owner of its page, so a rank may have no rows in a
// step. The rows of decodes are computed by every rank from the same numbers, so that ranks exchange only the
// results of attention. A decode's key and value are stored only by the owner of its page, and its logits are
// computed only by rank 0.
class ContextParallel {
 public:
  // Throws Error{kMemory}.
  ContextParallel(Backend* backend, Communicator* comm, const ModelConfig& model, const GateConfigs& gates,
                  const KvCache* cache, const StepLimits& limits);
  // Bytes that a rank allocates besides weights, activations and cache: room for the pages of one layer of
  // one context, for the scores of gates for decoding, for every rank's results of decode attention, and for
  // logits on rank 0.
  static int64_t arena_bytes(const Backend& backend, const ModelConfig& model, const GateConfigs& gates,
                             const StepLimits& limits, int64_t n_ranks, DType kv_dtype);
  // Limits of a rank's part of a step. It may have more segments than the step, because each run of blocks of
  // one owner is a segment, and so is each decode's part.
  static StepLimits local_limits(const StepLimits& limits);

  // A prefill segment of the whole step, and the part of it that this rank computes.
  struct Sequence {
    Segment segment;  // with global page ids
    const PrefillPlan* plan;
    int64_t n_blocks;                  // of the sequence, up to the segment's end
    std::vector<int64_t> last_blocks;  // [n_ranks]: last block whose rows the rank computes; -1 if none
    size_t first, n;                   // this rank's segments are n of local().step.prefills, from first on
    int64_t first_block_row;           // of these segments, among the local step's block rows
    bool wants_logits;                 // true if the step wants logits of any of its rows
    DecoderStats stats;                // moved and movable pages, summed over layers

    bool sparse() const { return plan->select.has_value(); }
  };

  // Makes this rank's part of a step. The results of the functions below are valid until the next call.
  void divide(const DecoderStep& in);
  // The step that this rank computes: rows, segments, plans and logit rows. Its prefills come first; their
  // page tables index pages(). All decodes follow; the page tables of decodes and of their parts index this
  // rank's cache. n_tokens may be 0.
  const DecoderStep& local() const { return local_; }
  std::vector<Sequence>& sequences() { return sequences_; }
  std::span<const Segment> segments_of(const Sequence& s) const {
    return local_.step.prefills.subspan(s.first, s.n);
  }

  // True if the step wants logits of any decode.
  bool decodes_want_logits() const { return decodes_want_logits_; }
  // Returns room for the scores that gates for decoding give to the blocks of the step's decodes: f32
  // [n_kv_heads, n_decodes, n_blocks of a context].
  Tensor decode_scores() const;
  // Returns room for lists of blocks of the step's decodes: i32 [n_kv_heads, n_decodes] and [n_kv_heads,
  // n_decodes, n_blocks of a context].
  BlockMask room_for_lists() const;
  // The output of decode_attention_part for the step's decodes: f32 [attention_part_size()].
  Tensor attention_part() const;
  // Gathers every rank's part for merge_attention: [n_ranks, attention_part_size()].
  Tensor gather_attention(const Tensor& part);

  // Pages of one layer of one sequence; block b is page b. Local prefills append to them and attend to them.
  const PagedKv& pages() const { return t_.pages; }
  // Copies the appended pages into this rank's cache. Call it before anything is brought together.
  void store(int64_t layer, const Sequence& s);
  // Brings to each rank's pages() the gate keys that it lacks and against which its rows are scored.
  void bring_gate_keys(int64_t layer, const Sequence& s);
  // Brings keys and values in the same way. If the prompt is sparse, only blocks that a row of some rank kept
  // are sent; `masks` are those of this rank's segments. Counts the pages that moved in s->stats.
  void bring_pages(int64_t layer, Sequence* s, std::span<const BlockMask> masks);

  // Collects the gate reports of a layer's local segments, and delivers the sequence's report on rank 0.
  class Report {
   public:
    Report(ContextParallel* ranks, const Sequence* s, int64_t n_heads);
    void add(const GateReport& part);
    void deliver(int64_t layer, const GateObserver& observer);

   private:
    int64_t words() const { return n_heads_ * (2 * n_blocks_ + 1); }  // of a block row
    std::vector<std::vector<int64_t>> rows_;                          // block rows of each rank, ascending
    ContextParallel* ranks_;
    const Sequence* s_;
    int64_t n_heads_, n_blocks_, most_ = 0;
    std::vector<int32_t> mine_;  // for each of this rank's rows, [n_heads] of scores, count and blocks
    int64_t n_added_ = 0;
  };

  // A range of a rank's own logit rows, numbered in their order on that rank.
  struct LogitRows {
    int64_t first, n;
  };
  // The logit rows that this rank has among the step's logit rows first .. first + n.
  LogitRows logit_rows(int64_t first, int64_t n) const { return logit_rows_of(comm_->rank(), first, n); }
  // True if rank 0 has all of the step's logit rows first .. first + n, so that there is nothing to gather.
  bool rank_0_has(int64_t first, int64_t n) const { return logit_rows_of(0, first, n).n == n; }
  // The tensor for this rank's own logits before they are gathered: `out`, except on rank 0.
  Tensor local_logits(const Tensor& out) const { return comm_->rank() == 0 ? t_.local_logits : out; }
  // On rank 0, out [n, n_vocab] gets the logits of the step's logit rows first .. first + n, in their order.
  // `mine` has this rank's logits among them.
  void gather_logits(const Tensor& out, const Tensor& mine, int64_t first, int64_t n);

 private:
  // Everything that lies in the arena.
  struct Tensors {
    PagedKv pages;         // [n_blocks of a context, ...]
    Tensor send, receive;  // u8 [bytes of a batch of pages], of keys, values or gate keys
    Tensor marks;          // f32 [n_ranks * n_blocks]: 1 if the rank wants the block
    // For the most decodes; empty without gates for decoding.
    Tensor decode_scores;             // f32
    Tensor list_counts, lists;        // i32
    Tensor part, parts;               // f32: results of attention of the most decodes, here and of every rank
    Tensor local_logits, all_logits;  // f32 [n_logits, n_vocab]; on rank 0

    void take(Arena* arena, DType kv_dtype, DType activations, const ModelConfig& model,
              const GateConfigs& gates, const StepLimits& limits, int64_t n_ranks, bool with_logits);
  };
  struct Moves {
    std::vector<int64_t> travel;  // blocks that some rank wants and lacks
    std::vector<int64_t> stay;    // own blocks that this rank wants and stored in an earlier step
  };
  int64_t owner(const Segment& s, int64_t block) const { return s.page_table[block] / cache_->n_pages(); }
  int64_t local_page(const Segment& s, int64_t block) const {
    return s.page_table[block] % cache_->n_pages();
  }
  int64_t n_blocks(const Segment& s) const { return blocks_of(s.end(), page_tokens_); }
  Moves moves(const Sequence& s, const std::function<bool(int64_t rank, int64_t block)>& wanted) const;
  Moves all_moves(const Sequence& s) const;
  void bring(const Tensor& to, const Tensor& from, const Sequence& s, const Moves& moves);
  LogitRows logit_rows_of(int rank, int64_t first, int64_t n) const;
  void divide_prefill(const DecoderStep& in, size_t i);
  void divide_decode(const DecoderStep& in, const Segment& segment);
  void divide_rows(const DecoderStep& in, int64_t row, int64_t n, int64_t rank);

  Backend* backend_;
  Communicator* comm_;
  const KvCache* cache_;
  int64_t page_tokens_;
  Tensors t_;
  Buffer arena_;                // initialised after t_, which it places
  bool reaches_peers_ = false;  // true if t_.part lies in memory that ranks share
  std::vector<float> host_marks_;
  int64_t n_heads_, n_kv_heads_, d_head_;
  std::vector<int32_t> identity_;  // page table of every local prefill segment

  std::vector<int32_t> ids_;
  std::vector<Segment> prefills_, decodes_, decode_parts_;
  std::vector<int32_t> decode_tables_;  // of decodes_ and decode_parts_
  std::vector<int64_t> largest_parts_;  // StepInput::largest_parts
  bool decodes_want_logits_ = false;
  std::vector<PrefillPlan> plans_;
  std::vector<int64_t> logit_rows_;                // local rows
  std::vector<std::vector<int64_t>> logits_of_;    // for each rank, which of the step's logit rows it has
  std::vector<std::pair<int64_t, int64_t>> rows_;  // for each row of the step, its logits' rank and row there
  std::vector<int64_t> n_rows_of_;                 // for each rank, the number of its rows
  std::vector<Sequence> sequences_;
  DecoderStep local_;
};

}  // namespace seer
