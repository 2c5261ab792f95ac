#include "seer/sparse.h"

#include <clocale>
#include <utility>

#include "engine/src/select_rule.h"
#include "seer/engine.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

TEST_CASE("a sparse rule is read as it is written on the command line") {
  CHECK(SparseRule::parse("dense") == SparseRule{});
  CHECK(SparseRule::parse("threshold=0.002") == SparseRule{SparseRule::Method::kThreshold, 0.002});
  CHECK(SparseRule::parse("threshold=2e-3") == SparseRule::parse("threshold=0.002"));
  CHECK(SparseRule::parse("head_threshold=0.1") == SparseRule{SparseRule::Method::kHeadThreshold, 0.1});
  CHECK(SparseRule::parse("nz_ratio=0.1") == SparseRule{SparseRule::Method::kNzRatio, 0.1});
  CHECK(SparseRule::parse("nz_ratio_row=0.1") == SparseRule{SparseRule::Method::kNzRatioRow, 0.1});
  CHECK_FALSE(SparseRule::parse("nz_ratio_row=0.1") == SparseRule::parse("nz_ratio=0.1"));
}

TEST_CASE("the ends of a sparse rule's range: 0 is a threshold but no ratio, 1 a ratio but no threshold") {
  CHECK(SparseRule::parse("threshold=0").value == 0.0);
  CHECK(SparseRule::parse("head_threshold=0").value == 0.0);
  CHECK(SparseRule::parse("nz_ratio=1").value == 1.0);
  CHECK(SparseRule::parse("nz_ratio_row=1").value == 1.0);
  for (const char* text :
       {"threshold=1", "threshold=-0.1", "head_threshold=1", "head_threshold=-0.1", "nz_ratio=0",
        "nz_ratio=1.0001", "nz_ratio=-1", "nz_ratio_row=0", "nz_ratio_row=1.0001", "nz_ratio_row=-1"})
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
    for (const auto method : {SparseRule::Method::kThreshold, SparseRule::Method::kHeadThreshold,
                              SparseRule::Method::kNzRatio, SparseRule::Method::kNzRatioRow}) {
      const SparseRule rule{method, value};
      CHECK(SparseRule::parse(rule.to_string()) == rule);
    }
  }
}

TEST_CASE("a sparse rule is followed as the one that it names, and the dense one as none") {
  CHECK_FALSE(select_rule(SparseRule{}, true, 10).has_value());
  for (const auto& [text, method] : {std::pair{"threshold=0.25", SelectRule::Method::kThreshold},
                                     std::pair{"head_threshold=0.25", SelectRule::Method::kHeadThreshold},
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

TEST_CASE("a rule for decoding is read as it is written on the command line, and written as it is read") {
  using Method = SparseDecodeRule::Method;
  CHECK(SparseDecodeRule::parse("dense") == SparseDecodeRule{});
  CHECK(SparseDecodeRule::parse("budget=4096") == SparseDecodeRule{Method::kBudget, 4096.0});
  CHECK(SparseDecodeRule::parse("budget=1e3") == SparseDecodeRule{Method::kBudget, 1000.0});
  CHECK(SparseDecodeRule::parse("threshold=0.002") == SparseDecodeRule{Method::kThreshold, 0.002});
  CHECK(SparseDecodeRule::parse("ratio=0.1") == SparseDecodeRule{Method::kRatio, 0.1});
  for (const char* text : {"dense", "budget=1", "budget=8000", "budget=100000", "budget=131072",
                           "budget=1000000000", "threshold=0", "threshold=0.25", "ratio=1", "ratio=0.05"})
    CHECK(SparseDecodeRule::parse(text).to_string() == text);
  for (const double value : {0.1, 0.123456789, 1.0 / 3.0, 1e-10, 0.9999999})
    for (const auto method : {Method::kThreshold, Method::kRatio}) {
      const SparseDecodeRule rule{method, value};
      CHECK(SparseDecodeRule::parse(rule.to_string()) == rule);
    }
}

TEST_CASE("a rule for decoding that is none, or out of range, is a usage error that shows it and the forms") {
  for (const char* text : {"",
                           "Dense",
                           "dense=1",
                           "budget",
                           "budget=",
                           "budget=0",
                           "budget=-64",
                           "budget=0.5",
                           "budget=64.5",
                           "budget=1e10",
                           "budget=nan",
                           "budget=inf",
                           "budget=64x",
                           "budget= 64",
                           "threshold=1",
                           "threshold=-0.1",
                           "threshold=nan",
                           "ratio=0",
                           "ratio=1.01",
                           "ratio=-1",
                           "ratio=nan",
                           "nz_ratio=0.1",
                           "=1",
                           "ratio=1e999"}) {
    INFO(text);
    const std::string error = testing::error_of([&] { SparseDecodeRule::parse(text); });
    CHECK_THAT(error, ContainsSubstring("usage: "));
    CHECK_THAT(error, ContainsSubstring("for decoding '" + std::string(text) + "'"));
    CHECK_THAT(error, ContainsSubstring("expected dense, budget=N"));
  }
}

TEST_CASE("a rule for decoding is followed as the one that it names") {
  for (const auto& [text, method] : {std::pair{"dense", DecodeRule::Method::kDense},
                                     std::pair{"threshold=0.25", DecodeRule::Method::kThreshold},
                                     std::pair{"budget=512", DecodeRule::Method::kBudget},
                                     std::pair{"ratio=0.25", DecodeRule::Method::kRatio}}) {
    INFO(text);
    const SparseDecodeRule rule = SparseDecodeRule::parse(text);
    CHECK((decode_rule(rule).method == method));
    CHECK(decode_rule(rule).value == rule.value);
    CHECK(sparse_decode_rule(decode_rule(rule)) == rule);
  }
}

TEST_CASE("a rule that a model's gates cannot follow is refused, and says which gates it needs") {
  const auto error = [](const auto& rule, const ModelInfo& model) {
    return testing::error_of([&] { check_rule(rule, model); });
  };
  ModelInfo none, for_prompts, for_decoding;
  for_prompts.gates.emplace();
  for_decoding.decode_gates.emplace().gate_block = 64;
  const SparseRule threshold = SparseRule::parse("threshold=0.01");
  const SparseDecodeRule budget = SparseDecodeRule::parse("budget=64");
  CHECK_NOTHROW(check_rule(SparseRule{}, none));
  CHECK_NOTHROW(check_rule(SparseDecodeRule{}, none));
  CHECK_NOTHROW(check_rule(threshold, for_prompts));
  CHECK_NOTHROW(check_rule(budget, for_decoding));
  CHECK_THAT(error(threshold, none), ContainsSubstring("threshold=0.01 needs gates, and none were loaded"));
  CHECK_THAT(error(threshold, for_decoding), ContainsSubstring("only gates for decoding were loaded"));
  CHECK_THAT(error(budget, none), ContainsSubstring("needs gates for decoding, and none were loaded"));
  CHECK_THAT(error(budget, for_prompts), ContainsSubstring("only gates for prompts were loaded"));
  CHECK_THAT(error(SparseDecodeRule::parse("budget=63"), for_decoding),
             ContainsSubstring("at least one block of 64 tokens, found budget=63"));
  CHECK_THAT(error(SparseDecodeRule{SparseDecodeRule::Method::kRatio, -1.0}, for_decoding),
             ContainsSubstring("ratio=-1"));
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
