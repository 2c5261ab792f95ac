// Gates next to a model: their config, the weights that it asks for, and gates of another model.
#include "models/gate_weights.h"

#include "models/family.h"
#include "models/json_util.h"
#include "tests/models/pickle_builder.h"
#include "tests/models/refusal.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::NamedTensor;
using testing::refusal;
using testing::TinyGates;
using testing::TinyShape;
using testing::write_file;
using testing::zero_tensor;

const TinyShape kShape;  // 2 layers, 4 query heads, 2 KV heads of 8

ModelConfig model() {
  ModelConfig m;
  m.n_layers = kShape.n_layers;
  m.n_heads = kShape.n_heads;
  m.n_kv_heads = kShape.n_kv_heads;
  m.d_head = kShape.d_head;
  m.d_model = kShape.d_model;
  m.d_ff = kShape.d_ff;
  m.n_vocab = kShape.n_vocab;
  return m;
}

std::string weight(int64_t layer, const char* side) {
  return "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.mask_linear_" + side + ".weight";
}

class GateFolder {
 public:
  explicit GateFolder(const TinyGates& gates = {}) {
    write(gates.config(kShape));
    write(gates.tensors(kShape));
  }
  std::string path() const { return dir_.path().string(); }
  void write(const json& config) const { write_file(dir_.path() / "config.json", config.dump()); }
  void write(const std::vector<NamedTensor>& tensors) const {
    write("attn_gate_weights.safetensors", testing::safetensors_bytes(tensors));
  }
  void write(const std::string& name, const std::string& bytes) const {
    write_file(dir_.path() / name, bytes);
  }
  void remove(const std::string& name) const { std::filesystem::remove(dir_.path() / name); }
  GateWeights load() const { return GateWeights::load(path(), model()); }
  std::string refused(ErrorKind kind = ErrorKind::kFile) const {
    return refusal(kind, [&] { load(); });
  }

 private:
  testing::TempDir dir_;
};

json changed(const std::string& key, const json& value) {
  json config = TinyGates().config(kShape);
  config[key] = value;
  return config;
}

GateConfig config_with(const std::string& key, const json& value) {
  const GateFolder folder;
  folder.write(changed(key, value));
  return folder.load().config;
}

std::string refused_config(const std::string& key, const json& value) {
  const GateFolder folder;
  folder.write(changed(key, value));
  std::string message = folder.refused();
  CHECK_THAT(message, ContainsSubstring(folder.path() + "/config.json"));
  return message;
}

TEST_CASE("gates: the config and the weights of every layer") {
  const GateFolder folder;
  const GateWeights gates = folder.load();
  const GateConfig& c = gates.config;
  CHECK(c.gate_type == "Qavg_Kmaxminavg");
  CHECK(c.gate_block == 16);
  CHECK(c.d_gate == 8);
  CHECK_FALSE(c.double_linear);
  CHECK_FALSE(c.rule.last_block_dense);
  CHECK((c.rule.method == SelectRule::Method::kThreshold));
  CHECK(c.rule.value == 0.05);
  CHECK_FALSE(c.untuned);
  CHECK(c.n_gate_heads(model()) == 4);
  REQUIRE(gates.layers.size() == 2);
  for (size_t l = 0; l < 2; ++l) {
    CHECK_FALSE(gates.layers[l].linear_q);
    CHECK(shape_string(gates.layers[l].linear_k) == "[4, 24, 8]");
    CHECK(gates.layers[l].linear_k.data == gates.tensors.find(weight(static_cast<int64_t>(l), "k"))->data);
  }
}

TEST_CASE("gates: every combination of pools, in any order") {
  const char* const spellings[] = {"max", "min", "avg", "maxmin", "maxavg", "minavg", "maxminavg"};
  const auto check_pools = [](const GatePools& pools, const std::string& text) {
    CHECK(pools.max == (text.find("max") != std::string::npos));
    CHECK(pools.min == (text.find("min") != std::string::npos));
    CHECK(pools.avg == (text.find("avg") != std::string::npos));
    CHECK(pools.count() * 3 == static_cast<int>(text.size()));
  };
  for (const std::string q : spellings) {
    for (const std::string k : spellings) {
      TinyGates gates;
      gates.gate_type = "Q" + q + "_K" + k;
      INFO(gates.gate_type);
      gates.n_q_pools = static_cast<int64_t>(q.size()) / 3;
      gates.n_k_pools = static_cast<int64_t>(k.size()) / 3;
      gates.double_linear = gates.n_q_pools > 1;
      const GateFolder folder(gates);
      json config = gates.config(kShape);
      config["seerattn_gate_force_double"] = false;  // the pools alone decide
      folder.write(config);
      const GateWeights loaded = folder.load();
      check_pools(loaded.config.q, q);
      check_pools(loaded.config.k, k);
      CHECK(loaded.config.double_linear == (gates.n_q_pools > 1));
    }
  }
  TinyGates gates;
  gates.gate_type = "Qavg_Kavgminmax";  // concatenated as max, min, avg all the same
  CHECK(GateFolder(gates).load().config.k.count() == 3);
}

TEST_CASE("gates: pools that are none are refused with the form expected") {
  for (const char* type :
       {"", "Q_K", "Qavg", "Qavg_K", "Q_Kavg", "Qavg_Ksum", "Qavgavg_Kmax", "Qavg_Kmaxmax", "avg_Kmax",
        "Qavg_max", "Qavg Kmax", "qavg_kmax", "Qavg_Kmaxminavgmax", "Qavg_Kma", "Kavg_Qmax"}) {
    INFO(type);
    const std::string message = refused_config("seerattn_gate_type", type);
    CHECK_THAT(message, ContainsSubstring("expected seerattn_gate_type to be Q<pools>_K<pools>"));
    CHECK_THAT(message, ContainsSubstring(json(type).dump()));
  }
  CHECK_THAT(refused_config("seerattn_gate_type", nullptr),
             ContainsSubstring("seerattn_gate_type is missing"));
  CHECK_THAT(refused_config("seerattn_gate_type", 3), ContainsSubstring("seerattn_gate_type to be a string"));
}

TEST_CASE("gates: two weights if asked for, or if a gate is wider than a head") {
  TinyGates gates;
  gates.double_linear = true;
  const GateFolder forced(gates);
  const GateWeights loaded = forced.load();
  CHECK(loaded.config.double_linear);
  CHECK(loaded.config.n_gate_heads(model()) == 2);
  CHECK(shape_string(loaded.layers[1].linear_q) == "[4, 8, 8]");
  CHECK(shape_string(loaded.layers[1].linear_k) == "[2, 24, 8]");

  gates.d_gate = 12;
  const GateFolder wider(gates);
  json config = gates.config(kShape);
  config.erase("seerattn_gate_force_double");
  wider.write(config);
  CHECK(wider.load().config.double_linear);
  CHECK(shape_string(wider.load().layers[0].linear_q) == "[4, 8, 12]");
}

TEST_CASE("gates: d_gate below the head size is refused, for RoPE turns a whole head") {
  const std::string message = refused_config("seerattn_gate_hidden_size", 6);
  CHECK_THAT(message, ContainsSubstring("seerattn_gate_hidden_size"));
  CHECK_THAT(message, ContainsSubstring("head size 8, found 6"));
}

TEST_CASE("gates: wider ones of Qwen2 need head_dim, for without it upstream rotates all their components") {
  ModelConfig qwen = model();
  qwen.family = &kQwen2;
  json config = changed("seerattn_gate_hidden_size", 12);
  const auto read = [&] { return GateWeights::read_config(JsonReader(config, "config.json"), qwen); };
  CHECK(config.contains("head_dim"));
  CHECK(read().d_gate == 12);
  config.erase("head_dim");
  CHECK_THAT(refusal(ErrorKind::kUnsupported, read), ContainsSubstring("seerattn_gate_hidden_size 8"));
  qwen.family = &kLlama;  // whose class upstream gives a head_dim always
  CHECK(read().d_gate == 12);
}

TEST_CASE("gates: a threshold of 0.0 means never tuned") {
  GateConfig c = config_with("seerattn_threshold", 0.0);
  CHECK(c.untuned);
  CHECK(c.rule.value == 2e-3);
  c = config_with("seerattn_threshold", nullptr);
  CHECK(c.untuned);
  CHECK(c.rule.value == 2e-3);
  json config = changed("seerattn_threshold", 0.0);
  config["seerattn_sparsity_method"] = "nz_ratio";
  config["seerattn_nz_ratio"] = 0.25;
  const GateFolder folder;
  folder.write(config);
  c = folder.load().config;
  CHECK((c.rule.method == SelectRule::Method::kNzRatio));
  CHECK(c.rule.value == 0.25);
  CHECK_FALSE(c.untuned);  // the threshold is not used
  config["seerattn_sparsity_method"] = "nz_ratio_row";
  folder.write(config);
  c = folder.load().config;
  CHECK((c.rule.method == SelectRule::Method::kNzRatioRow));
  CHECK(c.rule.value == 0.25);
  CHECK_FALSE(c.untuned);
}

TEST_CASE("gates: factors of heads are read in order, and kept by heads' ranks") {
  json config = changed("seer_threshold_factors", {{1, 0.5, 2, 1.25}, {0.75, 1, 1000, 1e-3}});
  config["seerattn_sparsity_method"] = "head_threshold";
  config["seerattn_threshold"] = 0.02;
  const GateFolder folder;
  folder.write(config);
  GateWeights gates = folder.load();
  CHECK((gates.config.rule.method == SelectRule::Method::kHeadThreshold));
  CHECK(gates.config.rule.value == 0.02);
  const std::vector<float> all = {1, 0.5, 2, 1.25, 0.75, 1, 1000, 1e-3F};
  CHECK(gates.config.head_factors == all);
  gates.keep(Shard(model(), 1, 2));
  CHECK(gates.config.head_factors == std::vector<float>{2, 1.25, 1000, 1e-3F});
  CHECK(config_with("seer_threshold_factors", nullptr).head_factors.empty());
}

TEST_CASE("gates: factors of heads that are missing, too many or out of range are named") {
  for (const json& value : {json(1), json("1"), json::object()})
    CHECK_THAT(refused_config("seer_threshold_factors", value), ContainsSubstring("to be a list, found"));
  CHECK_THAT(refused_config("seer_threshold_factors", json{{1, 1, 1, 1}}),
             ContainsSubstring("seer_threshold_factors to have 2 layers, as many as the model, found 1"));
  CHECK_THAT(refused_config("seer_threshold_factors", json{{1, 1, 1, 1}, {1, 1, 1}}),
             ContainsSubstring("seer_threshold_factors[1] to have 4 heads, as many as the model, found 3"));
  CHECK_THAT(refused_config("seer_threshold_factors", json{{1, 1, 1, 1}, 1}),
             ContainsSubstring("seer_threshold_factors[1] to be a list, found 1"));
  for (const json& factor : {json(0), json(-1), json(1000.5), json("1"), json(nullptr)})
    CHECK_THAT(refused_config("seer_threshold_factors", json{{1, 1, factor, 1}, {1, 1, 1, 1}}),
               ContainsSubstring("seer_threshold_factors[0][2] to be a number above 0 and up to 1000"));
  CHECK_THAT(refused_config("seerattn_sparsity_method", "head_threshold"),
             ContainsSubstring("the key seer_threshold_factors is missing"));
}

TEST_CASE("gates: rules and sizes out of range are named") {
  CHECK(config_with("seerattn_gate_block_size", 128).gate_block == 128);
  for (const json& value : {json(15), json(129), json(0), json(-64), json("64"), json(64.5)})
    CHECK_THAT(refused_config("seerattn_gate_block_size", value),
               ContainsSubstring("seerattn_gate_block_size"));
  CHECK_THAT(refused_config("seerattn_gate_block_size", nullptr),
             ContainsSubstring("seerattn_gate_block_size is missing"));
  CHECK_THAT(refused_config("seerattn_gate_hidden_size", nullptr),
             ContainsSubstring("seerattn_gate_hidden_size is missing"));
  for (const json& value : {json(1.0), json(-0.1), json(2), json("0.1")})
    CHECK_THAT(refused_config("seerattn_threshold", value), ContainsSubstring("seerattn_threshold"));
  for (const json& value : {json(-0.1), json(1.5), json("0.1")})
    CHECK_THAT(refused_config("seerattn_nz_ratio", value), ContainsSubstring("seerattn_nz_ratio"));
  for (const json& value : {json("topk"), json(""), json(1)})
    CHECK_THAT(refused_config("seerattn_sparsity_method", value),
               ContainsSubstring("seerattn_sparsity_method"));
  CHECK_THAT(refused_config("seerattn_last_block_dense", 1), ContainsSubstring("seerattn_last_block_dense"));
  json config = changed("seerattn_nz_ratio", 0.0);
  for (const char* method : {"nz_ratio", "nz_ratio_row"}) {
    config["seerattn_sparsity_method"] = method;
    const GateFolder folder;
    folder.write(config);
    CHECK_THAT(folder.refused(), ContainsSubstring("seerattn_nz_ratio to be above 0"));
  }
  CHECK(config_with("seerattn_last_block_dense", nullptr).rule.last_block_dense);
}

TEST_CASE("gates: those of another model name the key that differs, with both values") {
  for (const char* key : {"num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                          "hidden_size", "vocab_size"}) {
    const int64_t is = TinyGates().config(kShape)[key];
    const std::string message = refused_config(key, is * 2);
    CHECK_THAT(message, ContainsSubstring("these gates belong to another model"));
    CHECK_THAT(message, ContainsSubstring(std::string("expected ") + key + " " + std::to_string(is)));
    CHECK_THAT(message, ContainsSubstring("found " + std::to_string(is * 2)));
    CHECK(config_with(key, nullptr).gate_block == 16);  // a value that is not repeated cannot differ
  }
}

TEST_CASE("gates: a missing tensor is named, never silently dense") {
  const std::vector<NamedTensor> all = TinyGates().tensors(kShape);
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<NamedTensor> tensors = all;
    tensors.erase(tensors.begin() + static_cast<std::ptrdiff_t>(i));
    const GateFolder folder;
    folder.write(tensors);
    const std::string message = folder.refused();
    CHECK_THAT(message, ContainsSubstring(all[i].name + ": expected [4, 24, 8]"));
    CHECK_THAT(message, ContainsSubstring("no such tensor"));
  }
  TinyGates gates;
  gates.double_linear = true;
  const GateFolder folder(gates);
  std::vector<NamedTensor> tensors = gates.tensors(kShape);
  tensors.erase(tensors.begin());
  folder.write(tensors);
  CHECK_THAT(folder.refused(), ContainsSubstring(weight(0, "q")));
}

TEST_CASE("gates: an extra or misshapen tensor is named") {
  const std::vector<NamedTensor> all = TinyGates().tensors(kShape);
  const GateFolder folder;
  for (const std::string& name : {weight(2, "k"), weight(0, "q"), std::string("model.norm.weight")}) {
    std::vector<NamedTensor> tensors = all;
    tensors.push_back(zero_tensor(name, "F32", {3}));
    folder.write(tensors);
    CHECK_THAT(folder.refused(), ContainsSubstring("the tensor " + name + " [3] is not one that"));
  }
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{2, 24, 8}, {4, 8, 24}, {4, 24, 16}, {4, 192}, {4, 24, 8, 1}, {}}) {
    std::vector<NamedTensor> tensors = all;
    tensors[1] = zero_tensor(weight(1, "k"), "F32", shape);
    folder.write(tensors);
    CHECK_THAT(folder.refused(), ContainsSubstring(weight(1, "k") + ": expected [4, 24, 8]"));
  }
  std::vector<NamedTensor> tensors = all;
  tensors[1] = zero_tensor(weight(1, "k"), "I32", {4, 24, 8});
  folder.write(tensors);
  CHECK_THAT(folder.refused(), ContainsSubstring("found I32"));
  for (const char* dtype : {"BF16", "F16"}) {
    tensors[1] = zero_tensor(weight(1, "k"), dtype, {4, 24, 8});
    folder.write(tensors);
    CHECK(folder.load().layers.size() == 2);
  }
}

TEST_CASE("gates: the official .pth, unless there is a safetensors file too") {
  const std::vector<NamedTensor> all = TinyGates().tensors(kShape);
  std::vector<testing::PthTensor> tensors;
  std::vector<testing::PthStorage> storages;
  for (const NamedTensor& t : all) {
    const auto n = static_cast<int64_t>(t.bytes.size() / 4);
    const std::string key = std::to_string(storages.size());
    tensors.push_back({t.name, "FloatStorage", key, n, 0, t.shape, {t.shape[1] * t.shape[2], t.shape[2], 1}});
    storages.push_back({key, t.bytes});
  }
  const std::string pth = testing::pth_bytes(testing::state_dict_pickle(tensors), storages);
  const GateFolder folder;
  folder.write("attn_gate_weights.pth", "not read while the other file is there");
  CHECK_THAT(folder.load().tensors.source(), ContainsSubstring("attn_gate_weights.safetensors"));
  folder.remove("attn_gate_weights.safetensors");
  CHECK_THAT(folder.refused(), ContainsSubstring("attn_gate_weights.pth"));
  folder.write("attn_gate_weights.pth", pth);
  const GateWeights gates = folder.load();
  CHECK_THAT(gates.tensors.source(), ContainsSubstring("attn_gate_weights.pth"));
  const Tensor& k = gates.layers[1].linear_k;
  CHECK(std::string(static_cast<const char*>(k.data), static_cast<size_t>(k.nbytes())) == all[1].bytes);
}

TEST_CASE("gates: a folder that is none, without a config, or without weights") {
  const GateFolder folder;
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { GateWeights::load(folder.path() + "/none", model()); }),
             ContainsSubstring(folder.path() + "/none: expected a folder"));
  folder.remove("attn_gate_weights.safetensors");
  CHECK_THAT(folder.refused(),
             ContainsSubstring("expected attn_gate_weights.safetensors or attn_gate_weights.pth"));
  folder.remove("config.json");
  CHECK_THAT(folder.refused(), ContainsSubstring("config.json"));
}

TEST_CASE("gates: NaN and infinity are refused by tensor and place, in every type and wherever they are") {
  struct Case {
    const char *dtype, *found;
    std::string bytes;
  };
  const std::vector<Case> cases = {
      {"F32", "found NaN", std::string("\x01\x00\x80\x7F", 4)},
      {"F32", "found infinity", std::string("\x00\x00\x80\xFF", 4)},
      {"BF16", "found NaN", "\xC0\xFF"},
      {"BF16", "found infinity", "\x80\x7F"},
      {"F16", "found NaN", std::string("\x01\x7C", 2)},
      {"F16", "found infinity", std::string("\x00\xFC", 2)},
  };
  for (const Case& c : cases) {
    for (const size_t at : {size_t{0}, size_t{4 * 24 * 8 - 1}, size_t{24 * 8 + 2 * 8 + 3}}) {
      INFO(c.dtype << " " << c.found << " " << at);
      NamedTensor bad = zero_tensor(weight(1, "k"), c.dtype, {4, 24, 8});
      bad.bytes.replace(at * c.bytes.size(), c.bytes.size(), c.bytes);
      const GateFolder folder;
      folder.write({zero_tensor(weight(0, "k"), c.dtype, {4, 24, 8}), bad});
      const std::string message = folder.refused();
      CHECK_THAT(message, ContainsSubstring("attn_gate_weights.safetensors: " + weight(1, "k") +
                                            ": expected finite numbers, " + c.found + " at " +
                                            (at == 0                ? "[0, 0, 0]"
                                             : at == 4 * 24 * 8 - 1 ? "[3, 23, 7]"
                                                                    : "[1, 2, 3]")));
    }
  }
  // The largest finite number of each type.
  for (const auto& [dtype, bytes] : {std::pair<const char*, std::string>{"F32", "\xFF\xFF\x7F\x7F"},
                                     {"BF16", "\x7F\x7F"},
                                     {"F16", "\xFF\x7B"}}) {
    NamedTensor large = zero_tensor(weight(1, "k"), dtype, {4, 24, 8});
    large.bytes.replace(0, bytes.size(), bytes);
    const GateFolder folder;
    folder.write({zero_tensor(weight(0, "k"), dtype, {4, 24, 8}), large});
    CHECK(folder.load().layers.size() == 2);
  }
}

}  // namespace
}  // namespace seer
