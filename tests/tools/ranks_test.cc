// Several ranks, as a user starts them: seer --tp, and mpirun. Each gives the same results as one process.
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/safetensors_file.h"
#include "tests/support/sanitized.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::Outcome;
using testing::run_seer;
using testing::RunOptions;
using testing::SafetensorsFile;
using testing::TempDir;

using Words = std::vector<std::string>;

constexpr double kLogitTolerance = 1e-4;

Words join(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Returns the command of Open MPI for use as root, as in a container, and with as few cores as there are.
// Returns an empty list, after skip(), if Open MPI is absent.
Words mpirun(int n) {
  if (!SEER_BUILT_WITH_MPI) {
    testing::skip("this build has no MPI");
    return {};
  }
  if (std::system("mpirun --version >/dev/null 2>&1") != 0) {  // NOLINT(cert-env33-c)
    testing::skip("mpirun is not installed");
    return {};
  }
  // MPI keeps memory until the process ends, from modules that are unloaded by then. These are not Seer's
  // leaks, as runs with --tp show.
  return {"env",
          "OMPI_ALLOW_RUN_AS_ROOT=1",
          "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
          "LSAN_OPTIONS=detect_leaks=0",
          "mpirun",
          "-np",
          std::to_string(n),
          "--oversubscribe",
          "--bind-to",
          "none"};
}

// Open MPI 5.0.7 holds a line back until it ends, and if something else is written to stderr, it writes the
// held text there. Skips the rest of the test if this mpirun does so.
bool mpirun_passes_output() {
  static const bool passes =
      std::system(  // NOLINT(cert-env33-c)
          "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun -np 1 --oversubscribe --bind-to "
          "none "
          "sh -c 'printf out; sleep 0.2; echo err >&2; sleep 0.2' 2>/dev/null </dev/null | grep -q out") == 0;
  if (!passes) testing::skip("this mpirun writes unfinished lines of stdout to stderr");
  return passes;
}

// A way to start N ranks, and its name.
struct Start {
  int n;
  bool mpi;
  bool divides_prompts = false;
  std::string name() const {
    return (mpi ? "mpirun -np " : "--tp ") + std::to_string(n) + (divides_prompts ? ", as --cp" : "");
  }
};

Outcome run(const Start& start, const Words& arguments, RunOptions options = {}) {
  if (start.mpi) options.launcher = mpirun(start.n);
  const std::string n = std::to_string(start.n);
  if (start.divides_prompts) return run_seer(join(arguments, {"--cp", n}), options);
  return run_seer(start.mpi ? arguments : join(arguments, {"--tp", n}), options);
}

bool can_run(const Start& start) { return !start.mpi || !mpirun(start.n).empty(); }

struct Model {
  std::string dir, gates;  // empty if there are no gates
  Words prompt;
  Words arguments(const std::string& command) const {
    return join(join({command, "-m", dir}, gates.empty() ? Words() : Words{"-g", gates}), prompt);
  }
};

std::string read_ids(const fs::path& golden) {
  std::string text;
  for (const int32_t id : SafetensorsFile(golden).get<int32_t>("input_ids")) text += std::to_string(id) + " ";
  return text;
}

// The results of one process for a model under a rule: `seer inspect --dump`, with the logits of the last 16
// positions and the masks under a sparse rule, and the generated ids.
class Alone {
 public:
  Alone(Model model, std::string rule) : model_(std::move(model)), rule_(std::move(rule)) {
    INFO(model_.dir << ", " << rule_);
    const Outcome dumped = run_seer(inspect("one")), generated = run_seer(generate());
    INFO(dumped.err << generated.err);
    REQUIRE(dumped.code == 0);
    REQUIRE(generated.code == 0);
    ids_ = generated.out;
  }

  void check_same(const Start& start) const {
    if (!can_run(start)) return;
    check_same_dump(start);
    check_same_tokens(start);
  }

 private:
  std::string file(const std::string& name) const { return (dir_.path() / name).string(); }
  Words inspect(const std::string& dump) const {
    return join(model_.arguments("inspect"),
                {"--sparse", rule_, "--logits-last", "16", "--dump", file(dump)});
  }
  Words generate() const {
    return join(model_.arguments("generate"),
                {"--sparse", rule_, "-n", "40", "--temp", "0", "--ids", "--ignore-eos"});
  }

  void check_same_dump(const Start& start) const {
    const Outcome ranks = run(start, inspect("many"));
    INFO(start.name() << ", " << model_.dir << ", " << rule_ << "\n" << ranks.err);
    REQUIRE(ranks.code == 0);
    const SafetensorsFile a(file("one")), b(file("many"));
    REQUIRE(b.header().size() == a.header().size());
    int n_compared = 0;
    for (const auto& [name, entry] : a.header().items()) {
      if (name == "__metadata__") continue;
      INFO(name);
      REQUIRE(b.shape(name) == a.shape(name));
      ++n_compared;
      if (entry.at("dtype") != "F32") {
        CHECK(b.get<uint8_t>(name) == a.get<uint8_t>(name));
        continue;
      }
      const std::vector<float> x = a.get<float>(name), y = b.get<float>(name);
      double worst = 0.0;
      for (size_t i = 0; i < x.size(); ++i)
        worst = std::max(worst, static_cast<double>(std::abs(x[i] - y[i])));
      CHECK(worst < kLogitTolerance);
    }
    CHECK(n_compared >= (rule_ == "dense" ? 2 : 4));
  }

  void check_same_tokens(const Start& start) const {
    const Outcome ranks = run(start, generate());
    INFO(start.name() << ", " << model_.dir << ", " << rule_ << "\n" << ranks.err);
    REQUIRE(ranks.code == 0);
    if (start.mpi && !mpirun_passes_output()) return;
    CHECK(ranks.out == ids_);
  }

  TempDir dir_;
  Model model_;
  std::string rule_, ids_;
};

void check_same(const Start& start, const Model& model, const Words& rules) {
  if (!can_run(start)) return;
  for (const std::string& rule : rules) Alone(model, rule).check_same(start);
}

std::string document() {
  return (testing::demo_model().parent_path() / "long-document/document.txt").string();
}

// Returns a model with a prompt of some 2,500 tokens: 40 blocks, in chunks of 1024. Under a sanitizer it has
// half of that, which is still two chunks.
Model demo() {
  static const TempDir dir;
  const std::string path = (dir.path() / "prompt.txt").string();
  testing::write_file(path, testing::read_file(document()).substr(0, testing::kSanitized ? 6000 : 12000));
  return {testing::demo_model_dir(), testing::demo_gates_dir(), {"-f", path, "-c", "4096"}};
}

TEST_CASE("a build without MPI that mpirun starts ends with an error, and does not abort") {
  if (SEER_BUILT_WITH_MPI) {
    testing::skip("this build has MPI");
    return;
  }
  RunOptions options;
  options.launcher = {"env", "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=0"};
  const Outcome outcome = run_seer({"--version"}, options);
  CHECK(outcome.signal == 0);
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err, ContainsSubstring("mpirun started 2 ranks, but this build has no MPI"));
}

TEST_CASE("two ranks give one process's logits, masks and tokens on the demo model") {
  check_same({2, false}, demo(), {"dense", "threshold=0.01", "nz_ratio=0.1"});
}

TEST_CASE("two ranks under mpirun give one process's logits, masks and tokens on the demo model") {
  check_same({2, true}, demo(), {"dense", "threshold=0.01"});
}

TEST_CASE("four ranks that share two KV heads give one process's logits, masks and tokens") {
  const Alone alone(demo(), "threshold=0.01");
  for (const bool mpi : {false, true}) alone.check_same({4, mpi});
}

TEST_CASE("ranks that divide prompts give one process's logits, masks and tokens, heads divisible or not") {
  check_same({2, false, true}, demo(), {"dense", "nz_ratio=0.1", "nz_ratio_row=0.1"});
  const Alone alone(demo(), "threshold=0.01");
  for (const Start& start : {Start{2, false, true}, Start{3, false, true}, Start{2, true, true}})
    alone.check_same(start);
}

TEST_CASE("generate says how many pages ranks moved to each other") {
  const Words arguments = join(demo().arguments("generate"), {"-n", "1", "--sparse", "threshold=0.01"});
  CHECK_THAT(run({2, false, true}, arguments).err, ContainsSubstring(" pages moved, "));
  CHECK(run_seer(arguments).err.find("moved") == std::string::npos);
}

TEST_CASE("ranks give one process's logits, masks and tokens on the goldens, gates of both kinds", "[long]") {
  for (const char* name : {"double-linear", "edge-65", "gqa-d128-llama3"}) {
    const auto golden = testing::test_data("goldens");
    if (!golden) return;
    const fs::path dir = *golden / name;
    const TempDir ids;
    testing::write_file(ids.path() / "ids", read_ids(dir / "golden.safetensors"));
    const Model model = {
        (dir / "model").string(), (dir / "gates").string(), {"--tokens-file", (ids.path() / "ids").string()}};
    check_same({2, false}, model, {"dense"});
    check_same({4, false}, model, {"nz_ratio=0.3"});
    const Alone alone(model, "threshold=0.02");
    for (const bool mpi : {false, true}) alone.check_same({2, mpi});
  }
}

TEST_CASE("ranks give one process's logits and tokens on stories260K") {
  const auto dir = testing::test_data("stories260K");
  if (!dir) return;
  const Model model = {dir->string(), "", {"-p", "Once upon a time, there was a little girl"}};
  const Alone alone(model, "dense");
  for (const Start& start : {Start{2, false}, Start{4, false}, Start{2, true}}) alone.check_same(start);
}

TEST_CASE("the other commands work on ranks too, and only rank 0 writes to stdout") {
  const Start two{2, true};
  if (!can_run(two)) return;
  const Words demo_args = {"-m", testing::demo_model_dir()};
  const Outcome bench =
      run(two, join({"bench", "-p", "128", "-n", "8", "-r", "1", "--output", "json"}, demo_args));
  REQUIRE(bench.code == 0);
  CHECK(nlohmann::json::parse(bench.out).size() == 2);
  const Words perplexity =
      join({"perplexity", "-f", document(), "--window", "512", "--max-windows", "2", "--output", "json"},
           demo_args);
  const Outcome alone = run_seer(perplexity), ranks = run(two, perplexity);
  REQUIRE(ranks.code == 0);
  const auto value = [](const Outcome& o) {
    return nlohmann::json::parse(o.out).at(0).at("perplexity").get<double>();
  };
  CHECK(value(ranks) == Approx(value(alone)).epsilon(1e-4));
  const Words tokenize = join({"tokenize", "-p", "The old house"}, demo_args);
  CHECK(run(two, tokenize).out == run_seer(tokenize).out);
  RunOptions piped;
  piped.input = "It was a dark night";
  const Words generate = join({"generate", "-n", "8", "--temp", "0", "-q"}, demo_args);
  CHECK(run(two, generate, piped).out == run_seer(generate, piped).out);
}

TEST_CASE("a head count that does not divide among the ranks is refused with the numbers") {
  const std::string told =
      testing::check_fails({"generate", "-m", testing::demo_model_dir(), "-p", "x", "--tp", "3"}, 3);
  CHECK_THAT(told, ContainsSubstring("4 attention heads with 2 KV heads cannot be split among 3 ranks"));
  const Start three{3, true};
  if (!can_run(three)) return;
  const Outcome mpi = run(three, {"generate", "-m", testing::demo_model_dir(), "-p", "x"});
  CHECK(mpi.code == 3);
  CHECK_THAT(mpi.err, ContainsSubstring("seer: error: 4 attention heads with 2 KV heads"));
  CHECK(mpi.err.find("seer: error:") == mpi.err.rfind("seer: error:"));
}

TEST_CASE("an MLP that does not divide among the ranks is refused with the numbers") {
  const auto dir = testing::test_data("stories260K");
  if (!dir) return;
  CHECK_THAT(testing::check_fails({"generate", "-m", dir->string(), "-p", "x", "--tp", "8"}, 3),
             ContainsSubstring("an MLP of 172 (intermediate_size) cannot be split among 8 ranks"));
}

TEST_CASE("bad usage of ranks is refused before anything is loaded") {
  const Words base = {"generate", "-m", testing::demo_model_dir(), "-p", "x"};
  testing::check_fails(join(base, {"--tp", "0"}), 2);
  CHECK_THAT(testing::check_fails(join(base, {"--tp", "100"}), 2),
             ContainsSubstring("between 1 and 64 ranks"));
  CHECK_THAT(testing::check_fails(join(base, {"--tp", "2", "--comm-timeout", "0"}), 2),
             ContainsSubstring("a timeout between ranks above 0"));
  testing::check_fails(join(base, {"--cp", "0"}), 2);
  CHECK_THAT(testing::check_fails(join(base, {"--cp", "2", "--tp", "2"}), 2),
             ContainsSubstring("--tp 2 with --cp 2: ranks divide either the model or the prompts"));
  const Start two{2, true};
  if (!can_run(two)) return;
  CHECK_THAT(run(two, join(base, {"--cp", "4"})).err,
             ContainsSubstring("--cp 4, but mpirun started 2 ranks: give --cp as many"));
  const Outcome mpi = run(two, join(base, {"--tp", "4"}));
  CHECK(mpi.code == 2);
  CHECK_THAT(mpi.err, ContainsSubstring("--tp 4, but mpirun started 2 ranks"));
}

// Returns the ranks that `parent` has started, which are its present children.
std::vector<int> children(int parent) {
  std::ifstream in("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) + "/children");
  std::vector<int> pids;
  for (int pid = 0; in >> pid;) pids.push_back(pid);
  return pids;
}

// Returns the child of mpirun that is the rank of this number.
int mpi_rank(int mpirun_pid, int rank) {
  const std::string wanted = "OMPI_COMM_WORLD_RANK=" + std::to_string(rank);
  for (const int pid : children(mpirun_pid)) {
    const std::string environment = testing::read_file("/proc/" + std::to_string(pid) + "/environ");
    if ((std::string(1, '\0') + environment).find(wanted + '\0') != std::string::npos) return pid;
  }
  return -1;
}

// Generates thousands of tokens, the first of which show that it runs.
const Words kLong = {"generate", "-m",     testing::demo_model_dir(),
                     "-p",       "It was", "-n",
                     "6000",     "--ids",  "-c",
                     "8192",     "-q",     "--ignore-eos",
                     "--temp",   "0"};

TEST_CASE("a rank that is killed in the middle ends the run with its number, and an exit code") {
  RunOptions options;
  options.when_shown = " ";
  int killed = 0;
  options.act = [&](int pid) {
    for (const int child : children(pid)) killed += ::kill(child, SIGKILL) == 0 ? 1 : 0;
  };
  const Outcome outcome = run({2, false}, kLong, options);
  CHECK(killed == 1);
  CHECK(outcome.code == 1);
  CHECK(outcome.err.starts_with("seer: error: rank 1 of 2 was killed by signal 9"));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
}

TEST_CASE("a rank that is killed ends a chat that waits for a message, on a terminal and on a pipe") {
  const Words chat = {"chat", "-m", testing::demo_model_dir(), "--chat-template", "none", "-n", "2"};
  RunOptions terminal, pipe;
  terminal.session = {{"/help lists commands", "Hello\n"}};
  terminal.when_shown = "> ";
  pipe.keep_input = true;
  pipe.input = "Hello\n";
  pipe.when_shown = "\n";
  for (RunOptions options : {terminal, pipe}) {
    int killed = 0;
    options.act = [&](int pid) {
      for (const int child : children(pid)) killed += ::kill(child, SIGKILL) == 0 ? 1 : 0;
    };
    const Outcome outcome = run({2, false}, chat, options);
    CHECK(killed == 1);
    CHECK(outcome.code == 1);
    CHECK_THAT(outcome.err, ContainsSubstring("error: rank 1 of 2 was killed by signal 9"));
  }
}

TEST_CASE("a rank that hangs ends the run after --comm-timeout, and is killed") {
  RunOptions options;
  options.when_shown = " ";
  std::vector<int> stopped;
  options.act = [&](int pid) {
    stopped = children(pid);
    for (const int child : stopped) ::kill(child, SIGSTOP);
  };
  const Outcome outcome = run({2, false}, join(kLong, {"--comm-timeout", "0.5"}), options);
  CHECK(outcome.code == 1);
  CHECK_THAT(outcome.err, ContainsSubstring("waited 0.5 s for the other ranks"));
  REQUIRE(stopped.size() == 1);
  CHECK(::kill(stopped[0], 0) != 0);
}

TEST_CASE("ranks end with the process that started them") {
  RunOptions options;
  options.when_shown = " ";
  std::vector<int> started;
  options.act = [&](int pid) {
    started = children(pid);
    ::kill(pid, SIGTERM);
    ::kill(pid, SIGTERM);  // the second signal kills it without a last message
  };
  run({4, false}, kLong, options);
  REQUIRE(started.size() == 3);
  // The ranks check the pipe every 20 ms. The test waits no longer than that can take on a busy machine.
  for (int i = 0; i < 1000; ++i) {
    const auto alive = [](int pid) { return ::kill(pid, 0) == 0; };
    if (std::none_of(started.begin(), started.end(), alive)) break;
    ::usleep(10000);
  }
  for (const int pid : started) CHECK(::kill(pid, 0) != 0);
}

TEST_CASE(
    "under mpirun a rank that is killed ends the run, and a rank that hangs does after --comm-timeout") {
  const Start two{2, true};
  if (!can_run(two) || !mpirun_passes_output()) return;
  RunOptions options;
  options.when_shown = " ";
  bool found = false;
  options.act = [&](int pid) { found = ::kill(mpi_rank(pid, 1), SIGKILL) == 0; };
  const Outcome killed = run(two, kLong, options);
  CHECK(found);
  CHECK(killed.code != 0);
  CHECK_THAT(killed.err, ContainsSubstring("rank 1"));  // this text is mpirun's
  options.act = [&](int pid) { found = ::kill(mpi_rank(pid, 1), SIGSTOP) == 0; };
  const Outcome stopped = run(two, join(kLong, {"--comm-timeout", "0.5"}), options);
  CHECK(found);
  CHECK(stopped.code != 0);
  CHECK_THAT(stopped.err, ContainsSubstring("seer: error: rank 0 of 2"));
  CHECK_THAT(stopped.err, ContainsSubstring("waited 0.5 s for the other ranks"));
}

TEST_CASE("what another rank cannot load is rank 0's one error, with the rank and the exit code") {
  if (!can_run({2, true})) return;
  // The path leads to another folder on each rank, like one in another host's file system.
  const TempDir dir;
  fs::create_directory_symlink(testing::demo_model_dir(), dir.path() / "model");
  const std::string wrapper = (dir.path() / "rank").string();
  testing::write_file(wrapper, "#!/bin/sh\ncd '" + dir.path().string() +
                                   "'\nif [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then cd /; fi\nexec \"$@\"\n");
  fs::permissions(wrapper, fs::perms::owner_all);
  RunOptions options;
  options.launcher = join(mpirun(2), {wrapper});
  const Outcome outcome = run_seer({"generate", "-m", "/proc/self/cwd/model", "-p", "x"}, options);
  CHECK(outcome.code == 3);
  CHECK_THAT(outcome.err, ContainsSubstring("seer: error: rank 1 of 2 ("));
  CHECK_THAT(outcome.err, ContainsSubstring("/proc/self/cwd/model"));
  CHECK(outcome.err.find("seer: error:") == outcome.err.rfind("seer: error:"));
}

}  // namespace
}  // namespace seer
