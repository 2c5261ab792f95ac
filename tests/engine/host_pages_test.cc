// The tier in the host's memory: which pages stay, and what a borrowed record is safe from.
#include "engine/src/tiers/host_pages.h"

#include "tests/engine/disk_pages.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

class Host {
 public:
  explicit Host(int64_t n_pages) : pages_(n_pages * kRecord + kRecord / 2, kRecord, backend_.get()) {}

  HostPages* operator->() { return &pages_; }
  bool store(int64_t i) { return pages_.store(test_page(i), record_of(test_page(i)), 1.0); }
  bool load(int64_t i) {
    Record record(kRecord);
    if (!pages_.load(test_page(i), record)) return false;
    CHECK(record == record_of(test_page(i)));
    return true;
  }

 private:
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  HostPages pages_;
};

TEST_CASE("the host's tier gives back what it was given, and counts it") {
  Host host(4);
  CHECK_FALSE(host.load(0));
  for (int64_t i = 0; i < 4; ++i) CHECK(host.store(i));
  CHECK(host.store(2));  // it has it already
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(host->has(test_page(i)));
    CHECK(host.load(i));
  }
  CHECK_FALSE(host->has(test_page(4)));
  CHECK(host->n_pages() == 4);
  CHECK(host->n_bytes() == 4 * kRecord);
}

TEST_CASE("a record that was begun is there once it is complete, and leaves its room if it is given up") {
  Host host(2);
  std::byte* const first = host->begin_store(test_page(0), 1.0);
  REQUIRE(first != nullptr);
  CHECK(host->begin_store(test_page(0), 1.0) == nullptr);  // it is being written already
  CHECK_FALSE(host->has(test_page(0)));
  CHECK(host->borrow(test_page(0)) == nullptr);
  CHECK(host.store(1));
  CHECK(host.store(2));  // in place of 1, because 0 is being written
  CHECK_FALSE(host->has(test_page(1)));
  host->end_store(test_page(0), false);
  CHECK(host->n_pages() == 1);
  CHECK(host.store(3));
  CHECK(host.load(2));
  CHECK(host.load(3));
  std::byte* const again = host->begin_store(test_page(4), 1.0);
  REQUIRE(again != nullptr);
  const Record record = record_of(test_page(4));
  std::copy(record.begin(), record.end(), again);
  host->end_store(test_page(4), true);
  CHECK(host.load(4));
  CHECK(host->begin_store(test_page(4), 1.0) == nullptr);
}

TEST_CASE("the page that was used the longest ago gives way") {
  Host host(3);
  for (int64_t i = 0; i < 3; ++i) host.store(i);
  CHECK(host.load(0));
  CHECK(host.store(3));
  CHECK_FALSE(host->has(test_page(1)));
  CHECK(host.store(4));
  CHECK_FALSE(host->has(test_page(2)));
  for (const int64_t i : {0, 3, 4}) CHECK(host.load(i));
}

TEST_CASE("the last page of a used chain gives way first, also if its pages were loaded in another order") {
  Host host(4);
  for (int64_t i = 0; i < 4; ++i) host.store(i);
  for (const int64_t i : {1, 2, 3}) CHECK(host.load(i));
  const std::vector<PageName> chain = {test_page(1), test_page(7), test_page(2), test_page(3)};
  host->used(chain);  // it does not have page 7
  for (const int64_t given_up : {0, 3, 2, 1}) {
    INFO("page " << given_up);
    CHECK(host->has(test_page(given_up)));
    CHECK(host.store(10 + given_up));
    CHECK_FALSE(host->has(test_page(given_up)));
  }
}

TEST_CASE("a borrowed record stays, and if all are borrowed, nothing is stored") {
  Host host(2);
  host.store(0);
  host.store(1);
  const std::byte* first = host->borrow(test_page(0));
  REQUIRE(first != nullptr);
  REQUIRE(host->borrow(test_page(0)) == first);  // by two at once
  CHECK(host.store(2));
  CHECK_FALSE(host->has(test_page(1)));
  CHECK(host->borrow(test_page(1)) == nullptr);
  REQUIRE(host->borrow(test_page(2)) != nullptr);
  CHECK_FALSE(host.store(3));
  const Record expected = record_of(test_page(0));
  CHECK(std::equal(expected.begin(), expected.end(), first));
  host->release_record(test_page(0));
  CHECK_FALSE(host.store(3));
  host->release_record(test_page(0));
  CHECK(host.store(3));
  CHECK_FALSE(host->has(test_page(0)));
}

TEST_CASE("a host's tier of less than a page is refused with both sizes") {
  const auto backend = make_cpu_backend(1);
  CHECK_THAT(refusal(ErrorKind::kUsage, [&] { HostPages(kRecord - 1, kRecord, backend.get()); }),
             ContainsSubstring("10000 bytes, found 9999"));
}

}  // namespace
}  // namespace seer
