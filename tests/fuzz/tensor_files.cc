#include "tests/fuzz/tensor_files.h"

#include <algorithm>
#include <string_view>

#include "tests/fuzz/support.h"
#include "tests/models/safetensors_builder.h"

namespace seer::fuzz {
namespace {

std::string_view bytes_of(const Tensor& t) {
  return {static_cast<const char*>(t.data), static_cast<size_t>(t.nbytes())};
}

}  // namespace

void check_tensors(const TensorMap& map, const std::string& file, const std::string& scratch_path) {
  std::vector<testing::NamedTensor> tensors;
  for (const auto& [name, tensor] : map.all()) {
    const auto* const end = tensor.shape.begin() + tensor.rank;
    expect(std::all_of(tensor.shape.begin(), end, [](int64_t n) { return n >= 0; }),
           name + ": a negative size");
    expect(tensor.nbytes() >= 0 && static_cast<size_t>(tensor.nbytes()) <= file.size(),
           name + ": more bytes than the file has");
    if (tensor.nbytes() != 0) {
      expect(reinterpret_cast<uintptr_t>(tensor.data) % static_cast<size_t>(dtype_bytes(tensor.dtype)) == 0,
             name + ": not aligned");
      expect(file.find(bytes_of(tensor)) != std::string::npos, name + ": bytes that the file does not have");
    }
    if (is_utf8(name) && name != "__metadata__")
      tensors.push_back(
          {name, dtype_name(tensor.dtype), {tensor.shape.begin(), end}, std::string(bytes_of(tensor))});
  }
  testing::write_file(scratch_path, testing::safetensors_bytes(tensors));
  const TensorMap again = read_safetensors(scratch_path);
  expect(again.all().size() == tensors.size(), "tensors are lost when they are written again");
  for (const auto& [name, tensor] : again.all()) {
    const Tensor* const first = map.find(name);
    expect(first != nullptr && first->dtype == tensor.dtype && first->rank == tensor.rank &&
               first->shape == tensor.shape && bytes_of(*first) == bytes_of(tensor),
           name + ": another tensor when it is written again");
  }
}

}  // namespace seer::fuzz
