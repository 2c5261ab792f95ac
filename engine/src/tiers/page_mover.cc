#include "engine/src/tiers/page_mover.h"

#include <algorithm>

namespace seer {
namespace {

// Returns whether the records lie one after the other.
template <class Record>
bool in_a_row(std::span<Record* const> records, int64_t bytes) {
  for (size_t i = 1; i < records.size(); ++i)
    if (records[i] != records[i - 1] + bytes) return false;
  return !records.empty();
}

}  // namespace

void ModelPageMover::read(std::span<const int32_t> pages, std::span<std::byte* const> records) {
  if (copier_) return copier_->read(pages, records);
  const int64_t bytes = record_bytes();
  if (in_a_row(records, bytes)) return transfer_->read(pages, records[0]);
  for_read_.resize(pages.size() * static_cast<size_t>(bytes));
  transfer_->read(pages, for_read_.data());
  const std::byte* from = for_read_.data();
  for (std::byte* const record : records) {
    std::copy_n(from, bytes, record);
    from += bytes;
  }
}

void ModelPageMover::write(std::span<const int32_t> pages, std::span<const std::byte* const> records) {
  if (copier_) return copier_->write(pages, records);
  const int64_t bytes = record_bytes();
  if (in_a_row(records, bytes)) return transfer_->write(pages, records[0]);
  for_write_.resize(pages.size() * static_cast<size_t>(bytes));
  std::byte* to = for_write_.data();
  for (const std::byte* const record : records) to = std::copy_n(record, bytes, to);
  transfer_->write(pages, for_write_.data());
}

}  // namespace seer
