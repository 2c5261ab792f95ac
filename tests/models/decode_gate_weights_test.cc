// The files of gates for decoding: their config, the weights that the config asks for, and folders with gates
// of both kinds.
#include "models/decode_gate_weights.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/json_reader.h"
#include "models/gates.h"
#include "tests/models/refusal.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::NamedTensor;
using testing::refusal;
using testing::TempDir;
using testing::TinyGates;
using testing::TinyShape;
using testing::write_file;
using testing::zero_tensor;
using QueryPool = DecodeGateConfig::QueryPool;

const TinyShape kTinyShape;  // 2 layers, 4 query heads, 2 KV heads of 8

ModelConfig tiny_model() {
  ModelConfig m;
  m.n_layers = kTinyShape.n_layers;
  m.n_heads = kTinyShape.n_heads;
  m.n_kv_heads = kTinyShape.n_kv_heads;
  m.d_head = kTinyShape.d_head;
  m.d_model = kTinyShape.d_model;
  m.d_ff = kTinyShape.d_ff;
  m.n_vocab = kTinyShape.n_vocab;
  return m;
}

std::string tensor_name(int64_t layer, const char* part) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.attngate_" + part + ".weight";
}

json decode_config() {
  json config = TinyGates().config(kTinyShape);
  for (const char* key : {"seerattn_gate_type", "seerattn_gate_force_double", "seerattn_last_block_dense"})
    config.erase(key);
  config["seerattn_k_seq_pooling_type"] = "Kmaxminavg";
  config["seerattn_q_head_pooling_type"] = "Qproj";
  config["seerattn_use_qk_norm"] = true;
  return config;
}

json changed_decode(const std::string& key, const json& value) {
  json config = decode_config();
  config[key] = value;
  return config;
}

// The tensors that the gates of decode_config() have.
std::vector<NamedTensor> decode_tensors(const char* dtype = "F32") {
  std::vector<NamedTensor> out;
  for (int64_t l = 0; l < kTinyShape.n_layers; ++l) {
    out.push_back(zero_tensor(tensor_name(l, "linear_q"), dtype, {2, 2, 8, 8}));
    out.push_back(zero_tensor(tensor_name(l, "linear_k"), dtype, {2, 24, 8}));
    out.push_back(zero_tensor(tensor_name(l, "qnorm"), dtype, {8}));
    out.push_back(zero_tensor(tensor_name(l, "knorm"), dtype, {8}));
  }
  return out;
}

void write_gates(const std::filesystem::path& dir, const json& config,
                 const std::vector<NamedTensor>& tensors) {
  std::filesystem::create_directories(dir);
  write_file(dir / "config.json", config.dump());
  write_file(dir / "attn_gate_weights.safetensors", testing::safetensors_bytes(tensors));
}

void write_prefill_gates(const std::filesystem::path& dir, const TinyGates& gates = {}) {
  write_gates(dir, gates.config(kTinyShape), gates.tensors(kTinyShape));
}

class DecodeGateFolder {
 public:
  DecodeGateFolder() { write_gates(dir_.path(), decode_config(), decode_tensors()); }
  std::string path() const { return dir_.path().string(); }
  void write(const json& config) const { write_file(dir_.path() / "config.json", config.dump()); }
  void write(const std::vector<NamedTensor>& tensors) const {
    write_file(dir_.path() / "attn_gate_weights.safetensors", testing::safetensors_bytes(tensors));
  }
  DecodeGateWeights load(const ModelConfig& of = tiny_model()) const {
    return DecodeGateWeights::load(path(), of);
  }
  std::string refused(ErrorKind kind = ErrorKind::kFile, const ModelConfig& of = tiny_model()) const {
    return refusal(kind, [&] { load(of); });
  }

 private:
  TempDir dir_;
};

DecodeGateConfig decode_config_with(const std::string& key, const json& value) {
  const DecodeGateFolder folder;
  folder.write(changed_decode(key, value));
  return folder.load().config;
}

std::string refused_decode_config(const std::string& key, const json& value,
                                  ErrorKind kind = ErrorKind::kFile) {
  const DecodeGateFolder folder;
  folder.write(changed_decode(key, value));
  std::string message = folder.refused(kind);
  CHECK_THAT(message, ContainsSubstring(folder.path() + "/config.json"));
  return message;
}

TEST_CASE("decode gates: the config and the weights of every layer") {
  const DecodeGateFolder folder;
  const DecodeGateWeights gates = folder.load();
  const DecodeGateConfig& c = gates.config;
  CHECK((c.query_pool == QueryPool::kProjected));
  CHECK(c.gate_type == "Qproj_Kmaxminavg");
  CHECK(c.k.count() == 3);
  CHECK(c.gate_block == 16);
  CHECK(c.d_gate == 8);
  CHECK(c.has_norms);
  CHECK(c.rotates);
  CHECK(c.start_layer == 0);
  CHECK((c.rule == DecodeRule{DecodeRule::Method::kThreshold, 0.05}));
  REQUIRE(gates.layers.size() == 2);
  for (const DecodeGateLayer& layer : gates.layers) {
    CHECK(shape_string(layer.linear_q) == "[2, 16, 8]");
    CHECK(shape_string(layer.linear_k) == "[2, 24, 8]");
    CHECK(shape_string(layer.q_norm) == "[8]");
    CHECK(shape_string(layer.k_norm) == "[8]");
  }
  for (const char* dtype : {"BF16", "F16"}) {
    folder.write(decode_tensors(dtype));
    CHECK(folder.load().layers.size() == 2);
  }
}

TEST_CASE("decode gates: what the config does not say is as upstream's classes have it") {
  json config = decode_config();
  for (const char* key : {"seerattn_q_head_pooling_type", "seerattn_gate_block_size", "seerattn_use_qk_norm",
                          "seerattn_sparsity_method", "seerattn_threshold"})
    config.erase(key);
  std::vector<NamedTensor> tensors;
  for (const NamedTensor& t : decode_tensors())
    if (t.name.find("norm") == std::string::npos) tensors.push_back(t);
  const DecodeGateFolder folder;
  folder.write(config);
  folder.write(tensors);
  const DecodeGateConfig c = folder.load().config;
  CHECK((c.query_pool == QueryPool::kProjected));
  CHECK(c.gate_block == 64);
  CHECK_FALSE(c.has_norms);
  CHECK(c.rotates);
  // A threshold that was never tuned is replaced by the budget.
  CHECK(c.untuned);
  CHECK((c.rule == DecodeRule{DecodeRule::Method::kBudget, 4096.0}));
}

TEST_CASE(
    "decode gates: a budget other than upstream's default was chosen, even if the method is threshold") {
  json config = changed_decode("seerattn_sparsity_method", "threshold");
  config["seerattn_threshold"] = 0.0;
  for (const int64_t budget : {1024, 4096}) {
    config["seerattn_token_budget"] = budget;
    const DecodeGateFolder folder;
    folder.write(config);
    const DecodeGateConfig c = folder.load().config;
    CHECK((c.rule == DecodeRule{DecodeRule::Method::kBudget, static_cast<double>(budget)}));
    CHECK(c.untuned == (budget == 4096));
  }
}

// Upstream's config classes of gates for decoding assert these at commit aba03e3.
bool upstream_takes(const json& config) {
  const auto one_of = [&](const char* key, const std::vector<json>& values) {
    return std::find(values.begin(), values.end(), config.at(key)) != values.end();
  };
  return one_of("seerattn_q_head_pooling_type", {"Qproj", "Qavgproj", "Qavg"}) &&
         one_of("seerattn_implementation", {"seer_sparse", "seer_dense", "oracle_sparse"}) &&
         one_of("seerattn_sparsity_method", {"threshold", "nz_ratio"}) &&
         one_of("seerattn_gate_hidden_size", {64, 128, 256}) &&
         one_of("seerattn_gate_block_size", {16, 32, 64});
}

TEST_CASE(
    "decode gates: upstream's classes take the demo model's config.json, whose rule is a budget of 1024") {
  const std::string dir = (testing::demo_model() / "decode-gates").string();
  CHECK(upstream_takes(json::parse(testing::read_file(dir + "/config.json"))));
  const ModelConfig model = ModelConfig::load((testing::demo_model() / "model").string());
  const DecodeGateConfig c = DecodeGateWeights::load(dir, model).config;
  CHECK((c.rule == DecodeRule{DecodeRule::Method::kBudget, 1024.0}));
  CHECK_FALSE(c.untuned);
}

TEST_CASE("decode gates: every size of heads is taken, also those that upstream's classes refuse") {
  for (const int64_t d_head : {8, 64, 80, 96, 128, 192, 256}) {
    INFO(d_head);
    ModelConfig model = tiny_model();
    model.d_head = d_head;
    json config = changed_decode("seerattn_gate_hidden_size", d_head);
    config["seerattn_implementation"] = "seer_sparse";
    config["seerattn_sparsity_method"] = "threshold";
    const Json object = read_json(config.dump());
    const DecodeGateConfig read = DecodeGateWeights::read_config(JsonReader(object, "config.json"), model);
    CHECK(read.d_gate == d_head);
    CHECK(upstream_takes(config) == (d_head == 64 || d_head == 128 || d_head == 256));
  }
}

TEST_CASE("decode gates: each way to pool query heads has its own weights") {
  const DecodeGateFolder folder;
  std::vector<NamedTensor> tensors = decode_tensors();
  folder.write(changed_decode("seerattn_q_head_pooling_type", "Qavgproj"));
  CHECK_THAT(folder.refused(), ContainsSubstring(tensor_name(0, "linear_q") + ": expected [2, 8, 8]"));
  for (NamedTensor& t : tensors)
    if (t.name.find("linear_q") != std::string::npos) t = zero_tensor(t.name, "F32", {2, 8, 8});
  folder.write(tensors);
  CHECK((folder.load().config.query_pool == QueryPool::kMeanProjected));
  CHECK(shape_string(folder.load().layers[1].linear_q) == "[2, 8, 8]");

  folder.write(changed_decode("seerattn_q_head_pooling_type", "Qavg"));
  CHECK_THAT(folder.refused(), ContainsSubstring(tensor_name(0, "linear_q") + " [2, 8, 8] is not one that"));
  std::vector<NamedTensor> without;
  for (const NamedTensor& t : tensors)
    if (t.name.find("linear_q") == std::string::npos) without.push_back(t);
  folder.write(without);
  CHECK_FALSE(folder.load().layers[0].linear_q);
}

TEST_CASE("decode gates: pools, methods and forms that are none are refused with what was expected") {
  for (const json& value : {json(""), json("K"), json("Ksum"), json("maxminavg"), json("Kmaxmax"),
                            json("Qavg"), json("Kmax min"), json(3)})
    CHECK_THAT(refused_decode_config("seerattn_k_seq_pooling_type", value),
               ContainsSubstring("seerattn_k_seq_pooling_type"));
  for (const json& value : {json(""), json("Qmax"), json("proj"), json("QprojQavg"), json(1)})
    CHECK_THAT(refused_decode_config("seerattn_q_head_pooling_type", value),
               ContainsSubstring("seerattn_q_head_pooling_type"));
  CHECK_THAT(refused_decode_config("seerattn_q_head_pooling_type", "Qmax"),
             ContainsSubstring("Qproj, Qavgproj or Qavg") && ContainsSubstring("\"Qmax\""));
  for (const json& value : {json("nz_ratio"), json("topk"), json(""), json(0.5)})
    CHECK_THAT(refused_decode_config("seerattn_sparsity_method", value),
               ContainsSubstring("seerattn_sparsity_method"));
  for (const json& value : {json("oracle_sparse"), json("sparse"), json(1)})
    CHECK_THAT(refused_decode_config("seerattn_implementation", value),
               ContainsSubstring("seerattn_implementation"));
}

TEST_CASE("decode gates: sizes, rules and layers out of range are named") {
  for (const json& value : {json(8), json(48), json(128), json(0), json(-16), json("16"), json(16.5)})
    CHECK_THAT(refused_decode_config("seerattn_gate_block_size", value),
               ContainsSubstring("seerattn_gate_block_size"));
  for (const int64_t block : {16, 32, 64})
    CHECK(decode_config_with("seerattn_gate_block_size", block).gate_block == block);
  for (const json& value : {json(1.0), json(-0.1), json("0.1"), json(7)})
    CHECK_THAT(refused_decode_config("seerattn_threshold", value), ContainsSubstring("seerattn_threshold"));
  for (const json& value : {json(-1), json(3), json("0")})
    CHECK_THAT(refused_decode_config("seerattn_start_layer", value),
               ContainsSubstring("seerattn_start_layer"));
  CHECK(decode_config_with("seerattn_start_layer", 1).start_layer == 1);
  CHECK(decode_config_with("seerattn_start_layer", 2).start_layer == 2);  // no layer chooses
  for (const char* key : {"seerattn_use_qk_norm", "seerattn_use_rope"})
    CHECK_THAT(refused_decode_config(key, 1), ContainsSubstring(key));
  CHECK_FALSE(decode_config_with("seerattn_use_rope", false).rotates);
  json config = changed_decode("seerattn_sparsity_method", "token_budget");
  for (const json& value : {json(15), json(0), json(-16), json("4096"), json(20.5)}) {
    config["seerattn_token_budget"] = value;
    const DecodeGateFolder folder;
    folder.write(config);
    CHECK_THAT(folder.refused(), ContainsSubstring("seerattn_token_budget"));
  }
  config["seerattn_token_budget"] = 16;
  const DecodeGateFolder folder;
  folder.write(config);
  CHECK((folder.load().config.rule == DecodeRule{DecodeRule::Method::kBudget, 16.0}));
  CHECK(decode_config_with("seerattn_implementation", "seer_dense").rule.dense());
}

TEST_CASE(
    "decode gates: another size than the heads', and positions that depend on the length, are refused") {
  CHECK_THAT(refused_decode_config("seerattn_gate_hidden_size", 16, ErrorKind::kUnsupported),
             ContainsSubstring("expected seerattn_gate_hidden_size 8, found 16"));
  json config = decode_config();
  config.erase("seerattn_gate_hidden_size");  // 128
  const DecodeGateFolder folder;
  folder.write(config);
  CHECK_THAT(folder.refused(ErrorKind::kUnsupported), ContainsSubstring("found 128"));
  folder.write(decode_config());
  ModelConfig dynamic = tiny_model();
  dynamic.rope.type = RopeConfig::Type::kDynamic;
  CHECK_THAT(folder.refused(ErrorKind::kUnsupported, dynamic), ContainsSubstring("dynamic RoPE scaling"));
  for (const RopeConfig::Type type : {RopeConfig::Type::kDefault, RopeConfig::Type::kLinear,
                                      RopeConfig::Type::kYarn, RopeConfig::Type::kLlama3}) {
    dynamic.rope.type = type;
    CHECK(folder.load(dynamic).layers.size() == 2);
  }
}

TEST_CASE("decode gates: those of another model name the key that differs") {
  for (const char* key : {"num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                          "hidden_size", "vocab_size"}) {
    const int64_t is = decode_config()[key];
    CHECK_THAT(refused_decode_config(key, is * 2), ContainsSubstring("belong to another model") &&
                                                       ContainsSubstring("found " + std::to_string(is * 2)));
  }
}

TEST_CASE("decode gates: missing, unexpected and misshapen tensors are named") {
  const std::vector<NamedTensor> all = decode_tensors();
  const DecodeGateFolder folder;
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<NamedTensor> tensors = all;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    folder.write(tensors);
    CHECK_THAT(folder.refused(), ContainsSubstring(all[i].name) && ContainsSubstring("no such tensor"));
    tensors = all;
    tensors[i] = zero_tensor(all[i].name, "F32", {2, 8, 7});
    folder.write(tensors);
    CHECK_THAT(folder.refused(), ContainsSubstring(all[i].name + ": expected ["));
    tensors[i] = zero_tensor(all[i].name, "I32", all[i].shape);
    folder.write(tensors);
    CHECK_THAT(folder.refused(), ContainsSubstring("found I32"));
  }
  for (const std::string& name : {tensor_name(2, "linear_k"), tensor_name(0, "linear_v"),
                                  std::string("model.layers.0.self_attn.attn_gate.mask_linear_k.weight")}) {
    std::vector<NamedTensor> tensors = all;
    tensors.push_back(zero_tensor(name, "F32", {3}));
    folder.write(tensors);
    CHECK_THAT(folder.refused(), ContainsSubstring("the tensor " + name + " [3] is not one that"));
  }
  folder.write(all);
  folder.write(changed_decode("seerattn_use_qk_norm", false));
  CHECK_THAT(folder.refused(), ContainsSubstring("norm.weight [8] is not one that"));
}

TEST_CASE("gates of both kinds: in one folder of folders, or in two folders in any order") {
  const TempDir dir;
  write_prefill_gates(dir.path() / "prompts");
  write_gates(dir.path() / "decodes", decode_config(), decode_tensors());
  std::filesystem::create_directories(dir.path() / "notes");  // no gates
  std::filesystem::create_directories(dir.path() / "model");  // no gates either
  write_file(dir.path() / "model" / "config.json", R"({"model_type": "llama"})");
  const std::string prompts = (dir.path() / "prompts").string(), decodes = (dir.path() / "decodes").string();
  for (const std::vector<std::string>& dirs :
       std::vector<std::vector<std::string>>{{dir.path().string()}, {prompts, decodes}, {decodes, prompts}}) {
    const Gates gates = Gates::load(dirs, tiny_model());
    CHECK(gates.set().prefill != nullptr);
    CHECK(gates.set().decode != nullptr);
    CHECK(gates.configs().block() == 16);
  }
  CHECK(Gates::load({prompts}, tiny_model()).set().decode == nullptr);
  CHECK(Gates::load({decodes}, tiny_model()).set().prefill == nullptr);
  CHECK(Gates::load({}, tiny_model()).configs().block() == std::nullopt);
}

TEST_CASE("gates of both kinds: two of one kind, other blocks, and keys of both in one file are refused") {
  const TempDir dir;
  const auto path = [&](const char* name) { return (dir.path() / name).string(); };
  write_prefill_gates(path("prompts"));
  write_gates(path("decodes"), decode_config(), decode_tensors());
  const auto refused = [&](ErrorKind kind, const std::vector<std::string>& dirs) {
    return refusal(kind, [&] { Gates::load(dirs, tiny_model()); });
  };
  CHECK_THAT(refused(ErrorKind::kFile, {path("decodes"), path("decodes")}),
             ContainsSubstring("expected one folder of gates for decoding"));
  CHECK_THAT(refused(ErrorKind::kFile, {path("prompts"), path("prompts")}),
             ContainsSubstring("expected one folder of gates for prompts"));
  CHECK_THAT(refused(ErrorKind::kFile, {dir.path().string(), path("decodes")}),
             ContainsSubstring("expected one folder of gates for decoding"));
  CHECK_THAT(refused(ErrorKind::kFile, {path("none"), path("decodes")}), ContainsSubstring("none"));

  TinyGates larger;
  larger.gate_block = 32;
  write_prefill_gates(path("larger"), larger);
  for (const auto& dirs : std::vector<std::vector<std::string>>{{path("larger"), path("decodes")},
                                                                {path("decodes"), path("larger")}})
    CHECK_THAT(refused(ErrorKind::kUnsupported, dirs),
               ContainsSubstring("32 tokens for prompts and of 16 for decoding"));

  json both = decode_config();
  both.update(TinyGates().config(kTinyShape));
  write_gates(path("mixed"), both, decode_tensors());
  CHECK_THAT(refused(ErrorKind::kFile, {path("mixed")}), ContainsSubstring("the keys of both kinds"));
  // A config that describes neither kind is taken for that of gates for prompts, and the refusal names the
  // key that these need.
  json neither = decode_config();
  neither.erase("seerattn_k_seq_pooling_type");
  neither.erase("seerattn_q_head_pooling_type");
  write_gates(path("neither"), neither, decode_tensors());
  CHECK_THAT(refused(ErrorKind::kFile, {path("neither")}), ContainsSubstring("seerattn_gate_type"));
  // A folder with the config of one kind and the weights of the other.
  write_gates(path("crossed"), decode_config(), TinyGates().tensors(kTinyShape));
  CHECK_THAT(refused(ErrorKind::kFile, {path("crossed")}),
             ContainsSubstring("attngate_linear_q.weight") && ContainsSubstring("no such tensor"));
}

TEST_CASE("decode gates: ranks take the weights of their KV heads, and more ranks than heads are refused") {
  const TempDir dir;
  write_gates(dir.path(), decode_config(), decode_tensors());
  for (int rank = 0; rank < 2; ++rank) {
    Gates whole = Gates::load({dir.path().string()}, tiny_model());
    const DecodeGateLayer before = whole.set().decode->layers[1];
    whole.keep(Shard(tiny_model(), rank, 2));
    const DecodeGateLayer& layer = whole.set().decode->layers[1];
    CHECK(shape_string(layer.linear_q) == "[1, 16, 8]");
    CHECK(shape_string(layer.linear_k) == "[1, 24, 8]");
    CHECK(layer.linear_k.data == before.linear_k.rows(rank, 1).data);
    CHECK(layer.linear_q.data == before.linear_q.rows(rank, 1).data);
    CHECK(layer.q_norm.data == before.q_norm.data);
  }
  Gates gates = Gates::load({dir.path().string()}, tiny_model());
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { gates.keep(Shard(tiny_model(), 0, 4)); }),
             ContainsSubstring("more ranks than KV heads") && ContainsSubstring("at most 2 ranks, found 4"));
}

}  // namespace
}  // namespace seer
