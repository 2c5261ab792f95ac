// Damaged model, gate and tokenizer files: exit code 3, the file's name, and no crash. tests/models and
// tests/tokenizer have the detailed refusals of each reader.
#include <sys/stat.h>

#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tools/run_seer.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::check_fails;
using testing::read_file;
using testing::write_file;
namespace fs = std::filesystem;

// The demo model or its gates, with links to the files that stay as they are.
class Folder {
 public:
  explicit Folder(const fs::path& original) {
    for (const auto& entry : fs::directory_iterator(original))
      fs::create_symlink(entry.path(), dir_.path() / entry.path().filename());
  }
  std::string path() const { return dir_.path().string(); }
  std::string read(const std::string& name) const { return read_file(dir_.path() / name); }
  void write(const std::string& name, const std::string& bytes) const {
    fs::remove(dir_.path() / name);
    write_file(dir_.path() / name, bytes);
  }
  void remove(const std::string& name) const { fs::remove(dir_.path() / name); }

 private:
  testing::TempDir dir_;
};

// Returns the weights with another header, which `change` edits as text.
std::string with_header(const std::string& file, const std::function<std::string(std::string)>& change) {
  uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof size);
  const std::string header = change(file.substr(sizeof size, size));
  size_t new_size = header.size();
  std::string out(sizeof size, '\0');
  std::memcpy(out.data(), &new_size, sizeof new_size);
  return out + header + file.substr(sizeof size + size);
}

std::string refused_model(const Folder& model) {
  return check_fails({"generate", "-m", model.path(), "-p", "The ship", "-n", "1"}, 3);
}

std::string refused_gates(const Folder& gates) {
  return check_fails(
      {"generate", "-m", testing::demo_model_dir(), "-g", gates.path(), "-p", "The ship", "-n", "1"}, 3);
}

TEST_CASE("a folder that is no checkpoint is refused by name") {
  const testing::TempDir empty;
  CHECK_THAT(check_fails({"generate", "-m", "/no/such/model", "-p", "x"}, 3),
             ContainsSubstring("/no/such/model"));
  CHECK_THAT(check_fails({"generate", "-m", empty.path().string(), "-p", "x"}, 3),
             ContainsSubstring("config.json"));
  CHECK_THAT(check_fails({"generate", "-m", testing::demo_model_dir(), "-p", "x", "-g", "/no/such/gates"}, 3),
             ContainsSubstring("/no/such/gates"));
  CHECK_THAT(check_fails({"generate", "-m", testing::demo_model_dir(), "-f", "/no/such/text"}, 3),
             ContainsSubstring("/no/such/text"));
}

// An absent size gets transformers' default, and then the weights do not fit.
TEST_CASE("a config without a size that the weights need, of another architecture, or cut short is refused") {
  const Folder model(testing::demo_model_dir());
  const json config = json::parse(model.read("config.json"));
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads"}) {
    json changed = config;
    changed.erase(key);
    model.write("config.json", changed.dump());
    CHECK_THAT(refused_model(model),
               ContainsSubstring("the tensors that config.json describes") &&
                   ContainsSubstring(std::string("config.json: ") + key + " is absent"));
  }
  json other = config;
  other["architectures"] = {"GPT2LMHeadModel"};
  other["model_type"] = "gpt2";
  model.write("config.json", other.dump());
  CHECK_THAT(refused_model(model), ContainsSubstring("GPT2LMHeadModel"));
  model.write("config.json", config.dump().substr(0, 100));
  CHECK_THAT(refused_model(model), ContainsSubstring("config.json"));
}

TEST_CASE("weights that are truncated, overlap, repeat a key or have an oversized header are refused") {
  const Folder model(testing::demo_model_dir());
  const std::string file = model.read("model.safetensors");
  const auto refused = [&](const std::string& bytes) {
    model.write("model.safetensors", bytes);
    std::string message = refused_model(model);
    CHECK_THAT(message, ContainsSubstring("model.safetensors"));
    return message;
  };
  refused(file.substr(0, 4));
  refused(file.substr(0, 300));
  refused(file.substr(0, file.size() - 1));
  refused(file + "x");
  CHECK_THAT(refused("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F" + file.substr(8)), ContainsSubstring("header"));
  CHECK_THAT(refused(with_header(file,
                                 [](const std::string& header) {
                                   const json parsed = json::parse(header);
                                   const auto first = parsed.items().begin().key();
                                   const std::string entry = json(first).dump() + ":" + parsed[first].dump();
                                   return "{" + entry + "," + entry + "," +
                                          header.substr(header.find('{') + 1);
                                 })),
             ContainsSubstring("twice"));
  refused(with_header(file, [](const std::string& header) {
    json parsed = json::parse(header);
    for (auto& [name, tensor] : parsed.items())
      if (name != "__metadata__" && tensor["data_offsets"][0] > 0) {
        tensor["data_offsets"][0] = tensor["data_offsets"][0].get<int64_t>() - 2;
        tensor["data_offsets"][1] = tensor["data_offsets"][1].get<int64_t>() - 2;
        break;
      }
    return parsed.dump();
  }));
}

TEST_CASE("a missing, extra or misshapen tensor is named") {
  const Folder model(testing::demo_model_dir());
  const std::string file = model.read("model.safetensors");
  const auto refused = [&](const std::string& from, const std::string& to) {
    model.write("model.safetensors", with_header(file, [&](std::string header) {
                  const size_t at = header.find(from);
                  REQUIRE(at != std::string::npos);
                  return header.replace(at, from.size(), to);
                }));
    return refused_model(model);
  };
  const std::string message =
      refused("model.layers.3.mlp.up_proj.weight", "model.layers.3.mlp.sideways_proj.weight");
  CHECK_THAT(message, ContainsSubstring("model.layers.3.mlp."));
  // The same number of elements in another shape.
  CHECK_THAT(refused("[4096,256]", "[256,4096]"), ContainsSubstring("model.embed_tokens.weight"));
}

TEST_CASE("a missing shard is named") {
  const Folder model(testing::demo_model_dir());
  const std::string file = model.read("model.safetensors");
  uint64_t size = 0;
  std::memcpy(&size, file.data(), sizeof size);
  json index;
  const json header = json::parse(file.substr(sizeof size, size));
  for (const auto& [name, tensor] : header.items())
    if (name != "__metadata__") index["weight_map"][name] = "model-00001-of-00002.safetensors";
  index["weight_map"]["model.norm.weight"] = "model-00002-of-00002.safetensors";
  model.remove("model.safetensors");
  model.write("model.safetensors.index.json", index.dump());
  model.write("model-00001-of-00002.safetensors", file);
  CHECK_THAT(refused_model(model), ContainsSubstring("model-00002-of-00002.safetensors"));
}

TEST_CASE("gates of another model, or with a tensor missing, are refused and never silently dense") {
  const Folder gates(testing::demo_gates_dir());
  json config = json::parse(gates.read("config.json"));
  const json original = config;
  config["num_hidden_layers"] = 8;
  gates.write("config.json", config.dump());
  CHECK_THAT(refused_gates(gates), ContainsSubstring("num_hidden_layers"));
  config = original;
  config["seerattn_gate_type"] = "Qavg_Ksum";
  gates.write("config.json", config.dump());
  CHECK_THAT(refused_gates(gates), ContainsSubstring("Qavg_Ksum"));
  gates.write("config.json", original.dump());
  gates.remove("attn_gate_weights.pth");
  gates.write("attn_gate_weights.safetensors",
              with_header(gates.read("attn_gate_weights.safetensors"), [](std::string header) {
                const std::string name = "model.layers.2.self_attn";
                return header.replace(header.find(name), name.size(), "model.layers.9.self_attn");
              }));
  CHECK_THAT(refused_gates(gates), ContainsSubstring("model.layers."));
  gates.remove("attn_gate_weights.safetensors");
  CHECK_THAT(refused_gates(gates), ContainsSubstring("attn_gate_weights"));
}

TEST_CASE("a pickle that calls anything is refused by the callable's name, and nothing runs") {
  const Folder gates(testing::demo_gates_dir());
  gates.remove("attn_gate_weights.safetensors");
  // Torch stores the archive's members without compression, so the first class in its pickle can be exchanged
  // for one of the same length. (The checksum is then wrong too. Both are reasons to refuse, but only one is
  // named.)
  std::string file = gates.read("attn_gate_weights.pth");
  const std::string from = "ccollections\nOrderedDict\n", to = "csubprocess\ncheck_output\n";
  const size_t at = file.find(from);
  REQUIRE(at != std::string::npos);
  REQUIRE(from.size() == to.size());
  gates.write("attn_gate_weights.pth", file.replace(at, from.size(), to));
  CHECK_THAT(refused_gates(gates), ContainsSubstring("attn_gate_weights.pth"));
}

TEST_CASE("a tokenizer that is not one is refused by name, ids still work without any") {
  const Folder model(testing::demo_model_dir());
  model.write("tokenizer.model", "this is not a SentencePiece model");
  CHECK_THAT(refused_model(model), ContainsSubstring("tokenizer.model"));
  model.remove("tokenizer.model");
  model.write("tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}");
  CHECK_THAT(refused_model(model), ContainsSubstring("tokenizer.json"));
  model.remove("tokenizer.json");
  CHECK_THAT(refused_model(model), ContainsSubstring("tokenizer"));
  testing::RunOptions piped;
  piped.input = "1 300 400";
  const testing::Outcome run = testing::run_seer(
      {"generate", "-m", model.path(), "--tokens-file", "-", "-n", "2", "--ignore-eos"}, piped);
  CHECK(run.code == 0);
  CHECK_THAT(run.err, ContainsSubstring("printing token ids"));
}

TEST_CASE("a prompt file that is a folder, a device without end or a link to itself is refused") {
  const testing::TempDir dir;
  fs::create_symlink("loop", dir.path() / "loop");
  const auto refused = [](const std::string& path) {
    return check_fails({"generate", "-m", testing::demo_model_dir(), "-f", path}, 3);
  };
  CHECK_THAT(refused(dir.path().string()), ContainsSubstring("found a folder"));
  CHECK_THAT(refused("/dev/zero"),
             ContainsSubstring("/dev/zero: expected a file, a pipe or a terminal, found"));
  CHECK_THAT(refused((dir.path() / "loop").string()), ContainsSubstring("Too many levels of symbolic links"));
  testing::write_file(dir.path() / "large", "");
  fs::resize_file(dir.path() / "large", (uint64_t{256} << 20) + 1);
  CHECK_THAT(refused((dir.path() / "large").string()), ContainsSubstring("at most 256 MiB, found 268435457"));
  CHECK_THAT(check_fails({"generate", "-m", testing::demo_model_dir(), "-f", "/dev/null"}, 2),
             ContainsSubstring("is empty"));
}

TEST_CASE("a prompt may come from a pipe, whose writer is waited for until Ctrl-C") {
  const testing::TempDir dir;
  const std::string pipe = (dir.path() / "pipe").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::thread writer([&] { testing::write_file(pipe, "1 300"); });
  const testing::Outcome run = testing::run_seer(
      {"generate", "-m", testing::demo_model_dir(), "--tokens-file", pipe, "-n", "2", "--ignore-eos", "-q"});
  writer.join();
  CHECK(run.code == 0);
  CHECK_FALSE(run.out.empty());
  testing::RunOptions impatient;
  impatient.interrupt_after = std::chrono::milliseconds(500);
  CHECK(testing::run_seer({"tokenize", "-m", testing::demo_model_dir(), "-f", pipe}, impatient).code == 130);
}

}  // namespace
}  // namespace seer
