// Carries test data to a backend and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/host_tensor.h"

namespace seer::testing {

class Device {
 public:
  explicit Device(Backend* backend) : backend_(backend) {}

  // A copy of the case's values that an operation may write to: inputs, poisoned outputs and pools alike.
  // On the CPU it is aligned to its element only, as tensors of a mapped file may be.
  Tensor upload(const HostTensor& host);
  Tensor upload(const std::vector<int32_t>& host, const std::vector<int64_t>& shape);
  Tensor poisoned(DType dtype, std::vector<int64_t> shape);  // NaN

  std::vector<float> read(const Tensor& tensor) const;
  std::vector<int32_t> read_ints(const Tensor& tensor) const;

 private:
  Tensor upload(const std::vector<std::byte>& bytes, DType dtype, const std::vector<int64_t>& shape);

  Backend* backend_;
  std::vector<std::unique_ptr<std::byte[]>> host_;  // outlives the tensors, for the CPU uses it in place
  std::vector<Buffer> buffers_;
};

}  // namespace seer::testing
