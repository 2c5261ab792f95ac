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

  // Returns a copy of the case's values that an operation may write to, in the type in which the device keeps
  // weights and activations. On the CPU it is aligned only to its element, as tensors of a mapped file may
  // be.
  Tensor upload(const HostTensor& host);
  Tensor upload_f32(const HostTensor& host);  // float32 on every device
  Tensor on_host(const HostTensor& host);     // for weights that go to the device in parts
  LinearWeights upload(const LinearWeights& weights) { return backend_->to_device(weights, &buffers_); }
  Tensor upload(const std::vector<int32_t>& host, const std::vector<int64_t>& shape);
  Tensor poisoned(DType dtype, std::vector<int64_t> shape);  // filled with NaN; has this type on every device

  std::vector<float> read(const Tensor& tensor) const;
  std::vector<int32_t> read_ints(const Tensor& tensor) const;

 private:
  Tensor on_host(const std::vector<std::byte>& bytes, DType dtype, const std::vector<int64_t>& shape);
  Tensor upload_raw(const HostTensor& host);

  Backend* backend_;
  // Must outlive the tensors, since the CPU uses it in place.
  std::vector<std::unique_ptr<std::byte[]>> host_;
  std::vector<Buffer> buffers_;
};

}  // namespace seer::testing
