// Which page of a disk goes first if there is no room: one that was not used for long and was cheap to
// compute.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "engine/src/tiers/page_name.h"

namespace seer {

// A page's stamp is when it was last used, in nanoseconds of the wall clock, later if it is dear and earlier
// if it is cheap. The page of the lowest stamp goes first. Stamps are the files' modification times, so that
// all processes and later ones have the same. Not thread-safe.
class PageIndex {
 public:
  struct Entry {
    int64_t stamp = 0;
    int64_t stamp_on_disk = 0;
    int64_t bytes = 0;
    int32_t folder = 0;    // the owner's number for the model's folder
    double cost_s = -1.0;  // negative: unknown, because the file was not read yet
  };

  void put(const PageName& name, const Entry& entry);
  void erase(const PageName& name);
  // Null if the page is not known. The stamp must be changed by put() alone.
  Entry* find(const PageName& name);
  std::optional<std::pair<PageName, Entry>> first() const;  // the page that goes first

  template <class Look>
  void for_each(const Look& look) const {
    for (const auto& [name, entry] : entries_) look(name, entry);
  }
  int64_t size() const { return static_cast<int64_t>(entries_.size()); }

 private:
  struct Earlier {
    bool operator()(const std::pair<int64_t, PageName>& a, const std::pair<int64_t, PageName>& b) const {
      return a.first != b.first ? a.first < b.first : a.second.bytes < b.second.bytes;
    }
  };
  std::unordered_map<PageName, Entry, DigestHash> entries_;
  std::set<std::pair<int64_t, PageName>, Earlier> order_;
};

// Decides how much later or earlier than its last use a page's stamp is. If all pages cost the same, all
// stamps are those of the last use, and the page that was unused the longest goes first. A page that costs k
// times as many seconds for each byte as the average gets a stamp that is later by (k - 1) T, where T is how
// long a page stayed unused until it went; k is at most 8. So a dear page that is not used any more gives
// way in the end.
class PageWorth {
 public:
  explicit PageWorth(int64_t max_bytes) : max_bytes_(max_bytes) {}

  int64_t stamp(int64_t now, double cost_s, int64_t bytes) const;
  void stored(double cost_s, int64_t bytes);
  void evicted(int64_t now, const PageIndex::Entry& entry);

 private:
  double share(int64_t bytes) const;

  int64_t max_bytes_;
  double cost_of_byte_ = -1.0;  // on average, of what was stored lately; negative: nothing was yet
  double stay_ns_ = 0.0;        // T, of what went lately
};

}  // namespace seer
