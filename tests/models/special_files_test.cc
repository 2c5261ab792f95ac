// Pipes, devices, folders and broken links in place of a model's or gates' files. Each is refused at once,
// naming its path, and none counts as an absent file.
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "models/config.h"
#include "models/gate_weights.h"
#include "models/generation_config.h"
#include "models/safetensors.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::refusal;

struct Stranger {
  const char* expected;  // in the message
  std::function<void(const fs::path&)> make;
};

// An unreadable file is one too, but root can read it.
std::vector<Stranger> strangers() {
  std::vector<Stranger> all = {
      {"found a pipe", [](const fs::path& p) { REQUIRE(::mkfifo(p.c_str(), 0600) == 0); }},
      {"found a folder", [](const fs::path& p) { fs::create_directory(p); }},
      {"found a device", [](const fs::path& p) { fs::create_symlink("/dev/zero", p); }},
      {"found a device", [](const fs::path& p) { fs::create_symlink("/dev/null", p); }},
      {"Too many levels of symbolic links", [](const fs::path& p) { fs::create_symlink(p.filename(), p); }},
      {"a link to a file that is not there", [](const fs::path& p) { fs::create_symlink("gone", p); }}};
  if (::geteuid() != 0)
    all.push_back({"Permission denied", [](const fs::path& p) {
                     testing::write_file(p, "{}");
                     fs::permissions(p, fs::perms::none);
                   }});
  return all;
}

// Puts each stranger in place of `name` in a folder of links to `original`'s files.
void check_refused(const fs::path& original, const std::string& name, const std::vector<std::string>& without,
                   const std::function<void(const std::string& folder)>& load) {
  const testing::TempDir dir;
  for (const auto& entry : fs::directory_iterator(original))
    fs::create_symlink(entry.path(), dir.path() / entry.path().filename());
  for (const std::string& other : without) fs::remove(dir.path() / other);
  for (const Stranger& stranger : strangers()) {
    INFO(name << ": " << stranger.expected);
    fs::remove(dir.path() / name);
    stranger.make(dir.path() / name);
    const std::string message = refusal(ErrorKind::kFile, [&] { load(dir.path().string()); });
    CHECK_THAT(message, ContainsSubstring((dir.path() / name).string()));
    CHECK_THAT(message, ContainsSubstring(stranger.expected));
  }
}

fs::path model_dir() { return testing::demo_model() / "model"; }
fs::path gates_dir() { return testing::demo_model() / "gates"; }

TEST_CASE("special files in place of config.json and generation_config.json are refused") {
  check_refused(model_dir(), "config.json", {}, [](const std::string& dir) { ModelConfig::load(dir); });
  check_refused(model_dir(), "generation_config.json", {},
                [](const std::string& dir) { GenerationConfig::load(dir); });
}

TEST_CASE("special files in place of the weights, their index or a shard are refused") {
  const auto load = [](const std::string& dir) { read_checkpoint(dir); };
  check_refused(model_dir(), "model.safetensors", {}, load);
  check_refused(model_dir(), "model.safetensors.index.json", {"model.safetensors"}, load);
  const testing::TempDir sharded;
  testing::write_file(sharded.path() / "model.safetensors.index.json",
                      R"({"weight_map": {"w": "model-00001-of-00001.safetensors"}})");
  check_refused(sharded.path(), "model-00001-of-00001.safetensors", {}, load);
}

TEST_CASE("special files in place of the gates' files are refused") {
  const ModelConfig model = ModelConfig::load(model_dir().string());
  const auto load = [&](const std::string& dir) { GateWeights::load(dir, model); };
  check_refused(gates_dir(), "config.json", {}, load);
  check_refused(gates_dir(), "attn_gate_weights.safetensors", {}, load);
  check_refused(gates_dir(), "attn_gate_weights.pth", {"attn_gate_weights.safetensors"}, load);
}

TEST_CASE("a folder that is a link to itself, or lies below a file, is refused as a model") {
  const testing::TempDir dir;
  fs::create_symlink("loop", dir.path() / "loop");
  testing::write_file(dir.path() / "file", "x");
  const auto refused = [&](const char* name) {
    return refusal(ErrorKind::kFile, [&] { ModelConfig::load((dir.path() / name).string()); });
  };
  CHECK_THAT(refused("loop"), ContainsSubstring("Too many levels of symbolic links"));
  CHECK_THAT(refused("file/model"), ContainsSubstring("there is no such folder"));
  CHECK_THAT(refused("file"), ContainsSubstring("found a file; expected the folder that holds it"));
}

}  // namespace
}  // namespace seer
