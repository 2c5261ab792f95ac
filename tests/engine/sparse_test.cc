#include "seer/sparse.h"

#include <clocale>
#include <utility>

#include "engine/src/select_rule.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

TEST_CASE("a sparse rule is read as it is written on the command line") {
  CHECK(SparseRule::parse("dense") == SparseRule{});
  CHECK(SparseRule::parse("threshold=0.002") == SparseRule{SparseRule::Method::kThreshold, 0.002});
  CHECK(SparseRule::parse("threshold=2e-3") == SparseRule::parse("threshold=0.002"));
  CHECK(SparseRule::parse("nz_ratio=0.1") == SparseRule{SparseRule::Method::kNzRatio, 0.1});
  CHECK(SparseRule::parse("nz_ratio_row=0.1") == SparseRule{SparseRule::Method::kNzRatioRow, 0.1});
  CHECK_FALSE(SparseRule::parse("nz_ratio_row=0.1") == SparseRule::parse("nz_ratio=0.1"));
}

TEST_CASE("the ends of a sparse rule's range: 0 is a threshold but no ratio, 1 a ratio but no threshold") {
  CHECK(SparseRule::parse("threshold=0").value == 0.0);
  CHECK(SparseRule::parse("nz_ratio=1").value == 1.0);
  CHECK(SparseRule::parse("nz_ratio_row=1").value == 1.0);
  for (const char* text : {"threshold=1", "threshold=-0.1", "nz_ratio=0", "nz_ratio=1.0001", "nz_ratio=-1",
                           "nz_ratio_row=0", "nz_ratio_row=1.0001", "nz_ratio_row=-1"})
    CHECK_THROWS_AS(SparseRule::parse(text), Error);
}

TEST_CASE("a sparse rule that is none is a usage error that shows it and the forms") {
  for (const char* text :
       {"", "Dense", "dense=1", "threshold", "threshold=", "threshold=x", "threshold=0.1x", "threshold=0,1",
        "threshold= 0.1", "threshold=nan", "nz_ratio=inf", "nz_ratio=nan", "nz_ratio_row",
        "nz_ratio_row=", "nz_ratio_rows=0.1", "nz_ratio_row=nan", "topk=0.1", "=0.1", "threshold=1e999"}) {
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
  CHECK(SparseRule::parse("nz_ratio_row=0.25").to_string() == "nz_ratio_row=0.25");
  for (const double value : {0.1, 0.123456789, 1.0 / 3.0, 1e-10, 0.9999999}) {
    for (const auto method :
         {SparseRule::Method::kThreshold, SparseRule::Method::kNzRatio, SparseRule::Method::kNzRatioRow}) {
      const SparseRule rule{method, value};
      CHECK(SparseRule::parse(rule.to_string()) == rule);
    }
  }
}

TEST_CASE("a sparse rule is followed as the one that it names, and the dense one as none") {
  CHECK_FALSE(select_rule(SparseRule{}, true, 10).has_value());
  for (const auto& [text, method] : {std::pair{"threshold=0.25", SelectRule::Method::kThreshold},
                                     std::pair{"nz_ratio=0.25", SelectRule::Method::kNzRatio},
                                     std::pair{"nz_ratio_row=0.25", SelectRule::Method::kNzRatioRow}}) {
    INFO(text);
    const auto followed = select_rule(SparseRule::parse(text), true, 10);
    REQUIRE(followed.has_value());
    CHECK((followed->method == method));
    CHECK(followed->value == 0.25);
    CHECK(followed->last_block_dense);
    CHECK(followed->n_prompt_blocks == 10);
    CHECK(sparse_rule(*followed) == SparseRule::parse(text));
  }
}

TEST_CASE("a program's locale changes neither how a sparse rule is written nor how it is read") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  const char* comma = nullptr;  // a locale with a decimal comma, if the machine has one
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
