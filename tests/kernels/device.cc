#include "tests/kernels/device.h"

#include <cstring>

namespace seer::testing {

Tensor Device::on_host(const std::vector<std::byte>& bytes, DType dtype, const std::vector<int64_t>& shape) {
  const auto offset = static_cast<size_t>(dtype_bytes(dtype));
  host_.push_back(std::make_unique<std::byte[]>(bytes.size() + offset));
  std::byte* data = host_.back().get() + offset;
  if (!bytes.empty()) std::memcpy(data, bytes.data(), bytes.size());
  Tensor host(data, dtype, {});
  for (const int64_t d : shape) host.shape[static_cast<size_t>(host.rank++)] = d;
  return host;
}

Tensor Device::on_host(const HostTensor& host) { return on_host(host.encoded(), host.dtype, host.shape); }

Tensor Device::upload(const HostTensor& host) { return backend_->to_device(on_host(host), &buffers_); }

// Uploads float32 values bit by bit, as integers.
Tensor Device::upload_raw(const HostTensor& host) {
  if (host.dtype != DType::kF32) return upload(host);
  Tensor out = backend_->to_device(on_host(host.encoded(), DType::kI32, host.shape), &buffers_);
  out.dtype = DType::kF32;
  return out;
}

Tensor Device::upload_f32(const HostTensor& host) {
  return upload_raw(HostTensor(DType::kF32, host.shape, host.values));
}

Tensor Device::upload(const std::vector<int32_t>& host, const std::vector<int64_t>& shape) {
  std::vector<std::byte> bytes(host.size() * sizeof(int32_t));
  std::memcpy(bytes.data(), host.data(), bytes.size());
  return backend_->to_device(on_host(bytes, DType::kI32, shape), &buffers_);
}

Tensor Device::poisoned(DType dtype, std::vector<int64_t> shape) {
  return upload_raw(HostTensor::filled(dtype, std::move(shape), kNan));
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
