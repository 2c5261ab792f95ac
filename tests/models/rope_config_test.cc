// rope_scaling (transformers 4) and rope_parameters (transformers 5) of config.json.
#include <nlohmann/json.hpp>

#include "models/config.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::refusal;
using Type = RopeConfig::Type;

json with_rope(const char* key, const json& rope) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"num_hidden_layers", 1},
          {"num_attention_heads", 2},
          {"hidden_size", 16},
          {"intermediate_size", 32},
          {"vocab_size", 10},
          {"max_position_embeddings", 4096},
          {"eos_token_id", 2},
          {"rope_theta", 50000.0},
          {key, rope}};
}

RopeConfig parse_rope(const char* key, const json& rope) {
  return ModelConfig::parse(with_rope(key, rope).dump(), "c").rope;
}

std::string refused_rope(const json& rope, ErrorKind kind = ErrorKind::kFile) {
  return refusal(kind, [&] { parse_rope("rope_scaling", rope); });
}

const json kLlama3 = {{"rope_type", "llama3"},
                      {"factor", 8.0},
                      {"low_freq_factor", 1.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 1024}};

TEST_CASE("rope config: every type says the same in the old and the new spelling") {
  const json old_llama3 = {{"type", "llama3"},
                           {"factor", 8},
                           {"low_freq_factor", 1},
                           {"high_freq_factor", 4},
                           {"original_max_position_embeddings", 1024.0}};
  const json yarn = {{"factor", 4.0}, {"original_max_position_embeddings", 1024}, {"beta_fast", 24}};
  struct Case {
    const char* type;
    json keys;
    Type expected;
  };
  const Case cases[] = {{"linear", {{"factor", 4.0}}, Type::kLinear},
                        {"dynamic", {{"factor", 4.0}}, Type::kDynamic},
                        {"yarn", yarn, Type::kYarn},
                        {"llama3", old_llama3, Type::kLlama3}};
  for (const Case& c : cases) {
    json older = c.keys, newer = c.keys;
    older["type"] = c.type;
    newer.erase("type");
    newer["rope_type"] = c.type;
    newer["rope_theta"] = 50000.0;
    json config = with_rope("rope_parameters", newer);
    config.erase("rope_theta");
    const RopeConfig rope = parse_rope("rope_scaling", older);
    CHECK(rope.type == c.expected);
    CHECK(rope.factor == c.keys["factor"].get<double>());
    CHECK(rope.theta == 50000.0);
    CHECK(rope == ModelConfig::parse(config.dump(), "c").rope);
    config["rope_scaling"] = older;  // a file for both versions
    config["rope_theta"] = 50000;
    CHECK(rope == ModelConfig::parse(config.dump(), "c").rope);
    CHECK(ModelConfig::parse(config.dump(), "c").notes.empty());
  }
}

TEST_CASE("rope config: rope_parameters and rope_scaling that differ are refused with both names") {
  json config = with_rope("rope_parameters", {{"rope_type", "linear"}, {"factor", 2.0}});
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 3.0}};
  const auto refused_both = [&] {
    return refusal(ErrorKind::kFile, [&] { ModelConfig::parse(config.dump(), "c"); });
  };
  CHECK_THAT(refused_both(), ContainsSubstring("rope_parameters and rope_scaling"));
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 7.0}};
  CHECK_THAT(refused_both(), ContainsSubstring("rope_parameters and rope_scaling"));
  config["rope_scaling"] = json::object();  // an empty object says nothing
  CHECK(ModelConfig::parse(config.dump(), "c").rope.factor == 2.0);
}

TEST_CASE(
    "rope config: rope_theta among the parameters counts, and a note says so if another is next to them") {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    const json rope = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 7000.0}};
    const ModelConfig c = ModelConfig::parse(with_rope(key, rope).dump(), "c");
    CHECK(c.rope.theta == 7000.0);
    REQUIRE(c.notes.size() == 1);
    CHECK_THAT(c.notes[0], ContainsSubstring("rope_theta is 7000 in " + std::string(key)) &&
                               ContainsSubstring("50000 next to it"));
    json config = with_rope(key, rope);
    config["rope_theta"] = 7000;
    CHECK(ModelConfig::parse(config.dump(), "c").notes.empty());
  }
}

TEST_CASE("rope config: a type that contradicts rope_type is refused with both") {
  CHECK_THAT(refused_rope({{"rope_type", "linear"}, {"type", "dynamic"}, {"factor", 2.0}}),
             ContainsSubstring("rope_type is 'linear' and type is 'dynamic'"));
  CHECK(parse_rope("rope_scaling", {{"rope_type", "linear"}, {"type", "linear"}, {"factor", 2.0}}).type ==
        Type::kLinear);
}

// In transformers 5.24.0, standardize_rope_params prefers the key next to rope_scaling.
TEST_CASE("rope config: original_max_position_embeddings next to rope_scaling counts for llama3 and yarn") {
  json llama3 = kLlama3, yarn = {{"rope_type", "yarn"}, {"factor", 8.0}};
  llama3.erase("original_max_position_embeddings");
  for (json rope : {llama3, yarn}) {
    json config = with_rope("rope_scaling", rope);
    config["original_max_position_embeddings"] = 256;
    const ModelConfig alone = ModelConfig::parse(config.dump(), "c");
    CHECK(alone.rope.original_max_positions == 256);
    REQUIRE(alone.notes.size() == 1);
    CHECK_THAT(alone.notes[0], ContainsSubstring("original_max_position_embeddings is 256 next to") &&
                                   ContainsSubstring("absent in it"));
    config["rope_scaling"]["original_max_position_embeddings"] = 1024;
    const ModelConfig both = ModelConfig::parse(config.dump(), "c");
    CHECK(both.rope.original_max_positions == 256);
    REQUIRE(both.notes.size() == 1);
    CHECK_THAT(both.notes[0], ContainsSubstring("1024 in it"));
    config["rope_scaling"]["original_max_position_embeddings"] = 256;
    CHECK(ModelConfig::parse(config.dump(), "c").notes.empty());
    config["rope_scaling"].erase("original_max_position_embeddings");
    config.erase("original_max_position_embeddings");
    const ModelConfig none = ModelConfig::parse(config.dump(), "c");
    CHECK(none.rope.original_max_positions == 4096);
    REQUIRE(none.notes.size() == 1);
    CHECK_THAT(none.notes[0], ContainsSubstring("original_max_position_embeddings is absent"));
  }
}

TEST_CASE("rope config: yarn without a factor stretches the original length to max_position_embeddings") {
  for (const bool null : {false, true}) {
    json rope = {{"rope_type", "yarn"}, {"original_max_position_embeddings", 1024}};
    if (null) rope["factor"] = nullptr;
    CHECK(parse_rope("rope_scaling", rope).factor == 4.0);
    rope["original_max_position_embeddings"] = 4096;
    CHECK(parse_rope("rope_scaling", rope).factor == 1.0);
    rope["original_max_position_embeddings"] = 8192;
    CHECK(parse_rope("rope_scaling", rope).factor == 0.5);
    rope.erase("original_max_position_embeddings");
    CHECK_THAT(refused_rope(rope), ContainsSubstring("the key factor is missing"));
    json config = with_rope("rope_scaling", rope);
    config["original_max_position_embeddings"] = 512;
    CHECK(ModelConfig::parse(config.dump(), "c").rope.factor == 8.0);
  }
}

TEST_CASE("rope config: a factor below 1 is followed with a note, and none at or below 0") {
  for (const char* type : {"linear", "dynamic", "yarn"}) {
    const ModelConfig c =
        ModelConfig::parse(with_rope("rope_scaling", {{"rope_type", type}, {"factor", 0.5}}).dump(), "c");
    CHECK(c.rope.factor == 0.5);
    REQUIRE_FALSE(c.notes.empty());
    CHECK_THAT(c.notes.back(), ContainsSubstring("rope_scaling has the factor 0.5"));
    for (const double factor : {0.0, -1.0})
      CHECK_THAT(refused_rope({{"rope_type", type}, {"factor", factor}}),
                 ContainsSubstring("factor to be a number"));
  }
}

// transformers 5.24.0 takes parameters for each kind of layer as absent for Llama and Mistral, and fails for
// Qwen2.
TEST_CASE("rope config: parameters of each kind of layer are refused by name") {
  const json rope = {{"full_attention", {{"rope_type", "linear"}, {"factor", 2.0}}}};
  CHECK_THAT(refused_rope(rope, ErrorKind::kUnsupported),
             ContainsSubstring("c: rope_scaling") && ContainsSubstring("full_attention"));
}

TEST_CASE("rope config: an object without a type is default") {
  CHECK(parse_rope("rope_parameters", json::object()).type == Type::kDefault);
  const ModelConfig c = ModelConfig::parse(with_rope("rope_scaling", {{"factor", 8.0}}).dump(), "c");
  CHECK(c.rope.factor == 1.0);
  REQUIRE(c.notes.size() == 1);
  CHECK_THAT(c.notes[0], ContainsSubstring("rope_scaling has a factor but no rope_type"));
}

TEST_CASE("rope config: every key of llama3 and yarn is read") {
  const RopeConfig llama3 = parse_rope("rope_parameters", kLlama3);
  CHECK(llama3.type == Type::kLlama3);
  CHECK(llama3.factor == 8.0);
  CHECK(llama3.low_freq_factor == 1.0);
  CHECK(llama3.high_freq_factor == 4.0);
  CHECK(llama3.original_max_positions == 1024);

  const RopeConfig yarn = parse_rope("rope_scaling", {{"rope_type", "yarn"},
                                                      {"factor", 16.0},
                                                      {"original_max_position_embeddings", 256},
                                                      {"beta_fast", 24},
                                                      {"beta_slow", 2},
                                                      {"truncate", false},
                                                      {"attention_factor", 1.25},
                                                      {"mscale", 0.5},
                                                      {"mscale_all_dim", 0.75}});
  CHECK(yarn.type == Type::kYarn);
  CHECK(yarn.factor == 16.0);
  CHECK(yarn.original_max_positions == 256);
  CHECK(yarn.beta_fast == 24.0);
  CHECK(yarn.beta_slow == 2.0);
  CHECK_FALSE(yarn.truncate);
  CHECK(yarn.attention_factor == 1.25);
  CHECK(yarn.mscale == 0.5);
  CHECK(yarn.mscale_all_dim == 0.75);
}

TEST_CASE("rope config: yarn's defaults are the paper's") {
  const RopeConfig yarn = parse_rope("rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}});
  CHECK(yarn.original_max_positions == 4096);  // max_position_embeddings
  CHECK(yarn.beta_fast == 32.0);
  CHECK(yarn.beta_slow == 1.0);
  CHECK(yarn.truncate);
  CHECK_FALSE(yarn.attention_factor.has_value());
  CHECK_FALSE(yarn.mscale.has_value());
  CHECK_FALSE(yarn.mscale_all_dim.has_value());
}

TEST_CASE("rope config: dynamic grows from max_position_embeddings, as transformers has it") {
  const json rope = {{"rope_type", "dynamic"}, {"factor", 2.0}, {"original_max_position_embeddings", 1024}};
  CHECK(parse_rope("rope_scaling", rope).original_max_positions == 4096);
}

TEST_CASE("rope config: a rope type that is not known is unsupported by its name") {
  for (const char* type : {"longrope", "su", "proportional", "LLAMA3", ""})
    CHECK_THAT(refused_rope({{"rope_type", type}, {"factor", 2.0}}, ErrorKind::kUnsupported),
               ContainsSubstring(std::string("rope type '") + type + "'"));
  CHECK_THAT(refused_rope({{"partial_rotary_factor", 0.5}}, ErrorKind::kUnsupported),
             ContainsSubstring("partial_rotary_factor"));
  json config = with_rope("rope_scaling", kLlama3);
  config["partial_rotary_factor"] = 0.5;
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { ModelConfig::parse(config.dump(), "c"); }),
             ContainsSubstring("partial_rotary_factor"));
}

TEST_CASE("rope config: what a type needs is named if it is missing") {
  for (const char* type : {"linear", "dynamic", "yarn", "llama3"})
    CHECK_THAT(refused_rope({{"rope_type", type}}),
               ContainsSubstring(std::string("the key factor is missing, which rope type '") + type + "'"));
  for (const char* key : {"low_freq_factor", "high_freq_factor"}) {
    json rope = kLlama3;
    rope.erase(key);
    CHECK_THAT(refused_rope(rope), ContainsSubstring(std::string("the key ") + key + " is missing"));
  }
}

TEST_CASE("rope config: wrong types and ranges are named") {
  for (const json& value : {json("8"), json(0.0), json(-1), json(1e9), json(true), json::array()}) {
    INFO(value);
    json rope = kLlama3;
    rope["factor"] = value;
    CHECK_THAT(refused_rope(rope), ContainsSubstring("rope_scaling: expected factor to be a number"));
  }
  for (const json& value : {json(0), json(-5), json(1.5), json("1024"), json(UINT64_MAX)}) {
    INFO(value);
    json rope = kLlama3;
    rope["original_max_position_embeddings"] = value;
    CHECK_THAT(refused_rope(rope), ContainsSubstring("original_max_position_embeddings"));
  }
  json rope = kLlama3;
  rope["high_freq_factor"] = 1.0;  // equal to low_freq_factor: a division by zero
  CHECK_THAT(refused_rope(rope),
             ContainsSubstring("high_freq_factor (1)") && ContainsSubstring("low_freq_factor (1)"));
  for (const char* key : {"beta_fast", "beta_slow"})
    CHECK_THAT(refused_rope({{"rope_type", "yarn"}, {"factor", 2.0}, {key, 0}}), ContainsSubstring(key));
  CHECK_THAT(refused_rope({{"rope_type", 3}}), ContainsSubstring("rope_type to be a string"));
  CHECK_THAT(refused_rope({{"rope_type", "yarn"}, {"factor", 2.0}, {"truncate", 1}}),
             ContainsSubstring("truncate"));
  CHECK_THAT(refused_rope({{"rope_theta", 0.5}}), ContainsSubstring("rope_theta"));
  for (const json& value : {json("linear"), json(2), json::array(), json(true)})
    CHECK_THAT(refused_rope(value), ContainsSubstring("rope_scaling to be an object"));
}

TEST_CASE("rope config: dynamic with a head of 2 would divide by zero") {
  json config = with_rope("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}});
  config["head_dim"] = 2;
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { ModelConfig::parse(config.dump(), "c"); }),
             ContainsSubstring("dynamic rope scaling"));
}

}  // namespace
}  // namespace seer
