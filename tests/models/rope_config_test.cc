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
          {"rope_theta", 50000.0},
          {key, rope}};
}

RopeConfig parse(const char* key, const json& rope) {
  return ModelConfig::parse(with_rope(key, rope).dump(), "c").rope;
}

std::string refused(const json& rope, ErrorKind kind = ErrorKind::kFile) {
  return refusal(kind, [&] { parse("rope_scaling", rope); });
}

const json kLlama3 = {{"rope_type", "llama3"},
                      {"factor", 8.0},
                      {"low_freq_factor", 1.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 1024}};

TEST_CASE("rope config: old and new spellings say the same") {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    for (const char* type_key : {"rope_type", "type"}) {
      INFO(key << " " << type_key);
      const RopeConfig rope = parse(key, {{type_key, "linear"}, {"factor", 4.0}});
      CHECK(rope.type == Type::kLinear);
      CHECK(rope.factor == 4.0);
      CHECK(rope.theta == 50000.0);
    }
  }
}

TEST_CASE("rope config: rope_parameters carries its own theta, and rules where both are there") {
  CHECK(parse("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7000.0}}).theta == 7000.0);
  json config = with_rope("rope_parameters", {{"rope_type", "linear"}, {"factor", 2.0}});
  config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 3.0}};
  CHECK(ModelConfig::parse(config.dump(), "c").rope.factor == 2.0);
}

TEST_CASE("rope config: rope_type comes before the older type") {
  CHECK(parse("rope_scaling", {{"rope_type", "linear"}, {"type", "default"}, {"factor", 2.0}}).type ==
        Type::kLinear);
}

TEST_CASE("rope config: an object without a type is default") {
  CHECK(parse("rope_parameters", json::object()).type == Type::kDefault);
  CHECK(parse("rope_scaling", {{"factor", 8.0}}).factor == 1.0);
}

TEST_CASE("rope config: every key of llama3 and yarn is read") {
  const RopeConfig llama3 = parse("rope_parameters", kLlama3);
  CHECK(llama3.type == Type::kLlama3);
  CHECK(llama3.factor == 8.0);
  CHECK(llama3.low_freq_factor == 1.0);
  CHECK(llama3.high_freq_factor == 4.0);
  CHECK(llama3.original_max_positions == 1024);

  const RopeConfig yarn = parse("rope_scaling", {{"rope_type", "yarn"},
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
  const RopeConfig yarn = parse("rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}});
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
  CHECK(parse("rope_scaling", rope).original_max_positions == 4096);
}

TEST_CASE("rope config: a rope type that is not known is unsupported by its name") {
  for (const char* type : {"longrope", "su", "proportional", "LLAMA3", ""})
    CHECK_THAT(refused({{"rope_type", type}, {"factor", 2.0}}, ErrorKind::kUnsupported),
               ContainsSubstring(std::string("rope type '") + type + "'"));
  CHECK_THAT(refused({{"partial_rotary_factor", 0.5}}, ErrorKind::kUnsupported),
             ContainsSubstring("partial_rotary_factor"));
}

TEST_CASE("rope config: what a type needs is named where it is missing") {
  for (const char* type : {"linear", "dynamic", "yarn", "llama3"})
    CHECK_THAT(refused({{"rope_type", type}}),
               ContainsSubstring(std::string("the key factor is missing, which rope type '") + type + "'"));
  for (const char* key : {"low_freq_factor", "high_freq_factor"}) {
    json rope = kLlama3;
    rope.erase(key);
    CHECK_THAT(refused(rope), ContainsSubstring(std::string("the key ") + key + " is missing"));
  }
}

TEST_CASE("rope config: wrong types and ranges are named") {
  for (const json& value : {json("8"), json(0.5), json(-1), json(1e9), json(true), json::array()}) {
    INFO(value);
    json rope = kLlama3;
    rope["factor"] = value;
    CHECK_THAT(refused(rope), ContainsSubstring("rope_scaling: expected factor to be a number"));
  }
  for (const json& value : {json(0), json(-5), json(1.5), json("1024"), json(UINT64_MAX)}) {
    INFO(value);
    json rope = kLlama3;
    rope["original_max_position_embeddings"] = value;
    CHECK_THAT(refused(rope), ContainsSubstring("original_max_position_embeddings"));
  }
  json rope = kLlama3;
  rope["high_freq_factor"] = 1.0;  // equal to low_freq_factor: a division by zero
  CHECK_THAT(refused(rope), ContainsSubstring("high_freq_factor"));
  CHECK_THAT(refused({{"rope_type", 3}}), ContainsSubstring("rope_type to be a string"));
  CHECK_THAT(refused({{"rope_type", "yarn"}, {"factor", 2.0}, {"truncate", 1}}),
             ContainsSubstring("truncate"));
  CHECK_THAT(refused({{"rope_theta", 0.5}}), ContainsSubstring("rope_theta"));
  for (const json& value : {json("linear"), json(2), json::array(), json(true)})
    CHECK_THAT(refused(value), ContainsSubstring("rope_scaling to be an object"));
}

TEST_CASE("rope config: dynamic with a head of 2 would divide by zero") {
  json config = with_rope("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}});
  config["head_dim"] = 2;
  CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { ModelConfig::parse(config.dump(), "c"); }),
             ContainsSubstring("dynamic rope scaling"));
}

}  // namespace
}  // namespace seer
