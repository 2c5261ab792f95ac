// The type of the KV cache's keys and values, as options name it.
#pragma once

#include <optional>
#include <string>

#include "kernels/backend.h"

namespace seer {

// Returns the type that EngineOptions::kv_cache_dtype names, or nothing for "auto". Throws
// Error{kUnsupported} for a type that other engines have and Seer has not yet, and Error{kUsage} for any
// other name.
std::optional<DType> named_kv_dtype(const std::string& name);
// Returns the type that the backend is to use: `asked`, or the backend's usual one. Throws
// Error{kUnsupported} if the backend cannot use the type that was asked for.
DType kv_dtype_on(const Backend& backend, std::optional<DType> asked);
// Returns "f32" or "bf16".
std::string kv_dtype_name(DType dtype);

}  // namespace seer
