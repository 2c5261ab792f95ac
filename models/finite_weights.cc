#include "models/finite_weights.h"

#include <algorithm>

#include "models/shown_name.h"
#include "seer/error.h"

namespace seer {
namespace {

// All bits of the exponent are set in NaN and the infinities, and in no other number. Whole blocks are tested
// without a branch, so that the compiler uses vectors.
template <class Bits>
std::optional<int64_t> first_with(const Tensor& tensor, Bits exponent) {
  constexpr int64_t kBlock = 4096;
  const auto* bits = static_cast<const Bits*>(tensor.data);
  const auto hit = [&](int64_t i) { return (bits[i] & exponent) == exponent; };
  const int64_t n = tensor.numel();
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    Bits any = 0;
    for (int64_t i = begin; i < end; ++i) any = static_cast<Bits>(any | (hit(i) ? ~0U : 0U));
    for (int64_t i = begin; any != 0 && i < end; ++i)
      if (hit(i)) return i;
  }
  return std::nullopt;
}

// E4M3 has no infinities. A number is NaN if all bits besides the sign are set.
std::optional<int64_t> first_nan_e4m3(const Tensor& tensor) { return first_with<uint8_t>(tensor, 0x7F); }

// "[3, 0, 17]" of an element's index in row-major order.
std::string place(const Tensor& tensor, int64_t index) {
  std::string text;
  for (int i = tensor.rank; i-- > 0; index /= tensor.dim(i))
    text = std::to_string(index % tensor.dim(i)) + (text.empty() ? "" : ", ") + text;
  return "[" + text + "]";
}

bool is_nan(const Tensor& tensor, int64_t index) {
  if (tensor.dtype == DType::kF8E4M3) return true;
  if (tensor.dtype == DType::kF32) return (static_cast<const uint32_t*>(tensor.data)[index] & 0x7FFFFF) != 0;
  const uint16_t bits = static_cast<const uint16_t*>(tensor.data)[index];
  return (bits & (tensor.dtype == DType::kF16 ? 0x3FF : 0x7F)) != 0;
}

}  // namespace

std::optional<int64_t> first_not_finite(const Tensor& tensor) {
  switch (tensor.dtype) {
    case DType::kF32:
      return first_with<uint32_t>(tensor, 0x7F800000);
    case DType::kF16:
      return first_with<uint16_t>(tensor, 0x7C00);
    case DType::kBF16:
      return first_with<uint16_t>(tensor, 0x7F80);
    case DType::kF8E4M3:
      return first_nan_e4m3(tensor);
    case DType::kI64:
    case DType::kI32:
    case DType::kI8:
    case DType::kU8:
    case DType::kU4:
      break;
  }
  return std::nullopt;
}

void require_finite(const Tensor& tensor, const std::string& name, const std::string& source) {
  const std::optional<int64_t> index = first_not_finite(tensor);
  if (!index) return;
  throw Error(ErrorKind::kFile, source + ": " + shown_name(name) + ": expected finite numbers, found " +
                                    (is_nan(tensor, *index) ? "NaN" : "infinity") + " at " +
                                    place(tensor, *index) +
                                    ". The file may be damaged, or its training diverged: use another copy.");
}

}  // namespace seer
