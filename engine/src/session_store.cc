// Writes sessions to files, and reads them back.
#include <algorithm>
#include <string>

#include "engine/src/session_impl.h"
#include "seer/version.h"

namespace seer {
namespace {

constexpr int64_t kChunkBytes = int64_t{64} << 20;  // moved in one turn, so that requests go on

SavedSession saved_of(const SessionHead& head, int64_t n_bytes) {
  return {static_cast<int64_t>(head.tokens.size()), n_bytes, head.record_bytes, head.note};
}

// Calls move(first, n) for runs of pages that fit the memory of one turn.
template <class Move>
void for_chunks(const SessionHead& head, const Move& move) {
  const int64_t most = std::max<int64_t>(1, kChunkBytes / head.record_bytes), n_pages = head.n_pages();
  for (int64_t first = 0; first < n_pages; first += most) move(first, std::min(most, n_pages - first));
}

}  // namespace

SavedSession SessionImpl::save(const std::string& path, const std::string& note) {
  engine_->check_process();
  if (running_)
    throw Error(ErrorKind::kUsage,
                "the session is running a request: expected one that is idle. Save it when the request has "
                "ended.");
  PageTransfer& transfer = engine_->page_transfer();
  SessionHead head;
  head.program = SEER_VERSION;
  engine_->scheduler().with_turn([&] { head.fingerprint = engine_->fingerprint(); });
  head.page_tokens = engine_->info().page_tokens;
  head.record_bytes = transfer.record_bytes();
  head.state = sequence_->state();
  head.tokens = sequence_->tokens();
  head.note = note;
  SessionWriter writer(path, head);
  const bool sparse = head.state.rules.prompt.method != SparseRule::Method::kDense;
  std::vector<std::byte> records;
  for_chunks(head, [&](int64_t first, int64_t n) {
    records.resize(static_cast<size_t>(n * head.record_bytes));
    const std::span pages(sequence_->page_table() + first, static_cast<size_t>(n));
    engine_->scheduler().with_turn([&] { transfer.read(pages, records.data()); });
    for (int64_t i = 0; i < n; ++i) {
      std::byte* record = records.data() + i * head.record_bytes;
      const int64_t begin = (first + i) * head.page_tokens;
      transfer.clear_unused(record, std::min(head.page_tokens, head.state.n_computed - begin),
                            sparse && begin < head.state.prompt_tokens);
      writer.add_page({record, static_cast<size_t>(head.record_bytes)});
    }
  });
  writer.finish();
  return saved_of(head, writer.n_bytes());
}

SavedSession SessionImpl::restore(const std::string& path) {
  Scheduler& scheduler = engine_->scheduler();
  PageTransfer& transfer = engine_->page_transfer();
  const SessionReader reader(path);
  const SessionHead& head = reader.head();
  scheduler.with_turn([&] { engine_->check_session(head, path); });
  {
    const std::lock_guard lock(scheduler.mutex());
    sequence_->begin_restore(head.tokens, head.state);
  }
  std::vector<std::byte> records;
  for_chunks(head, [&](int64_t first, int64_t n) {
    records.resize(static_cast<size_t>(n * head.record_bytes));
    for (int64_t i = 0; i < n; ++i)
      reader.read_page(first + i, std::span(records).subspan(static_cast<size_t>(i * head.record_bytes),
                                                             static_cast<size_t>(head.record_bytes)));
    Scheduler::Lock lock(scheduler.mutex());
    const Scheduler::Turn turn(&scheduler, &lock);
    scheduler.reserve_at_any_price(&*sequence_,
                                   std::min(head.state.n_computed, (first + n) * head.page_tokens), &lock);
    lock.unlock();
    transfer.write({sequence_->page_table() + first, static_cast<size_t>(n)}, records.data());
  });
  const std::lock_guard lock(scheduler.mutex());
  sequence_->computed(head.state.n_computed);
  return saved_of(head, reader.n_bytes());
}

std::unique_ptr<Session> EngineImpl::load_session(const std::string& path, SavedSession* saved) {
  check_process();
  auto session = std::make_unique<SessionImpl>(std::static_pointer_cast<EngineImpl>(shared_from_this()));
  const SavedSession read = session->restore(path);
  if (saved != nullptr) *saved = read;
  return session;
}

void EngineImpl::check_session(const SessionHead& head, const std::string& path) {
  check_fingerprint(head.fingerprint, fingerprint(), path);
  // The rest follows from an equal fingerprint, unless somebody has forged the file.
  if (head.page_tokens != info_.page_tokens || head.record_bytes != page_transfer_->record_bytes())
    throw Error(ErrorKind::kFile, path + ": expected pages of " + std::to_string(info_.page_tokens) +
                                      " tokens and " + std::to_string(page_transfer_->record_bytes()) +
                                      " bytes, found " + std::to_string(head.page_tokens) + " and " +
                                      std::to_string(head.record_bytes));
  check_rule(head.state.rules.prompt, model_info_);
  check_ids(head.tokens, path);
  const auto n_tokens = static_cast<int64_t>(head.tokens.size());
  if (n_tokens <= info_.ctx_size) return;
  throw Error(
      ErrorKind::kUsage,
      path + ": expected a session of at most " + std::to_string(info_.ctx_size) +
          " tokens, the context, found " + std::to_string(n_tokens) +
          (n_tokens <= info_.max_ctx_size ? ". Use -c " + std::to_string(n_tokens) + " or more." : "."));
}

}  // namespace seer
