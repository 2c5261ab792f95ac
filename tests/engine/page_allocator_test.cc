#include "engine/src/page_allocator.h"

#include <set>

#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

TEST_CASE("every page is handed out once, from the lowest id on") {
  PageAllocator pages(65);
  CHECK(pages.n_pages() == 65);
  for (int32_t i = 0; i < 65; ++i) {
    CHECK(pages.n_free() == 65 - i);
    CHECK(pages.allocate() == i);
  }
  CHECK(pages.n_free() == 0);
}

TEST_CASE("a full pool is a memory error that says how many pages there are and what to do") {
  PageAllocator pages(2);
  pages.allocate();
  pages.allocate();
  for (int i = 0; i < 2; ++i) {  // asking again changes nothing
    const std::string error = testing::error_of([&] { pages.allocate(); });
    CHECK_THAT(error, ContainsSubstring("memory: "));
    CHECK_THAT(error, ContainsSubstring("all 2 pages"));
    CHECK_THAT(error, ContainsSubstring("--ctx-size"));
  }
  pages.release(1);
  CHECK(pages.allocate() == 1);
}

TEST_CASE("a released page is the next handed out") {
  PageAllocator pages(8);
  for (int i = 0; i < 5; ++i) pages.allocate();
  pages.release(3);
  pages.release(1);
  CHECK(pages.allocate() == 1);  // the page released last comes first, because its memory is still in caches
  CHECK(pages.allocate() == 3);
  CHECK(pages.allocate() == 5);
}

TEST_CASE("a page handed out again begins with one reference") {
  PageAllocator pages(1);
  const int32_t page = pages.allocate();
  pages.add_reference(page);
  pages.release(page);
  pages.release(page);
  CHECK(pages.allocate() == page);
  pages.release(page);
  CHECK(pages.n_free() == 1);
}

TEST_CASE("random use never hands out a page that is in use, and loses none") {
  PageAllocator pages(16);
  std::set<int32_t> used;
  uint32_t random = 1;
  for (int i = 0; i < 2000; ++i) {
    random = random * 1664525U + 1013904223U;
    if (used.size() < 16 && (random >> 16) % 2 == 0) {
      CHECK(used.insert(pages.allocate()).second);
    } else if (!used.empty()) {
      const auto it = std::next(used.begin(), static_cast<int64_t>((random >> 17) % used.size()));
      pages.release(*it);
      used.erase(it);
    }
    CHECK(pages.n_free() + static_cast<int64_t>(used.size()) == 16);
  }
}

TEST_CASE("each owner's pages are its own run of ids") {
  PageAllocator pages(6, 3);
  CHECK(pages.allocate(1) == 2);
  CHECK(pages.allocate(1) == 3);
  CHECK(pages.n_free(1) == 0);
  CHECK(pages.n_free() == 4);
  CHECK_THAT(testing::error_of([&] { pages.allocate(1); }), ContainsSubstring("all 2 pages"));
  CHECK(pages.allocate(2) == 4);
  CHECK(pages.allocate(0) == 0);
  pages.release(3);
  CHECK(pages.n_free(1) == 1);
  CHECK(pages.owner(3) == 1);
  CHECK(pages.allocate(1) == 3);
}

TEST_CASE("an empty pool has nothing to hand out") {
  PageAllocator pages(0);
  CHECK_THAT(testing::error_of([&] { pages.allocate(); }), ContainsSubstring("memory: "));
}

}  // namespace
}  // namespace seer
