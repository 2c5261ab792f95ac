#include "tests/kernels/device.h"

#include <cstring>

namespace seer::testing {

Tensor Device::upload(const std::vector<std::byte>& bytes, DType dtype, const std::vector<int64_t>& shape) {
  const auto offset = static_cast<size_t>(dtype_bytes(dtype));
  host_.push_back(std::make_unique<std::byte[]>(bytes.size() + offset));
  std::byte* data = host_.back().get() + offset;
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  Tensor host(data, dtype, {});
  for (const int64_t d : shape) host.shape[static_cast<size_t>(host.rank++)] = d;
  return backend_->to_device(host, &buffers_);
}

Tensor Device::upload(const HostTensor& host) { return upload(host.encoded(), host.dtype, host.shape); }

Tensor Device::upload(const std::vector<int32_t>& host, const std::vector<int64_t>& shape) {
  std::vector<std::byte> bytes(host.size() * sizeof(int32_t));
  std::memcpy(bytes.data(), host.data(), bytes.size());
  return upload(bytes, DType::kI32, shape);
}

Tensor Device::poisoned(DType dtype, std::vector<int64_t> shape) {
  return upload(HostTensor::filled(dtype, std::move(shape), kNan));
}

std::vector<float> Device::read(const Tensor& tensor) const {
  if (tensor.numel() == 0) return {};
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.nbytes()));
  backend_->read(bytes.data(), tensor);
  return decode(bytes, tensor.dtype);
}

std::vector<int32_t> Device::read_ints(const Tensor& tensor) const {
  std::vector<int32_t> values(static_cast<size_t>(tensor.numel()));
  backend_->read(values.data(), tensor);
  return values;
}

}  // namespace seer::testing
