#include "kernels/tensor.h"

namespace seer {

const char* dtype_name(DType t) {
  switch (t) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kI8:
      return "I8";
    case DType::kU8:
      return "U8";
    case DType::kF8E4M3:
      return "F8_E4M3";
    case DType::kU4:
      return "U4";
  }
  return "?";
}

std::string shape_string(const Tensor& t) {
  std::string s = "[";
  for (int i = 0; i < t.rank; ++i) {
    if (i > 0) s += ", ";
    s += std::to_string(t.dim(i));
  }
  return s + "]";
}

}  // namespace seer
