// The tensors that a config asks for, and the messages for a checkpoint with other tensors.
#include "models/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/models/refusal.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::NamedTensor;
using testing::refusal;
using testing::TinyModel;
using testing::TinyShape;
using testing::zero_tensor;

ModelWeights load(const TinyModel& model, const ModelWeights::Progress& on_progress = {}) {
  const auto backend = make_cpu_backend(1);
  return ModelWeights::load(model.path(), ModelConfig::load(model.path()), backend.get(), on_progress);
}

std::string refused_weights(const TinyModel& model) {
  return refusal(ErrorKind::kFile, [&] { load(model); });
}

std::vector<NamedTensor> without(std::vector<NamedTensor> tensors, const std::string& name) {
  tensors.erase(std::remove_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; }),
                tensors.end());
  return tensors;
}

NamedTensor tensor_of(const std::vector<NamedTensor>& tensors, const std::string& name) {
  return *std::find_if(tensors.begin(), tensors.end(), [&](const NamedTensor& t) { return t.name == name; });
}

void check_tensor(const TinyModel& model, const Tensor& found, const std::string& name, const char* shape) {
  INFO(name);
  REQUIRE(found);
  CHECK(shape_string(found) == shape);
  const std::vector<float>& expected = model.values(name);
  CHECK(std::memcmp(found.data, expected.data(), expected.size() * sizeof(float)) == 0);
}

TEST_CASE("weights: every tensor in its role, with biases and an output matrix of its own") {
  const TinyModel model;
  const ModelWeights w = load(model);
  check_tensor(model, w.embedding, "model.embed_tokens.weight", "[53, 24]");
  REQUIRE(w.layers.size() == 2);
  const LayerWeights& l = w.layers[1];
  const std::string layer = "model.layers.1.";
  check_tensor(model, l.attention_norm, layer + "input_layernorm.weight", "[24]");
  check_tensor(model, l.mlp_norm, layer + "post_attention_layernorm.weight", "[24]");
  struct Role {
    const LinearWeights& linear;
    size_t part, n_parts;
    const char *name, *shape, *bias;
  };
  for (const Role& r : {Role{l.qkv, 0, 3, "self_attn.q_proj", "[32, 24]", "[32]"},
                        Role{l.qkv, 1, 3, "self_attn.k_proj", "[16, 24]", "[16]"},
                        Role{l.qkv, 2, 3, "self_attn.v_proj", "[16, 24]", "[16]"},
                        Role{l.output, 0, 1, "self_attn.o_proj", "[24, 32]", "[24]"},
                        Role{l.gate_up, 0, 2, "mlp.gate_proj", "[40, 24]", "[40]"},
                        Role{l.gate_up, 1, 2, "mlp.up_proj", "[40, 24]", "[40]"},
                        Role{l.down, 0, 1, "mlp.down_proj", "[24, 40]", "[24]"}}) {
    REQUIRE(r.linear.parts.size() == r.n_parts);
    check_tensor(model, r.linear.parts[r.part].weight, layer + r.name + ".weight", r.shape);
    check_tensor(model, r.linear.parts[r.part].bias, layer + r.name + ".bias", r.bias);
  }
  check_tensor(model, w.norm, "model.norm.weight", "[24]");
  REQUIRE(w.lm_head.parts.size() == 1);
  check_tensor(model, w.lm_head.parts[0].weight, "lm_head.weight", "[53, 24]");
  CHECK_FALSE(w.lm_head.parts[0].bias);
  CHECK(w.dtype == "F32");
  size_t n_bytes = 0;
  for (const NamedTensor& t : model.tensors()) n_bytes += t.bytes.size();
  CHECK(w.n_bytes == static_cast<int64_t>(n_bytes));
  CHECK(w.n_params == static_cast<int64_t>(n_bytes / 4));
}

TEST_CASE("weights: without biases, with tied embeddings") {
  TinyShape shape;
  shape.attention_bias = shape.mlp_bias = false;
  shape.tied = true;
  const TinyModel model(shape);
  ModelWeights w = load(model);
  for (const LinearWeights* linear :
       {&w.layers[0].qkv, &w.layers[0].output, &w.layers[0].gate_up, &w.layers[0].down})
    for (const LinearWeights::Part& part : linear->parts) CHECK_FALSE(part.bias);
  CHECK(w.lm_head.parts[0].weight.data == w.embedding.data);

  // Some exports save the tied tensor twice. The copy is neither used nor counted.
  const int64_t n_params = w.n_params;
  std::vector<NamedTensor> tensors = model.tensors();
  NamedTensor head = tensor_of(tensors, "model.embed_tokens.weight");
  head.name = "lm_head.weight";
  tensors.push_back(head);
  model.write_tensors(tensors);
  w = load(model);
  CHECK(w.tied);
  CHECK(w.lm_head.parts[0].weight.data == w.embedding.data);
  CHECK(w.n_params == n_params);
  CHECK(w.notes.empty());
}

TEST_CASE(
    "weights: a saved lm_head that differs from the embedding it is tied to is used, and a note says so") {
  TinyShape shape;
  shape.tied = true;
  const TinyModel model(shape);
  std::vector<NamedTensor> tensors = model.tensors();
  tensors.push_back(zero_tensor("lm_head.weight", "F32", {53, 24}));
  model.write_tensors(tensors);
  const ModelWeights w = load(model);
  CHECK_FALSE(w.tied);
  CHECK(w.lm_head.parts[0].weight.data != w.embedding.data);
  CHECK(*w.lm_head.parts[0].weight.as<float>() == 0.0F);
  REQUIRE(w.notes.size() == 1);
  CHECK_THAT(w.notes[0], ContainsSubstring("lm_head.weight") && ContainsSubstring("tie_word_embeddings"));
}

TEST_CASE("weights: a saved lm_head of a type that cannot be used is not passed over for the embedding") {
  TinyShape shape;
  shape.tied = true;
  const TinyModel model(shape);
  for (const char* type : {"F64", "I64"}) {
    std::vector<NamedTensor> tensors = model.tensors();
    tensors.push_back(zero_tensor("lm_head.weight", type, {53, 24}));
    model.write_tensors(tensors);
    CHECK_THAT(refused_weights(model),
               ContainsSubstring(std::string("lm_head.weight: expected F32, F16 or BF16, found ") + type +
                                 " [53, 24]"));
  }
}

TEST_CASE("weights: a decoder of a type that cannot be used is still known by its prefix") {
  const TinyModel model;
  std::vector<NamedTensor> tensors;
  for (const NamedTensor& t : model.tensors())
    tensors.push_back(t.name == "lm_head.weight" ? t : zero_tensor(t.name, "F64", t.shape));
  model.write_tensors(tensors);
  CHECK_THAT(refused_weights(model),
             ContainsSubstring("misshapen: model.embed_tokens.weight: expected F32, F16 or "
                               "BF16, found F64 [53, 24]"));
}

TEST_CASE("weights: of a tied pair either tensor may be the one that was saved") {
  TinyShape shape;
  shape.tied = true;
  const TinyModel model(shape);
  std::vector<NamedTensor> tensors = model.tensors();
  for (NamedTensor& t : tensors)
    if (t.name == "model.embed_tokens.weight") t.name = "lm_head.weight";
  model.write_tensors(tensors);
  const ModelWeights w = load(model);
  CHECK(w.tied);
  check_tensor(model, w.embedding, "model.embed_tokens.weight", "[53, 24]");
  CHECK(w.lm_head.parts[0].weight.data == w.embedding.data);
}

TEST_CASE("weights: the names of a bare LlamaModel have no prefix") {
  TinyShape shape;
  shape.tied = true;
  const TinyModel model(shape);
  std::vector<NamedTensor> tensors = model.tensors();
  for (NamedTensor& t : tensors) t.name = t.name.substr(std::strlen("model."));
  model.write_tensors(tensors);
  const ModelWeights w = load(model);
  check_tensor(model, w.layers[1].down.parts[0].weight, "model.layers.1.mlp.down_proj.weight", "[24, 40]");
  // Without a head, and without a tensor in its place, the model cannot answer.
  nlohmann::json config = model.config();
  config["tie_word_embeddings"] = false;
  model.write_config(config);
  CHECK_THAT(refused_weights(model), ContainsSubstring("missing: lm_head.weight [53, 24]"));
}

TEST_CASE("weights: one bias without the other") {
  for (const bool attention : {false, true}) {
    TinyShape shape;
    shape.attention_bias = attention;
    shape.mlp_bias = !attention;
    const TinyModel model(shape);
    const ModelWeights w = load(model);
    CHECK(static_cast<bool>(w.layers[0].output.parts[0].bias) == attention);
    CHECK(static_cast<bool>(w.layers[0].down.parts[0].bias) == !attention);
  }
}

TEST_CASE("weights: each tensor is named if it is missing") {
  TinyShape shape;
  shape.n_layers = 1;
  const TinyModel model(shape);
  for (const NamedTensor& t : model.tensors()) {
    model.write_tensors(without(model.tensors(), t.name));
    const std::string message = refused_weights(model);
    CHECK_THAT(message, ContainsSubstring("missing: " + t.name + " ["));
    CHECK_THAT(message, ContainsSubstring(model.path()));
  }
}

TEST_CASE("weights: a tensor that the config does not ask for is named") {
  const TinyModel model;
  std::vector<NamedTensor> tensors = model.tensors();
  for (const char* name :
       {"model.layers.2.mlp.up_proj.weight", "model.layers.0.self_attn.q_norm.weight", "lm_head.bias",
        "model.extra", "layers.0.mlp.up_proj.lora_A.weight", "model.layers.0.mlp.up_proj.weight_scale"}) {
    tensors.push_back(zero_tensor(name, "F32", {5}));
    model.write_tensors(tensors);
    CHECK_THAT(refused_weights(model), ContainsSubstring(std::string("unexpected: ") + name + " [5]"));
    tensors.pop_back();
  }
  tensors.push_back(zero_tensor("model.layers.0.mlp.up_proj.qweight", "I32", {5}));
  model.write_tensors(tensors);
  CHECK_THAT(refused_weights(model),
             ContainsSubstring("unexpected: model.layers.0.mlp.up_proj.qweight I32 [5]"));
}

TEST_CASE("weights: tensors that change nothing of what a decoder computes are skipped, and named") {
  const TinyModel model;
  struct Extra {
    const char *name, *dtype;
  };
  for (const Extra& extra : {Extra{"model.layers.1.self_attn.rotary_emb.inv_freq", "F32"},
                             Extra{"model.rotary_emb.inv_freq", "F32"}, Extra{"v_head.summary.weight", "F32"},
                             Extra{"model.layers.0.self_attn.k_scale", "F32"},
                             Extra{"model.layers.0.self_attn.v_proj.v_scale", "BF16"},
                             Extra{"model.embed_tokens.position_ids", "I64"}, Extra{"model.steps", "F64"},
                             Extra{"vision_tower.patch.weight", "F32"}}) {
    INFO(extra.name);
    std::vector<NamedTensor> tensors = model.tensors();
    tensors.push_back(zero_tensor(extra.name, extra.dtype, {5}));
    model.write_tensors(tensors);
    const ModelWeights w = load(model);
    REQUIRE(w.skipped.size() == 1);
    CHECK_THAT(w.skipped[0], ContainsSubstring(extra.name) && ContainsSubstring("[5]"));
    CHECK(w.notes.empty());
  }
}

TEST_CASE("weights: a tensor of a type that no product takes is named where it is needed") {
  const TinyModel model;
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  std::vector<NamedTensor> tensors = without(model.tensors(), name);
  tensors.push_back(zero_tensor(name, "F64", {24, 40}));
  model.write_tensors(tensors);
  CHECK_THAT(refused_weights(model),
             ContainsSubstring("misshapen: " + name + ": expected F32, F16 or BF16, found F64 [24, 40]") &&
                 ContainsSubstring("convert the weights to BF16, F16 or F32"));
}

TEST_CASE("weights: biases that the config denies are unexpected, those it promises are missing") {
  const TinyModel model;
  nlohmann::json config = model.config();
  config["attention_bias"] = false;
  model.write_config(config);
  CHECK_THAT(refused_weights(model),
             ContainsSubstring("unexpected: model.layers.0.self_attn.k_proj.bias [16]"));

  TinyShape shape;
  shape.mlp_bias = false;
  const TinyModel plain(shape);
  config = plain.config();
  config["mlp_bias"] = true;
  plain.write_config(config);
  CHECK_THAT(refused_weights(plain), ContainsSubstring("missing: model.layers.0.mlp.gate_proj.bias [40]"));
}

TEST_CASE("weights: a misshapen tensor is named with both shapes") {
  const TinyModel model;
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{24, 16}, {32, 24}, {384}, {16, 24, 1}, {16, 0}}) {
    std::vector<NamedTensor> tensors = without(model.tensors(), name);
    tensors.push_back(zero_tensor(name, "F32", shape));
    model.write_tensors(tensors);
    CHECK_THAT(refused_weights(model),
               ContainsSubstring("misshapen: " + name + ": expected [16, 24], found ["));
  }
  std::vector<NamedTensor> tensors = without(model.tensors(), name);
  tensors.push_back(zero_tensor(name, "I32", {16, 24}));
  model.write_tensors(tensors);
  CHECK_THAT(refused_weights(model), ContainsSubstring(name + ": expected F32, F16 or BF16, found I32"));
}

TEST_CASE("weights: a norm or a bias with NaN or infinity is refused by name and place") {
  for (const char* name : {"model.layers.1.input_layernorm.weight", "model.layers.0.self_attn.v_proj.bias"}) {
    for (const auto& [value, found] :
         {std::pair(std::nanf(""), "NaN"), std::pair(-std::numeric_limits<float>::infinity(), "infinity")}) {
      const TinyModel model;
      std::vector<NamedTensor> tensors = model.tensors();
      for (NamedTensor& t : tensors)
        if (t.name == name) std::memcpy(t.bytes.data() + 5 * sizeof value, &value, sizeof value);
      model.write_tensors(tensors);
      CHECK_THAT(
          refused_weights(model),
          ContainsSubstring(std::string(name) + ": expected finite numbers, found " + found + " at [5]"));
    }
  }
}

TEST_CASE("weights: a checkpoint of another size lists the first few of each problem and counts the rest") {
  const TinyModel model;
  nlohmann::json config = model.config();
  config["num_hidden_layers"] = 3;
  config["vocab_size"] = 54;
  model.write_config(config);
  const std::string message = refused_weights(model);
  CHECK_THAT(message, ContainsSubstring("missing: model.layers.2.input_layernorm.weight [24]"));
  CHECK_THAT(message, ContainsSubstring("missing: and 12 more"));
  CHECK_THAT(message, ContainsSubstring("misshapen: model.embed_tokens.weight: expected [54, 24]"));
  CHECK_THAT(message, ContainsSubstring("misshapen: lm_head.weight: expected [54, 24], found [53, 24]"));
  CHECK(message.find("misshapen: and") == std::string::npos);
}

TEST_CASE("weights: the type of most bytes is the model's") {
  const TinyModel model;
  int64_t n_params = 0;
  for (const NamedTensor& t : model.tensors()) n_params += static_cast<int64_t>(t.bytes.size() / 4);
  for (const char* most : {"F32", "F16", "BF16"}) {
    for (const char* least : {"F32", "F16", "BF16"}) {
      std::vector<NamedTensor> tensors;
      for (const NamedTensor& t : model.tensors())
        tensors.push_back(zero_tensor(t.name, t.shape.size() == 1 ? least : most, t.shape));
      model.write_tensors(tensors);
      const ModelWeights w = load(model);
      CHECK(w.dtype == most);
      CHECK(w.n_params == n_params);
    }
  }
}

TEST_CASE("weights: progress rises to the whole, and false cancels") {
  const TinyModel model;
  std::vector<int64_t> done;
  int64_t total = 0;
  const ModelWeights w = load(model, [&](int64_t bytes, int64_t all) {
    done.push_back(bytes);
    total = all;
    return true;
  });
  CHECK(done.size() > 10);  // at least once for each matrix or norm
  CHECK(std::is_sorted(done.begin(), done.end()));
  CHECK(done.back() == total);
  CHECK(total == w.n_bytes);

  int n_calls = 0;
  const std::string message =
      refusal(ErrorKind::kCancelled, [&] { load(model, [&](int64_t, int64_t) { return ++n_calls < 3; }); });
  CHECK_THAT(message, ContainsSubstring(model.path()));
  CHECK(n_calls == 3);  // it is not called again
}

TEST_CASE("weights: without vocab_size the saved embedding says how many ids there are, with a note") {
  const TinyModel model;
  nlohmann::json config = model.config();
  config.erase("vocab_size");
  model.write_config(config);
  ModelConfig found = ModelConfig::load(model.path());
  CHECK(found.n_vocab == 32000);  // transformers' default
  find_vocabulary(model.path(), &found);
  CHECK(found.n_vocab == 53);
  CHECK(std::count(found.notes.begin(), found.notes.end(),
                   "vocab_size is absent: it is 53, as the saved embedding has it") == 1);
  CHECK(std::none_of(found.notes.begin(), found.notes.end(),
                     [](const std::string& note) { return note.find("32000") != note.npos; }));
  const auto backend = make_cpu_backend(1);
  CHECK(ModelWeights::load(model.path(), found, backend.get(), {}).embedding.dim(0) == 53);
}

TEST_CASE("weights: a vocab_size that config.json gives is never changed") {
  const TinyModel model;
  nlohmann::json config = model.config();
  config["vocab_size"] = 54;
  model.write_config(config);
  ModelConfig found = ModelConfig::load(model.path());
  find_vocabulary(model.path(), &found);
  CHECK(found.n_vocab == 54);
  CHECK_THAT(refused_weights(model), ContainsSubstring("model.embed_tokens.weight"));
}

TEST_CASE("weights: random ones report their progress, and can be cancelled") {
  const TinyModel model;
  const ModelConfig config = ModelConfig::load(model.path());
  const auto backend = make_cpu_backend(1);
  std::vector<std::pair<int64_t, int64_t>> steps;
  ModelWeights::random(config, Shard(config), backend.get(), 1, [&](int64_t done, int64_t total) {
    steps.emplace_back(done, total);
    return true;
  });
  REQUIRE(steps.size() > 10);
  CHECK(std::is_sorted(steps.begin(), steps.end()));
  CHECK(steps.back().first == steps.back().second);
  const auto cancelled = [&] {
    ModelWeights::random(config, Shard(config), backend.get(), 1, [](int64_t, int64_t) { return false; });
  };
  CHECK_THAT(refusal(ErrorKind::kCancelled, cancelled), ContainsSubstring("cancelled"));
}

}  // namespace
}  // namespace seer
