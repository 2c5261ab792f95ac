#include "models/pth.h"

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/mapped_file.h"
#include "models/pickle.h"
#include "models/shown_name.h"
#include "models/zip_reader.h"
#include "seer/error.h"

namespace seer {
namespace {

using Kind = PickleValue::Kind;

constexpr const char* kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr const char* kRebuildParameter = "torch._utils._rebuild_parameter";

std::optional<DType> storage_dtype(std::string_view name) {
  if (name == "torch.FloatStorage") return DType::kF32;
  if (name == "torch.HalfStorage") return DType::kF16;
  if (name == "torch.BFloat16Storage") return DType::kBF16;
  return std::nullopt;
}

class TensorReader {
 public:
  TensorReader(const ZipReader& zip, TensorMap* tensors) : zip_(zip), tensors_(tensors) {}

  void add(std::string_view name, const PickleValue& value) {
    name_ = name;
    const PickleValue* call = &value;
    if (call->kind == Kind::kCall && call->text == kRebuildParameter) {
      if (call->operand->items.empty()) fail("a parameter without data");
      call = call->operand->items[0];
    }
    if (call->kind != Kind::kCall || call->text != kRebuildTensor || call->operand->items.size() < 4)
      fail("something else");
    const auto& arguments = call->operand->items;  // these are storage, offset, size, stride, ...
    DType dtype{};
    const std::span<const std::byte> storage = read_storage(*arguments[0], &dtype);
    const int64_t offset = integer(*arguments[1]);
    const Tensor shape = read_shape(*arguments[2], *arguments[3], dtype);

    const auto n_stored = static_cast<int64_t>(storage.size()) / dtype_bytes(dtype);
    if (offset > n_stored || shape.numel() > n_stored - offset)
      fail("a tensor that is larger than its storage");
    tensors_->add_mapped(name_, shape, storage.data() + offset * dtype_bytes(dtype), zip_.path());
  }

 private:
  [[noreturn]] void fail(const std::string& found) const {
    throw Error(ErrorKind::kFile, zip_.path() + ": " + shown_name(name_) +
                                      ": expected a contiguous BF16, F16 or F32 tensor on the "
                                      "CPU or GPU, found " +
                                      found);
  }
  int64_t integer(const PickleValue& value) const {
    if (value.kind != Kind::kInt || value.integer < 0)
      fail("a size or offset that is no non-negative integer");
    return value.integer;
  }

  // A persistent id is ("storage", type, key, location, number of elements).
  std::span<const std::byte> read_storage(const PickleValue& value, DType* dtype) {
    if (value.kind != Kind::kPersistent || value.operand->kind != Kind::kTuple ||
        value.operand->items.size() < 5)
      fail("no storage");
    const auto& id = value.operand->items;
    if (id[0]->kind != Kind::kString || id[0]->text != "storage" || id[1]->kind != Kind::kGlobal ||
        id[2]->kind != Kind::kString)
      fail("no storage");
    const auto found = storage_dtype(id[1]->text);
    if (!found) fail("a storage of type " + std::string(id[1]->text));
    *dtype = *found;
    const auto bytes = storage(id[2]->text);
    int64_t expected = 0;
    if (__builtin_mul_overflow(integer(*id[4]), dtype_bytes(*dtype), &expected) ||
        static_cast<int64_t>(bytes.size()) != expected)
      fail("a storage whose size differs from what the pickle says");
    return bytes;
  }

  // Returns the bytes of a storage, aligned for any type. Any number of tensors may share one, so it is
  // checked only for the first of them, and then copied if the file does not align it.
  std::span<const std::byte> storage(std::string_view key) {
    if (const auto it = storages_.find(key); it != storages_.end()) return it->second;
    std::span<const std::byte> bytes = zip_.read(zip_.root() + "/data/" + std::string(key));
    if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(float) != 0) {
      const auto copy = std::make_shared<std::vector<float>>(bytes.size() / sizeof(float) + 1);
      std::memcpy(copy->data(), bytes.data(), bytes.size());
      bytes = std::as_bytes(std::span(*copy)).first(bytes.size());
      tensors_->keep(copy);
    }
    return storages_.emplace(key, bytes).first->second;
  }

  Tensor read_shape(const PickleValue& sizes, const PickleValue& strides, DType dtype) const {
    if (sizes.kind != Kind::kTuple || strides.kind != Kind::kTuple ||
        sizes.items.size() != strides.items.size())
      fail("no shape");
    if (sizes.items.size() > Tensor::kMaxRank) fail(std::to_string(sizes.items.size()) + " dimensions");
    Tensor shape(nullptr, dtype, {});
    int64_t bytes = dtype_bytes(dtype);
    for (const PickleValue* size : sizes.items) {
      const int64_t dim = integer(*size);
      shape.shape[static_cast<size_t>(shape.rank++)] = dim;
      if (__builtin_mul_overflow(bytes, dim, &bytes)) fail("a shape beyond 63 bits");
    }
    if (bytes == 0) return shape;  // there are no elements, so strides mean nothing
    int64_t stride = 1;
    for (size_t i = sizes.items.size(); i-- > 0;) {
      if (shape.shape[i] > 1 && integer(*strides.items[i]) != stride)
        fail("a tensor that is not contiguous; save it with .contiguous()");
      stride *= shape.shape[i];
    }
    return shape;
  }

  const ZipReader& zip_;
  TensorMap* tensors_;
  std::map<std::string_view, std::span<const std::byte>> storages_;  // by key, a view of the pickle's text
  std::string name_;
};

}  // namespace

TensorMap read_pth(const std::string& path) {
  const auto file = MappedFile::open(path);
  const ZipReader zip(file);
  const std::string order = zip.root() + "/byteorder";
  if (zip.has(order)) {
    const auto bytes = zip.read(order);
    const std::string found(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (found != "little")
      throw Error(ErrorKind::kUnsupported,
                  path + ": expected little-endian tensors, found byte order '" + shown_name(found) + "'");
  }
  const Pickle pickle(zip.read(zip.root() + "/data.pkl"),
                      {kRebuildTensor, kRebuildParameter, "collections.OrderedDict", "torch.FloatStorage",
                       "torch.HalfStorage", "torch.BFloat16Storage"},
                      path);
  if (pickle.root().kind != Kind::kDict)
    throw Error(ErrorKind::kFile, path + ": expected a dictionary of tensors (a state_dict)");
  TensorMap tensors;
  tensors.set_source(path);
  tensors.keep(file);
  TensorReader reader(zip, &tensors);
  const auto& items = pickle.root().items;
  for (size_t i = 0; i < items.size(); i += 2) {
    if (items[i]->kind != Kind::kString)
      throw Error(ErrorKind::kFile, path + ": expected tensor names as keys");
    reader.add(items[i]->text, *items[i + 1]);
  }
  return tensors;
}

}  // namespace seer
