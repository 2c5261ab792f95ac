// quantization_config: the schemes that are read, and that every other one is refused by its key.
#include "models/json_util.h"
#include "models/quant/scheme.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using Layout = QuantScheme::Layout;

QuantScheme read(const Json& quantisation, const char* key = "quantization_config") {
  const auto scheme = QuantScheme::read(JsonReader(Json{{key, quantisation}}, "config.json"));
  REQUIRE(scheme);
  return *scheme;
}
std::string refused_scheme(const Json& quantisation, ErrorKind kind = ErrorKind::kUnsupported) {
  try {
    QuantScheme::read(JsonReader(Json{{"quantization_config", quantisation}}, "config.json"));
  } catch (const Error& error) {
    CHECK(error.kind() == kind);
    return error.what();
  }
  return "not refused";
}
Json with(Json value, const std::string& pointer, const Json& changed) {
  value[Json::json_pointer(pointer)] = changed;
  return value;
}

const Json kFloatGroup = {
    {"targets", {"Linear"}},
    {"weights",
     {{"num_bits", 8}, {"type", "float"}, {"strategy", "channel"}, {"symmetric", true}, {"dynamic", false}}},
    {"input_activations",
     {{"num_bits", 8}, {"type", "float"}, {"strategy", "token"}, {"symmetric", true}, {"dynamic", true}}},
    {"output_activations", nullptr}};
const Json kFloat = {{"quant_method", "compressed-tensors"},        {"format", "float-quantized"},
                     {"config_groups", {{"group_0", kFloatGroup}}}, {"ignore", {"lm_head", "re:.*gate.*"}},
                     {"sparsity_config", Json::object()},           {"kv_cache_scheme", nullptr}};
const std::string kWeights = "/config_groups/group_0/weights",
                  kInputs = "/config_groups/group_0/input_activations";

Json int_config() {
  Json config = with(with(kFloat, kWeights + "/type", "int"), kInputs + "/type", "int");
  config["format"] = "int-quantized";
  return config;
}
Json packed_config() {
  Json config =
      with(with(with(kFloat, kWeights + "/type", "int"), kWeights + "/num_bits", 4), kInputs, nullptr);
  config["format"] = "pack-quantized";
  config = with(config, kWeights + "/strategy", "group");
  return with(config, kWeights + "/group_size", 64);
}
const Json kGptq = {
    {"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}, {"desc_act", true}, {"sym", false}};
const Json kAwq = {
    {"quant_method", "awq"}, {"bits", 4}, {"group_size", 64}, {"zero_point", true}, {"version", "GEMM"}};
const Json kFp8 = {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}};

TEST_CASE("quantisation: the schemes of compressed-tensors are read") {
  const QuantScheme channel = read(kFloat);
  CHECK(channel.layout == Layout::kRows);
  CHECK(channel.codes == DType::kF8E4M3);
  CHECK((channel.group == 0 && channel.row_block == 1 && channel.input_codes == InputCodes::kE4M3Token));
  CHECK(channel.leaves_plain("lm_head"));
  CHECK_FALSE(channel.leaves_plain("model.layers.0.mlp.down_proj"));
  CHECK(channel.plain_by_pattern);
  CHECK(channel.method == "compressed-tensors, float-quantized");

  Json tensor = with(with(kFloat, kWeights + "/strategy", "tensor"), kInputs + "/strategy", "tensor");
  CHECK(read(with(tensor, kInputs + "/dynamic", false)).input_codes == InputCodes::kE4M3Static);
  CHECK(read(with(tensor, kInputs, nullptr)).row_block == 0);
  CHECK(read(with(tensor, kInputs, nullptr)).input_codes == InputCodes::kNone);

  Json block = with(with(kFloat, kWeights + "/strategy", "block"), kWeights + "/block_structure", {128, 128});
  block = with(with(block, kInputs + "/strategy", "group"), kInputs + "/group_size", 128);
  CHECK(read(block).input_codes == InputCodes::kE4M3Token128);
  CHECK((read(block).group == 128 && read(block).row_block == 128));

  CHECK(read(int_config()).codes == DType::kI8);
  CHECK(read(int_config()).input_codes == InputCodes::kI8Token);
  CHECK(read(packed_config()).layout == Layout::kPacked);
  CHECK((read(packed_config()).group == 64 && !read(packed_config()).asymmetric));
  CHECK(read(with(packed_config(), kWeights + "/symmetric", false)).asymmetric);
  CHECK(read(with(packed_config(), kWeights + "/strategy", "channel")).group == 0);
  for (const char* order : {"weight", "static", "group"})
    CHECK(read(with(packed_config(), kWeights + "/actorder", order)).group == 64);
  CHECK(read(kFloat, "compression_config").codes == DType::kF8E4M3);  // the key of older versions
}

TEST_CASE("quantisation: GPTQ, AWQ and fp8 are read") {
  CHECK(read(kGptq).layout == Layout::kGptq);
  CHECK((read(kGptq).group == 128 && read(kGptq).zero_offset == 1));
  CHECK(read(with(kGptq, "/checkpoint_format", "gptq_v2")).zero_offset == 0);
  CHECK(read(with(kGptq, "/group_size", -1)).group == 0);
  CHECK(read(kAwq).layout == Layout::kAwq);
  CHECK((read(kAwq).group == 64 && read(kAwq).zero_offset == 0 && read(kAwq).asymmetric));
  CHECK(read(with(kAwq, "/modules_to_not_convert", {"visual"})).leaves_plain("model.visual.blocks.0"));
  CHECK((read(kFp8).row_block == 0 && read(kFp8).input_codes == InputCodes::kE4M3Token));
  CHECK(read(with(kFp8, "/activation_scheme", "static")).input_codes == InputCodes::kE4M3Static);
  const QuantScheme block = read(with(kFp8, "/weight_block_size", {128, 128}));
  CHECK(std::string(block.scale) == "weight_scale_inv");
  CHECK((block.group == 128 && block.row_block == 128 && block.input_codes == InputCodes::kE4M3Token128));
}

// compressed-tensors uses each group's own format: layers of groups with different formats have different
// tensors.
TEST_CASE(
    "quantisation: several groups of layers are read if they are alike, with the format of all in mind") {
  const std::string second = "/config_groups/group_1";
  Json two = with(kFloat, second, kFloatGroup);
  two = with(two, second + "/targets", {"re:.*mlp.*"});
  CHECK(read(two).codes == DType::kF8E4M3);
  CHECK(read(with(two, second + "/format", nullptr)).codes == DType::kF8E4M3);
  CHECK(read(with(two, second + "/format", "float-quantized")).codes == DType::kF8E4M3);
  Json mixed = with(with(two, "/format", "mixed-precision"), second + "/format", "float-quantized");
  CHECK_THAT(refused_scheme(mixed),
             ContainsSubstring("expected config_groups to be groups that are all alike but for their "
                               "targets, found format \"float-quantized\" in group_1 and "
                               "\"mixed-precision\" in group_0"));
  mixed = with(mixed, "/config_groups/group_0/format", "float-quantized");
  CHECK(read(mixed).method == "compressed-tensors, float-quantized");
  for (const auto& [key, value] : {std::pair<const char*, Json>{"format", "naive-quantized"},
                                   {"output_activations", {{"num_bits", 8}}},
                                   {"input_activations", nullptr}}) {
    INFO(key);
    CHECK_THAT(
        refused_scheme(with(two, second + "/" + key, value)),
        ContainsSubstring("groups that are all alike but for their targets, found " + std::string(key)));
  }
}

TEST_CASE("quantisation: a single group's targets must be all linear layers") {
  for (const Json& targets : {Json{"Embedding"}, Json{"Linear", "Embedding"}, Json{"re:.*down_proj"},
                              Json("Linear"), Json(nullptr), Json::array()}) {
    INFO(targets.dump());
    std::string expected = "targets to be [\"Linear\"], found ";
    if (targets.is_null()) expected += "none";
    CHECK_THAT(refused_scheme(with(kFloat, "/config_groups/group_0/targets", targets)),
               ContainsSubstring(expected));
  }
}

TEST_CASE("quantisation: a plain checkpoint has none") {
  CHECK_FALSE(QuantScheme::read(JsonReader(Json::object(), "config.json")));
  CHECK_FALSE(QuantScheme::read(JsonReader(Json{{"quantization_config", nullptr}}, "config.json")));
}

TEST_CASE("quantisation: what is not supported is refused by its key and value") {
  const std::tuple<Json, std::string, std::string> cases[] = {
      {{{"bits", 4}}, "quant_method", "no quant_method"},
      {{{"quant_method", "bitsandbytes"}}, "quant_method", "\"bitsandbytes\""},
      {{{"quant_method", "modelopt"}}, "quant_method", "\"modelopt\""},
      {with(kFloat, "/format", "nvfp4-pack-quantized"), "format", "nvfp4-pack-quantized"},
      {with(kFloat, "/sparsity_config", {{"format", "sparse-24"}}), "sparsity_config", "sparse-24"},
      {with(kFloat, "/transform_config", {{"a", 1}}), "transform_config", "a"},
      {with(kFloat, "/config_groups/group_1", {{"weights", 1}}), "config_groups", "group_0"},
      {with(kFloat, "/config_groups/group_0/targets", {"re:.*q_proj"}), "targets", "q_proj"},
      {with(kFloat, "/config_groups/group_0/output_activations", {{"num_bits", 8}}), "output_activations",
       "8"},
      {with(kFloat, kWeights + "/num_bits", 4), "num_bits", "4"},
      {with(kFloat, kWeights + "/type", "int"), "type", "\"int\""},
      {with(kFloat, kWeights + "/strategy", "group"), "strategy", "\"group\""},
      {with(kFloat, kWeights + "/symmetric", false), "symmetric", "false"},
      {with(kFloat, kWeights + "/dynamic", true), "dynamic", "true"},
      {with(kFloat, kInputs + "/num_bits", 4), "num_bits", "4"},
      {with(kFloat, kInputs + "/strategy", "tensor"), "strategy", "\"tensor\""},
      {with(with(kFloat, kWeights + "/strategy", "block"), kWeights + "/block_structure", {64, 64}),
       "block_structure", "64"},
      {with(int_config(), kWeights + "/strategy", "tensor"), "strategy", "\"tensor\""},
      {with(packed_config(), kWeights + "/num_bits", 8), "num_bits", "8"},
      {with(packed_config(), kWeights + "/group_size", 48), "group_size", "48"},
      {with(packed_config(), kWeights + "/actorder", "first"), "actorder", "\"first\""},
      {with(packed_config(), kInputs, {{"num_bits", 8}}), "input_activations", "8"},
      {with(kGptq, "/bits", 8), "bits", "8"},
      {with(kGptq, "/group_size", 16), "group_size", "16"},
      {with(kGptq, "/checkpoint_format", "marlin"), "checkpoint_format", "\"marlin\""},
      {with(kGptq, "/is_marlin_format", true), "is_marlin_format", "true"},
      {with(kGptq, "/dynamic", {{"-:mlp", 1}}), "dynamic", "mlp"},
      {with(kAwq, "/version", "gemv"), "version", "\"gemv\""},
      {with(kAwq, "/zero_point", false), "zero_point", "false"},
      {with(kAwq, "/bits", 3), "bits", "3"},
      {with(kFp8, "/activation_scheme", "none"), "activation_scheme", "\"none\""},
      {with(kFp8, "/fmt", "e5m2"), "fmt", "\"e5m2\""},
      {with(kFp8, "/scale_fmt", "ue8m0"), "scale_fmt", "\"ue8m0\""},
      {with(kFp8, "/weight_block_size", {64, 64}), "weight_block_size", "64"},
  };
  for (const auto& [config, key, value] : cases) {
    INFO(config.dump());
    const std::string message = refused_scheme(config);
    CHECK_THAT(message, ContainsSubstring("config.json: quantization_config"));
    CHECK_THAT(message, ContainsSubstring(key + " to be") && ContainsSubstring(value));
  }
}

TEST_CASE("quantisation: malformed values are the file's fault") {
  for (const Json& config :
       {Json("awq"), Json::array(), with(kFloat, "/config_groups", Json::array()), with(kFloat, kWeights, 7),
        with(kFloat, "/ignore", "lm_head"), with(kFloat, "/ignore", {7}), with(kGptq, "/group_size", "128"),
        with(kGptq, "/bits", 4.5), with(kFp8, "/modules_to_not_convert", Json::object())}) {
    INFO(config.dump());
    CHECK_THAT(refused_scheme(config, ErrorKind::kFile), ContainsSubstring("expected"));
  }
}

}  // namespace
}  // namespace seer
