#include "tests/kernels/rank_sums.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "kernels/backend.h"
#include "kernels/comm/nccl.h"
#include "tests/kernels/device.h"
#include "tests/support/narrow_floats.h"

namespace seer::testing {
namespace {

constexpr int kShares = 3;  // different shares of a rank, used by turns

// Returns a number in [-1, 1) that uses all bits of a float, so that the order of sums matters.
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
        memory(static_cast<char*>(comm->share_memory(most_elements * 2 + 3 * most_elements * 4))),
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

// Works as a decoder does: one part's sum runs while the other part's share is made.
void sum_in_parts(const RankOnGpu& rank, const SumCase& c, const std::vector<Tensor>& shares) {
  const int64_t half = c.n_rows / 2 + 1;
  std::optional<int> under_way[2];
  for (int s = 0; s < c.n_sums; ++s)
    for (const int part : {0, 1}) {
      const int64_t row = part * half, n = part == 0 ? half : c.n_rows - half;
      const auto rows = [&](const Tensor& t) { return t.rows(row, n); };
      if (under_way[part]) rank.comm->finish_sum(*under_way[part]);
      rank.copy(rows(rank.share(c, 0)), rows(shares[static_cast<size_t>(s % kShares)]));
      under_way[part] = rank.comm->start_sum(rows(rank.x(c)), rows(rank.share(c, 0)), rows(rank.share(c, 1)));
    }
  for (const std::optional<int>& sum : under_way) rank.comm->finish_sum(*sum);
}

int64_t most_elements() {
  int64_t most = 0;
  for (const SumCase& c : sum_cases()) most = std::max(most, c.n_rows * c.width);
  return most;
}

}  // namespace

const std::vector<SumCase>& sum_cases() {
  static const std::vector<SumCase> cases = {
      {1, 8, 4, false, false},      {1, 4096, 200, false, false}, {3, 72, 50, false, false},
      {64, 4096, 20, false, false}, {65, 4096, 5, false, false},  {1, 4096, 20, true, false},
      {33, 4096, 20, true, false},  {700, 2056, 3, false, false}, {5, 104, 20, true, false},
      {700, 2056, 5, false, true},  {333, 2048, 9, false, true}};
  return cases;
}

std::string description(const SumCase& c) {
  return std::to_string(c.n_sums) + " sums of " + std::to_string(c.n_rows) + " x " + std::to_string(c.width) +
         (c.recorded ? ", recorded" : "") + (c.beside ? ", beside" : "");
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
    shares.reserve(kShares);
    for (int which = 0; which < kShares; ++which)
      shares.push_back(upload(DType::kF32, [&](int64_t i) { return share_value(host->rank(), which, i); }));
    const Tensor start = upload(DType::kBF16, start_value);
    host->barrier(Patience::kStep);  // the memory of the last case is used again
    rank.copy(rank.x(c), start);
    // Parts of x come from other ranks, so all must have theirs before the first sum.
    std::vector<uint16_t> bits(static_cast<size_t>(n));
    rank.gpu->read(bits.data(), rank.x(c));
    host->barrier(Patience::kStep);
    if (c.recorded) ++key;
    const auto sums = [&] {
      if (c.beside) return sum_in_parts(rank, c, shares);
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

bool gather_on_ranks(Communicator* host) {
  constexpr int64_t kMost = 100000;
  const RankOnGpu rank(host, kMost);
  if (rank.memory == nullptr) throw Error(ErrorKind::kUnsupported, "no memory within reach");
  Device device(rank.gpu.get());
  bool right = true;
  int step = 0;
  for (const int64_t n : {int64_t{1}, int64_t{129}, kMost, int64_t{4128}}) {
    const SumCase shape{1, n, 1, false, false};
    const Tensor out = device.poisoned(DType::kF32, {host->size() * n});
    std::vector<float> expected, mine;
    for (int repeat = 0; repeat < 5; ++repeat, ++step) {  // the share is written again at once
      expected.clear();
      for (int r = 0; r < host->size(); ++r) {
        mine.clear();
        for (int64_t i = 0; i < n; ++i) mine.push_back(share_value(r, step, i));
        if (r == host->rank())
          rank.copy(rank.share(shape, 0), device.upload_f32(HostTensor(DType::kF32, {1, n}, mine)));
        expected.insert(expected.end(), mine.begin(), mine.end());
      }
      rank.comm->all_gather_small(out, rank.share(shape, 0).reshaped({n}));
    }
    right = right && device.read(out) == expected;
  }
  const char one = right ? 1 : 0;
  std::vector<char> all(static_cast<size_t>(host->size()), 1);
  host->gather_host(host->rank() == 0 ? all.data() : nullptr, &one, 1);
  host->barrier(Patience::kStep);
  return std::count(all.begin(), all.end(), 1) == host->size();
}

void leave_in_a_sum(Communicator* host) {
  constexpr SumCase kCase{1, 4096, 2, false, false};
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
