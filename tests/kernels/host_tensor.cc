#include "tests/kernels/host_tensor.h"

#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>

#include "tests/support/narrow_floats.h"

namespace seer::testing {
namespace {

int64_t product(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

float rounded(float x, DType dtype) {
  if (dtype == DType::kBF16) return from_bf16(to_bf16(x));
  if (dtype == DType::kF16) return from_f16(to_f16(x));
  return x;
}

}  // namespace

HostTensor::HostTensor(DType dtype_, std::vector<int64_t> shape_, std::vector<float> values_)
    : dtype(dtype_), shape(std::move(shape_)), values(std::move(values_)) {
  if (product(shape) != static_cast<int64_t>(values.size()))
    throw std::logic_error("as many values as " + description() + " has");
  if (dtype == DType::kF32) return;
  for (float& x : values) x = rounded(x, dtype);
}

HostTensor HostTensor::filled(DType dtype, std::vector<int64_t> shape, float value) {
  const auto n = static_cast<size_t>(product(shape));
  return {dtype, std::move(shape), std::vector<float>(n, value)};
}

int64_t HostTensor::row_size() const { return product(shape) / shape.at(0); }

std::string HostTensor::description() const {
  std::string text = dtype_name(dtype);
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "[" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::vector<std::byte> HostTensor::encoded() const {
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(dtype_bytes(dtype)));
  if (bytes.empty()) return bytes;
  if (dtype == DType::kF32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = dtype == DType::kBF16 ? to_bf16(values[i]) : to_f16(values[i]);
    std::memcpy(bytes.data() + i * sizeof bits, &bits, sizeof bits);
  }
  return bytes;
}

std::vector<float> decode(const std::vector<std::byte>& bytes, DType dtype) {
  std::vector<float> values(bytes.size() / static_cast<size_t>(dtype_bytes(dtype)));
  if (values.empty()) return values;
  if (dtype == DType::kF32) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * sizeof bits, sizeof bits);
    values[i] = dtype == DType::kBF16 ? from_bf16(bits) : from_f16(bits);
  }
  return values;
}

}  // namespace seer::testing
