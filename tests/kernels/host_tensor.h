// Inputs of tests in host memory: float values that the tensor's type holds exactly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace seer::testing {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct HostTensor {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::vector<float> values;

  HostTensor() = default;
  // Rounds the values to the type.
  HostTensor(DType dtype_, std::vector<int64_t> shape_, std::vector<float> values_);
  static HostTensor filled(DType dtype, std::vector<int64_t> shape, float value);

  bool empty() const { return shape.empty(); }
  int64_t dim(size_t i) const { return shape.at(i); }
  const float* at(int64_t row) const { return values.data() + row * row_size(); }
  float* at(int64_t row) { return values.data() + row * row_size(); }

  std::vector<std::byte> encoded() const;
  std::string description() const;  // "BF16[3, 64]"

 private:
  int64_t row_size() const;
};

std::vector<float> decode(const std::vector<std::byte>& bytes, DType dtype);

}  // namespace seer::testing
