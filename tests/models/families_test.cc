// The keys of config.json that each family reads in its own way, and its values for absent keys.
#include "models/family.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/config.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::refusal;

json config_of(const char* architecture, const json& more = json::object()) {
  json config = {{"architectures", {architecture}},
                 {"num_hidden_layers", 4},
                 {"num_attention_heads", 8},
                 {"num_key_value_heads", 2},
                 {"hidden_size", 64},
                 {"intermediate_size", 96},
                 {"vocab_size", 100},
                 {"max_position_embeddings", 512},
                 {"eos_token_id", 2}};
  config.update(more);
  return config;
}

ModelConfig parse_config(const json& config) { return ModelConfig::parse(config.dump(), "here/config.json"); }
ModelConfig mistral(const json& more) { return parse_config(config_of("MistralForCausalLM", more)); }
ModelConfig qwen2(const json& more) { return parse_config(config_of("Qwen2ForCausalLM", more)); }

std::string refused_family(const char* architecture, const json& more, ErrorKind kind = ErrorKind::kFile) {
  return refusal(kind, [&] { parse_config(config_of(architecture, more)); });
}

// The values of transformers 5.24.0 for every config class made without arguments.
TEST_CASE("families: a config that only names its family has transformers' defaults") {
  struct Case {
    const char* model_type;
    int64_t n_kv_heads, d_head, d_ff, n_vocab, max_positions;
    std::vector<int32_t> bos, eos;
  };
  const Case cases[] = {{"llama", 32, 128, 11008, 32000, 2048, {1}, {2}},
                        {"mistral", 8, 128, 14336, 32000, 131072, {1}, {2}},
                        {"qwen2", 32, 128, 22016, 151936, 32768, {}, {}},
                        {"qwen3", 32, 128, 22016, 151936, 32768, {}, {}}};
  CHECK(std::size(cases) == families().size());
  for (const Case& expected : cases) {
    INFO(expected.model_type);
    const ModelConfig c = parse_config({{"model_type", expected.model_type}});
    CHECK(c.family->model_type == expected.model_type);
    CHECK(c.n_layers == 32);
    CHECK(c.n_heads == 32);
    CHECK(c.d_model == 4096);
    CHECK(c.n_kv_heads == expected.n_kv_heads);
    CHECK(c.d_head == expected.d_head);
    CHECK(c.d_ff == expected.d_ff);
    CHECK(c.n_vocab == expected.n_vocab);
    CHECK(c.max_positions == expected.max_positions);
    CHECK(c.bos_ids == expected.bos);
    CHECK(c.eos_ids == expected.eos);
    CHECK(c.rms_norm_eps == 1e-6);
    CHECK_FALSE(c.tied_embeddings);
    CHECK(c.rope.type == RopeConfig::Type::kDefault);
    CHECK(c.rope.theta == 10000.0);
    CHECK(c.notes.size() >= 6);  // a real file like this would be broken
  }
}

TEST_CASE("families: a model without a head of its own is read like the one with it") {
  for (const char* name : {"Llama", "Mistral", "Qwen2", "Qwen3"}) {
    const ModelConfig bare = parse_config(config_of((std::string(name) + "Model").c_str()));
    CHECK(bare.family == parse_config(config_of((std::string(name) + "ForCausalLM").c_str())).family);
    CHECK(bare.architecture == std::string(name) + "Model");
  }
}

TEST_CASE("families: absent key-value heads are the family's, and null is as many as query heads") {
  json config = config_of("MistralForCausalLM", {{"num_attention_heads", 16}, {"sliding_window", nullptr}});
  config.erase("num_key_value_heads");
  const ModelConfig c = parse_config(config);
  CHECK(c.n_kv_heads == 8);
  REQUIRE(c.notes.size() == 1);
  CHECK(c.notes[0] == "num_key_value_heads is absent: it is 8, as transformers has it for mistral");
  for (const char* name : {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"})
    CHECK(parse_config(config_of(name, {{"num_key_value_heads", nullptr}})).n_kv_heads == 8);
  config = config_of("Qwen2ForCausalLM");
  config.erase("num_key_value_heads");
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { parse_config(config); }),
             ContainsSubstring("num_attention_heads (8)") && ContainsSubstring("num_key_value_heads (32)"));
}

TEST_CASE("families: Llama ignores sliding_window and pretraining_tp") {
  for (const json& value : {json(4096), json(0), json("none")}) {
    const ModelConfig c = parse_config(
        config_of("LlamaForCausalLM",
                  {{"sliding_window", value}, {"use_sliding_window", true}, {"pretraining_tp", 4}}));
    CHECK_FALSE(c.window.has_value());
    CHECK(c.notes.empty());
  }
}

TEST_CASE("families: Mistral's projections have no biases, and a note says which key is not read") {
  const ModelConfig c = mistral({{"attention_bias", true}, {"mlp_bias", false}, {"sliding_window", nullptr}});
  CHECK_FALSE(c.biases.qkv);
  CHECK_FALSE(c.biases.output);
  CHECK_FALSE(c.biases.mlp);
  REQUIRE(c.notes.size() == 1);
  CHECK_THAT(c.notes[0], ContainsSubstring("attention_bias is not read"));
}

TEST_CASE("families: Mistral has its window, none for null, and 4096 tokens if the key is absent") {
  CHECK(mistral({{"sliding_window", 300}}).window == 300);
  CHECK(mistral({{"sliding_window", 300.0}, {"use_sliding_window", false}}).window == 300);
  CHECK(mistral({{"sliding_window", 300}}).notes.empty());
  CHECK_FALSE(mistral({{"sliding_window", nullptr}, {"use_sliding_window", true}}).window.has_value());
  const ModelConfig absent = mistral(json::object());
  CHECK(absent.window == 4096);
  REQUIRE(absent.notes.size() == 1);
  CHECK_THAT(absent.notes[0], ContainsSubstring("sliding_window is absent: it is 4096"));
  for (const json& value : {json(0), json(-1), json("x"), json(2.5)})
    CHECK_THAT(refused_family("MistralForCausalLM", {{"sliding_window", value}}),
               ContainsSubstring("expected sliding_window to be an integer from 1"));
}

TEST_CASE("families: Qwen2 has biases of queries, keys and values, and no others, whatever keys say") {
  for (const bool value : {false, true}) {
    const ModelConfig c = qwen2({{"attention_bias", value}, {"mlp_bias", value}});
    CHECK(c.biases.qkv);
    CHECK_FALSE(c.biases.output);
    CHECK_FALSE(c.biases.mlp);
    CHECK_FALSE(c.head_norms);
    CHECK(c.notes.empty());
  }
}

TEST_CASE("families: Qwen2 has no window unless use_sliding_window says so") {
  for (const json& more :
       {json::object(), json{{"sliding_window", 300}}, json{{"sliding_window", 0}},
        json{{"sliding_window", 300}, {"use_sliding_window", false}, {"max_window_layers", 0}},
        json{{"sliding_window", nullptr}, {"use_sliding_window", true}, {"max_window_layers", 0}}})
    CHECK_FALSE(qwen2(more).window.has_value());
}

TEST_CASE("families: Qwen2's layers from max_window_layers on have the window") {
  const auto window = [](json more) {
    more["use_sliding_window"] = true;
    return qwen2(more).window;
  };
  CHECK(window({{"sliding_window", 300}, {"max_window_layers", 0}}) == 300);
  CHECK(window({{"sliding_window", 300}, {"max_window_layers", 3}}) == 300);
  CHECK_FALSE(window({{"sliding_window", 300}, {"max_window_layers", 4}}).has_value());
  CHECK_FALSE(window({{"sliding_window", 300}}).has_value());  // 28 layers see everything
  CHECK(window({{"sliding_window", 300}, {"num_hidden_layers", 29}}) == 300);
  CHECK(window({{"max_window_layers", 0}}) == 4096);
  CHECK_THAT(refused_family("Qwen2ForCausalLM", {{"use_sliding_window", true}, {"sliding_window", 0}}),
             ContainsSubstring("sliding_window"));
  CHECK_THAT(refused_family("Qwen2ForCausalLM", {{"use_sliding_window", 1}}),
             ContainsSubstring("use_sliding_window"));
  CHECK_THAT(refused_family("Qwen2ForCausalLM", {{"max_window_layers", -1}}),
             ContainsSubstring("max_window_layers"));
}

TEST_CASE("families: layer_types decide which of Qwen2's layers have the window") {
  const json full = "full_attention", sliding = "sliding_attention";
  const auto more = [](bool use, const json& types) {
    return json{{"use_sliding_window", use}, {"sliding_window", 300}, {"layer_types", types}};
  };
  CHECK(qwen2(more(true, {full, full, sliding, full})).window == 300);
  CHECK_FALSE(qwen2(more(true, {full, full, full, full})).window.has_value());
  CHECK_FALSE(qwen2(more(false, {full, full, full, full})).window.has_value());
  CHECK_THAT(refused_family("Qwen2ForCausalLM", more(false, {full, full, full, sliding})),
             ContainsSubstring("layer_types") && ContainsSubstring("use_sliding_window"));
  for (const json& types : {json{full, full, full}, json("full_attention"), json::array()})
    CHECK_THAT(refused_family("Qwen2ForCausalLM", more(true, types)), ContainsSubstring("a list of 4 names"));
  for (const json& type : {json("chunked_attention"), json(1), json()})
    CHECK_THAT(
        refused_family("Qwen2ForCausalLM", more(true, {full, full, full, type}), ErrorKind::kUnsupported),
        ContainsSubstring("layer_types has " + type.dump()));
}

TEST_CASE("families: Qwen3 norms its heads, and has biases of its attention only if attention_bias says so") {
  const ModelConfig plain = parse_config(config_of("Qwen3ForCausalLM", {{"mlp_bias", true}}));
  CHECK(plain.head_norms);
  CHECK_FALSE(plain.biases.qkv);
  CHECK_FALSE(plain.biases.output);
  CHECK_FALSE(plain.biases.mlp);
  CHECK(plain.notes.empty());
  const ModelConfig biased = parse_config(config_of("Qwen3ForCausalLM", {{"attention_bias", true}}));
  CHECK(biased.biases.qkv);
  CHECK(biased.biases.output);
  CHECK_FALSE(biased.biases.mlp);
  for (const char* name : {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"})
    CHECK_FALSE(parse_config(config_of(name)).head_norms);
}

TEST_CASE("families: Qwen3's heads are of 128 unless head_dim says otherwise") {
  CHECK(parse_config(config_of("Qwen3ForCausalLM")).d_head == 128);  // and not 64 / 8
  CHECK(parse_config(config_of("Qwen3ForCausalLM", {{"head_dim", nullptr}})).d_head == 128);
  CHECK(parse_config(config_of("Qwen3ForCausalLM", {{"head_dim", 32}})).d_head == 32);
  CHECK(parse_config(config_of("Qwen3ForCausalLM", {{"hidden_size", 60}})).d_head == 128);
}

TEST_CASE("families: Qwen3's layers have a window as Qwen2's do") {
  const auto window = [](const json& more) {
    return parse_config(config_of("Qwen3ForCausalLM", more)).window;
  };
  CHECK_FALSE(window({{"sliding_window", 300}, {"max_window_layers", 0}}).has_value());
  CHECK(window({{"use_sliding_window", true}, {"sliding_window", 300}, {"max_window_layers", 3}}) == 300);
  CHECK_FALSE(window({{"use_sliding_window", true}, {"sliding_window", 300}}).has_value());
}

TEST_CASE("families: Qwen3 alone has weights that Llama has not: the norms of its heads") {
  for (const Family* family : families()) CHECK(family->own_weights.empty() == (family != &kQwen3));
  REQUIRE(kQwen3.own_weights.size() == 2);
  CHECK(std::string(kQwen3.own_weights[0].name) == "self_attn.q_norm");
  CHECK(std::string(kQwen3.own_weights[1].name) == "self_attn.k_norm");
}

}  // namespace
}  // namespace seer
