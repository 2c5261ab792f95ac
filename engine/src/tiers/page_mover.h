// Copies the contents of pages between the pool and records, for the threads of TieredPages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/src/page_transfer.h"
#include "kernels/backend.h"

namespace seer {

// The tests have a mover for their own model.
class PageMover {
 public:
  virtual ~PageMover() = default;

  virtual int64_t record_bytes() const = 0;
  // Returns whether the functions that copy may be called only with the scheduler's turn. If not, another
  // thread may run steps meanwhile. Steps never write the pages that are read, nor touch those that write()
  // fills.
  virtual bool needs_turn() const = 0;
  // One thread may call read() while another one calls write() or write_layers(). All throw Error if the
  // device or a rank has failed.
  virtual void read(std::span<const int32_t> pages, std::span<std::byte* const> records) = 0;
  virtual void write(std::span<const int32_t> pages, std::span<const std::byte* const> records) = 0;
  // Returns how many layers write_layers() can tell apart; 1 if pages can only be written as a whole.
  virtual int64_t n_layers() const { return 1; }
  // Does the same as write(), for the layers [begin, end) alone. Meanwhile steps may read the layers before
  // `begin`.
  virtual void write_layers(std::span<const int32_t> pages, std::span<const std::byte* const> records,
                            int64_t begin, int64_t end) = 0;
  // Sets to zero what the sequence of a full page has not written; see PageImages::clear_unused().
  virtual void clear_unused(std::byte* record, bool gated) const = 0;
  // Returns memory for records, to and from which copies are fastest.
  virtual Buffer allocate(int64_t bytes, const std::string& purpose) = 0;
};

// Moves pages of the model. If there are several ranks, every one of them takes part in a copy, so that a
// copy needs the turn.
class ModelPageMover final : public PageMover {
 public:
  // Both must outlive it. Throws Error{kMemory}.
  ModelPageMover(PageTransfer* transfer, Backend* backend, int64_t page_tokens)
      : transfer_(transfer),
        backend_(backend),
        page_tokens_(page_tokens),
        copier_(transfer->alone() ? transfer->make_copier() : nullptr) {}

  int64_t record_bytes() const override { return transfer_->record_bytes(); }
  bool needs_turn() const override { return copier_ == nullptr; }
  void read(std::span<const int32_t> pages, std::span<std::byte* const> records) override;
  void write(std::span<const int32_t> pages, std::span<const std::byte* const> records) override;
  int64_t n_layers() const override { return copier_ ? transfer_->n_layers() : 1; }
  void write_layers(std::span<const int32_t> pages, std::span<const std::byte* const> records, int64_t begin,
                    int64_t end) override {
    copier_ ? copier_->write(pages, records, transfer_->parts_of_layers(begin, end)) : write(pages, records);
  }
  void clear_unused(std::byte* record, bool gated) const override {
    transfer_->clear_unused(record, page_tokens_, gated);
  }
  Buffer allocate(int64_t bytes, const std::string& purpose) override {
    return backend_->allocate_host(bytes, purpose);
  }

 private:
  PageTransfer* transfer_;
  Backend* backend_;
  int64_t page_tokens_;
  std::unique_ptr<RecordCopier> copier_;  // null if there are several ranks
  // The records of a message, one after the other, if there are several ranks.
  std::vector<std::byte> for_read_, for_write_;
};

}  // namespace seer
