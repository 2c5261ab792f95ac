#include "models/distill/gate_share.h"

#include <algorithm>
#include <cassert>
#include <string>

#include "seer/error.h"

namespace seer {

GateShare::GateShare(const GatePlan& whole, const Shard& shard)
    : whole_(whole), plan_(whole.divided(shard.size)), rank_(shard.rank) {
  [[maybe_unused]] bool common = false;
  for (const PlannedTensor& tensor : plan_.layer_tensors()) {
    assert(!(common && tensor.of_heads));
    common = !tensor.of_heads;
    if (tensor.of_heads) n_own_ += tensor.size();
  }
}

template <class F>
void GateShare::each_tensor(int rank, const F& copy) const {
  const std::vector<PlannedTensor>&tensors = whole_.layer_tensors(), &parts = plan_.layer_tensors();
  for (int64_t l = 0; l < whole_.n_layers(); ++l)
    for (size_t i = 0; i < tensors.size(); ++i) {
      const int64_t n = parts[i].size(), before = tensors[i].of_heads ? rank * n : 0;
      copy(l * whole_.layer_size() + tensors[i].first + before, l * plan_.layer_size() + parts[i].first, n);
    }
}

std::vector<float> GateShare::take(std::span<const float> whole) const {
  std::vector<float> part(static_cast<size_t>(plan_.size()));
  each_tensor(rank_, [&](int64_t in_whole, int64_t in_part, int64_t n) {
    std::copy_n(whole.begin() + in_whole, n, part.begin() + in_part);
  });
  return part;
}

void GateShare::put(std::span<float> whole, int rank, std::span<const float> part) const {
  each_tensor(rank, [&](int64_t in_whole, int64_t in_part, int64_t n) {
    std::copy_n(part.begin() + in_part, n, whole.begin() + in_whole);
  });
}

void sum_over_ranks(Communicator& comm, std::span<double> values) {
  if (comm.size() == 1) return;
  const size_t n = values.size();
  std::vector<double> all(comm.rank() == 0 ? n * static_cast<size_t>(comm.size()) : 0);
  comm.gather_host(comm.rank() == 0 ? all.data() : nullptr, values.data(),
                   static_cast<int64_t>(values.size_bytes()));
  if (comm.rank() == 0) {
    std::copy_n(all.begin(), n, values.begin());
    for (size_t i = n; i < all.size(); ++i) values[i % n] += all[i];
  }
  comm.broadcast(values.data(), static_cast<int64_t>(values.size_bytes()), Patience::kStep);
}

}  // namespace seer
