#include "models/context_parallel.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <numeric>

#include "models/config.h"

namespace seer {
namespace {

constexpr int64_t kBatchPages = 256;  // pages that travel at once: enough to hide latency, and a limit to the
                                      // memory that is held twice

std::string too_large(const StepLimits& limits) {
  return "the pages of a layer of a context of " + std::to_string(limits.n_blocks * limits.page_tokens) +
         " tokens are beyond the address space. Use a smaller --ctx-size.";
}

std::vector<int64_t> numbers(size_t n, int64_t first = 0) {
  std::vector<int64_t> out(n);
  std::iota(out.begin(), out.end(), first);
  return out;
}

}  // namespace

void ContextParallel::Tensors::take(Arena* arena, DType kv_dtype, DType activations, const ModelConfig& model,
                                    const GateConfigs& gates, const StepLimits& limits, int64_t n_ranks,
                                    bool with_logits) {
  const GateConfig* gate = gates.prefill;
  const int64_t n_blocks = limits.n_blocks, n_gate_heads = gate == nullptr ? 0 : gate->n_gate_heads(model);
  const int64_t key_elements = model.n_kv_heads * limits.page_tokens * model.d_head;
  const int64_t gate_elements = gate == nullptr ? 0 : n_gate_heads * gate->d_gate;
  const int64_t page_bytes =
      std::max(key_elements * dtype_bytes(kv_dtype), gate_elements * dtype_bytes(activations));
  const int64_t batch_bytes = std::min(kBatchPages, n_blocks) * page_bytes;
  const int64_t part_elements = attention_part_size(limits.n_sequences, model.n_heads, model.d_head);
  pages.k = arena->take(kv_dtype, {n_blocks, model.n_kv_heads, limits.page_tokens, model.d_head});
  pages.v = arena->take(kv_dtype, {n_blocks, model.n_kv_heads, limits.page_tokens, model.d_head});
  if (gate != nullptr) pages.gate_k = arena->take(activations, {n_blocks, n_gate_heads, gate->d_gate});
  if (gates.decode != nullptr) {
    pages.decode_gate_k = arena->take(activations, {n_blocks, model.n_kv_heads, gates.decode->d_gate});
    decode_scores = arena->take(DType::kF32, {limits.n_sequences, model.n_kv_heads * n_blocks});
    list_counts = arena->take(DType::kI32, {limits.n_sequences, model.n_kv_heads});
    lists = arena->take(DType::kI32, {limits.n_sequences, model.n_kv_heads * n_blocks});
  }
  send = arena->take(DType::kU8, {batch_bytes});
  receive = arena->take(DType::kU8, {batch_bytes});
  marks = arena->take(DType::kF32, {n_ranks * n_blocks});
  part = arena->take(DType::kF32, {part_elements});
  parts = arena->take(DType::kF32, {n_ranks * part_elements});
  if (!with_logits) return;
  local_logits = arena->take(DType::kF32, {limits.n_logits, model.n_vocab});
  all_logits = arena->take(DType::kF32, {limits.n_logits, model.n_vocab});
}

ContextParallel::ContextParallel(Backend* backend, Communicator* comm, const ModelConfig& model,
                                 const GateConfigs& gates, const KvCache* cache, const StepLimits& limits)
    : backend_(backend),
      comm_(comm),
      cache_(cache),
      page_tokens_(limits.page_tokens),
      arena_(Arena::allocate(backend, "the pages of a layer that ranks bring together", too_large(limits),
                             [&](Arena* arena) {
                               t_.take(arena, cache->dtype(), backend->activation_dtype(), model, gates,
                                       limits, comm->size(), /*with_logits=*/comm->rank() == 0);
                             })),
      n_heads_(model.n_heads),
      n_kv_heads_(model.n_kv_heads),
      d_head_(model.d_head),
      identity_(static_cast<size_t>(limits.n_blocks)) {
  std::iota(identity_.begin(), identity_.end(), 0);
  if (!backend->stream()) return;
  void* shared = comm->share_memory(t_.part.nbytes());
  reaches_peers_ = shared != nullptr;
  if (reaches_peers_) t_.part.data = shared;
}

// Returns the bytes of the arena for the constructor's arguments, on the rank that needs most.
int64_t ContextParallel::arena_bytes(const Backend& backend, const ModelConfig& model,
                                     const GateConfigs& gates, const StepLimits& limits, int64_t n_ranks,
                                     DType kv_dtype) {
  Tensors sizes;
  return Arena::measure(too_large(limits), [&](Arena* arena) {
    sizes.take(arena, kv_dtype, backend.activation_dtype(), model, gates, limits, n_ranks,
               /*with_logits=*/true);
  });
}

StepLimits ContextParallel::local_limits(const StepLimits& limits) {
  StepLimits local = limits;
  local.n_sequences += limits.n_sequences + limits.n_tokens / limits.page_tokens;
  return local;
}

void ContextParallel::divide(const DecoderStep& in) {
  const auto n_ranks = static_cast<size_t>(comm_->size());
  ids_.clear();
  prefills_.clear();
  decodes_.clear();
  decode_parts_.clear();
  decode_tables_.clear();
  largest_parts_.clear();
  plans_.clear();
  rows_.clear();
  sequences_.clear();
  logit_rows_.clear();
  logits_of_.assign(n_ranks, {});
  n_rows_of_.assign(n_ranks, 0);
  for (size_t i = 0; i < in.step.prefills.size(); ++i) divide_prefill(in, i);
  size_t table_size = 0;
  for (const Segment& segment : in.step.decodes) table_size += static_cast<size_t>(2 * n_blocks(segment));
  decode_tables_.reserve(table_size);  // segments point into it, so it must not grow later
  for (const Segment& segment : in.step.decodes) divide_decode(in, segment);
  decodes_want_logits_ = !in.step.decodes.empty() && !in.logit_rows.empty() &&
                         in.logit_rows.back() >= in.step.decodes.front().row;
  for (size_t i = 0; i < in.logit_rows.size(); ++i) {
    const auto [rank, row] = rows_[static_cast<size_t>(in.logit_rows[i])];
    logits_of_[static_cast<size_t>(rank)].push_back(static_cast<int64_t>(i));
    if (rank == comm_->rank()) logit_rows_.push_back(row);
  }
  for (Sequence& s : sequences_) {
    const auto wanted = std::lower_bound(in.logit_rows.begin(), in.logit_rows.end(), s.segment.row);
    s.wants_logits = wanted != in.logit_rows.end() && *wanted < s.segment.row + s.segment.n_tokens;
  }
  local_.ids = ids_;
  local_.step = {static_cast<int64_t>(ids_.size()), prefills_, decodes_};
  local_.decode_parts = decode_parts_;
  local_.largest_parts = largest_parts_;
  local_.decode_rules = in.decode_rules;
  local_.plans = plans_;
  local_.logit_rows = logit_rows_;
}

// Divides a prefill: each run of blocks of one owner becomes a segment of its own.
void ContextParallel::divide_prefill(const DecoderStep& in, size_t i) {
  const Segment& segment = in.step.prefills[i];
  int64_t block_row = 0;
  for (const Segment& before : prefills_) block_row += blocks_of(before.n_tokens, page_tokens_);
  Sequence s{segment,
             &in.plans[i],
             n_blocks(segment),
             std::vector<int64_t>(static_cast<size_t>(comm_->size()), -1),
             prefills_.size(),
             0,
             block_row,
             false,
             {}};
  for (int64_t block = segment.start / page_tokens_, end = block; block < s.n_blocks; block = end) {
    const int64_t rank = owner(s.segment, block);
    while (end < s.n_blocks && owner(s.segment, end) == rank) ++end;
    s.last_blocks[static_cast<size_t>(rank)] = end - 1;
    const int64_t start = block * page_tokens_, n = std::min(end * page_tokens_, segment.end()) - start;
    if (rank == comm_->rank()) {
      prefills_.push_back({n_rows_of_[static_cast<size_t>(rank)], n, start, identity_.data()});
      plans_.push_back(in.plans[i]);
      ++s.n;
    }
    divide_rows(in, segment.row + start - segment.start, n, rank);
  }
  sequences_.push_back(std::move(s));
}

// Adds a decode. The decodes come after the prefill rows of every rank. This rank's part ends with the open
// page if this rank has it; otherwise it consists of whole pages.
void ContextParallel::divide_decode(const DecoderStep& in, const Segment& segment) {
  const int64_t row = n_rows_of_[static_cast<size_t>(comm_->rank())], end = n_blocks(segment);
  rows_.emplace_back(0, n_rows_of_.front());
  for (int64_t& n_rows : n_rows_of_) ++n_rows;
  ids_.push_back(in.ids[static_cast<size_t>(segment.row)]);

  const auto table = [&] { return decode_tables_.data() + decode_tables_.size(); };
  decodes_.push_back({row, 1, segment.start, table()});
  std::vector<int64_t> n_keys(static_cast<size_t>(comm_->size()));  // of each rank
  for (int64_t b = 0; b < end; ++b) {
    const int64_t rank = owner(segment, b);
    decode_tables_.push_back(rank == comm_->rank() ? static_cast<int32_t>(local_page(segment, b)) : -1);
    n_keys[static_cast<size_t>(rank)] += std::min(page_tokens_, segment.end() - b * page_tokens_);
  }
  largest_parts_.push_back(*std::max_element(n_keys.begin(), n_keys.end()));
  decode_parts_.push_back({row, 1, n_keys[static_cast<size_t>(comm_->rank())] - 1, table()});
  const int32_t* all = decodes_.back().page_table;
  std::copy_if(all, all + end, std::back_inserter(decode_tables_), [](int32_t page) { return page >= 0; });
}

void ContextParallel::divide_rows(const DecoderStep& in, int64_t row, int64_t n, int64_t rank) {
  assert(row == static_cast<int64_t>(rows_.size()));
  int64_t& n_rows = n_rows_of_[static_cast<size_t>(rank)];
  for (int64_t r = row; r < row + n; ++r) rows_.emplace_back(rank, n_rows++);
  const auto ids = in.ids.subspan(static_cast<size_t>(row), static_cast<size_t>(n));
  if (rank == comm_->rank()) ids_.insert(ids_.end(), ids.begin(), ids.end());
}

Tensor ContextParallel::decode_scores() const {
  const auto n = static_cast<int64_t>(decodes_.size());
  return t_.decode_scores.rows(0, n).reshaped({n_kv_heads_, n, t_.decode_scores.dim(1) / n_kv_heads_});
}

BlockMask ContextParallel::room_for_lists() const {
  const auto n = static_cast<int64_t>(decodes_.size());
  return {t_.list_counts.rows(0, n).reshaped({n_kv_heads_, n}),
          t_.lists.rows(0, n).reshaped({n_kv_heads_, n, t_.lists.dim(1) / n_kv_heads_})};
}

Tensor ContextParallel::attention_part() const {
  return t_.part.rows(0, attention_part_size(static_cast<int64_t>(decodes_.size()), n_heads_, d_head_));
}

Tensor ContextParallel::gather_attention(const Tensor& part) {
  const int64_t n_ranks = comm_->size(), n = part.numel();
  const Tensor all = t_.parts.rows(0, n_ranks * n);
  if (reaches_peers_) {
    comm_->all_gather_small(all, part);
  } else {
    comm_->all_gather(all, part, std::vector<int64_t>(static_cast<size_t>(n_ranks), n));
  }
  return all.reshaped({n_ranks, n});
}

void ContextParallel::store(int64_t layer, const Sequence& s) {
  std::vector<int64_t> to, from;
  for (const Segment& segment : segments_of(s))
    for (int64_t b = segment.start / page_tokens_; b * page_tokens_ < segment.end(); ++b) {
      to.push_back(local_page(s.segment, b));
      from.push_back(b);
    }
  const PagedKv cache = cache_->layer(layer);
  backend_->copy_rows(cache.k, to, t_.pages.k, from);
  backend_->copy_rows(cache.v, to, t_.pages.v, from);
  if (s.sparse()) backend_->copy_rows(cache.gate_k, to, t_.pages.gate_k, from);
  if (cache.decode_gate_k) backend_->copy_rows(cache.decode_gate_k, to, t_.pages.decode_gate_k, from);
}

ContextParallel::Moves ContextParallel::moves(
    const Sequence& s, const std::function<bool(int64_t rank, int64_t block)>& wanted) const {
  Moves m;
  const int64_t n_stored = s.segment.start / page_tokens_;
  for (int64_t b = 0; b < s.n_blocks; ++b) {
    const int64_t holder = owner(s.segment, b);
    bool travels = false;
    for (int64_t r = 0; r < comm_->size() && !travels; ++r) travels = r != holder && wanted(r, b);
    if (travels) {
      m.travel.push_back(b);
    } else if (holder == comm_->rank() && b < n_stored && wanted(holder, b)) {
      m.stay.push_back(b);
    }
  }
  return m;
}

ContextParallel::Moves ContextParallel::all_moves(const Sequence& s) const {
  return moves(
      s, [&](int64_t rank, int64_t block) { return block <= s.last_blocks[static_cast<size_t>(rank)]; });
}

void ContextParallel::bring(const Tensor& to, const Tensor& from, const Sequence& s, const Moves& moves) {
  std::vector<int64_t> local;
  for (const int64_t b : moves.stay) local.push_back(local_page(s.segment, b));
  backend_->copy_rows(to, moves.stay, from, local);

  const int64_t elements = to.numel() / to.dim(0);
  // page_bytes is never 0, but the static analyzer does not know that every type has bytes.
  const int64_t page_bytes = std::max<int64_t>(1, elements * dtype_bytes(to.dtype));
  const auto batch = static_cast<size_t>(t_.receive.nbytes() / page_bytes);
  const auto n_ranks = static_cast<size_t>(comm_->size());
  for (size_t first = 0; first < moves.travel.size(); first += batch) {
    const auto blocks = std::span(moves.travel).subspan(first, std::min(batch, moves.travel.size() - first));
    std::vector<std::vector<int64_t>> of(n_ranks);  // by rank, in the order in which they arrive
    for (const int64_t b : blocks) of[static_cast<size_t>(owner(s.segment, b))].push_back(b);
    std::vector<int64_t> counts, received;
    for (const std::vector<int64_t>& theirs : of) {
      counts.push_back(static_cast<int64_t>(theirs.size()) * elements);
      received.insert(received.end(), theirs.begin(), theirs.end());
    }
    local.clear();
    for (const int64_t b : of[static_cast<size_t>(comm_->rank())]) local.push_back(local_page(s.segment, b));
    const auto view = [&](const Tensor& buffer, size_t n) {
      const auto rows = static_cast<int64_t>(n);
      return Tensor(buffer.data, to.dtype, {rows, elements});
    };
    const Tensor mine = view(t_.send, local.size()), all = view(t_.receive, blocks.size());
    backend_->copy_rows(mine, numbers(local.size()), from, local);
    comm_->all_gather(all, mine, counts);
    backend_->copy_rows(to, received, all, numbers(received.size()));
  }
}

void ContextParallel::bring_gate_keys(int64_t layer, const Sequence& s) {
  bring(t_.pages.gate_k, cache_->layer(layer).gate_k, s, all_moves(s));
}

void ContextParallel::bring_pages(int64_t layer, Sequence* s, std::span<const BlockMask> masks) {
  Moves m = all_moves(*s);
  s->stats.movable_pages += static_cast<int64_t>(m.travel.size());
  if (s->sparse()) {
    const int64_t n = s->n_blocks, n_ranks = comm_->size();
    const Tensor marks = t_.marks.rows(0, n_ranks * n).reshaped({n_ranks, n});
    backend_->mark_blocks(marks, comm_->rank(), masks);
    comm_->all_reduce_sum(marks);
    host_marks_.resize(static_cast<size_t>(n_ranks * n));
    backend_->read(host_marks_.data(), marks);
    m = moves(*s, [&](int64_t rank, int64_t block) {
      return host_marks_[static_cast<size_t>(rank * n + block)] > 0.0F;
    });
  }
  s->stats.moved_pages += static_cast<int64_t>(m.travel.size());
  const PagedKv cache = cache_->layer(layer);
  bring(t_.pages.k, cache.k, *s, m);
  bring(t_.pages.v, cache.v, *s, m);
}

// Returns which of the step's logit rows first .. first + n `rank` has, as a range of the rank's own logit
// rows. They follow one another there.
ContextParallel::LogitRows ContextParallel::logit_rows_of(int rank, int64_t first, int64_t n) const {
  const std::vector<int64_t>& all = logits_of_[static_cast<size_t>(rank)];
  const auto begin = std::lower_bound(all.begin(), all.end(), first);
  return {begin - all.begin(), std::lower_bound(begin, all.end(), first + n) - begin};
}

void ContextParallel::gather_logits(const Tensor& out, const Tensor& mine, int64_t first, int64_t n) {
  const int64_t width = mine.dim(1);
  std::vector<int64_t> counts, order;
  for (int r = 0; r < comm_->size(); ++r) {
    const LogitRows rows = logit_rows_of(r, first, n);
    counts.push_back(rows.n * width);
    for (int64_t i = 0; i < rows.n; ++i)
      order.push_back(logits_of_[static_cast<size_t>(r)][static_cast<size_t>(rows.first + i)] - first);
  }
  if (comm_->rank() != 0) return comm_->gather({}, mine, counts);
  const Tensor all = t_.all_logits.rows(0, n);
  comm_->gather(all, mine, counts);
  backend_->copy_rows(out, order, all, numbers(order.size()));
}

ContextParallel::Report::Report(ContextParallel* ranks, const Sequence* s, int64_t n_heads)
    : rows_(static_cast<size_t>(ranks->comm_->size())),
      ranks_(ranks),
      s_(s),
      n_heads_(n_heads),
      n_blocks_(s->plan->select->n_prompt_blocks) {
  for (int64_t b = s->segment.start / ranks->page_tokens_; b < s->n_blocks; ++b)
    rows_[static_cast<size_t>(ranks->owner(s->segment, b))].push_back(b);
  for (const std::vector<int64_t>& rows : rows_) most_ = std::max(most_, static_cast<int64_t>(rows.size()));
  mine_.resize(static_cast<size_t>(most_ * words()));
}

void ContextParallel::Report::add(const GateReport& part) {
  const auto copy = [](int32_t* to, const void* from, int64_t n) {
    std::memcpy(to, from, static_cast<size_t>(n) * sizeof(int32_t));
    return to + n;
  };
  for (int64_t row = 0; row < part.n_rows; ++row) {
    int32_t* at = mine_.data() + n_added_++ * words();
    for (int64_t h = 0; h < n_heads_; ++h) {
      const int64_t list = h * part.n_rows + row;
      at = copy(at, part.scores + list * n_blocks_, n_blocks_);
      at = copy(at, part.counts + list, 1);
      at = copy(at, part.blocks + list * n_blocks_, part.counts[list]) + n_blocks_ - part.counts[list];
    }
  }
}

void ContextParallel::Report::deliver(int64_t layer, const GateObserver& observer) {
  Communicator& comm = *ranks_->comm_;
  const bool leads = comm.rank() == 0;
  std::vector<int32_t> all(leads ? mine_.size() * rows_.size() : 0);
  comm.gather_host(all.data(), mine_.data(), static_cast<int64_t>(mine_.size() * sizeof(int32_t)));
  if (!leads) return;
  const int64_t first_row = s_->segment.start / ranks_->page_tokens_, n_rows = s_->n_blocks - first_row;
  std::vector<float> scores(static_cast<size_t>(n_heads_ * n_rows * n_blocks_));
  std::vector<int32_t> counts(static_cast<size_t>(n_heads_ * n_rows)), blocks(scores.size());
  for (size_t r = 0; r < rows_.size(); ++r)
    for (size_t i = 0; i < rows_[r].size(); ++i) {
      const int32_t* at =
          all.data() + static_cast<int64_t>(r * mine_.size()) + static_cast<int64_t>(i) * words();
      for (int64_t h = 0; h < n_heads_; ++h, at += 2 * n_blocks_ + 1) {
        const int64_t list = h * n_rows + rows_[r][i] - first_row;
        std::memcpy(scores.data() + list * n_blocks_, at, static_cast<size_t>(n_blocks_) * sizeof(float));
        counts[static_cast<size_t>(list)] = at[n_blocks_];
        std::copy_n(at + n_blocks_ + 1, at[n_blocks_], blocks.data() + list * n_blocks_);
      }
    }
  observer({layer, first_row, n_rows, n_heads_, n_blocks_, scores.data(), counts.data(), blocks.data()});
}

}  // namespace seer
