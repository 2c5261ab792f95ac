// bench_gpu_ops: a layer's products, with plain and with quantised weights.
#include <algorithm>
#include <iterator>

#include "tests/bench/gpu_bench.h"

namespace seer {
namespace {

constexpr int64_t kModel = 4096, kFf = 14336;

struct Shape {
  const char* name;
  int64_t d_out, d_in;
  bool swiglu = false;
};

struct Format {
  const char* name;
  DType type;
  int64_t group;  // 0: a whole row
  InputCodes inputs;
};

constexpr Format kPlain = {"bf16", DType::kBF16, 0, InputCodes::kNone};

std::vector<Shape> shapes_of_layer(const GpuBench& b) {
  return {{"qkv", (b.n_heads() + 2 * b.n_kv_heads()) * kHead, kModel},
          {"output", kModel, b.n_heads() * kHead},
          {"gate_up", 2 * kFf, kModel, true},
          {"down", kModel, kFf}};
}

// Times one product for each number of rows. Reports the bytes of the weights with their scales and, from
// 1024 rows on, the operations. Calls take turns on copies of the weights, which together do not fit into L2.
void bench_products(GpuBench& b, const std::string& name, const Format& f, const Shape& s,
                    const std::vector<int64_t>& rows) {
  const bool plain = f.type == DType::kBF16;
  const int64_t groups = plain          ? 0
                         : f.group == 0 ? 1
                                        : s.d_in / f.group,
                bytes = s.d_out * (s.d_in * dtype_bits(f.type) / 8 + groups * 4);
  const auto n_copies = static_cast<size_t>(std::max<int64_t>(1, (int64_t{200} << 20) / bytes));
  std::vector<LinearWeights> copies;
  std::generate_n(std::back_inserter(copies), n_copies, [&] {
    return plain ? LinearWeights{{{b.random({s.d_out, s.d_in}, 0.02F), {}}}}
                 : b.random_codes(s.d_out, s.d_in, f.type, f.group, f.inputs);
  });
  for (const int64_t n : rows) {
    const auto first_kept = b.n_kept();
    const Tensor x = b.random({n, s.d_in}, 1.0F), norm = b.random({s.d_in}, 1.0F),
                 h = b.tensor(DType::kBF16, {n, s.d_in}), out = b.tensor(DType::kBF16, {n, s.d_out}),
                 act = b.tensor(DType::kBF16, {n, s.d_out / 2});
    const double seconds = b.time([&](int i) {
      const LinearWeights& w = copies[static_cast<size_t>(i) % n_copies];
      if (s.swiglu) {
        b.gpu()->norm_swiglu(act, h, out, x, norm, 1e-5, w, nullptr);
      } else {
        b.gpu()->linear(out, x, w, false);
      }
    });
    b.report(name + " n=" + std::to_string(n), seconds, static_cast<double>(bytes),
             n < 1024 ? 0.0 : 2.0 * static_cast<double>(n * s.d_out * s.d_in));
    b.release(first_kept);
  }
  b.release();
}

}  // namespace

void bench_linear(GpuBench& b) {
  std::vector<Shape> shapes = shapes_of_layer(b);
  shapes.push_back({"head", 128256, kModel});
  for (const Shape& s : shapes)
    bench_products(b, std::string("linear ") + s.name, kPlain, s, {1, 2, 4, 8, 16, 32, 64});
}

void bench_codes(GpuBench& b) {
  const Format formats[] = {kPlain,
                            {"fp8", DType::kF8E4M3, 0, InputCodes::kE4M3Token},
                            {"fp8 blocks", DType::kF8E4M3, 128, InputCodes::kE4M3Token128},
                            {"int4", DType::kU4, 128, InputCodes::kNone}};
  for (const Format& f : formats)
    for (const Shape& s : shapes_of_layer(b))
      bench_products(b, std::string(f.name) + " " + s.name, f, s, {1, 2, 4, 8, 16, 32, 64, 8192});
}

}  // namespace seer
