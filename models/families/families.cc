#include "models/family.h"

namespace seer {

std::span<const Family* const> families() {
  static constexpr const Family* kAll[] = {&kLlama, &kMistral, &kQwen2, &kQwen3};
  return kAll;
}

std::string family_architectures() {
  std::string names;
  const std::span<const Family* const> all = families();
  for (size_t i = 0; i < all.size(); ++i) {
    if (i > 0) names += i + 1 < all.size() ? ", " : " or ";
    names += all[i]->architectures.front();
  }
  return names;
}

}  // namespace seer
