#include "engine/src/page_transfer.h"

#include <algorithm>
#include <cassert>

#include "engine/src/ranks_impl.h"

namespace seer {
namespace {

std::vector<int32_t> pages_in(const Message& message) {
  MessageReader reader(message.bytes);
  return reader.get_vector<int32_t>(reader.get<int64_t>());
}

}  // namespace

PageTransfer::PageTransfer(const Model& model, Communicator* comm, bool divides_prompts,
                           int64_t pages_of_rank)
    : images_(&model.backend(), &model.cache()),
      comm_(comm),
      divides_prompts_(divides_prompts),
      pages_of_rank_(pages_of_rank) {}

PageTransfer::Mine PageTransfer::mine(std::span<const int32_t> pages) const {
  Mine result;
  for (size_t i = 0; i < pages.size(); ++i) {
    if (owner(pages[i]) != rank()) continue;
    result.rows.push_back(divides_prompts_ ? pages[i] % pages_of_rank_ : pages[i]);
    result.places.push_back(static_cast<int64_t>(i));
  }
  return result;
}

int64_t PageTransfer::most_of_a_rank(std::span<const int32_t> pages) const {
  if (!divides_prompts_) return static_cast<int64_t>(pages.size());
  std::vector<int64_t> counts(static_cast<size_t>(size()), 0);
  for (const int32_t page : pages) ++counts[static_cast<size_t>(owner(page))];
  return *std::max_element(counts.begin(), counts.end());
}

// Sends the message, and does this rank's part. If this fails, the other ranks are in the middle of the
// exchange and cannot go on, so they are ended.
void PageTransfer::tell(uint32_t kind, std::span<const int32_t> pages,
                        const std::function<void()>& exchange) {
  try {
    std::vector<std::byte> bytes;
    MessageWriter writer(&bytes);
    writer.put(static_cast<int64_t>(pages.size()));
    writer.put_all(pages);
    send_message(*comm_, kind, bytes);
    exchange();
  } catch (const Error& error) {
    comm_->abort(error.kind(), rank_prefix(rank(), size()) + error.what());
    throw;
  } catch (const std::exception& error) {
    comm_->abort(ErrorKind::kRuntime, rank_prefix(rank(), size()) + error.what());
    throw;
  }
}

void PageTransfer::read(std::span<const int32_t> pages, std::byte* out) {
  if (pages.empty()) return;
  if (size() == 1) return images_.read(mine(pages).rows, out, images_.image_bytes());
  tell(kReadPagesMessage, pages, [&] { gather(pages, out); });
}

void PageTransfer::write(std::span<const int32_t> pages, const std::byte* records) {
  if (pages.empty()) return;
  if (size() == 1) return images_.write(mine(pages).rows, records, images_.image_bytes());
  tell(kWritePagesMessage, pages, [&] {
    // On rank 0, broadcast() only reads the buffer.
    comm_->broadcast(const_cast<std::byte*>(records), static_cast<int64_t>(pages.size()) * record_bytes(),
                     Patience::kStep);
    scatter(pages, records);
  });
}

std::unique_ptr<RecordCopier> PageTransfer::make_copier() const {
  assert(alone());  // then the pages' numbers are those of the pool's rows
  return images_.make_copier();
}

void PageTransfer::clear_unused(std::byte* record, int64_t n_tokens, bool gated) const {
  for (int64_t i = 0; i < images_per_record(); ++i)
    images_.clear_unused(record + i * images_.image_bytes(), n_tokens, gated);
}

// Returns the images that this rank has. The result has the same size on every rank, because gather_host()
// needs that.
std::vector<std::byte> PageTransfer::read_mine(std::span<const int32_t> pages) const {
  std::vector<std::byte> bytes(static_cast<size_t>(most_of_a_rank(pages) * images_.image_bytes()));
  images_.read(mine(pages).rows, bytes.data(), images_.image_bytes());
  return bytes;
}

void PageTransfer::gather(std::span<const int32_t> pages, std::byte* out) {
  const std::vector<std::byte> own = read_mine(pages);
  std::vector<std::byte> all(own.size() * static_cast<size_t>(size()));
  comm_->gather_host(all.data(), own.data(), static_cast<int64_t>(own.size()));
  const int64_t image = images_.image_bytes();
  std::vector<int64_t> taken(static_cast<size_t>(size()), 0);  // images of each rank
  for (const int32_t page : pages)
    for (int r = 0; r < size(); ++r) {
      if (divides_prompts_ && owner(page) != r) continue;
      const int64_t at = r * static_cast<int64_t>(own.size()) + taken[static_cast<size_t>(r)]++ * image;
      out = std::copy_n(all.data() + at, image, out);
    }
}

void PageTransfer::scatter(std::span<const int32_t> pages, const std::byte* records) {
  const int64_t image = images_.image_bytes();
  const Mine own = mine(pages);
  const int64_t first = divides_prompts_ ? 0 : rank() * image;
  // One call for each run of records that follow one another.
  for (size_t i = 0, end = 0; i < own.rows.size(); i = end) {
    for (end = i + 1;
         end < own.rows.size() && own.places[end] == own.places[i] + static_cast<int64_t>(end - i);)
      ++end;
    images_.write(std::span(own.rows).subspan(i, end - i), records + own.places[i] * record_bytes() + first,
                  record_bytes());
  }
}

void PageTransfer::follow_read(const Message& message) {
  const std::vector<std::byte> own = read_mine(pages_in(message));
  comm_->gather_host(nullptr, own.data(), static_cast<int64_t>(own.size()));
}

void PageTransfer::follow_write(const Message& message) {
  const std::vector<int32_t> pages = pages_in(message);
  std::vector<std::byte> records(pages.size() * static_cast<size_t>(record_bytes()));
  comm_->broadcast(records.data(), static_cast<int64_t>(records.size()), Patience::kStep);
  scatter(pages, records.data());
}

}  // namespace seer
