// The main function of every test program: Catch2's, with an exit code of its own for skipped cases.
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

// SKIP_RETURN_CODE in tests/CMakeLists.txt. It is Catch2's own code, because since 3.7 its test discovery
// overrides the code that a project sets.
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
  SUCCEED("skipped");  // otherwise a skipped case would count as one without a check
  std::cout << "SKIPPED: " << reason << std::endl;
  if (!case_skipped) ++n_skipped;
  case_skipped = true;
}

int main(int argc, char** argv) {
  // The number of failed assertions, or the number of cases if they are only listed.
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
