// Checkpoints of several safetensors files with a model.safetensors.index.json.
#include <nlohmann/json.hpp>

#include "models/safetensors.h"
#include "tests/models/refusal.h"
#include "tests/models/safetensors_builder.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::f32_tensor;
using testing::refusal;
using testing::safetensors_bytes;
using testing::write_file;
using testing::zero_tensor;

const char* const kFirst = "model-00001-of-00002.safetensors";
const char* const kSecond = "model-00002-of-00002.safetensors";

// Two shards of two and one tensors, and their index.
class Sharded {
 public:
  Sharded() {
    write(kFirst, safetensors_bytes({f32_tensor("a", {1}, {1}), f32_tensor("b", {1}, {2})}));
    write(kSecond, safetensors_bytes({f32_tensor("c", {1}, {3})}));
    map({{"a", kFirst}, {"b", kFirst}, {"c", kSecond}});
  }
  std::string path() const { return dir_.path().string(); }
  std::string index() const { return path() + "/model.safetensors.index.json"; }
  void write(const std::string& name, const std::string& bytes) const {
    write_file(dir_.path() / name, bytes);
  }
  void remove(const std::string& name) const { std::filesystem::remove(dir_.path() / name); }
  void map(const nlohmann::json& weight_map) const {
    write("model.safetensors.index.json", nlohmann::json{{"weight_map", weight_map}}.dump());
  }
  TensorMap read() const { return read_checkpoint(path()); }
  std::string refused() const {
    return refusal(ErrorKind::kFile, [&] { read(); });
  }

 private:
  testing::TempDir dir_;
};

TEST_CASE("shards: every tensor of every shard") {
  const Sharded model;
  const TensorMap map = model.read();
  CHECK(map.all().size() == 3);
  CHECK(map.source() == model.path());
  CHECK(map.find("a")->as<float>()[0] == 1.0F);
  CHECK(map.find("b")->as<float>()[0] == 2.0F);
  CHECK(map.find("c")->as<float>()[0] == 3.0F);
}

TEST_CASE("shards: model.safetensors comes before an index") {
  const Sharded model;
  model.write("model.safetensors", safetensors_bytes({zero_tensor("single", "F32", {1})}));
  const TensorMap map = model.read();
  CHECK(map.all().size() == 1);
  CHECK(map.find("single") != nullptr);
}

TEST_CASE("shards: a folder without weights says what it should hold") {
  const Sharded model;
  model.remove("model.safetensors.index.json");
  const std::string message = model.refused();
  CHECK_THAT(message, ContainsSubstring(model.path()));
  CHECK_THAT(message, ContainsSubstring("model.safetensors or model.safetensors.index.json"));
}

TEST_CASE("shards: a missing shard is named before the others are read") {
  const Sharded model;
  model.remove(kSecond);
  model.write(kFirst, "damaged, but nobody looks");
  const std::string message = model.refused();
  CHECK_THAT(message, ContainsSubstring(std::string(kSecond) + ": the shard is missing"));
  CHECK_THAT(message, ContainsSubstring("1 tensors (c"));
}

TEST_CASE("shards: a damaged shard is named") {
  const Sharded model;
  model.write(kSecond, "not safetensors at all");
  CHECK_THAT(model.refused(), ContainsSubstring(kSecond));
}

TEST_CASE("shards: the files say what they hold, and the index's list of tensors may be out of date") {
  const Sharded model;
  for (const nlohmann::json& map :
       {nlohmann::json{{"a", kFirst}, {"b", kSecond}, {"c", kSecond}},  // b is in the first
        nlohmann::json{{"a", kFirst}, {"b", kFirst}, {"c", kSecond}, {"inv_freq", kSecond}},
        nlohmann::json{{"a", kFirst}, {"c", kSecond}}}) {
    INFO(map);
    model.map(map);
    const TensorMap tensors = model.read();
    CHECK(tensors.all().size() == 3);
    CHECK(tensors.find("b")->as<float>()[0] == 2.0F);
  }
}

TEST_CASE("shards: a tensor that two shards hold is refused") {
  const Sharded model;
  model.write(kSecond, safetensors_bytes({zero_tensor("c", "F32", {1}), zero_tensor("a", "F32", {1})}));
  CHECK_THAT(model.refused(), ContainsSubstring("the tensor a is there twice"));
}

TEST_CASE("shards: a key that is twice in the weight map is refused") {
  const Sharded model;
  model.write("model.safetensors.index.json", R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})");
  const std::string message = model.refused();
  CHECK_THAT(message, ContainsSubstring(model.index()));
  CHECK_THAT(message, ContainsSubstring("\"a\" is there twice"));
}

TEST_CASE("shards: a name that leads out of the folder is refused") {
  const Sharded model;
  for (const char* name : {"../model.safetensors", "/etc/passwd", "sub/x.safetensors", "..", ".", "",
                           "x.safetensors/", "./x.safetensors"}) {
    INFO(name);
    model.map({{"a", name}});
    const std::string message = model.refused();
    CHECK_THAT(message, ContainsSubstring(model.index()));
    CHECK_THAT(message, ContainsSubstring("tensor a: expected the name of a file in the same folder"));
  }
  for (const nlohmann::json& name : {nlohmann::json(3), nlohmann::json(nullptr), nlohmann::json::array()}) {
    model.map({{"a", name}});
    CHECK_THAT(model.refused(), ContainsSubstring("tensor a: expected the name of a file"));
  }
}

TEST_CASE("shards: a name longer than the file system takes is a missing shard") {
  const Sharded model;
  const std::string name(5000, 'x');
  model.map({{"a", name}});
  CHECK_THAT(model.refused(), ContainsSubstring("the shard is missing"));
}

TEST_CASE("shards: an index without a weight map") {
  const Sharded model;
  for (const char* text : {"{}", R"({"weight_map":[]})", R"({"weight_map":null})", R"({"weight_map":"x"})"}) {
    INFO(text);
    model.write("model.safetensors.index.json", text);
    CHECK_THAT(model.refused(), ContainsSubstring("weight_map"));
  }
  model.write("model.safetensors.index.json", "no JSON");
  CHECK_THAT(model.refused(), ContainsSubstring(model.index()));
}

TEST_CASE("shards: an empty weight map names no tensors") {
  const Sharded model;
  model.map(nlohmann::json::object());
  CHECK(model.read().all().empty());
}

}  // namespace
}  // namespace seer
