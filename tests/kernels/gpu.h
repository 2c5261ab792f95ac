// The GPU for a test, if there is one.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/cases.h"

namespace seer::testing {

// Returns cuda:0, or null after marking the case as skipped. SEER_REQUIRE_GPU=1 turns the skip into a
// failure, for machines that should have a GPU. `round_inputs` as for make_cuda_backend().
std::unique_ptr<Backend> gpu(bool round_inputs = true);

// Returns whether the CUDA backend accepts this head size and page. It refuses others when a model is loaded.
bool gpu_takes(const PagedCase& c);

// Returns the case with the CPU's type of activations: the same values as float32.
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
