// Weights that are NaN or infinite: a training run that diverged, or a damaged file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/tensor.h"

namespace seer {

// Returns the index, in row-major order, of the first element of an F32, F16, BF16 or F8_E4M3 tensor in host
// memory that is NaN or infinite. Reads at some 10 GB/s on one core.
std::optional<int64_t> first_not_finite(const Tensor& tensor);

// Throws Error{kFile} that names the tensor and the first such element by its place, "[3, 0, 17]".
void require_finite(const Tensor& tensor, const std::string& name, const std::string& source);

}  // namespace seer
