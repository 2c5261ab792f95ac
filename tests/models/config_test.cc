// config.json of old and new transformers: the values read, the defaults of absent keys, and refusals that
// name the key.
#include "models/config.h"

#include <nlohmann/json.hpp>

#include "models/family.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::refusal;
using testing::write_file;

// Returns the smallest config of a Llama checkpoint.
json minimal() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"eos_token_id", 2},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 8},
          {"hidden_size", 64},
          {"intermediate_size", 96},
          {"vocab_size", 100},
          {"max_position_embeddings", 512}};
}

json with(const std::string& key, const json& value) {
  json config = minimal();
  config[key] = value;
  return config;
}

ModelConfig parse(const json& config) { return ModelConfig::parse(config.dump(), "here/config.json"); }

std::string refused(const json& config, ErrorKind kind = ErrorKind::kFile) {
  std::string message = refusal(kind, [&] { parse(config); });
  CHECK_THAT(message, ContainsSubstring("here/config.json"));
  return message;
}

TEST_CASE("config: positions are those that a context can have") {
  CHECK(parse(with("max_position_embeddings", 1 << 30)).max_positions == 1 << 30);
  CHECK_THAT(
      refused(with("max_position_embeddings", (1 << 30) + 1)),
      ContainsSubstring("expected max_position_embeddings to be an integer from 1 to 1073741824, found "
                        "1073741825"));
  CHECK_THAT(refused(with("eos_token_id", int64_t{1} << 31)),
             ContainsSubstring("eos_token_id") && ContainsSubstring("integers up to 2147483647") &&
                 ContainsSubstring("found 2147483648"));
}

TEST_CASE("config: the least there is, and its defaults") {
  const ModelConfig c = parse(minimal());
  CHECK(c.architecture == "LlamaForCausalLM");
  CHECK(c.n_layers == 2);
  CHECK(c.n_heads == 8);
  CHECK(c.n_kv_heads == 8);
  CHECK(c.d_model == 64);
  CHECK(c.d_head == 8);
  CHECK(c.d_ff == 96);
  CHECK(c.n_vocab == 100);
  CHECK(c.max_positions == 512);
  CHECK(c.rms_norm_eps == 1e-6);
  CHECK(c.dtype == "");
  CHECK_FALSE(c.tied_embeddings);
  CHECK_FALSE(c.biases.qkv);
  CHECK_FALSE(c.biases.output);
  CHECK_FALSE(c.biases.mlp);
  CHECK(c.bos_ids == std::vector<int32_t>{1});
  CHECK(c.eos_ids == std::vector<int32_t>{2});
  CHECK_FALSE(c.window.has_value());
  CHECK(c.rope.type == RopeConfig::Type::kDefault);
  CHECK(c.rope.theta == 10000.0);
}

TEST_CASE("config: every optional key is read") {
  json config = minimal();
  config["num_key_value_heads"] = 2;
  config["head_dim"] = 32;
  config["rms_norm_eps"] = 1e-5;
  config["tie_word_embeddings"] = true;
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  config["rope_theta"] = 500000;
  config["bos_token_id"] = 1;
  config["eos_token_id"] = {2, 3};
  const ModelConfig c = parse(config);
  CHECK(c.n_kv_heads == 2);
  CHECK(c.d_head == 32);
  CHECK(c.rms_norm_eps == 1e-5);
  CHECK(c.tied_embeddings);
  CHECK(c.biases.qkv);
  CHECK(c.biases.output);
  CHECK(c.biases.mlp);
  CHECK(c.rope.theta == 500000.0);
  CHECK(c.bos_ids == std::vector<int32_t>{1});
  CHECK(c.eos_ids == std::vector<int32_t>{2, 3});
}

TEST_CASE("config: null counts as absent") {
  for (const char* key :
       {"num_key_value_heads", "head_dim", "rope_scaling", "rope_parameters", "rope_theta", "torch_dtype",
        "dtype", "tie_word_embeddings", "sliding_window", "quantization_config", "hidden_act", "rms_norm_eps",
        "partial_rotary_factor", "original_max_position_embeddings", "model_type"}) {
    INFO(key);
    const ModelConfig c = parse(with(key, nullptr));
    CHECK(c.n_kv_heads == 8);
    CHECK(c.d_head == 8);
    CHECK(c.notes.empty());
  }
  CHECK(parse(with("hidden_size", nullptr)).d_model == 4096);
}

TEST_CASE("config: the ids of a family's first checkpoints stand in for absent ids, and null is none") {
  json config = minimal();
  config.erase("eos_token_id");
  const ModelConfig c = parse(config);
  CHECK(c.eos_ids == std::vector<int32_t>{2});
  CHECK(c.default_eos);  // whether it is used depends on the other files
  CHECK(c.notes.empty());
  CHECK_FALSE(parse(with("eos_token_id", 2)).default_eos);
  CHECK(parse(with("eos_token_id", nullptr)).eos_ids.empty());
  CHECK(parse(with("bos_token_id", nullptr)).bos_ids.empty());
  config["vocab_size"] = 2;
  CHECK(parse(config).eos_ids.empty());  // no such token exists
  config["architectures"] = {"Qwen2ForCausalLM"};
  config["num_key_value_heads"] = 8;
  CHECK(parse(config).eos_ids.empty());
}

TEST_CASE("config: an ordinary file has no notes") { CHECK(parse(minimal()).notes.empty()); }

TEST_CASE("config: unknown keys are ignored") {
  json config = with("transformers_version", "5.24.0");
  config["pretraining_tp"] = 2;
  config["auto_map"] = {{"AutoConfig", "x.Y"}};
  config["layer_types"] = "which Llama does not read";
  CHECK(parse(config).notes.empty());
}

TEST_CASE("config: torch_dtype and dtype are the same key of two versions") {
  CHECK(parse(with("torch_dtype", "bfloat16")).dtype == "bfloat16");
  CHECK(parse(with("dtype", "float16")).dtype == "float16");
  json both = with("dtype", "float32");
  both["torch_dtype"] = "bfloat16";
  CHECK(parse(both).dtype == "float32");  // the newer key counts
}

TEST_CASE("config: transformers' default stands in for an absent size, and a note says so") {
  struct Case {
    const char* key;
    int64_t ModelConfig::*size;
    int64_t usual;
  };
  const Case cases[] = {{"num_hidden_layers", &ModelConfig::n_layers, 32},
                        {"num_attention_heads", &ModelConfig::n_heads, 32},
                        {"hidden_size", &ModelConfig::d_model, 4096},
                        {"intermediate_size", &ModelConfig::d_ff, 11008},
                        {"vocab_size", &ModelConfig::n_vocab, 32000},
                        {"max_position_embeddings", &ModelConfig::max_positions, 2048}};
  for (const Case& c : cases) {
    INFO(c.key);
    json config = minimal();
    config.erase(c.key);
    const ModelConfig parsed = parse(config);
    CHECK(parsed.*c.size == c.usual);
    REQUIRE(parsed.notes.size() == 1);
    CHECK(parsed.notes[0] == std::string(c.key) + " is absent: it is " + std::to_string(c.usual) +
                                 ", as transformers has it for llama");
  }
}

TEST_CASE("config: without architectures and model_type nothing says what the model is") {
  json config = minimal();
  config.erase("architectures");
  for (const bool null : {false, true}) {
    if (null) config["architectures"] = config["model_type"] = nullptr;
    const std::string message = refused(config);
    CHECK_THAT(message, ContainsSubstring("the keys architectures and model_type are missing"));
    CHECK_THAT(message, ContainsSubstring("LlamaForCausalLM, MistralForCausalLM"));
  }
}

TEST_CASE("config: a number with a fraction of zero is an integer") {
  CHECK(parse(with("max_position_embeddings", 8192.0)).max_positions == 8192);
  CHECK(parse(with("num_key_value_heads", 2.0)).n_kv_heads == 2);
  CHECK(parse(with("eos_token_id", {2.0, 3})).eos_ids == std::vector<int32_t>{2, 3});
  CHECK(ModelConfig::parse("{\"head_dim\":3.2e1," + minimal().dump().substr(1), "c").d_head == 32);
  CHECK_THAT(refused(with("max_position_embeddings", 1e30)), ContainsSubstring("max_position_embeddings"));
  CHECK_THAT(refused(with("eos_token_id", 2.5)), ContainsSubstring("eos_token_id"));
}

TEST_CASE("config: NaN and Infinity, as Python writes them, are refused by key and file") {
  const auto message = [](const std::string& text) {
    return refusal(ErrorKind::kFile, [&] { ModelConfig::parse(text, "here/config.json"); });
  };
  const std::string rest = minimal().dump().substr(1);
  for (const std::string value : {"NaN", "Infinity", "-Infinity"}) {
    for (const std::string& text : {"{\"rope_theta\": " + value + "," + rest,
                                    "{\"name\":\"a \\\"NaN\\\" b\",\"rope_theta\" :[1," + value + "]," + rest,
                                    "{\"rope_scaling\":{\"rope_theta\":" + value + "}," + rest}) {
      INFO(text);
      CHECK_THAT(message(text), ContainsSubstring("expected the key \"rope_theta\" to have "
                                                  "finite numbers, found " +
                                                  value + ","));
    }
  }
  // A string with that text is no NaN, and other damage keeps its own message.
  CHECK(ModelConfig::parse("{\"name\":\"NaN\"," + rest, "c").n_layers == 2);
  CHECK_THAT(message("{\"name\":\"NaN\",}"), ContainsSubstring("expected JSON"));
  CHECK_THAT(message("{\"a\\"), ContainsSubstring("expected JSON"));
}

TEST_CASE("config: a key of the wrong type is named with what was found") {
  for (const char* key : {"num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                          "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    for (const json& value : {json("64"), json(64.5), json(true), json({64}), json::object()}) {
      INFO(key << " " << value);
      const std::string message = refused(with(key, value));
      CHECK_THAT(message, ContainsSubstring(std::string("expected ") + key + " to be an integer"));
      CHECK_THAT(message, ContainsSubstring("found " + value.dump()));
    }
  }
  for (const char* key : {"tie_word_embeddings", "attention_bias", "mlp_bias"})
    for (const json& value : {json(1), json("true")})
      CHECK_THAT(refused(with(key, value)), ContainsSubstring(std::string(key) + " to be true or false"));
  for (const char* key : {"rms_norm_eps", "rope_theta"})
    CHECK_THAT(refused(with(key, "1e-5")), ContainsSubstring(std::string(key) + " to be a number"));
  for (const char* key : {"torch_dtype", "dtype", "hidden_act"})
    CHECK_THAT(refused(with(key, 16)), ContainsSubstring(std::string(key) + " to be a string"));
  for (const json& value : {json("</s>"), json(1.5), json(int64_t{1} << 31), json(uint64_t{1} << 63),
                            json(json::array({json::array({1})}))})
    CHECK_THAT(refused(with("eos_token_id", value)), ContainsSubstring("eos_token_id to be a token id"));
}

TEST_CASE("config: a negative id stands for no token") {
  CHECK(parse(with("eos_token_id", -1)).eos_ids.empty());
  CHECK_FALSE(parse(with("eos_token_id", -1)).default_eos);
  CHECK(parse(with("eos_token_id", {1, -1})).eos_ids == std::vector<int32_t>{1});
  CHECK(parse(with("bos_token_id", -1)).bos_ids.empty());
}

TEST_CASE("config: sizes out of range are refused by name") {
  for (const char* key : {"num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
                          "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings"}) {
    for (const json& value :
         {json(0), json(-1), json(INT64_MAX), json(INT64_MIN), json(UINT64_MAX), json(int64_t{1} << 32)}) {
      INFO(key << " " << value);
      CHECK_THAT(refused(with(key, value)), ContainsSubstring(key));
    }
  }
  CHECK_THAT(refused(with("rms_norm_eps", -1e-6)), ContainsSubstring("rms_norm_eps"));
  CHECK_THAT(refused(with("rms_norm_eps", 2)), ContainsSubstring("rms_norm_eps"));
  CHECK_THAT(refused(with("rope_theta", 0)), ContainsSubstring("rope_theta"));
  CHECK_THAT(refused(with("rope_theta", -10000.0)), ContainsSubstring("rope_theta"));
}

TEST_CASE("config: heads that do not divide are refused with both numbers") {
  std::string message = refused(with("num_key_value_heads", 3));
  CHECK_THAT(message, ContainsSubstring("num_attention_heads (8)"));
  CHECK_THAT(message, ContainsSubstring("num_key_value_heads (3)"));
  CHECK_THAT(refused(with("num_key_value_heads", 16)), ContainsSubstring("num_key_value_heads (16)"));
  message = refused(with("hidden_size", 60));
  CHECK_THAT(message, ContainsSubstring("hidden_size (60)"));
  CHECK_THAT(message, ContainsSubstring("num_attention_heads (8)"));
  json config = with("hidden_size", 60);
  config["head_dim"] = 8;
  CHECK(parse(config).d_head == 8);  // hidden_size need not be n_heads * head_dim
}

TEST_CASE("config: a head that RoPE cannot halve, or beyond what kernels take, is refused") {
  CHECK_THAT(refused(with("head_dim", 7)), ContainsSubstring("even head size"));
  CHECK_THAT(refused(with("hidden_size", 8)), ContainsSubstring("even head size of at most 4096, found 1"));
  CHECK(parse(with("head_dim", 4096)).d_head == 4096);
  CHECK_THAT(refused(with("head_dim", 4098)), ContainsSubstring("head_dim"));
  CHECK_THAT(refused(with("hidden_size", 8 * 4098)), ContainsSubstring("found 4098"));
  json config = with("num_attention_heads", 1 << 20);
  config["head_dim"] = 4096;
  CHECK_THAT(refused(config), ContainsSubstring("num_attention_heads * head_dim"));
}

TEST_CASE("config: architectures decide the family, and model_type does without them") {
  CHECK(parse(with("architectures", {"MistralForCausalLM"})).architecture == "MistralForCausalLM");
  for (const char* name : {"LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"}) {
    const ModelConfig c = parse(with("architectures", {name}));
    CHECK(c.architecture == name);
    CHECK(c.family == &kLlama);
  }
  for (const json& none : {json(), json("absent"), json::array()}) {
    json config = with("architectures", none);
    if (none.is_string()) config.erase("architectures");
    config["model_type"] = "llama";
    CHECK(parse(config).architecture == "LlamaForCausalLM");
    config["model_type"] = "mistral";
    CHECK(parse(config).architecture == "MistralForCausalLM");
    config["model_type"] = "gpt2";
    CHECK_THAT(refused(config, ErrorKind::kUnsupported), ContainsSubstring("'gpt2'"));
  }
  CHECK_THAT(refused(with("architectures", {"GemmaForCausalLM"}), ErrorKind::kUnsupported),
             ContainsSubstring("'GemmaForCausalLM'") && ContainsSubstring("Qwen2ForCausalLM"));
  for (const json& value : {json("LlamaForCausalLM"), json({1}), json::object()})
    CHECK_THAT(refused(with("architectures", value)), ContainsSubstring("architectures to be a list"));
}

TEST_CASE("config: architectures and model_type of different families are refused with both names") {
  const std::string message = refused(with("model_type", "mistral"));
  CHECK_THAT(message, ContainsSubstring("'mistral'") && ContainsSubstring("'LlamaForCausalLM'"));
  CHECK(parse(with("model_type", "llama")).notes.empty());
  const ModelConfig c = parse(with("model_type", "my_llama"));
  REQUIRE(c.notes.size() == 1);
  CHECK_THAT(c.notes[0], ContainsSubstring("'my_llama'") && ContainsSubstring("by its architectures"));
}

TEST_CASE("config: what would change the mathematics is refused, its neutral value is not") {
  struct Case {
    const char* key;
    json refused, neutral;
  };
  const Case cases[] = {{"hidden_act", "gelu", "silu"},
                        {"hidden_act", "relu", "swish"},
                        {"quantization_config", json{{"quant_method", "bitsandbytes"}}, nullptr},
                        {"quantization_config", json::object(), nullptr},
                        {"partial_rotary_factor", 0.5, 1.0}};
  for (const Case& c : cases) {
    INFO(c.key);
    CHECK_THAT(refused(with(c.key, c.refused), ErrorKind::kUnsupported), ContainsSubstring(c.key));
    CHECK(parse(with(c.key, c.neutral)).n_layers == 2);
  }
}

TEST_CASE("config: a folder, a file, and JSON that is none") {
  const testing::TempDir dir;
  const std::string path = dir.path().string(), file = path + "/config.json";
  const auto load = [&] { ModelConfig::load(path); };
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { ModelConfig::load(path + "/none"); }),
             ContainsSubstring(path + "/none: there is no such folder"));
  CHECK_THAT(refusal(ErrorKind::kFile, load),
             ContainsSubstring(path + ": the folder is empty") && ContainsSubstring("config.json"));
  for (const std::string text : {"", "{", "[]", "3", "null", "{\"a\":1}x", "{\"a\":\xFF}", "{'a':1}"}) {
    INFO(text);
    write_file(file, text);
    CHECK_THAT(refusal(ErrorKind::kFile, load), ContainsSubstring(file));
  }
  const std::string text = minimal().dump();
  write_file(file, text.substr(0, text.size() / 2));
  CHECK_THAT(refusal(ErrorKind::kFile, load), ContainsSubstring(file));
  write_file(file, text);
  CHECK(ModelConfig::load(path).n_layers == 2);
}

TEST_CASE("config: a key that is there twice is refused, at any depth") {
  const auto message = [](const std::string& text) {
    return refusal(ErrorKind::kFile, [&] { ModelConfig::parse(text, "c"); });
  };
  const std::string text = minimal().dump();
  CHECK_THAT(message("{\"vocab_size\":7," + text.substr(1)),
             ContainsSubstring("\"vocab_size\" is there twice"));
  CHECK_THAT(message("{\"rope_scaling\":{\"factor\":1,\"factor\":2}," + text.substr(1)),
             ContainsSubstring("\"factor\" is there twice"));
  // The same key of two objects is no duplicate.
  CHECK(ModelConfig::parse("{\"a\":{\"x\":1},\"b\":{\"x\":1,\"a\":2}," + text.substr(1), "c").n_layers == 2);
}

TEST_CASE("config: a nesting bomb is refused before it exhausts the stack") {
  for (const int depth : {65, 100'000}) {
    for (const std::string opening : {"[", "{\"a\":"}) {
      std::string text = "{\"x\":";
      for (int i = 0; i < depth; ++i) text += opening;
      CHECK_THAT(refusal(ErrorKind::kFile, [&] { ModelConfig::parse(text, "bomb.json"); }),
                 ContainsSubstring("bomb.json"));
    }
  }
  const std::string shallow = std::string(50, '[') + std::string(50, ']');
  CHECK(ModelConfig::parse("{\"x\":" + shallow + "," + minimal().dump().substr(1), "c").n_layers == 2);
  CHECK_THAT(refusal(ErrorKind::kFile,
                     [&] {
                       ModelConfig::parse("{\"x\":" + std::string(80, '[') + std::string(80, ']') + "}", "c");
                     }),
             ContainsSubstring("nested more than 64 deep"));
}

TEST_CASE("config: a file beyond 16 MiB is refused by its size") {
  const testing::TempDir dir;
  const std::string padding((16 << 20) + 1, ' ');
  write_file(dir.path() / "config.json", minimal().dump() + padding);
  CHECK_THAT(refusal(ErrorKind::kFile, [&] { ModelConfig::load(dir.path().string()); }),
             ContainsSubstring("at most 16 MiB, found"));
}

TEST_CASE("config: long or strange values are shortened in messages") {
  const std::string message = refused(with("hidden_size", std::string(5000, 'x')));
  CHECK(message.size() < 300);
  CHECK_THAT(message, ContainsSubstring("xxx..."));
}

}  // namespace
}  // namespace seer
