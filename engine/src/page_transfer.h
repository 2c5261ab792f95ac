// Moves pages between the pool and the host, on every rank of an engine. Only this and the decoder read and
// write the contents of pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/comm/communicator.h"
#include "kernels/comm/message.h"
#include "models/model.h"
#include "models/page_images.h"

namespace seer {

// On the host a page is a record: the image of the rank that has the page, if ranks divide prompts; else the
// images of all ranks, each with its heads, in the order of ranks. Each rank has a PageTransfer. Rank 0 calls
// read() and write(), which send the others a message, and the others answer it by follow().
class PageTransfer {
 public:
  // `model` must have its cache. `comm` is the decoder's, and may be null if there is one rank.
  // `divides_prompts`: pages are those of all ranks together, and each rank has pages_of_rank of them.
  PageTransfer(const Model& model, Communicator* comm, bool divides_prompts, int64_t pages_of_rank);

  int64_t record_bytes() const { return images_.image_bytes() * images_per_record(); }
  // The records go to `out`, one after the other. Call read() and write() on rank 0 only, with the
  // scheduler's turn. They throw the errors of the communicator and of the backend.
  void read(std::span<const int32_t> pages, std::byte* out);
  void write(std::span<const int32_t> pages, const std::byte* records);
  // Makes an object that does the same while another thread runs steps. Only for an engine of one rank.
  std::unique_ptr<RecordCopier> make_copier() const;
  int64_t n_layers() const { return images_.n_layers(); }
  // Returns which parts, of those that the copier has, belong to the layers [begin, end).
  PartRange parts_of_layers(int64_t begin, int64_t end) const { return images_.parts_of_layers(begin, end); }
  bool alone() const { return size() == 1; }
  // Does with a record what PageImages::clear_unused() does with an image.
  void clear_unused(std::byte* record, int64_t n_tokens, bool gated) const;

  // Must be called on the other ranks for a kReadPagesMessage and a kWritePagesMessage.
  void follow_read(const Message& message);
  void follow_write(const Message& message);

 private:
  int rank() const { return comm_ == nullptr ? 0 : comm_->rank(); }
  int size() const { return comm_ == nullptr ? 1 : comm_->size(); }
  int64_t images_per_record() const { return divides_prompts_ ? 1 : size(); }
  int owner(int32_t page) const {
    return divides_prompts_ ? static_cast<int>(page / pages_of_rank_) : rank();
  }
  // Says which of `pages` this rank has: row rows[i] of the pool is the image of pages[places[i]].
  struct Mine {
    std::vector<int64_t> rows, places;
  };
  Mine mine(std::span<const int32_t> pages) const;
  int64_t most_of_a_rank(std::span<const int32_t> pages) const;
  void tell(uint32_t kind, std::span<const int32_t> pages, const std::function<void()>& exchange);
  void gather(std::span<const int32_t> pages, std::byte* out);
  void scatter(std::span<const int32_t> pages, const std::byte* records);
  std::vector<std::byte> read_mine(std::span<const int32_t> pages) const;

  PageImages images_;
  Communicator* comm_;
  bool divides_prompts_;
  int64_t pages_of_rank_;
};

}  // namespace seer
