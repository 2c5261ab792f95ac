#include "tests/bench/gpu_bench.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <numeric>

namespace seer {

GpuBench::GpuBench(int64_t n_heads, int64_t n_kv_heads)
    : gpu_(make_cuda_backend(0)), n_heads_(n_heads), n_kv_heads_(n_kv_heads) {
  std::printf("%s, %lld/%lld heads of 128\n", gpu_->description().c_str(), static_cast<long long>(n_heads),
              static_cast<long long>(n_kv_heads));
  // Roofs. A copy reads and writes each byte once.
  const Tensor a = random({8192, 8192}, 1.0F), b = tensor(DType::kBF16, {8192, 8192}),
               w = random({8192, 8192}, 0.02F);
  std::vector<int64_t> rows(8192);
  std::iota(rows.begin(), rows.end(), 0);
  begin({}, rows, {}, {}, 8192);
  copy_rate_ = 2.0 * static_cast<double>(a.nbytes()) / time([&](int) { gpu_->gather_rows(b, a); });
  const LinearWeights weights = {{{w, {}}}};
  flop_rate_ = 2.0 * 8192.0 * 8192.0 * 8192.0 / time([&](int) { gpu_->linear(b, a, weights, false); });
  std::printf("roofs: copy %.2f TB/s, product of 8192 cubed %.0f TFLOP/s\n", copy_rate_ * 1e-12,
              flop_rate_ * 1e-12);
}

Tensor GpuBench::tensor(DType dtype, std::initializer_list<int64_t> shape) {
  Tensor t(nullptr, dtype, shape);
  kept_.push_back(gpu_->allocate(t.nbytes(), "a bench"));
  t.data = kept_.back().get();
  return t;
}

Tensor GpuBench::tensor(DType dtype, const Tensor& like) {
  Tensor t = like;
  t.dtype = dtype;
  kept_.push_back(gpu_->allocate(t.nbytes(), "a bench"));
  t.data = kept_.back().get();
  return t;
}

Tensor GpuBench::random(std::initializer_list<int64_t> shape, float scale) {
  const Tensor t = tensor(DType::kBF16, shape);
  gpu_->fill_random(t, seed_++, 0.0F, scale, {});
  return t;
}

// Random codes, none of which is an E4M3 NaN, with scales that give weights of a size of about 0.02.
LinearWeights GpuBench::random_codes(int64_t d_out, int64_t d_in, DType type, int64_t group,
                                     InputCodes inputs) {
  std::vector<uint64_t> words(static_cast<size_t>(d_out * d_in * dtype_bits(type) / 64));
  for (uint64_t& w : words) w = next() & (type == DType::kF8E4M3 ? 0xF7F7F7F7F7F7F7F7U : ~uint64_t{0});
  LinearWeights::Part part;
  part.weight = Tensor(words.data(), type, {d_out, d_in});
  part.group = group == 0 ? d_in : group;
  std::vector<float> scales(static_cast<size_t>(d_out * part.n_groups()));
  for (float& s : scales) s = static_cast<float>(1 + next() % 8) * (type == DType::kU4 ? 1e-3F : 5e-5F);
  part.scale = Tensor(scales.data(), DType::kF32, {d_out, part.n_groups()});
  part.input_codes = inputs;
  return gpu_->to_device(LinearWeights{{part}}, &kept_);
}

GpuBench::Sequence GpuBench::sequence(int64_t n_tokens, bool keys) {
  const int64_t n_pages = n_tokens / kPage;
  Sequence s;
  if (keys) {
    s.kv.k = random({n_pages, n_kv_heads_, kPage, kHead}, 1.0F);
    s.kv.v = random({n_pages, n_kv_heads_, kPage, kHead}, 1.0F);
  } else {
    s.kv.k = Tensor(nullptr, DType::kBF16, {n_pages, n_kv_heads_, kPage, kHead});
  }
  s.table.resize(static_cast<size_t>(n_pages));
  std::iota(s.table.begin(), s.table.end(), 0);
  for (size_t i = s.table.size() - 1; i > 0; --i) std::swap(s.table[i], s.table[next() % (i + 1)]);
  return s;
}

std::pair<BlockMask, int64_t> GpuBench::random_mask(int64_t n, double density, bool shared) {
  std::vector<int32_t> counts, blocks(static_cast<size_t>(n_heads_ * n * n));
  int64_t n_kept = 0;
  for (int64_t h = 0; h < n_heads_; ++h)
    for (int64_t r = 0; r < n; ++r) {
      int32_t* row = blocks.data() + (h * n + r) * n;
      int32_t count = 0;
      if (shared && h > 0) {
        count = counts[static_cast<size_t>(r)];
        std::copy(blocks.data() + r * n, blocks.data() + r * n + count, row);
      } else {
        for (int64_t j = 0; j <= r; ++j)
          if (j == r || static_cast<double>(next() >> 11) * 0x1p-53 < density)
            row[count++] = static_cast<int32_t>(j);
      }
      counts.push_back(count);
      n_kept += count;
    }
  const auto upload = [&](const std::vector<int32_t>& values, std::initializer_list<int64_t> shape) {
    return gpu_->to_device(Tensor(const_cast<int32_t*>(values.data()), DType::kI32, shape), &kept_);
  };
  return {{upload(counts, {n_heads_, n}), upload(blocks, {n_heads_, n, n})}, n_kept};
}

void GpuBench::begin(const std::vector<int32_t>& ids, const std::vector<int64_t>& rows,
                     const std::vector<Segment>& prefills, const std::vector<Segment>& decodes,
                     int64_t length, const std::vector<DecodeRule>& decode_rules) {
  StepLimits limits;
  limits.n_tokens = static_cast<int64_t>(std::max(ids.size(), rows.size()));
  limits.n_sequences = static_cast<int64_t>(prefills.size() + decodes.size());
  limits.n_blocks = length / kPage + 1;
  gpu_->prepare(limits);
  gpu_->begin_step({ids, {0, prefills, decodes}, rows, {}, decode_rules}, kPage);
}

double GpuBench::median_of_rounds(int n, const std::function<void()>& round) {
  std::array<double, 5> seconds{};
  for (double& s : seconds) {
    gpu_->reset_phases();
    gpu_->begin_phase(Phase::kAttention);
    round();
    gpu_->end_phase(Phase::kAttention);
    s = static_cast<double>(gpu_->phase_ns(Phase::kAttention)) * 1e-9 / n;
  }
  std::nth_element(seconds.begin(), seconds.begin() + 2, seconds.end());
  return seconds[2];
}

double GpuBench::time(const std::function<void(int)>& call) {
  const auto rounds = [&](int n) {
    return median_of_rounds(n, [&] {
      for (int i = 0; i < n; ++i) call(i);
    });
  };
  return rounds(std::clamp(static_cast<int>(0.01 / std::max(rounds(1), 1e-6)), 1, 200));
}

double GpuBench::time_recorded(const std::function<void()>& call) {
  constexpr int kCalls = 100;
  const int64_t key = next_record_++;
  const auto round = [&] {
    gpu_->run_step(key, [&] {
      for (int i = 0; i < kCalls; ++i) call();
    });
  };
  round();  // without a record
  return median_of_rounds(kCalls, round);
}

void GpuBench::report(const std::string& name, double seconds, double bytes, double flops) const {
  std::printf("%-56s %9.4f ms", name.c_str(), seconds * 1e3);
  if (bytes > 0)
    std::printf("  %6.2f TB/s (%3.0f%% of copy)", bytes / seconds * 1e-12,
                100.0 * bytes / seconds / copy_rate_);
  if (flops > 0)
    std::printf("  %6.0f TFLOP/s (%3.0f%% of product)", flops / seconds * 1e-12,
                100.0 * flops / seconds / flop_rate_);
  std::printf("\n");
  std::fflush(stdout);
}

uint64_t GpuBench::next() {
  state_ += 0x9e3779b97f4a7c15ULL;
  uint64_t x = state_;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace seer
