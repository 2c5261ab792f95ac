// bench_gpu_ops: the choice of tokens.
#include <utility>

#include "tests/bench/gpu_bench.h"

namespace seer {

// The choice of tokens, including the wait for their ids. The bytes are one pass over the logits.
void bench_sample(GpuBench& b) {
  constexpr int64_t kVocab = 128256;
  const std::vector<LogitChange> changes = {{1, 1.1F, 0.0F, false}, {2, 1.1F, 0.0F, false}};
  const std::pair<const char*, SampleRow> rules[] = {
      {"greedy", {}},
      {"plain", {0.8, 0, 1.0, 0.0, 0.5, {}}},
      {"top_k=40 top_p=0.95", {0.8, 40, 0.95, 0.0, 0.5, changes}},
      {"top_p=0.9", {0.8, 0, 0.9, 0.0, 0.5, changes}},
      {"top_p=0.95 hot", {4.0, 0, 0.95, 0.0, 0.5, {}}}};
  for (const int64_t n : {1, 8, 64}) {
    // The sum of six uniform numbers has a bell shape, as logits have.
    std::vector<float> logits(static_cast<size_t>(n * kVocab));
    for (float& x : logits)
      for (int i = 0; i < 6; ++i) x += static_cast<float>(b.next() >> 40) * 0x1p-22F - 2.0F;
    Tensor t = b.gpu()->to_device(Tensor(logits.data(), DType::kI32, {n, kVocab}), b.keep());  // bit by bit
    t.dtype = DType::kF32;
    for (const auto& [name, rule] : rules) {
      const std::vector<SampleRow> rows(static_cast<size_t>(n), rule);
      std::vector<int32_t> ids(rows.size());
      const double seconds = b.time([&](int) { b.gpu()->sample(ids, t, rows); });
      b.report("sample " + std::string(name) + " n=" + std::to_string(n), seconds,
               static_cast<double>(t.nbytes()), 0.0);
    }
    b.release();
  }
}

}  // namespace seer
