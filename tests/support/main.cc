// The main of every test program: Catch2's, and an exit code of its own for skipped cases.
#include <iostream>
#include <string_view>

#include "tests/support/test_data.h"

#if defined(SEER_CATCH2_V2)
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
using Listener = Catch::TestEventListenerBase;
#else
#include <catch2/catch_all.hpp>
using Listener = Catch::EventListenerBase;
#endif

namespace {

// SKIP_RETURN_CODE in tests/CMakeLists.txt. It is Catch2's own: since 3.7 its discovery of tests sets it
// after what a project asks for.
constexpr int kSkipped = 4;
int n_cases = 0;
int n_skipped = 0;
bool case_skipped = false;

struct CountCases : Listener {
  using Listener::Listener;
  void testCaseStarting(const Catch::TestCaseInfo&) override {
    ++n_cases;
    case_skipped = false;
  }
};
CATCH_REGISTER_LISTENER(CountCases)

}  // namespace

void seer::testing::skip(const std::string& reason) {
  SUCCEED("skipped");  // a case that only skips would otherwise count as one without a check
  std::cout << "SKIPPED: " << reason << std::endl;
  if (!case_skipped) ++n_skipped;
  case_skipped = true;
}

int main(int argc, char** argv) {
  // The number of failed assertions, or of cases where it only lists them.
  const int result = Catch::Session().run(argc, argv);
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]).starts_with("--list")) return result;
  if (result != 0) return 1;
  if (n_cases == 0) {
    std::cerr << "no test case has that name: ctest passes names badly that begin with '-' or contain ';'\n";
    return 1;
  }
  return n_cases == n_skipped ? kSkipped : 0;
}
