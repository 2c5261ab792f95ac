#include "models/distill/checkpoint.h"

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string_view>

#include "engine/base/json_reader.h"
#include "engine/base/safetensors_writer.h"
#include "models/checkpoint_folder.h"
#include "models/safetensors.h"
#include "seer/error.h"

namespace seer {
namespace {

std::string path_in(const std::string& dir) {
  return (std::filesystem::path(dir) / kCheckpointName).string();
}

// Throws Error{kUsage} that names the first setting in which the runs differ.
void check_settings(const Json& found, const OrderedJson& expected, const std::string& path) {
  for (const auto& [key, value] : expected.items()) {
    const auto at = found.find(key);
    const std::string other = at == found.end() ? "nothing" : at->dump();
    if (other != value.dump())
      throw Error(ErrorKind::kUsage, path + ": this checkpoint is of another run: expected " + key + " " +
                                         value.dump() + ", found " + other +
                                         ". Give the options of that run, or another folder.");
  }
}

}  // namespace

void write_checkpoint(const std::string& dir, const TrainerState& state, const OrderedJson& settings) {
  SafetensorsWriter writer(path_in(dir));
  const auto add = [&](const char* name, const std::vector<float>& values) {
    writer.add(name, "F32", {static_cast<int64_t>(values.size())}, values.data(),
               values.size() * sizeof(float));
  };
  add("weights", state.weights);
  add("moments", state.moments);
  add("second_moments", state.second_moments);
  writer.add("n_done", "I64", {1}, &state.n_done, sizeof state.n_done);
  const std::string text = settings.dump();
  writer.add("settings", "U8", {static_cast<int64_t>(text.size())}, text.data(), text.size());
  writer.write(Durability::kSynced);
}

std::optional<TrainerState> read_checkpoint(const std::string& dir, int64_t n_weights,
                                            const OrderedJson& settings) {
  const std::string path = path_in(dir);
  if (!has_entry(path)) return std::nullopt;
  const TensorMap file = read_safetensors(path);
  const auto take = [&](const char* name, DType type, int64_t n) -> const Tensor& {
    const Tensor* t = file.find(name);
    if (t == nullptr || t->dtype != type || t->rank != 1 || (n >= 0 && t->dim(0) != n))
      throw Error(ErrorKind::kFile, path + ": expected a tensor " + name + " of " + dtype_name(type) +
                                        (n >= 0 ? " [" + std::to_string(n) + "]" : std::string()) +
                                        (t == nullptr ? ", found none" : ", found " + shape_string(*t)) +
                                        ". It is no checkpoint of seer distill, or of other gates.");
    return *t;
  };
  const Tensor& text = take("settings", DType::kU8, -1);
  try {
    check_settings(read_json({static_cast<const char*>(text.data), static_cast<size_t>(text.numel())}),
                   settings, path);
  } catch (const JsonError& error) {
    throw Error(ErrorKind::kFile, path + ": its settings are no JSON: " + error.what());
  }
  TrainerState state;
  std::memcpy(&state.n_done, take("n_done", DType::kI64, 1).data, sizeof state.n_done);
  const auto read = [&](const char* name, std::vector<float>* out) {
    const Tensor& t = take(name, DType::kF32, n_weights);
    out->assign(t.as<float>(), t.as<float>() + n_weights);
  };
  read("weights", &state.weights);
  read("moments", &state.moments);
  read("second_moments", &state.second_moments);
  return state;
}

void remove_checkpoint(const std::string& dir) { ::unlink(path_in(dir).c_str()); }

}  // namespace seer
