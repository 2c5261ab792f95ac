// A typed, shaped, row-major view of memory that something else owns: a mapped file, an arena or a Buffer.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace seer {

// kF8E4M3 is float8_e4m3fn. kU4 is a number of 0 to 15, two to a byte, the one with the lower index in the
// low bits; only the last dimension of such a tensor is packed, and it is even.
enum class DType : uint8_t { kF32, kF16, kBF16, kI64, kI32, kI8, kU8, kF8E4M3, kU4 };

constexpr int64_t dtype_bits(DType t) {
  switch (t) {
    case DType::kI64:
      return 64;
    case DType::kF32:
    case DType::kI32:
      return 32;
    case DType::kF16:
    case DType::kBF16:
      return 16;
    case DType::kI8:
    case DType::kU8:
    case DType::kF8E4M3:
      return 8;
    case DType::kU4:
      return 4;
  }
  return 0;
}

// `t` must be a type of whole bytes, as all but kU4 are.
constexpr int64_t dtype_bytes(DType t) {
  assert(t != DType::kU4);
  return dtype_bits(t) / 8;
}

// "F32" and so on, as safetensors spells it.
const char* dtype_name(DType t);

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct DTypeOf<uint8_t> {
  static constexpr DType value = DType::kU8;
};

struct Tensor {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};

  Tensor() = default;
  Tensor(void* data_, DType dtype_, std::initializer_list<int64_t> dims) : data(data_), dtype(dtype_) {
    assert(dims.size() <= kMaxRank);
    for (const int64_t d : dims) shape[static_cast<size_t>(rank++)] = d;
  }

  explicit operator bool() const { return data != nullptr; }
  int64_t dim(int i) const {
    assert(i >= 0 && i < rank);
    return shape[static_cast<size_t>(i)];
  }
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dim(i);
    return n;
  }
  int64_t nbytes() const { return numel() * dtype_bits(dtype) / 8; }

  template <class T>
  T* as() const {
    assert(DTypeOf<T>::value == dtype);
    return static_cast<T*>(data);
  }

  // Rows [begin, begin + count) of the first axis.
  Tensor rows(int64_t begin, int64_t count) const {
    assert(rank >= 1 && begin >= 0 && begin + count <= dim(0));
    Tensor t = *this;
    t.shape[0] = count;
    const int64_t row_bytes = dim(0) == 0 ? 0 : nbytes() / dim(0);
    t.data = static_cast<char*>(data) + begin * row_bytes;
    return t;
  }
  Tensor reshaped(std::initializer_list<int64_t> dims) const {
    Tensor t(data, dtype, dims);
    assert(t.numel() == numel());
    return t;
  }
};

// "[32, 128]", for messages.
std::string shape_string(const Tensor& t);

}  // namespace seer
