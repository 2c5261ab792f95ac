#include "engine/src/tiers/page_mover.h"

#include <algorithm>

namespace seer {

void ModelPageMover::read(std::span<const int32_t> pages, std::span<std::byte* const> records) {
  if (copier_) return copier_->read(pages, records);
  const int64_t bytes = record_bytes();
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
  for_write_.resize(pages.size() * static_cast<size_t>(bytes));
  std::byte* to = for_write_.data();
  for (const std::byte* const record : records) to = std::copy_n(record, bytes, to);
  transfer_->write(pages, for_write_.data());
}

}  // namespace seer
