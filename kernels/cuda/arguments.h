// How the backend writes tensors and sizes into the arguments of kernels.
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace seer::cuda {

inline int as_int(int64_t x) { return static_cast<int>(x); }
inline float* floats(const Tensor& t) { return t.as<float>(); }
inline const void* data_or_null(const Tensor& t) { return t ? t.data : nullptr; }

}  // namespace seer::cuda
