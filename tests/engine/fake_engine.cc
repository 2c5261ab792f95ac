#include "tests/engine/fake_engine.h"

#include <bit>

#include "engine/src/select_rule.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

constexpr int32_t kVocabulary = 1000;

uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// 0 means dense: decoding is dense, and so are the last block rows of a prompt if the rule says so.
uint64_t rule_at(int64_t block, const std::optional<SelectRule>& select) {
  if (!select || (select->last_block_dense && block >= select->n_prompt_blocks - 2)) return 0;
  uint64_t h = mix(mix(std::bit_cast<uint64_t>(select->value) + 1) + static_cast<uint64_t>(select->method));
  if (select->method == SelectRule::Method::kNzRatio)
    h = mix(h + static_cast<uint64_t>(select->n_prompt_blocks));
  return h;
}

// 0 means dense, as in rule_at().
uint64_t rule_of(const DecodeRule& rule) {
  if (rule.dense()) return 0;
  return mix(mix(std::bit_cast<uint64_t>(rule.value) + 3) + static_cast<uint64_t>(rule.method));
}

uint64_t entry_of(uint64_t before, int32_t id, uint64_t rule) {
  return mix(mix(before + static_cast<uint64_t>(id)) ^ rule);
}

int32_t token_of(uint64_t all, const SampleRow& row) {
  if (row.temperature > 0.0) all = mix(all ^ std::bit_cast<uint64_t>(row.uniform));
  return static_cast<int32_t>(all % kVocabulary);
}

const std::vector<int32_t> kNoEos;

}  // namespace

FakeRunner::FakeRunner(int64_t n_pages, int64_t page_tokens)
    : page_tokens_(page_tokens), entries_(static_cast<size_t>(n_pages * page_tokens)) {}

void FakeRunner::hold() {
  const std::lock_guard lock(mutex_);
  held_ = true;
}

void FakeRunner::release() {
  const std::lock_guard lock(mutex_);
  held_ = false;
  changed_.notify_all();
}

uint64_t& FakeRunner::entry(const Segment& segment, int64_t position) {
  const int64_t page = segment.page_table[position / page_tokens_];
  return entries_[static_cast<size_t>(page * page_tokens_ + position % page_tokens_)];
}

uint64_t FakeRunner::all_entries(const Segment& segment) {
  uint64_t h = 0;
  for (int64_t t = 0; t < segment.end(); ++t) h = mix(h ^ entry(segment, t));
  return h;
}

void FakeRunner::compute(const Batch& batch, const Segment& segment, const PrefillPlan* plan,
                         const DecodeRule& decode) {
  if (plan != nullptr && segment.start % page_tokens_ != 0)
    throw std::logic_error("a prefill began inside a page");
  // Hashes the whole past, as attention would read it: the present content of its pages counts.
  uint64_t before = 0;
  for (int64_t t = 0; t < segment.start; ++t) before = mix(before ^ entry(segment, t));
  for (int64_t i = 0; i < segment.n_tokens; ++i) {
    const int64_t position = segment.start + i;
    const uint64_t rule = plan == nullptr ? rule_of(decode) : rule_at(position / page_tokens_, plan->select);
    uint64_t& own = entry(segment, position);
    own = entry_of(before, batch.ids[static_cast<size_t>(segment.row + i)], rule);
    before = mix(before ^ own);
  }
  for (int64_t p = segment.start / page_tokens_; p * page_tokens_ < segment.end(); ++p)
    if (!written_.insert(segment.page_table[p]).second)
      throw std::logic_error("a page was written by two sequences");
}

void FakeRunner::run(Batch* batch) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !held_; });
  }
  if (before_step) before_step(static_cast<int64_t>(steps.size()));
  if (!batch->arrivals.empty()) ++n_waited;
  batch->wait_for_layer(n_layers - 1);
  FakeStep& step = steps.emplace_back();
  step.prefill_of.assign(batch->prefill_of.begin(), batch->prefill_of.end());
  step.decode_of.assign(batch->decode_of.begin(), batch->decode_of.end());
  written_.clear();
  batch->blocks.assign(batch->prefills.size(), {1, 1});
  batch->decode_blocks.assign(batch->decodes.size(), {});
  batch->chosen.clear();
  for (size_t i = 0; i < batch->prefills.size(); ++i) {
    compute(*batch, batch->prefills[i], &batch->plans[i], {});
    step.prefills.push_back(batch->prefills[i].n_tokens);
  }
  for (size_t i = 0; i < batch->decodes.size(); ++i)
    compute(*batch, batch->decodes[i], nullptr, batch->decode_rules[i]);
  const auto choose = [&](const Segment& segment) {
    const size_t n = batch->chosen.size();
    if (n < batch->logit_rows.size() && batch->logit_rows[n] == segment.row + segment.n_tokens - 1)
      batch->chosen.push_back(token_of(all_entries(segment), batch->samples[n]));
  };
  for (const Segment& segment : batch->prefills) choose(segment);
  for (const Segment& segment : batch->decodes) choose(segment);
  if (batch->chosen.size() != batch->logit_rows.size()) throw std::logic_error("a logit row is nobody's");
}

FakeEngine::FakeEngine(const FakeOptions& o)
    : options(o), runner(o.n_pages, o.page_tokens), pages(o.n_pages, o.page_tokens, o.prefix_cache) {
  std::unique_ptr<TieredPages> tiers;
  runner.n_layers = o.n_layers;
  if (o.host || o.disk) {
    auto own = std::make_unique<FakeMover>(&runner, o.page_tokens, o.copies_need_turn, o.n_layers);
    mover = own.get();
    TierOptions tier_options;
    tier_options.tiers = {o.host, o.disk};
    tier_options.fingerprint = {{"the model", "a fake"}};
    tier_options.page_tokens = o.page_tokens;
    tier_options.batch_bytes = o.batch_pages * mover->record_bytes();
    tier_options.watermark_pages = o.watermark_pages;
    tier_options.storage_threads = o.storage_threads;
    tiers = std::make_unique<TieredPages>(&pages, std::move(own), tier_options);
    tiers->restore_always();
  }
  scheduler = std::make_unique<Scheduler>(
      &runner, &pages,
      SchedulerLimits{o.page_tokens, o.chunk_size, o.mixed_chunk_size, o.max_batch_size, o.check_interval},
      std::move(tiers));
}

void FakeMover::read(std::span<const int32_t> pages, std::span<std::byte* const> records) {
  if (before_read) before_read();
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto bytes = std::as_bytes(runner_->page(pages[i]));
    std::copy(bytes.begin(), bytes.end(), records[i]);
  }
}

void FakeMover::write(std::span<const int32_t> pages, std::span<const std::byte* const> records) {
  if (before_write) before_write();
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto bytes = std::as_writable_bytes(runner_->page(pages[i]));
    std::copy_n(records[i], bytes.size(), bytes.begin());
  }
}

void FakeMover::write_layers(std::span<const int32_t> pages, std::span<const std::byte* const> records,
                             int64_t begin, int64_t end) {
  if (before_write) before_write();
  const auto first = static_cast<size_t>(begin * record_bytes() / n_layers_),
             last = static_cast<size_t>(end * record_bytes() / n_layers_);
  for (size_t i = 0; i < pages.size(); ++i) {
    const auto bytes = std::as_writable_bytes(runner_->page(pages[i]));
    std::copy(records[i] + first, records[i] + last, bytes.begin() + static_cast<std::ptrdiff_t>(first));
  }
}

Buffer FakeMover::allocate(int64_t bytes, const std::string&) {
  auto memory = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(bytes));
  return {memory, memory->data()};
}

PrefillTraits FakeEngine::traits() const {
  return {options.page_tokens, options.last_block_dense, options.positions_depend_on_length};
}

RequestSetup FakeEngine::setup(const GenerateRequest& request) const {
  RequestSetup setup;
  setup.request = request;
  setup.rule = request.sparse.value_or(SparseRule{});
  setup.decode_rule = decode_rule(request.sparse_decode.value_or(SparseDecodeRule{}));
  setup.share_pages = options.prefix_cache;
  setup.eos_ids = &kNoEos;
  setup.ctx_size = options.n_pages * options.page_tokens;
  return setup;
}

std::shared_ptr<Request> FakeEngine::submit_raw(const GenerateRequest& request) {
  auto sequence = std::make_unique<Sequence>(&pages, traits(), scheduler->tiers());
  sequence->append(request.prompt);
  auto raw = std::make_shared<Request>(setup(request), std::move(sequence));
  scheduler->submit(raw);
  return raw;
}

std::unique_ptr<Generation> FakeEngine::submit(const GenerateRequest& request) {
  return std::make_unique<GenerationImpl>(submit_raw(request), scheduler->signals());
}

Ids FakeEngine::expected(const GenerateRequest& request) const {
  const SparseRule rule = request.sparse.value_or(SparseRule{});
  const int64_t page = options.page_tokens, n_prompt = static_cast<int64_t>(request.prompt.size());
  const std::optional<SelectRule> select =
      select_rule(rule, options.last_block_dense, (n_prompt + page - 1) / page);
  const uint64_t decoding = rule_of(decode_rule(request.sparse_decode.value_or(SparseDecodeRule{})));
  Sampler sampler(request.sampling, BannedIds{});
  Ids tokens = request.prompt, out;
  uint64_t all = 0;
  for (int64_t t = 0; static_cast<int64_t>(out.size()) < request.max_new_tokens; ++t) {
    const uint64_t mode = t < n_prompt ? rule_at(t / page, select) : decoding;
    all = mix(all ^ entry_of(all, tokens[static_cast<size_t>(t)], mode));
    if (t + 1 < static_cast<int64_t>(tokens.size())) continue;
    const int32_t id = sampler.accept(token_of(all, sampler.next(tokens)));
    tokens.push_back(id);
    out.push_back(id);
  }
  return out;
}

GenerateRequest fake_request(const Ids& prompt, int64_t max_new_tokens, const SparseRule& rule) {
  GenerateRequest request;
  request.prompt = prompt;
  request.max_new_tokens = max_new_tokens;
  request.sampling.temperature = 0.0;
  request.sparse = rule;
  return request;
}

Ids fake_ids(int64_t n, uint64_t seed) {
  Ids ids(static_cast<size_t>(n));
  for (int32_t& id : ids) id = static_cast<int32_t>((seed = mix(seed)) % kVocabulary);
  return ids;
}

}  // namespace seer::testing
