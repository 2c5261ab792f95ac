// Cases for every type that a backend's pages can have.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/kernels/cases.h"

namespace seer::testing {

// Returns the types of cases, one for each type that the backend's pages can have. Cases round their keys and
// values to that type, and the CPU computes in float32 in any case, so its bounds are the same for all types.
inline std::vector<CaseTypes> page_types(const Backend& backend) {
  std::vector<CaseTypes> types;
  for (const DType kv : backend.kv_dtypes()) types.emplace_back(backend.activation_dtype(), kv);
  return types;
}

// Returns the cases that `make` gives for each type of pages.
template <class Make>
auto with_each_page_type(const Backend& backend, Make&& make) {
  decltype(make(CaseTypes(DType::kF32))) cases;
  for (const CaseTypes& types : page_types(backend))
    for (auto& c : make(types)) {
      c.name += std::string(", pages of ") + dtype_name(types.kv);
      cases.push_back(std::move(c));
    }
  return cases;
}

}  // namespace seer::testing
