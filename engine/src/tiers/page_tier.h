// A place below the pool that keeps the contents of pages: memory of the host, or a disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/src/tiers/page_name.h"

namespace seer {

// All functions are thread-safe. None of them throws if the storage fails: a tier that cannot read or
// write has no pages, says so once in the log, and counts the failures.
class PageTier {
 public:
  virtual ~PageTier() = default;

  // Returns whether the tier has the page now, without reading its contents.
  virtual bool has(const PageName& name) = 0;
  // Keeps `record`, the contents of the page, and gives up other pages if there is no room. Returns false if
  // the page is not kept. `cost_s` is how many seconds it would take to compute the page again; a tier
  // may keep what is dear longer than what is cheap.
  virtual bool store(const PageName& name, std::span<const std::byte> record, double cost_s) = 0;
  // Copies the contents to `record`, whose size must be that of the stored record. Returns false if the tier
  // does not have the page, or has it damaged; `record` then holds nothing useful.
  virtual bool load(const PageName& name, std::span<std::byte> record) = 0;

  // Returns whether the tier keeps records in memory. Such a tier has the next four functions too, so that
  // pages are copied from and to the place where a record stays.
  virtual bool in_memory() const { return false; }
  // Makes room for the page's record as store() does, and returns the room; null if the page is not kept, or
  // is there already. The caller writes the record there, and then calls end_store(). If it could not write
  // the record, `complete` must be false, and the tier forgets the page.
  virtual std::byte* begin_store(const PageName&, double /*cost_s*/) { return nullptr; }
  virtual void end_store(const PageName&, bool /*complete*/) {}
  // Returns the page's record, which stays as it is until release_record(). Null if the tier does not have
  // the page.
  virtual const std::byte* borrow(const PageName&) { return nullptr; }
  virtual void release_record(const PageName&) {}

  // Says that a sequence uses these pages, which follow one another from the first page of its tokens,
  // whichever tier they came from. A page is useless without those before it, so the tier gives up the last
  // ones first. Pages that the tier does not have are passed over.
  virtual void used(std::span<const PageName> /*chain*/) {}

  virtual int64_t n_pages() const = 0;
  virtual int64_t n_bytes() const = 0;  // of records, and what surrounds them
};

}  // namespace seer
