// One safetensors file.
#include "models/safetensors.h"

#include <nlohmann/json.hpp>

#include "tests/fuzz/support.h"
#include "tests/fuzz/tensor_files.h"
#include "tests/models/safetensors_builder.h"

namespace seer::fuzz::safetensors_target {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxSize = 8192;

int64_t width(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64") return 8;
  if (dtype == "F32" || dtype == "I32") return 4;
  return dtype == "F16" || dtype == "BF16" ? 2 : 1;
}

// Sets the offsets that the shapes ask for, and data of that length, so that nothing but the mutation can be
// wrong.
void repair(std::string* header, std::string* data) {
  Json json = Json::parse(*header, nullptr, false);
  if (!json.is_object()) return;
  uint64_t at = 0;
  for (auto& [name, tensor] : json.items()) {
    if (name == "__metadata__" || !tensor.is_object() || !tensor["shape"].is_array() ||
        !tensor["dtype"].is_string())
      continue;
    auto size = static_cast<uint64_t>(width(tensor["dtype"].get<std::string>()));
    for (const Json& n : tensor["shape"]) size *= n.is_number_integer() ? n.get<uint64_t>() : 1;
    if (at + size > kMaxSize) continue;
    tensor["data_offsets"] = {at, at + size};
    at += size;
  }
  *header = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  data->resize(at, '.');
}

std::string mutate(const std::string& bytes, Random& random) {
  if (bytes.size() < 8 || random.one_in(6)) return mutate_bytes(bytes, kMaxSize);
  uint64_t n = 0;
  for (size_t i = 8; i-- > 0;) n = n << 8 | static_cast<unsigned char>(bytes[i]);
  n = std::min<uint64_t>(n, bytes.size() - 8);
  std::string header = bytes.substr(8, n), data = bytes.substr(8 + n);
  if (random.one_in(6))
    data = mutate_bytes(data, data.size() + 64);
  else
    header = mutate_json(header, random, kMaxSize / 2);
  if (!random.one_in(3)) repair(&header, &data);
  return testing::safetensors_bytes(header, data);
}

void run(const std::string& bytes) {
  static const Folder folder;
  const std::string path = folder.write("model.safetensors", bytes);
  accepts([&] { check_tensors(read_safetensors(path), bytes, folder.path() + "/again.safetensors"); });
}

const Registration kTarget({"safetensors", run, mutate, kMaxSize});

}  // namespace
}  // namespace seer::fuzz::safetensors_target
