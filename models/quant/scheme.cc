#include "models/quant/scheme.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include "models/json_util.h"
#include "models/shown_name.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kBlock = 128;  // a side of a block that shares a scale

[[noreturn]] void refuse(const JsonReader& r, const std::string& key, const std::string& expected,
                         const std::string& found) {
  throw Error(ErrorKind::kUnsupported,
              r.origin() + ": this quantisation is not supported: expected " + key + " to be " + expected +
                  ", found " + found + ". Use the model's plain checkpoint, or one that is quantised so.");
}
void refuse(const JsonReader& r, const std::string& key, const std::string& expected) {
  const Json* found = r.find(key.c_str());
  refuse(r, key, expected, found == nullptr ? "none" : json_excerpt(*found));
}

std::string text(const JsonReader& r, const char* key) { return r.optional_string(key).value_or(""); }

void require_text(const JsonReader& r, const char* key, std::string_view expected) {
  if (text(r, key) != expected) refuse(r, key, "\"" + std::string(expected) + "\"");
}
void require_integer(const JsonReader& r, const char* key, int64_t expected) {
  if (r.optional_integer(key, INT64_MIN, INT64_MAX) != expected) refuse(r, key, std::to_string(expected));
}
void require_boolean(const JsonReader& r, const char* key, bool expected, bool usual) {
  if (r.boolean(key, usual) != expected) refuse(r, key, expected ? "true" : "false");
}
// Requires that keys which would change the meaning of the numbers are absent, null or empty.
void require_empty(const JsonReader& r, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (const Json* value = r.find(key); value != nullptr && !(value->is_structured() && value->empty()))
      refuse(r, key, "absent");
}

JsonReader object_at(const JsonReader& r, const char* key, const char* separator = ".") {
  const Json* value = r.find(key);
  if (value == nullptr || !value->is_object()) r.fail(key, "an object", value == nullptr ? Json() : *value);
  return {*value, r.origin() + separator + key};
}

// Reads the list of modules that are not quantised.
void read_plain(const JsonReader& r, const char* key, QuantScheme* s) {
  const Json* list = r.find(key);
  if (list == nullptr) return;
  if (!list->is_array()) r.fail(key, "a list of modules", *list);
  for (const Json& entry : *list) {
    if (!entry.is_string()) r.fail(key, "a list of modules", *list);
    std::string name = entry.get<std::string>();
    if (name.starts_with("re:")) {
      s->plain_by_pattern = true;
    } else {
      s->plain.push_back(std::move(name));
    }
  }
}

// Reads a group size as GPTQ and AWQ write it: -1 means the whole row.
int64_t read_group(const JsonReader& r) {
  const int64_t group = r.integer({"group_size"}, -1, int64_t{1} << 20);
  if (group == -1) return 0;
  if (group < 32 || group % 32 != 0) refuse(r, "group_size", "-1 or a multiple of 32");
  return group;
}

// ---- compressed-tensors ----

void read_rows_scheme(const JsonReader& weights, bool floats, QuantScheme* s) {
  require_integer(weights, "num_bits", 8);
  require_text(weights, "type", floats ? "float" : "int");
  require_boolean(weights, "symmetric", true, true);
  s->layout = QuantScheme::Layout::kRows;
  s->codes = floats ? DType::kF8E4M3 : DType::kI8;
  const std::string strategy = text(weights, "strategy");
  if (strategy == "tensor" && floats) {
    s->row_block = 0;
  } else if (strategy == "block" && floats) {
    const Json* block = weights.find("block_structure");
    if (block == nullptr || *block != Json{kBlock, kBlock}) refuse(weights, "block_structure", "[128, 128]");
    s->group = s->row_block = kBlock;
  } else if (strategy != "channel") {
    refuse(weights, "strategy", floats ? "\"channel\", \"tensor\" or \"block\"" : "\"channel\"");
  }
}

void read_packed_scheme(const JsonReader& weights, QuantScheme* s) {
  require_integer(weights, "num_bits", 4);
  require_text(weights, "type", "int");
  s->layout = QuantScheme::Layout::kPacked;
  s->codes = DType::kU4;
  s->asymmetric = !weights.boolean("symmetric", true);
  // "weight" and "static" change the order of inputs during quantisation only and leave no trace in the file.
  // "group" did leave one in old versions; the weight_g_idx of such a file is refused as a tensor that
  // nothing uses.
  if (const std::string order = text(weights, "actorder");
      !order.empty() && order != "weight" && order != "static" && order != "group")
    refuse(weights, "actorder", "null, \"weight\", \"static\" or \"group\"");
  const std::string strategy = text(weights, "strategy");
  if (strategy == "channel") return;
  if (strategy != "group") refuse(weights, "strategy", "\"group\" or \"channel\"");
  s->group = read_group(weights);
}

void read_inputs(const JsonReader& group, bool floats, QuantScheme* s) {
  if (group.find("input_activations") == nullptr) return;
  const JsonReader inputs = object_at(group, "input_activations");
  require_integer(inputs, "num_bits", 8);
  require_text(inputs, "type", floats ? "float" : "int");
  require_boolean(inputs, "symmetric", true, true);
  const std::string strategy = text(inputs, "strategy");
  const bool dynamic = inputs.boolean("dynamic", false);
  if (strategy == "token" && dynamic) {
    s->input_codes = floats ? InputCodes::kE4M3Token : InputCodes::kI8Token;
  } else if (strategy == "tensor" && floats && !dynamic) {
    s->input_codes = InputCodes::kE4M3Static;
  } else if (strategy == "group" && floats && dynamic && s->row_block == kBlock) {
    require_integer(inputs, "group_size", kBlock);
    s->input_codes = InputCodes::kE4M3Token128;
  } else {
    refuse(
        inputs, "strategy",
        floats
            ? "\"token\" (dynamic), \"tensor\" (not dynamic), or \"group\" (dynamic, with blocks of weights)"
            : "\"token\" (dynamic)");
  }
}

// Requires that groups of layers differ only in their targets. A group's own `format` decides which tensors
// its layers have, and takes precedence over the common format.
void check_alike(const JsonReader& r, const Json& groups) {
  const auto value = [&](const Json& group, const std::string& key) {
    const Json own = group.value(key, Json());
    return own.is_null() && key == "format" ? Json(text(r, "format")) : own;
  };
  const auto first = groups.items().begin();
  for (const auto& [name, group] : groups.items()) {
    if (!group.is_object()) r.fail("config_groups", "groups that are objects", groups);
    for (const char* key : {"weights", "input_activations", "output_activations", "format"})
      if (value(group, key) != value(first.value(), key))
        refuse(r, "config_groups", "groups that are all alike but for their targets",
               std::string(key) + " " + json_excerpt(value(group, key)) + " in " + shown_name(name) +
                   " and " + json_excerpt(value(first.value(), key)) + " in " + shown_name(first.key()));
  }
}

JsonReader read_config_group(const JsonReader& r) {
  const Json* groups = r.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty())
    r.fail("config_groups", "an object with a group", groups == nullptr ? Json() : *groups);
  check_alike(r, *groups);
  const std::string name = "config_groups." + shown_name(groups->begin().key());
  JsonReader group(groups->front(), r.origin() + "." + name);
  const Json* targets = group.find("targets");
  if (groups->size() == 1 && (targets == nullptr || *targets != Json{"Linear"}))
    refuse(group, "targets", "[\"Linear\"]");
  require_empty(group, {"output_activations"});
  return group;
}

QuantScheme read_compressed_tensors(const JsonReader& r) {
  QuantScheme s;
  require_empty(r, {"sparsity_config", "transform_config"});
  const JsonReader group = read_config_group(r);
  const std::string format = group.optional_string("format").value_or(text(r, "format"));
  const JsonReader weights = object_at(group, "weights");
  require_boolean(weights, "dynamic", false, false);
  if (format == "float-quantized" || format == "int-quantized") {
    read_rows_scheme(weights, format == "float-quantized", &s);
    read_inputs(group, format == "float-quantized", &s);
  } else if (format == "pack-quantized") {
    read_packed_scheme(weights, &s);
    require_empty(group, {"input_activations"});
  } else {
    refuse(r, "format", "\"float-quantized\", \"int-quantized\" or \"pack-quantized\"",
           format.empty() ? "none" : "\"" + shown_name(format) + "\"");
  }
  read_plain(r, "ignore", &s);
  s.method = "compressed-tensors, " + format;
  return s;
}

// ---- the older methods ----

QuantScheme read_fp8(const JsonReader& r) {
  QuantScheme s;
  s.codes = DType::kF8E4M3;
  if (r.has("fmt")) require_text(r, "fmt", "e4m3");
  if (r.has("scale_fmt") && text(r, "scale_fmt") != "float") refuse(r, "scale_fmt", "absent or \"float\"");
  const std::string activations = text(r, "activation_scheme");
  if (activations != "static" && activations != "dynamic")
    refuse(r, "activation_scheme", "\"static\" or \"dynamic\"");
  if (const Json* block = r.find("weight_block_size")) {
    if (*block != Json{kBlock, kBlock}) refuse(r, "weight_block_size", "[128, 128]");
    require_text(r, "activation_scheme", "dynamic");
    s.group = s.row_block = kBlock;
    s.scale = "weight_scale_inv";
    s.input_codes = InputCodes::kE4M3Token128;
    s.method = "fp8, blocks of 128 x 128";
  } else {
    s.row_block = 0;
    s.input_codes = activations == "static" ? InputCodes::kE4M3Static : InputCodes::kE4M3Token;
    s.method = "fp8, " + activations;
  }
  read_plain(r, "ignored_layers", &s);
  read_plain(r, "modules_to_not_convert", &s);
  return s;
}

QuantScheme read_awq(const JsonReader& r) {
  QuantScheme s;
  require_integer(r, "bits", 4);
  require_boolean(r, "zero_point", true, true);
  std::string version = r.optional_string("version").value_or("gemm");
  std::transform(version.begin(), version.end(), version.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (version != "gemm") refuse(r, "version", "\"gemm\"");
  s.layout = QuantScheme::Layout::kAwq;
  s.group = read_group(r);
  s.asymmetric = true;
  s.scale = "scales";
  s.method = "awq";
  read_plain(r, "modules_to_not_convert", &s);
  return s;
}

QuantScheme read_gptq(const JsonReader& r) {
  QuantScheme s;
  require_integer(r, "bits", 4);
  require_boolean(r, "is_marlin_format", false, false);
  require_empty(r, {"dynamic", "modules_in_block_to_quantize"});
  const std::string format = r.optional_string("checkpoint_format").value_or("gptq");
  if (format != "gptq" && format != "gptq_v2") refuse(r, "checkpoint_format", "\"gptq\" or \"gptq_v2\"");
  s.layout = QuantScheme::Layout::kGptq;
  s.group = read_group(r);
  s.asymmetric = true;
  s.zero_offset = format == "gptq" ? 1 : 0;
  s.scale = "scales";
  s.method = format;
  return s;
}

}  // namespace

std::string QuantScheme::codes_text() const {
  if (codes != DType::kU4) {
    const std::string name = dtype_name(codes);
    if (group != 0)
      return name + " in blocks of " + std::to_string(row_block) + " x " + std::to_string(group);
    return name + (row_block == 0 ? " with a scale for each matrix" : " with a scale for each output");
  }
  return (group == 0 ? "int4 with a scale for each output"
                     : "int4 in groups of " + std::to_string(group) + " inputs") +
         std::string(", in words of I32");
}

bool QuantScheme::leaves_plain(const std::string& module) const {
  return std::any_of(plain.begin(), plain.end(), [&](const std::string& name) {
    return !name.empty() &&
           (module == name || module.ends_with("." + name) || module.starts_with(name + ".") ||
            module.find("." + name + ".") != std::string::npos);
  });
}

std::optional<QuantScheme> QuantScheme::read(const JsonReader& config) {
  const char* key = config.has("compression_config") && !config.has("quantization_config")
                        ? "compression_config"  // older versions of compressed-tensors wrote this key
                        : "quantization_config";
  if (!config.has(key)) return std::nullopt;
  const JsonReader r = object_at(config, key, ": ");
  const std::string method = text(r, "quant_method");
  QuantScheme scheme;
  if (method == "compressed-tensors") {
    scheme = read_compressed_tensors(r);
  } else if (method == "fp8") {
    scheme = read_fp8(r);
  } else if (method == "awq") {
    scheme = read_awq(r);
  } else if (method == "gptq") {
    scheme = read_gptq(r);
  } else {
    refuse(r, "quant_method", "compressed-tensors, fp8, gptq or awq",
           method.empty() ? "no quant_method" : "quant_method \"" + shown_name(method) + "\"");
  }
  if (r.has("kv_cache_scheme"))
    scheme.notes.push_back("quantization_config.kv_cache_scheme is not followed: KV pages keep more bits");
  return scheme;
}

}  // namespace seer
