// --device: the refusal of an unknown name, the message on a machine without a GPU, and the choice of auto
// there.
#include <cstdlib>
#include <optional>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using testing::check_fails;
using testing::Outcome;
using testing::run_seer;

constexpr bool kBuiltWithCuda = SEER_BUILT_WITH_CUDA;

// Sets an environment variable for the lifetime of the object.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  ~Variable() {
    if (before_) {
      ::setenv(name_, before_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// Hides the GPUs of the machine that runs the tests, so that it behaves as one without.
class NoGpu : public Variable {
 public:
  NoGpu() : Variable("CUDA_VISIBLE_DEVICES", "-1") {}
};

std::vector<std::string> generate_on(const std::string& device) {
  return {"generate", "-m",  testing::demo_model_dir(), "-p", "It was", "-n", "4", "--temp", "0",
          "--device", device};
}

TEST_CASE("a GPU that is asked for and not there ends with exit code 1, the reason and the remedy") {
  const NoGpu hidden;
  for (const char* device : {"cuda", "cuda:0", "cuda:99"}) {
    INFO(device);
    const std::string message = check_fails(generate_on(device), 1);
    CHECK_THAT(message, ContainsSubstring("'" + std::string(device) + "'"));
    // The message depends on the machine: no driver, a driver but no GPU, or a build without the CUDA
    // backend.
    CHECK_THAT(message, ContainsSubstring("no NVIDIA driver") || ContainsSubstring("no NVIDIA GPU") ||
                            ContainsSubstring("no CUDA backend"));
    CHECK_THAT(message, ContainsSubstring("--device cpu"));
  }
}

TEST_CASE("a device name that is none is refused as usage, before anything is opened") {
  const NoGpu hidden;
  for (const char* device : {"bogus", "cuda:", "cuda:x", "cuda:1x", "cuda:-1", "cuda-3", "cudax3",
                             "cuda:99999999999", "CUDA", "gpu", "cpu:0", " cuda"}) {
    INFO(device);
    const std::string message = check_fails(generate_on(device), 2);
    CHECK_THAT(message, ContainsSubstring("'" + std::string(device) + "'"));
    CHECK_THAT(message, ContainsSubstring("auto, cpu, cuda or cuda:N"));
  }
}

TEST_CASE("auto runs on the CPU if there is no GPU, and a build that knows GPUs says so on stderr") {
  const NoGpu hidden;
  const Outcome cpu = run_seer(generate_on("cpu")), automatic = run_seer(generate_on("auto"));
  INFO(automatic.err);
  CHECK(automatic.code == 0);
  CHECK(!automatic.out.empty());
  CHECK(automatic.out == cpu.out);
  if (kBuiltWithCuda) {
    CHECK_THAT(automatic.err, ContainsSubstring("seer: warning: running on the CPU: no NVIDIA"));
  } else {
    CHECK(automatic.err.find("warning") == std::string::npos);
  }
  CHECK(cpu.err.find("warning") == std::string::npos);
}

#ifdef SEER_OLD_DRIVER_DIR
TEST_CASE("a driver older than the toolkit is refused with both versions, and auto runs on the CPU") {
  const Variable driver("LD_LIBRARY_PATH", SEER_OLD_DRIVER_DIR);
  const std::string message = check_fails(generate_on("cuda"), 1);
  CHECK_THAT(message, ContainsSubstring("driver is too old") && ContainsSubstring("found one for CUDA 12.0"));
  CHECK_THAT(message, ContainsSubstring("update the driver") && ContainsSubstring("--device cpu"));
  const Outcome automatic = run_seer(generate_on("auto"));
  CHECK(automatic.code == 0);
  CHECK_THAT(automatic.err, ContainsSubstring("running on the CPU: the NVIDIA driver is too old"));
}
#endif

TEST_CASE("every command that loads a model answers a missing GPU with exit code 1") {
  const NoGpu hidden;
  const std::string config = (testing::demo_model().parent_path() / "configs" / "llama-3.1-8b.json").string();
  const std::vector<std::vector<std::string>> commands = {
      {"bench", "-m", testing::demo_model_dir(), "-p", "64", "-n", "0"},
      // Must be refused before it fills 16 GB.
      {"bench", "--random-weights", "--config", config, "-p", "64", "-n", "0"},
      {"perplexity", "-m", testing::demo_model_dir(), "-f", config},
      {"inspect", "-m", testing::demo_model_dir()},
  };
  for (std::vector<std::string> command : commands) {
    INFO(command[0]);
    command.insert(command.end(), {"--device", "cuda"});
    CHECK_THAT(check_fails(command, 1), ContainsSubstring("'cuda'"));
  }
}

}  // namespace
}  // namespace seer
