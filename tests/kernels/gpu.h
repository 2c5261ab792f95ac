// The GPU for a test, where there is one.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/cases.h"

namespace seer::testing {

// cuda:0, or null with the case marked as skipped. SEER_REQUIRE_GPU=1 turns the skip into a failure, for
// machines that should have one.
std::unique_ptr<Backend> gpu();

// Whether the CUDA backend takes this head size and page; others are refused when a model is loaded.
bool gpu_takes(const PagedCase& c);

// The case's activations as the CPU keeps them: the same values as float32.
template <class Case>
Case for_cpu(Case c) {
  for (HostTensor* t : activations(c)) t->dtype = DType::kF32;
  return c;
}
inline std::vector<HostTensor*> activations(RmsNormCase& c) { return {&c.x}; }
inline std::vector<HostTensor*> activations(LinearCase& c) { return {&c.x, &c.before}; }
inline std::vector<HostTensor*> activations(SiluMulCase& c) { return {&c.gate_up}; }
inline std::vector<HostTensor*> activations(GatherRowsCase& c) { return {&c.x}; }
inline std::vector<HostTensor*> activations(AppendKvCase& c) { return {&c.qkv, &c.k, &c.v}; }
inline std::vector<HostTensor*> activations(GateProjectCase& c) { return {&c.qkv}; }
inline std::vector<HostTensor*> activations(SelectBlocksCase& c) { return {&c.gate_q, &c.gate_k}; }
inline std::vector<HostTensor*> activations(AttentionCase& c) { return {&c.q, &c.k, &c.v}; }

inline std::vector<double> as_doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

}  // namespace seer::testing
