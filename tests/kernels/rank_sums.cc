#include "tests/kernels/rank_sums.h"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "kernels/backend.h"
#include "kernels/comm/nccl.h"
#include "tests/kernels/device.h"
#include "tests/support/narrow_floats.h"

namespace seer::testing {
namespace {

constexpr int kShares = 3;  // different ones of a rank, in turn

// Of [-1, 1), with all bits of a float in use, so that the order of sums shows.
float random_value(uint64_t seed) {
  uint64_t z = seed * 0x9E3779B97F4A7C15ULL + 0x1234567ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return static_cast<float>(static_cast<int32_t>((z ^ (z >> 31)) >> 32)) * 0x1p-31F;
}
float start_value(int64_t i) { return from_bf16(to_bf16(random_value(static_cast<uint64_t>(i)))); }
float share_value(int rank, int which, int64_t i) {
  return random_value((static_cast<uint64_t>(rank * kShares + which + 1) << 32) + static_cast<uint64_t>(i));
}

class RankOnGpu {
 public:
  RankOnGpu(Communicator* host, int64_t most_elements)
      : gpu(make_cuda_backend(host->local_rank() % std::max(1, cuda_device_count()))),
        comm(make_nccl_communicator(host, gpu.get())),
        memory(static_cast<char*>(comm->share_memory(most_elements * 2 + 2 * most_elements * 4))),
        most(most_elements) {}
  Tensor x(const SumCase& c) const { return {memory, DType::kBF16, {c.n_rows, c.width}}; }
  Tensor share(const SumCase& c, int turn) const {
    return {memory + most * 2 + turn * most * 4, DType::kF32, {c.n_rows, c.width}};
  }
  void copy(const Tensor& to, const Tensor& from) const {
    const int64_t row = 0;
    const auto flat = [](const Tensor& t) { return t.reshaped({1, t.numel()}); };
    gpu->copy_rows(flat(to), {&row, 1}, flat(from), {&row, 1});
  }

  std::unique_ptr<Backend> gpu;
  std::unique_ptr<Communicator> comm;
  char* memory;
  int64_t most;
};

int64_t most_elements() {
  int64_t most = 0;
  for (const SumCase& c : sum_cases()) most = std::max(most, c.n_rows * c.width);
  return most;
}

}  // namespace

const std::vector<SumCase>& sum_cases() {
  static const std::vector<SumCase> cases = {
      {1, 8, 4, false},      {1, 4096, 200, false}, {3, 72, 50, false},
      {64, 4096, 20, false}, {65, 4096, 5, false},  {1, 4096, 20, true},
      {33, 4096, 20, true},  {700, 2056, 3, false}, {5, 104, 20, true}};
  return cases;
}

std::string description(const SumCase& c) {
  return std::to_string(c.n_sums) + " sums of " + std::to_string(c.n_rows) + " x " + std::to_string(c.width) +
         (c.recorded ? ", recorded" : "");
}

std::vector<uint16_t> expected_sums(const SumCase& c, int n_ranks) {
  const int n = c.n_sums * (c.recorded ? kSumRuns : 1);
  std::vector<uint16_t> out;
  for (int64_t i = 0; i < c.n_rows * c.width; ++i) {
    float shares[kShares] = {}, x = start_value(i);
    for (int which = 0; which < kShares; ++which)
      for (int r = 0; r < n_ranks; ++r) shares[which] += share_value(r, which, i);
    for (int s = 0; s < n; ++s) x = from_bf16(to_bf16(x + shares[s % c.n_sums % kShares]));
    out.push_back(to_bf16(x));
  }
  return out;
}

std::vector<std::vector<std::vector<uint16_t>>> run_sum_cases(Communicator* host, bool* reached) {
  std::vector<std::vector<std::vector<uint16_t>>> results;
  const RankOnGpu rank(host, most_elements());
  *reached = rank.memory != nullptr;
  int64_t key = 0;
  for (const SumCase& c : sum_cases()) {
    if (!*reached) break;
    const int64_t n = c.n_rows * c.width;
    Device device(rank.gpu.get());
    std::vector<float> values(static_cast<size_t>(n));
    const auto upload = [&](DType type, auto&& value) {
      for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = value(i);
      const HostTensor t(type, {c.n_rows, c.width}, values);
      return type == DType::kF32 ? device.upload_f32(t) : device.upload(t);
    };
    std::vector<Tensor> shares;
    for (int which = 0; which < kShares; ++which)
      shares.push_back(upload(DType::kF32, [&](int64_t i) { return share_value(host->rank(), which, i); }));
    const Tensor start = upload(DType::kBF16, start_value);
    host->barrier(Patience::kStep);  // the last case's memory is used again
    rank.copy(rank.x(c), start);
    // Parts of x come from other ranks: all have theirs before the first sum.
    std::vector<uint16_t> bits(static_cast<size_t>(n));
    rank.gpu->read(bits.data(), rank.x(c));
    host->barrier(Patience::kStep);
    if (c.recorded) ++key;
    const auto sums = [&] {
      for (int s = 0; s < c.n_sums; ++s) {
        rank.copy(rank.share(c, s % 2), shares[static_cast<size_t>(s % kShares)]);
        rank.comm->add_sum(rank.x(c), rank.share(c, s % 2));
      }
    };
    for (int i = 0; i < (c.recorded ? kSumRuns : 1); ++i) rank.gpu->run_step(c.recorded ? key : 0, sums);
    rank.gpu->read(bits.data(), rank.x(c));
    const auto n_ranks = static_cast<size_t>(host->size());
    std::vector<uint16_t> all(host->rank() == 0 ? bits.size() * n_ranks : 0);
    host->gather_host(all.data(), bits.data(), n * 2);
    if (host->rank() != 0) continue;
    results.emplace_back();
    for (size_t r = 0; r < n_ranks; ++r)
      results.back().emplace_back(all.begin() + static_cast<int64_t>(r) * n,
                                  all.begin() + static_cast<int64_t>(r + 1) * n);
  }
  rank.gpu->forget_recordings();
  host->barrier(Patience::kStep);
  return results;
}

void leave_in_a_sum(Communicator* host) {
  constexpr SumCase kCase{1, 4096, 2, false};
  const RankOnGpu rank(host, kCase.n_rows * kCase.width);
  if (rank.memory == nullptr) throw Error(ErrorKind::kUnsupported, "no memory within reach");
  host->barrier(Patience::kStep);
  rank.comm->add_sum(rank.x(kCase), rank.share(kCase, 0));
  if (host->rank() == 1) {
    uint16_t one[8];
    rank.gpu->read(one, rank.x(kCase).reshaped({kCase.width}).rows(0, 8));
    std::_Exit(9);
  }
  rank.comm->add_sum(rank.x(kCase), rank.share(kCase, 1));
  std::vector<uint16_t> bits(static_cast<size_t>(kCase.width));
  rank.gpu->read(bits.data(), rank.x(kCase));
}

}  // namespace seer::testing
