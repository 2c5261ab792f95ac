// Owners of memory of the current GPU, and of pinned memory of the host.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace seer::cuda {

class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Throws Error{kMemory} with `purpose`, the size, and the GPU's free memory.
  DeviceMemory(int64_t bytes, const std::string& purpose);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // Makes room for at least `bytes`, and returns the beginning. If the memory has to grow, its contents are
  // lost.
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

// Page-locked memory of the host, so that copies from it run while the host goes on.
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
