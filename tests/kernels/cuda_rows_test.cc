// Row operations on the GPU, compared with the CPU backend, which other tests compare with float64.
#include "tests/kernels/compare.h"
#include "tests/kernels/gpu.h"
#include "tests/kernels/rank_ops.h"
#include "tests/kernels/record_copies.h"
#include "tests/kernels/run_op.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

// A result is rounded to bf16 once: half a unit in its last place is up to 2^-8 of it.
constexpr Tolerance kRounded{1e-5, 1.0 / 250};
// Sums of up to thousands of products that cancel keep the float32 error of their parts.
constexpr Tolerance kProduct{2e-3, 1.0 / 250};
// Normalised inputs are rounded to bf16 too. Sums of size 1 are off by 1e-3, and by several times that at
// worst.
constexpr Tolerance kNormedProduct{2e-2, 1.0 / 100};
// A SwiGLU multiplies two such sums, which are rounded to bf16 once more if there are many rows.
constexpr Tolerance kNormedSwiglu{4e-2, 1.0 / 40};

TEST_CASE("cuda: embed copies the rows of the step's ids") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const EmbedCase& c : embed_cases()) {
    if (c.table.dim(1) % 8 != 0) continue;
    INFO(c.name);
    CHECK(mismatch(run_embed(*device, c), as_doubles(run_embed(*cpu, c)), kRounded) == "");
  }
}

TEST_CASE(
    "cuda: what ranks need of rows is exact: parts of a table, sums, columns, pages, kept blocks, random "
    "slices") {
  const auto device = gpu();
  if (!device) return;
  check_partial_embed(*device);
  check_add(*device);
  check_copy_columns(*device);
  check_copy_rows(*device);
  check_rows_to_host(*device);
  check_mark_blocks(*device);
  check_random_slices(*device);
}

TEST_CASE("cuda: records of several tensors' rows are copied to the host and back") {
  const auto device = gpu();
  if (!device) return;
  check_record_copies(*device);
}

TEST_CASE("cuda: rms_norm is the CPU's") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const RmsNormCase& c : rms_norm_cases(DType::kBF16)) {
    if (c.x.dim(1) % 8 != 0) continue;
    INFO(c.name);
    RmsNormCase rounded = c;
    rounded.weight = HostTensor(DType::kBF16, c.weight.shape, c.weight.values);  // as the GPU keeps it
    CHECK(mismatch(run_rms_norm(*device, rounded), as_doubles(run_rms_norm(*cpu, for_cpu(rounded))),
                   kRounded) == "");
  }
}

TEST_CASE(
    "cuda: linear layers are the CPU's for few rows and for many, with parts, biases and accumulation") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const LinearCase& c : linear_cases(DType::kBF16)) {
    const auto odd = [](int64_t d) { return d % 8 != 0; };
    int64_t d_out = 0;
    for (const LinearCase::Part& part : c.parts) d_out += part.weight.dim(0);
    if (odd(c.x.dim(1)) || odd(d_out)) continue;
    INFO(c.name);
    LinearCase rounded = c;
    for (LinearCase::Part& part : rounded.parts) {
      part.weight = HostTensor(DType::kBF16, part.weight.shape, part.weight.values);
      if (!part.bias.empty()) part.bias = HostTensor(DType::kBF16, part.bias.shape, part.bias.values);
    }
    CHECK(mismatch(run_linear(*device, rounded), as_doubles(run_linear(*cpu, for_cpu(rounded))), kProduct) ==
          "");
  }
}

TEST_CASE("cuda: products of normalised rows, and SwiGLUs of them, are the CPU's") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  Random random(41);
  for (const LinearCase& c : linear_cases(DType::kBF16)) {
    const LinearCase::Part& first = c.parts.front();
    if (c.parts.size() > 1 || c.x.dim(1) % 8 != 0 || first.weight.dim(0) % 8 != 0) continue;
    INFO(c.name);
    LinearCase rounded = c;
    LinearCase::Part& part = rounded.parts.front();
    part.weight = HostTensor(DType::kBF16, first.weight.shape, first.weight.values);
    if (!part.bias.empty()) part.bias = HostTensor(DType::kBF16, first.bias.shape, first.bias.values);
    const HostTensor norm = random.tensor(DType::kBF16, {c.x.dim(1)}, 1.5F);
    CHECK(mismatch(run_norm_linear(*device, rounded, norm),
                   as_doubles(run_norm_linear(*cpu, for_cpu(rounded), norm)), kNormedProduct) == "");
    CHECK(mismatch(run_norm_swiglu(*device, rounded, norm),
                   as_doubles(run_norm_swiglu(*cpu, for_cpu(rounded), norm)), kNormedSwiglu) == "");
  }
}

TEST_CASE("cuda: silu_mul and gather_rows are the CPU's") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const SiluMulCase& c : silu_mul_cases(DType::kBF16)) {
    if (c.gate_up.dim(1) % 16 != 0) continue;
    INFO(c.name);
    CHECK(mismatch(run_silu_mul(*device, c), as_doubles(run_silu_mul(*cpu, for_cpu(c))), {1e-5, 1.0 / 250}) ==
          "");
  }
  for (const GatherRowsCase& c : gather_rows_cases(DType::kBF16)) {
    if (c.x.dim(1) % 8 != 0) continue;
    INFO(c.name);
    CHECK(run_gather_rows(*device, c) == run_gather_rows(*cpu, for_cpu(c)));
  }
}

TEST_CASE("cuda: RoPE tables are the CPU's at every position") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(2);
  for (const RopeTableCase& c : rope_table_cases()) {
    if (c.inv_freq.size() > 128) continue;
    INFO(c.name);
    CHECK(mismatch(run_rope_table(*device, c), as_doubles(run_rope_table(*cpu, c)), {1e-6, 1e-6}) == "");
    CHECK(run_decode_rope_table(*device, c) == run_rope_table(*device, c));
  }
}

}  // namespace
}  // namespace seer::testing
