#include "models/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <set>

#include "models/checkpoint_folder.h"
#include "models/json_util.h"
#include "models/shown_name.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // as the specification limits them
constexpr int64_t kMaxIndexBytes = 100'000'000;
constexpr size_t kMaxIndexValues = 2'000'000;  // one for each tensor

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kFile,
              path + ": " + what + ". The file may be damaged or cut short; download or write it again.");
}

std::optional<DType> parse_dtype(const std::string& name) {
  for (const DType t : {DType::kF32, DType::kF16, DType::kBF16, DType::kI64, DType::kI32, DType::kI8,
                        DType::kU8, DType::kF8E4M3})
    if (name == dtype_name(t)) return t;
  return std::nullopt;
}

// Returns the bytes of an element of the specification's other types. Returns nothing for types narrower than
// a byte, and for names that the specification does not have yet.
std::optional<int64_t> foreign_bytes(const std::string& dtype) {
  if (dtype == "F64" || dtype == "U64" || dtype == "C64") return 8;
  if (dtype == "U32") return 4;
  if (dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "BOOL" || dtype.starts_with("F8_")) return 1;
  return std::nullopt;
}

struct Entry {
  std::string name;
  Tensor tensor;        // shape and dtype
  std::string foreign;  // a description if the type is not supported
  uint64_t begin, end;  // bytes from the data section's start
};

uint64_t unsigned_value(const Json& value, const std::string& path, const std::string& what) {
  if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<int64_t>() < 0))
    fail(path, what + ": expected a non-negative integer");
  return value.get<uint64_t>();
}

Entry parse_entry(const std::string& name, const Json& value, const std::string& path) {
  const std::string where = "tensor " + shown_name(name);
  const auto member = [&](const char* key) -> const Json& {
    if (!value.is_object() || !value.contains(key)) fail(path, where + " has no " + key);
    return value[key];
  };
  const Json &dtype = member("dtype"), &shape = member("shape"), &offsets = member("data_offsets");
  if (!dtype.is_string()) fail(path, where + ": expected dtype to be a string");
  if (!shape.is_array()) fail(path, where + ": expected shape to be a list");
  const auto type_name = dtype.get<std::string>();
  const auto known = parse_dtype(type_name);
  const bool foreign = !known || shape.size() > Tensor::kMaxRank;
  Entry entry{name, Tensor(nullptr, known.value_or(DType::kU8), {}), "", 0, 0};
  const auto element = known ? dtype_bytes(*known) : foreign_bytes(type_name);
  int64_t bytes = element.value_or(1);
  std::string dims;
  for (const Json& d : shape) {
    const uint64_t size = unsigned_value(d, path, where + " shape");
    if (size > INT64_MAX || __builtin_mul_overflow(bytes, static_cast<int64_t>(size), &bytes))
      fail(path, where + ": its shape is beyond 63 bits");
    dims += (dims.empty() ? "" : ", ") + std::to_string(size);
    if (!foreign) entry.tensor.shape[static_cast<size_t>(entry.tensor.rank++)] = static_cast<int64_t>(size);
  }
  const std::string what = shown_name(type_name) + " [" + shown_name(dims) + "]";
  if (foreign) entry.foreign = what;
  if (!offsets.is_array() || offsets.size() != 2)
    fail(path, where + ": expected data_offsets to be [begin, end]");
  entry.begin = unsigned_value(offsets[0], path, where + " data_offsets");
  entry.end = unsigned_value(offsets[1], path, where + " data_offsets");
  const bool spans = entry.end >= entry.begin && entry.end - entry.begin == static_cast<uint64_t>(bytes);
  if (entry.end < entry.begin || (element && !spans))
    fail(path, where + ": data_offsets [" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) +
                   "] do not span the " + std::to_string(bytes) + " bytes of " + what);
  return entry;
}

// Returns the entries in the order of their data. The data must cover the data section without holes or
// overlaps.
std::vector<Entry> parse_header(std::string_view header, uint64_t data_bytes, const std::string& path) {
  std::vector<Entry> entries;
  parse_json_members(header, path + ": header", [&](const std::string& name, const Json& value) {
    if (name != "__metadata__") entries.push_back(parse_entry(name, value, path));
  });
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;  // empty tensors come first
  });
  uint64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != end)
      fail(path, "tensor " + shown_name(entry.name) +
                     (entry.begin < end ? " overlaps the one before it" : " leaves a hole before it") +
                     ": it begins at byte " + std::to_string(entry.begin) + ", expected " +
                     std::to_string(end));
    end = entry.end;
  }
  if (end != data_bytes)
    fail(path,
         "expected " + std::to_string(end) + " bytes of tensor data, found " + std::to_string(data_bytes));
  return entries;
}

}  // namespace

const Tensor* TensorMap::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

int64_t TensorMap::nbytes() const {
  int64_t n = 0;
  for (const auto& [name, tensor] : tensors_) n += tensor.nbytes();
  return n;
}

void TensorMap::add(const std::string& name, const Tensor& tensor, const std::string& origin) {
  if (!tensors_.emplace(name, tensor).second || foreign_.count(name) != 0)
    fail(origin, "the tensor " + shown_name(name) + " is there twice");
}

void TensorMap::add_foreign(const std::string& name, std::string description, const std::string& origin) {
  if (!foreign_.emplace(name, std::move(description)).second || find(name) != nullptr)
    fail(origin, "the tensor " + shown_name(name) + " is there twice");
}

void TensorMap::merge(TensorMap other, const std::string& origin) {
  for (const auto& [name, what] : other.foreign_) add_foreign(name, what, origin);
  for (const auto& [name, tensor] : other.tensors_) add(name, tensor, origin);
  owners_.insert(owners_.end(), other.owners_.begin(), other.owners_.end());
}

void TensorMap::add_mapped(const std::string& name, Tensor tensor, const std::byte* data,
                           const std::string& origin) {
  const auto size = static_cast<size_t>(tensor.nbytes());
  const auto alignment = static_cast<uintptr_t>(std::max<int64_t>(1, dtype_bits(tensor.dtype) / 8));
  if (reinterpret_cast<uintptr_t>(data) % alignment == 0) {
    tensor.data = const_cast<std::byte*>(data);
  } else {
    const auto copy = std::make_shared<std::vector<uint32_t>>(size / sizeof(uint32_t) + 1);
    std::memcpy(copy->data(), data, size);
    tensor.data = copy->data();
    keep(copy);
  }
  add(name, tensor, origin);
}

TensorMap read_safetensors(const std::string& path) {
  TensorMap tensors;
  tensors.set_source(path);
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes)
    fail(path, "expected a safetensors file, found " + std::to_string(bytes.size()) + " bytes");
  for (size_t i = 0; i < sizeof header_bytes; ++i)
    header_bytes |= std::to_integer<uint64_t>(bytes[i]) << (8 * i);
  const uint64_t rest = bytes.size() - sizeof header_bytes;
  if (header_bytes > kMaxHeaderBytes)
    fail(path, "its header would be " + std::to_string(header_bytes) + " bytes long, expected at most " +
                   std::to_string(kMaxHeaderBytes));
  if (header_bytes > rest)
    fail(path, "its header would be " + std::to_string(header_bytes) + " bytes long, and only " +
                   std::to_string(rest) + " follow");
  const std::byte* header = bytes.data() + sizeof header_bytes;
  const std::byte* data = header + header_bytes;
  const std::string_view text(reinterpret_cast<const char*>(header), header_bytes);
  if (text.empty() || text.front() != '{') fail(path, "its header does not begin with '{'");
  tensors.keep(file);
  for (const Entry& entry : parse_header(text, rest - header_bytes, path)) {
    if (entry.foreign.empty()) {
      tensors.add_mapped(entry.name, entry.tensor, data + entry.begin, path);
    } else {
      tensors.add_foreign(entry.name, entry.foreign, path);
    }
  }
  return tensors;
}

TensorMap read_checkpoint(const std::string& model_dir) {
  namespace fs = std::filesystem;
  const fs::path dir = model_dir, single = dir / "model.safetensors",
                 index = dir / "model.safetensors.index.json";
  if (has_entry(single)) return read_safetensors(single.string());  // it takes precedence, as in transformers
  if (!has_entry(index)) refuse_without_weights(model_dir);
  const Json object = read_json_object(index.string(), kMaxIndexBytes, kMaxIndexValues);
  const auto map = object.find("weight_map");
  if (map == object.end() || !map->is_object())
    fail(index.string(), "the key weight_map is missing or not an object");

  std::map<std::string, std::set<std::string>> shards;  // from shard to the tensors it should hold
  for (const auto& [tensor, shard] : map->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : "";
    if (name.empty() || fs::path(name).filename() != name || name == "." || name == ".." ||
        name.find('\0') != name.npos)
      fail(index.string(), "tensor " + shown_name(tensor) +
                               ": expected the name of a file in the same folder, found " +
                               json_excerpt(shard));
    shards[name].insert(tensor);
  }
  for (const auto& [shard, names] : shards)  // checked before gigabytes of the others are read
    if (!has_entry(dir / shard))
      fail((dir / shown_name(shard)).string(), "the shard is missing, which " + index.string() +
                                                   " names for " + std::to_string(names.size()) +
                                                   " tensors (" + shown_name(*names.begin()) + " and so on)");
  TensorMap tensors;
  tensors.set_source(model_dir);
  for (const auto& [shard, names] : shards) {
    const std::string path = (dir / shard).string();
    tensors.merge(read_safetensors(path), path);
  }
  return tensors;
}

}  // namespace seer
