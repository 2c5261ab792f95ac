// Memory of the current GPU, and pinned memory of the host, owned.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace seer::cuda {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Throws Error{kMemory} with `purpose`, the size, and what the GPU has free.
  DeviceMemory(int64_t bytes, const std::string& purpose);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // Makes it at least so large, if it is smaller; what it held is then lost. Returns its beginning.
  void* reserve(int64_t bytes, const std::string& purpose) {
    if (bytes > bytes_) *this = DeviceMemory(bytes, purpose);
    return data_;
  }

  void* get() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Page-locked, so that copies from it run beside the host.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(int64_t bytes, const std::string& purpose);
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }

  void* get() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
};

}  // namespace seer::cuda
