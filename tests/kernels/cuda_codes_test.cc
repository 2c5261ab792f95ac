// Quantised weights on the GPU against the CPU backend, which multiplies the same codes in float32.
#include <cmath>
#include <limits>
#include <random>

#include "kernels/input_codes.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/device.h"
#include "tests/kernels/gpu.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// The GPU's sums are float32 sums of exact products, in another order.
constexpr Tolerance kExactProducts{2e-5, 2e-5};
// Results in bf16, of inputs that are normalised and rounded to bf16 (see cuda_rows_test.cc).
constexpr Tolerance kRounded{2e-3, 1.0 / 250};
constexpr Tolerance kNormed{2e-2, 1.0 / 100};
constexpr Tolerance kSwiglu{4e-2, 1.0 / 40};
// For weights that are widened to bf16, and for sums of E4M3 products, which the tensor cores keep with 13
// bits. It is relative to the size of results, which is 1 for the inputs and weights below.
constexpr Tolerance kWidened{2e-2, 1.0 / 100};

struct CodesCase {
  std::string name;
  DType type;
  int64_t d_in, d_out, group;  // group 0: a whole row
  bool zeros = false, bias = false;
  InputCodes inputs = InputCodes::kNone;
};

// Codes, scales and zeros in host memory.
class HostCodes {
 public:
  HostCodes(const CodesCase& c, uint32_t seed) : random_(seed) {
    const int64_t group = c.group == 0 ? c.d_in : c.group, n_groups = (c.d_in + group - 1) / group;
    std::uniform_int_distribution<int> byte(0, 255);
    codes_.resize(static_cast<size_t>(c.d_out * c.d_in * dtype_bits(c.type) / 8));
    for (uint8_t& code : codes_) {
      do {
        code = static_cast<uint8_t>(byte(random_));
      } while (c.type == DType::kF8E4M3 && (code & 0x7F) == 0x7F);
    }
    // Root mean squares of uniform codes: 118 for E4M3, 74 for int8, 4.6 or more for 4 bits.
    const double size = c.type == DType::kF8E4M3 ? 118.0 : c.type == DType::kI8 ? 74.0 : c.zeros ? 6.5 : 4.6;
    std::uniform_real_distribution<float> spread(0.5F, 1.5F);
    scales_.resize(static_cast<size_t>(c.d_out * n_groups));
    for (float& s : scales_)
      s = spread(random_) / static_cast<float>(size * std::sqrt(static_cast<double>(c.d_in)));
    part_.weight = Tensor(codes_.data(), c.type, {c.d_out, c.d_in});
    part_.scale = Tensor(scales_.data(), DType::kF32, {c.d_out, n_groups});
    part_.group = group;
    part_.input_codes = c.inputs;
    part_.input_scale = c.inputs == InputCodes::kE4M3Static ? 1.0F / 128 : 0.0F;
    if (c.zeros) {
      zeros_.resize(scales_.size());
      for (uint8_t& z : zeros_) z = static_cast<uint8_t>(byte(random_) % 16);
      part_.zero = Tensor(zeros_.data(), DType::kU8, {c.d_out, n_groups});
    }
    if (c.bias) {
      bias_ = random(DType::kBF16, {c.d_out});
      bias_bytes_ = bias_.encoded();
      part_.bias = Tensor(bias_bytes_.data(), DType::kBF16, {c.d_out});
    }
  }

  const LinearWeights::Part& part() const { return part_; }
  HostTensor random(DType dtype, std::vector<int64_t> shape) {
    std::normal_distribution<float> normal;
    std::vector<float> values(1);
    for (const int64_t d : shape) values.resize(values.size() * static_cast<size_t>(d));
    for (float& v : values) v = normal(random_);
    return {dtype, std::move(shape), std::move(values)};
  }

 private:
  std::mt19937 random_;
  std::vector<uint8_t> codes_, zeros_;
  std::vector<float> scales_;
  HostTensor bias_;
  std::vector<std::byte> bias_bytes_;
  LinearWeights::Part part_;
};

HostTensor for_device(const Backend& backend, const HostTensor& t) {
  return {backend.activation_dtype(), t.shape, t.values};
}

struct Asked {
  bool float_out = false, accumulate = false;
  const HostTensor* norm = nullptr;
  bool swiglu = false;
};

std::vector<float> run(Backend& backend, const LinearWeights& host, const HostTensor& x, const Asked& asked) {
  Device device(&backend);
  const LinearWeights w = device.upload(host);
  const int64_t n = x.dim(0), d_out = w.d_out();
  const DType type = backend.activation_dtype();
  const Tensor in = device.upload(for_device(backend, x)), h = device.poisoned(type, {n, x.dim(1)});
  Tensor out = device.poisoned(asked.float_out ? DType::kF32 : type, {n, asked.swiglu ? d_out / 2 : d_out});
  if (asked.accumulate) {
    std::vector<float> before(static_cast<size_t>(n * d_out));
    for (size_t i = 0; i < before.size(); ++i) before[i] = static_cast<float>(i % 7) - 3.0F;
    out = device.upload(HostTensor(type, {n, d_out}, before));
  }
  const Tensor norm = asked.norm == nullptr ? Tensor() : device.upload(for_device(backend, *asked.norm));
  if (asked.swiglu) {
    backend.norm_swiglu(out, h, device.poisoned(type, {n, d_out}), in, norm, 1e-5, w, nullptr);
  } else if (asked.norm != nullptr) {
    backend.norm_linear(out, h, in, norm, 1e-5, w);
  } else {
    backend.linear(out, in, w, asked.accumulate);
  }
  return device.read(out);
}

std::vector<CodesCase> few_rows_cases() {
  const auto e4m3 = DType::kF8E4M3, i8 = DType::kI8, u4 = DType::kU4;
  return {
      {"e4m3, whole rows", e4m3, 256, 48, 0},
      {"e4m3, a chunk that is cut, outputs that fill no tile", e4m3, 72, 24, 0, false, true},
      {"e4m3, blocks", e4m3, 512, 32, 128},
      {"e4m3, groups of 64", e4m3, 576, 32, 64},
      {"e4m3, many chunks", e4m3, 4096, 64, 0},
      {"e4m3, inputs that do not fit into shared memory", e4m3, 14336, 32, 0},
      {"int8", i8, 1024, 32, 0, false, true},
      {"int8, a chunk that is cut", i8, 200, 16, 0},
      {"4 bits, groups of 128", u4, 1024, 64, 128},
      {"4 bits, groups of 128 with zeros", u4, 4096, 48, 128, true, true},
      {"4 bits, groups of 64", u4, 576, 40, 64},
      {"4 bits, groups of 32 with zeros", u4, 96, 24, 32, true},
      {"4 bits, groups of 256", u4, 1024, 32, 256, true},
      {"4 bits, whole rows", u4, 328, 32, 0, true},
      {"4 bits, inputs that do not fit into shared memory", u4, 14336, 32, 128},
  };
}

TEST_CASE("cuda: products of few rows with codes are exact up to the order of their sums") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  // A section each, so that a sanitizer that is slow can run some of them (tools/gpu/check.sh).
  for (const CodesCase& c : few_rows_cases()) DYNAMIC_SECTION(c.name) {
      HostCodes codes(c, 7);
      const LinearWeights w{{codes.part()}};
      // On a Hopper GPU, more than 8 rows of 4 bits are multiplied by another kernel, if groups are whole
      // chunks.
      const bool batches = c.type == DType::kU4 && c.group % 128 == 0 && c.d_out % 16 == 0;
      std::vector<float> one;
      for (const int64_t n : {1, 2, 3, 8, 9, 16, 17, 32, 33, 47, 48, 64}) {
        if (n > 48 && !batches) continue;
        INFO(c.name << ", " << n << " rows");
        if (n == 9 && batches) one.clear();
        const HostTensor x = HostCodes(c, 11).random(DType::kBF16, {n, c.d_in});
        const std::vector<float> out = run(*device, w, x, {.float_out = true});
        CHECK(mismatch(out, as_doubles(run(*cpu, w, x, {.float_out = true})), kExactProducts) == "");
        // A row's result must not depend on the other rows.
        const std::vector<float> first(out.begin(), out.begin() + c.d_out);
        if (one.empty()) one = first;
        CHECK(first == one);
        CHECK(mismatch(run(*device, w, x, {.accumulate = true}),
                       as_doubles(run(*cpu, w, x, {.accumulate = true})), kRounded) == "");
      }
    }
}

std::vector<uint8_t> codes_of(Backend& backend, const Tensor& t, int64_t n_bytes) {
  std::vector<uint8_t> bytes(static_cast<size_t>(n_bytes));
  backend.read(bytes.data(), Tensor(t.data, DType::kU8, {n_bytes}));
  return bytes;
}

// Returns the scales with -1 in place of NaN, because NaN is not equal to itself.
std::vector<float> scales_of(Backend& backend, const Tensor& t) {
  std::vector<float> scales(static_cast<size_t>(t.numel()));
  backend.read(scales.data(), t);
  for (float& s : scales)
    if (std::isnan(s)) s = -1.0F;
  return scales;
}

TEST_CASE("cuda: plain weights become the same codes and scales as on the CPU, to the bit") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const WeightFormat format : {WeightFormat::kE4M3, WeightFormat::kU4})
    for (const int64_t d_in : {96, 576, 1024, 14336}) {
      constexpr int64_t kOut = 40;
      INFO("format " << static_cast<int>(format) << ", " << d_in << " inputs");
      HostTensor values = HostCodes({"", DType::kI8, d_in, kOut, 0}, 3).random(DType::kBF16, {kOut, d_in});
      for (int64_t i = 0; i < d_in; ++i) {
        values.values[static_cast<size_t>(i)] = 0.0F;               // an output of zeros
        values.values[static_cast<size_t>(d_in + i)] *= 0x1p-130F;  // one whose scale is no normal number
      }
      values.values[static_cast<size_t>(2 * d_in + 5)] = std::numeric_limits<float>::infinity();
      std::vector<std::byte> stored = values.encoded();
      const LinearWeights plain{{{Tensor(stored.data(), DType::kBF16, {kOut, d_in}), {}}}};
      std::vector<Buffer> host_buffers, buffers, expected_buffers;
      const LinearWeights host = cpu->quantise(plain, format, &host_buffers);
      const LinearWeights expected = device->to_device(host, &expected_buffers);
      const LinearWeights found = device->quantise(device->to_device(plain, &buffers), format, &buffers);
      CHECK(buffers.size() == 2);  // codes and scales; the plain matrix was freed
      const LinearWeights::Part &a = found.parts.front(), &b = expected.parts.front();
      REQUIRE((a.weight.dtype == b.weight.dtype && a.group == b.group && a.input_codes == b.input_codes));
      const int64_t row_bytes = (d_in + 127) / 128 * 128 * dtype_bits(a.weight.dtype) / 8;
      CHECK(codes_of(*device, a.weight, kOut * row_bytes) == codes_of(*device, b.weight, kOut * row_bytes));
      CHECK(scales_of(*device, a.scale) == scales_of(*device, b.scale));
    }
}

TEST_CASE("cuda: norms and SwiGLUs of products with codes are the CPU's") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const CodesCase& c : few_rows_cases()) {
    HostCodes gate(c, 7), up(c, 8);
    const LinearWeights both{{gate.part(), up.part()}};
    for (const int64_t n : {1, 2, 5, 16, 17, 40, 100}) {
      INFO(c.name << ", " << n << " rows");
      HostCodes more(c, 11);
      const HostTensor x = more.random(DType::kBF16, {n, c.d_in}), norm = more.random(DType::kBF16, {c.d_in});
      const Asked linear{.norm = &norm}, swiglu{.norm = &norm, .swiglu = true};
      CHECK(mismatch(run(*device, both, x, linear), as_doubles(run(*cpu, both, x, linear)), kNormed) == "");
      CHECK(mismatch(run(*device, both, x, swiglu), as_doubles(run(*cpu, both, x, swiglu)), kSwiglu) == "");
    }
  }
}

TEST_CASE("cuda: inputs that a product normalises first are rounded as those that were normalised before") {
  const auto device = gpu();
  if (!device) return;
  for (const InputCodes inputs :
       {InputCodes::kE4M3Token, InputCodes::kE4M3Static, InputCodes::kE4M3Token128}) {
    const CodesCase c{"",    DType::kF8E4M3, 512,   64, inputs == InputCodes::kE4M3Token128 ? 128 : 0,
                      false, false,          inputs};
    HostCodes codes(c, 7);
    const LinearWeights host{{codes.part()}};
    for (const int64_t n : {9, 63, 64, 67, 300}) {
      INFO(n << " rows");
      Device memory(device.get());
      const LinearWeights w = memory.upload(host);
      const Tensor x = memory.upload(codes.random(DType::kBF16, {n, c.d_in})),
                   norm = memory.upload(codes.random(DType::kBF16, {c.d_in})),
                   h = memory.poisoned(DType::kBF16, {n, c.d_in}),
                   normed = memory.poisoned(DType::kBF16, {n, c.d_in}),
                   out = memory.poisoned(DType::kBF16, {n, c.d_out}),
                   expected = memory.poisoned(DType::kBF16, {n, c.d_out});
      device->norm_linear(out, h, x, norm, 1e-5, w);
      device->rms_norm(normed, x, norm, 1e-5);
      device->linear(expected, normed, w, false);
      // Few rows normalise in another order. With more than 64 rows, the last ones of groups are few rows.
      const int64_t same = inputs == InputCodes::kE4M3Token128 && n > 64 ? n / 4 * 4 : n;
      CHECK(same_bits(memory.read(out.rows(0, same)), memory.read(expected.rows(0, same))));
    }
  }
}

void check_swiglus(Backend* device) {
  for (const InputCodes inputs : {InputCodes::kE4M3Token, InputCodes::kE4M3Static, InputCodes::kE4M3Token128})
    for (const int64_t d_ff : {512, 28672}) {
      const int64_t group = inputs == InputCodes::kE4M3Token128 ? 128 : 0;
      HostCodes gate({"", DType::kF8E4M3, 256, d_ff, group, false, false, inputs}, 7),
          up({"", DType::kF8E4M3, 256, d_ff, group, false, false, inputs}, 8),
          down({"", DType::kF8E4M3, d_ff, 64, group, false, true, inputs}, 9);
      for (const int64_t n : {8, 17, 64, 67}) {
        INFO(static_cast<int>(inputs) << ", " << d_ff << ", " << n << " rows");
        Device memory(device);
        const LinearWeights w = memory.upload(LinearWeights{{gate.part(), up.part()}}),
                            next = memory.upload(LinearWeights{{down.part()}});
        const Tensor x = memory.upload(gate.random(DType::kBF16, {n, 256})),
                     norm = memory.upload(gate.random(DType::kBF16, {256}));
        const auto run = [&](const LinearWeights* hint) {
          const Tensor h = memory.poisoned(DType::kBF16, {n, 256}),
                       both = memory.poisoned(DType::kBF16, {n, 2 * d_ff}),
                       act = memory.poisoned(DType::kBF16, {n, d_ff}),
                       out = memory.poisoned(DType::kF32, {n, 64});
          device->norm_swiglu(act, h, both, x, norm, 1e-5, w, hint);
          device->linear(out, act, next, false);
          return memory.read(out);
        };
        CHECK(same_bits(run(&next), run(nullptr)));
      }
    }
}

TEST_CASE("cuda: SwiGLUs that are rounded where they are made give the product that rounds them itself") {
  for (const bool rounds : {true, false}) {
    const auto device = gpu(rounds);
    if (!device) return;
    check_swiglus(device.get());
  }
}

// E4M3 codes whose format rounds inputs.
std::vector<CodesCase> rounding_cases() {
  const auto e4m3 = DType::kF8E4M3;
  std::vector<CodesCase> cases;
  for (const InputCodes inputs : {InputCodes::kE4M3Token, InputCodes::kE4M3Static}) {
    cases.push_back({"e4m3, inputs rounded", e4m3, 256, 48, 0, false, true, inputs});
    cases.push_back({"e4m3, inputs rounded, rows that are padded", e4m3, 4112, 64, 0, false, false, inputs});
    cases.push_back({"e4m3, inputs rounded, wide", e4m3, 14336, 64, 0, false, false, inputs});
  }
  cases.push_back(
      {"e4m3, blocks, inputs rounded", e4m3, 512, 64, 128, false, false, InputCodes::kE4M3Token128});
  cases.push_back(
      {"e4m3, blocks that are cut", e4m3, 4160, 144, 128, false, true, InputCodes::kE4M3Token128});
  return cases;
}

TEST_CASE("cuda: products of many rows widen codes, or round inputs as the format says") {
  const auto device = gpu();
  if (!device) return;
  const auto exact = make_cpu_backend(2), rounding = make_cpu_backend(2, true);
  const auto e4m3 = DType::kF8E4M3;
  std::vector<CodesCase> cases = few_rows_cases(), more = rounding_cases();
  cases.insert(cases.end(), more.begin(), more.end());
  cases.push_back({"e4m3, sizes that cuBLASLt does not take", e4m3, 4104, 24, 0, false, true});
  for (const CodesCase& c : cases) {
    HostCodes codes(c, 7);
    const LinearWeights w{{codes.part()}};
    for (const int64_t n : {9, 17, 64, 65, 129, 300}) {
      INFO(c.name << ", " << n << " rows");
      HostTensor x = HostCodes(c, 11).random(DType::kBF16, {n, c.d_in});
      std::fill_n(x.at(1), c.d_in, 0.0F);  // a token of zeros
      // Inputs are rounded only on a Hopper GPU. With groups and more than 64 rows, the last rows after a
      // multiple of four are not rounded.
      const bool rounds = device->rounds_inputs(w);
      const auto same_on_cpu = [&](const Asked& asked) {
        std::vector<double> expected = as_doubles(run(rounds ? *rounding : *exact, w, x, asked));
        if (!rounds || c.inputs != InputCodes::kE4M3Token128 || n <= 64) return expected;
        const std::vector<float> last = run(*exact, w, x, asked);
        std::copy(last.begin() + n / 4 * 4 * c.d_out, last.end(), expected.begin() + n / 4 * 4 * c.d_out);
        return expected;
      };
      for (const Asked& asked : {Asked{}, Asked{.accumulate = true}, Asked{.float_out = true}})
        CHECK(mismatch(run(*device, w, x, asked), same_on_cpu(asked), kWidened) == "");
    }
  }
}

// Rounded inputs would be further away than kWidened allows: E4M3 keeps four significant bits.
TEST_CASE("cuda: a backend that rounds no inputs multiplies E4M3 codes by the inputs as they are") {
  const auto device = gpu(/*round_inputs=*/false);
  if (!device) return;
  const auto exact = make_cpu_backend(2);
  for (const CodesCase& c : rounding_cases()) {
    HostCodes codes(c, 7);
    const LinearWeights w{{codes.part()}};
    CHECK(!device->rounds_inputs(w));
    for (const int64_t n : {9, 17, 48, 49, 64, 67, 300}) {
      INFO(c.name << ", " << n << " rows");
      HostCodes more(c, 11);
      const HostTensor x = more.random(DType::kBF16, {n, c.d_in}), norm = more.random(DType::kBF16, {c.d_in});
      for (const Asked& asked : {Asked{}, Asked{.accumulate = true}, Asked{.float_out = true}})
        CHECK(mismatch(run(*device, w, x, asked), as_doubles(run(*exact, w, x, asked)), kWidened) == "");
      const Asked normed{.norm = &norm};
      CHECK(mismatch(run(*device, w, x, normed), as_doubles(run(*exact, w, x, normed)), kNormed) == "");
    }
  }
}

TEST_CASE("cuda: a backend that rounds no inputs has room for one widened matrix, and for no rounded rows") {
  const auto device = gpu(/*round_inputs=*/false);
  if (!device) return;
  const CodesCase c{"", DType::kF8E4M3, 512, 64, 0, false, false, InputCodes::kE4M3Token};
  HostCodes codes(c, 7);
  Device memory(device.get());
  (void)memory.upload(LinearWeights{{codes.part()}});
  StepLimits limits;
  for (const int64_t n : {64, 8192}) {
    limits.n_tokens = n;
    CHECK(device->step_bytes(limits) == c.d_in * c.d_out * dtype_bytes(DType::kBF16));
  }
}

}  // namespace
}  // namespace seer::testing
