// The mutator itself: the same damage on every run, and damage it is.
#include "tests/fuzz/mutate.h"

#include <set>
#include <stdexcept>

#include "seer/error.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::Mutator;

const std::vector<std::string> kSamples = {R"({"n": 12, "m": [3, 4]})", std::string(100, 'x')};

TEST_CASE("mutate: one seed gives one sequence, another seed another") {
  Mutator a(1, kSamples), b(1, kSamples), c(2, kSamples);
  int n_same = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string bytes = a.next();
    CHECK(bytes == b.next());
    if (bytes == c.next()) ++n_same;
  }
  CHECK(n_same < 20);
}

TEST_CASE("mutate: most mutants differ from every sample and from each other") {
  Mutator mutator(3, kSamples);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(mutator.next());
  for (const std::string& sample : kSamples) seen.erase(sample);
  CHECK(seen.size() > 700);
}

TEST_CASE("mutate: empty samples stay harmless") {
  Mutator mutator(4, {"", "a"});
  size_t n_bytes = 0;
  for (int i = 0; i < 2000; ++i) n_bytes += mutator.next().size();
  CHECK(n_bytes > 2000);
}

TEST_CASE("loads and refusals are counted, each mutant is one of them") {
  int n = 0;
  const testing::FuzzResult result = testing::fuzz(Mutator(5, kSamples), 100, [&](const std::string&) {
    if (n++ % 4 == 0) throw Error(ErrorKind::kFile, "refused");
  });
  CHECK(result.n_refused == 25);
  CHECK(result.n_loaded == 75);
}

}  // namespace
}  // namespace seer
