#include "models/arena.h"

#include "seer/error.h"

namespace seer {

Tensor Arena::take(DType type, std::initializer_list<int64_t> shape) {
  Tensor t(nullptr, type, shape);
  int64_t bytes = dtype_bytes(type);
  bool overflow = false;
  for (int i = 0; i < t.rank; ++i) overflow = overflow || __builtin_mul_overflow(bytes, t.dim(i), &bytes);
  overflow = overflow || __builtin_add_overflow(bytes, kAlignment - 1, &bytes);
  bytes = bytes / kAlignment * kAlignment;
  if (data_ != nullptr) t.data = data_ + used_;
  if (overflow || __builtin_add_overflow(used_, bytes, &used_)) throw Error(ErrorKind::kMemory, too_large_);
  return t;
}

Buffer Arena::allocate(Backend* backend, const std::string& purpose, const std::string& too_large,
                       const std::function<void(Arena*)>& place) {
  Buffer memory = backend->allocate(measure(too_large, place), purpose);
  Arena arena(too_large, memory.get());
  place(&arena);
  return memory;
}

}  // namespace seer
