// Times single operations of the CUDA backend on the shapes of Llama-3.1-8B, next to what the GPU can do: a
// copy and a large product, measured in the same run.
//
//   bench_gpu_ops [--heads Q/KV] [NAME...]     runs the named groups, or all if none is named. These are
//                                              linear codes append decode prefill block_maxima
//                                              distill gate decode_gate sample
//
// --heads sets the numbers of query heads and key heads of size 128; 32/8 unless given.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "seer/error.h"
#include "tests/bench/gpu_bench.h"

namespace seer {
namespace {

int run(int argc, char** argv) {
  long long q = 32, kv = 8;
  std::vector<std::string> names(argv + 1, argv + argc);
  if (names.size() >= 2 && names[0] == "--heads") {
    if (std::sscanf(names[1].c_str(), "%lld/%lld", &q, &kv) != 2 || kv < 1 || q < kv || q % kv != 0)
      throw Error(ErrorKind::kUsage, "expected --heads Q/KV, Q a multiple of KV, found --heads " + names[1]);
    names.erase(names.begin(), names.begin() + 2);
  }
  const std::pair<const char*, void (*)(GpuBench&)> groups[] = {
      {"linear", bench_linear},   {"codes", bench_codes},     {"append", bench_append},
      {"decode", bench_decode},   {"prefill", bench_prefill}, {"block_maxima", bench_block_maxima},
      {"distill", bench_distill}, {"gate", bench_gate},       {"decode_gate", bench_decode_gate},
      {"sample", bench_sample}};
  for (const std::string& name : names)
    if (std::none_of(std::begin(groups), std::end(groups), [&](const auto& g) { return g.first == name; }))
      throw Error(
          ErrorKind::kUsage,
          "expected linear, codes, append, decode, prefill, block_maxima, distill, gate, decode_gate or "
          "sample, found " +
              name);
  GpuBench bench(q, kv);
  for (const auto& [name, group] : groups)
    if (names.empty() || std::find(names.begin(), names.end(), name) != names.end()) group(bench);
  return 0;
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) {
  try {
    return seer::run(argc, argv);
  } catch (const seer::Error& error) {
    std::fprintf(stderr, "bench_gpu_ops: %s\n", error.what());
    return 1;
  }
}
