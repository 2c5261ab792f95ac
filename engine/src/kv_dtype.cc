#include "engine/src/kv_dtype.h"

#include <algorithm>
#include <span>

#include "seer/error.h"

namespace seer {

std::string kv_dtype_name(DType dtype) { return dtype == DType::kBF16 ? "bf16" : "f32"; }

std::optional<DType> named_kv_dtype(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "f32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  if (name.starts_with("fp8"))
    throw Error(ErrorKind::kUnsupported,
                "a KV cache of " + name + " is not supported yet: expected f32 or bf16");
  throw Error(ErrorKind::kUsage, "expected a KV cache type of auto, f32 or bf16, found '" + name + "'");
}

DType kv_dtype_on(const Backend& backend, std::optional<DType> asked) {
  const std::span<const DType> types = backend.kv_dtypes();
  if (!asked) return types.front();
  if (std::find(types.begin(), types.end(), *asked) != types.end()) return *asked;
  std::string usable;
  for (const DType type : types) usable += (usable.empty() ? "" : " or ") + kv_dtype_name(type);
  throw Error(ErrorKind::kUnsupported, "a KV cache of " + kv_dtype_name(*asked) + " is not supported on " +
                                           backend.description() + ": expected " + usable +
                                           ". Use --kv-cache-dtype " + kv_dtype_name(types.front()) + ".");
}

}  // namespace seer
