// Files that are cut short while they are mapped. The faults happen in a child process.
#include "seer/mapped_files.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>

#include "models/mapped_file.h"
#include "seer/engine.h"
#include "seer/seer.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

struct Ended {
  int code = -1;   // of exit
  int signal = 0;  // the signal that killed it
  std::string err;
};

// Runs `body` in a child, whose exit code is 0 if it returns.
Ended in_child(const std::function<void()>& body) {
  std::array<int, 2> ends{};
  REQUIRE(::pipe(ends.data()) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    ::alarm(60);
    ::signal(SIGBUS, SIG_DFL);  // the test framework has a handler, and so have sanitizers
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  Ended ended;
  std::array<char, 4096> part{};
  for (ssize_t n = 0; (n = ::read(ends[0], part.data(), part.size())) > 0;)
    ended.err.append(part.data(), static_cast<size_t>(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  return ended;
}

constexpr size_t kSize = size_t{1} << 20;

// A mapped file that has been cut to its first page.
std::shared_ptr<const MappedFile> cut_file(const fs::path& path) {
  testing::write_file(path, std::string(kSize, 'x'));
  auto file = MappedFile::open(path.string());
  fs::resize_file(path, 4096);
  return file;
}

void read_last_byte(const std::byte* data) {
  (void)*static_cast<const volatile std::byte*>(data + kSize - 1);
}

// Makes another mapping of a file of one page, which the library does not know.
const std::byte* foreign_mapping(const fs::path& path) {
  testing::write_file(path, "x");
  FILE* const file = std::fopen(path.c_str(), "rb");
  void* data = ::mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE, ::fileno(file), 0);
  std::fclose(file);
  return static_cast<const std::byte*>(data);
}

TEST_CASE("reading what was cut off a mapped file ends with its name and the code that was asked for") {
  const testing::TempDir dir;
  const fs::path path = dir.path() / "weights\n\x1b[31m.safetensors";
  const Ended ended = in_child([&] {
    explain_lost_files("program: ", 41);
    explain_lost_files("seer: error: ", 42);
    read_last_byte(cut_file(path)->bytes().data());
  });
  CHECK(ended.code == 42);
  CHECK(ended.err == "seer: error: " + dir.path().string() +
                         "/weights??[31m.safetensors: the file was cut short or became unreadable while it "
                         "was in use. Leave a "
                         "model's files unchanged while they are used; check this one, and start again.\n");
}

TEST_CASE("a path of any length and a prefix that is too long are written") {
  const testing::TempDir dir;
  fs::path deep = dir.path();
  for (int i = 0; i < 10; ++i) deep /= std::string(200, static_cast<char>('a' + i));
  fs::create_directories(deep);
  const Ended ended = in_child([&] {
    explain_lost_files(std::string(100, 'p'), 1);
    read_last_byte(cut_file(deep / "w")->bytes().data());
  });
  CHECK(ended.code == 1);
  CHECK(ended.err.starts_with(std::string(63, 'p') + (deep / "w").string() + ": the file was cut short"));
}

TEST_CASE("without being asked, the library installs no handler of SIGBUS") {
  const testing::TempDir dir;
  const Ended ended = in_child([&] { read_last_byte(cut_file(dir.path() / "w")->bytes().data()); });
  CHECK(ended.signal == SIGBUS);
  CHECK(ended.err.empty());
}

TEST_CASE("a fault in another mapping is not the library's: it kills the process as before") {
  const testing::TempDir dir;
  const Ended ended = in_child([&] {
    explain_lost_files("seer: error: ", 42);
    read_last_byte(foreign_mapping(dir.path() / "other"));
  });
  CHECK(ended.signal == SIGBUS);
  CHECK(ended.err.empty());
}

TEST_CASE("a fault in another mapping goes to the handler that was there before") {
  const testing::TempDir dir;
  const fs::path other = dir.path() / "other";
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t* info, void*) { ::_exit(info->si_code == BUS_ADRERR ? 43 : 44); };
  CHECK(in_child([&] {
          ::sigaction(SIGBUS, &action, nullptr);
          explain_lost_files("seer: error: ", 42);
          read_last_byte(foreign_mapping(other));
        }).code == 43);
  CHECK(in_child([&] {
          ::signal(SIGBUS, [](int signal) { ::_exit(signal == SIGBUS ? 45 : 46); });
          explain_lost_files("seer: error: ", 42);
          read_last_byte(foreign_mapping(other));
        }).code == 45);
}

TEST_CASE("SIGBUS that a process sends is handled as it was before, though it has no address") {
  const testing::TempDir dir;
  CHECK(in_child([&] {
          const auto file = cut_file(dir.path() / "w");
          explain_lost_files("seer: error: ", 42);
          ::raise(SIGBUS);
        }).signal == SIGBUS);
  CHECK(in_child([&] {
          ::signal(SIGBUS, SIG_IGN);
          explain_lost_files("seer: error: ", 42);
          ::raise(SIGBUS);
        }).code == 0);
}

TEST_CASE("an address belongs to a file from its first byte to its last, while the file is mapped") {
  const testing::TempDir dir;
  const fs::path path = dir.path() / "w";
  testing::write_file(path, std::string(10'000, 'x'));
  auto file = MappedFile::open(path.string());
  const std::byte* data = file->bytes().data();
  CHECK(mapped_file_at(data) == path.string());
  CHECK(seer_mapped_file_at(data + 9'999) == path.string());
  CHECK(mapped_file_at(data + 10'000) == nullptr);
  CHECK(mapped_file_at(data - 1) == nullptr);
  CHECK(mapped_file_at(nullptr) == nullptr);
  CHECK(seer_mapped_file_at(&path) == nullptr);
  file.reset();
  CHECK(mapped_file_at(data) == nullptr);
}

TEST_CASE("hundreds of files are mapped at once, and their entries are used again") {
  const testing::TempDir dir;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::shared_ptr<const MappedFile>> files;
    for (int i = 0; i < 300; ++i) {
      testing::write_file(dir.path() / std::to_string(i), "x");
      files.push_back(MappedFile::open((dir.path() / std::to_string(i)).string()));
    }
    for (const auto& file : files) CHECK(mapped_file_at(file->bytes().data()) == file->path());
  }
}

fs::path copy_of_demo_model(const fs::path& dir) {
  for (const auto& entry : fs::directory_iterator(testing::demo_model() / "model"))
    fs::copy_file(entry.path(), dir / entry.path().filename());
  return dir / "model.safetensors";
}

EngineOptions options_for(const fs::path& dir, const std::string& device) {
  EngineOptions options;
  options.model_dir = dir.string();
  options.device = device;
  options.threads = 2;
  options.ctx_size = 256;
  return options;
}

TEST_CASE("a model whose weights are cut short between two steps is named by the process that ends") {
  const testing::TempDir dir;
  const fs::path weights = copy_of_demo_model(dir.path());
  const Ended ended = in_child([&] {
    explain_lost_files("seer: error: ", 1);
    const auto engine = Engine::load(options_for(dir.path(), "cpu"));
    GenerateRequest request;
    request.prompt = {1, 300, 301, 302};
    request.max_new_tokens = 50;
    request.ignore_eos = true;
    request.on_token = [&](const TokenEvent&) {
      fs::resize_file(weights, 4096);
      return true;
    };
    engine->new_session()->generate(request);
  });
  CHECK(ended.code == 1);
  CHECK_THAT(ended.err, ContainsSubstring("model.safetensors: the file was cut short"));
}

TEST_CASE("a model whose weights are cut short while they are copied to a GPU is named as well") {
  constexpr int kNoGpu = 77;
  const testing::TempDir dir;
  const fs::path weights = copy_of_demo_model(dir.path());
  const Ended ended =
      in_child([&] {  // no other process than the child may use the GPU: CUDA does not survive fork
        explain_lost_files("seer: error: ", 1);
        EngineOptions options = options_for(dir.path(), "cuda");
        options.on_load = [&](const LoadProgress&) {
          fs::resize_file(weights, 4096);
          return true;
        };
        try {
          Engine::load(options);
        } catch (const Error& error) {
          ::_exit(error.kind() == ErrorKind::kDevice ? kNoGpu : 2);
        }
      });
  const char* required = std::getenv("SEER_REQUIRE_GPU");
  if (ended.code == kNoGpu && (required == nullptr || std::string(required) != "1"))
    return testing::skip("no GPU");
  CHECK(ended.code == 1);
  CHECK_THAT(ended.err, ContainsSubstring("model.safetensors: the file was cut short"));
}

}  // namespace
}  // namespace seer
