#include "seer/sparse.h"

#include <clocale>

#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

TEST_CASE("a sparse rule is read as it is written on the command line") {
  CHECK(SparseRule::parse("dense") == SparseRule{});
  CHECK(SparseRule::parse("threshold=0.002") == SparseRule{SparseRule::Method::kThreshold, 0.002});
  CHECK(SparseRule::parse("threshold=2e-3") == SparseRule::parse("threshold=0.002"));
  CHECK(SparseRule::parse("nz_ratio=0.1") == SparseRule{SparseRule::Method::kNzRatio, 0.1});
}

TEST_CASE("the ends of a sparse rule's range: 0 is a threshold but no ratio, 1 a ratio but no threshold") {
  CHECK(SparseRule::parse("threshold=0").value == 0.0);
  CHECK(SparseRule::parse("nz_ratio=1").value == 1.0);
  for (const char* text : {"threshold=1", "threshold=-0.1", "nz_ratio=0", "nz_ratio=1.0001", "nz_ratio=-1"})
    CHECK_THROWS_AS(SparseRule::parse(text), Error);
}

TEST_CASE("a sparse rule that is none is a usage error that shows it and the forms") {
  for (const char* text : {"", "Dense", "dense=1", "threshold", "threshold=", "threshold=x", "threshold=0.1x",
                           "threshold=0,1", "threshold= 0.1", "threshold=nan", "nz_ratio=inf", "nz_ratio=nan",
                           "topk=0.1", "=0.1", "threshold=1e999"}) {
    INFO(text);
    const std::string error = testing::error_of([&] { SparseRule::parse(text); });
    CHECK_THAT(error, ContainsSubstring("usage: "));
    CHECK_THAT(error, ContainsSubstring("'" + std::string(text) + "'"));
    CHECK_THAT(error, ContainsSubstring("expected dense, threshold=T"));
  }
}

TEST_CASE("a sparse rule written out is the rule it is read back as") {
  CHECK(SparseRule{}.to_string() == "dense");
  CHECK(SparseRule::parse("threshold=0.002").to_string() == "threshold=0.002");
  CHECK(SparseRule::parse("nz_ratio=1").to_string() == "nz_ratio=1");
  for (const double value : {0.1, 0.123456789, 1.0 / 3.0, 1e-10, 0.9999999}) {
    const SparseRule rule{SparseRule::Method::kThreshold, value};
    CHECK(SparseRule::parse(rule.to_string()) == rule);
  }
}

TEST_CASE("a program's locale changes neither how a sparse rule is written nor how it is read") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  const char* comma = nullptr;  // one whose decimal point is a comma, where the machine has any
  for (const char* name : {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8", "nl_NL.UTF-8"})
    if (comma == nullptr) comma = std::setlocale(LC_ALL, name);
  const SparseRule rule = SparseRule::parse("threshold=0.25");
  const std::string text = rule.to_string();
  std::setlocale(LC_ALL, before.c_str());
  CHECK(rule.value == 0.25);
  CHECK(text == "threshold=0.25");
}

}  // namespace
}  // namespace seer
