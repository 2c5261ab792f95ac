#include "kernels/tensor.h"

#include <vector>

#include "tests/support/catch.h"

namespace seer {
namespace {

TEST_CASE("rows of a tensor begin at their own bytes") {
  std::vector<uint16_t> memory(5 * 2 * 3);
  const Tensor t(memory.data(), DType::kBF16, {5, 2, 3});
  const Tensor rows = t.rows(2, 3);
  CHECK(rows.data == memory.data() + size_t{2} * 2 * 3);
  CHECK(shape_string(rows) == "[3, 2, 3]");
  CHECK(rows.nbytes() == 3 * 2 * 3 * 2);
  CHECK(t.rows(5, 0).numel() == 0);
}

TEST_CASE("a tensor without rows has no bytes") {
  float x = 0.0F;
  const Tensor t(&x, DType::kF32, {0, 64});
  CHECK(t.nbytes() == 0);
  CHECK(t.rows(0, 0).data == &x);
}

TEST_CASE("sizes beyond 32 bits do not wrap") {
  const Tensor t(nullptr, DType::kF32, {1 << 20, 8, 64, 128});
  CHECK(t.numel() == int64_t{1} << 36);
  CHECK(t.nbytes() == int64_t{1} << 38);
}

TEST_CASE("shapes are printed for messages") {
  CHECK(shape_string(Tensor(nullptr, DType::kF32, {32, 128})) == "[32, 128]");
  CHECK(shape_string(Tensor(nullptr, DType::kF32, {})) == "[]");
}

TEST_CASE("types have safetensors' names and sizes") {
  CHECK(std::string(dtype_name(DType::kBF16)) == "BF16");
  CHECK(std::string(dtype_name(DType::kI32)) == "I32");
  CHECK(dtype_bytes(DType::kF16) == 2);
  CHECK(dtype_bytes(DType::kU8) == 1);
  CHECK(dtype_bytes(DType::kI32) == 4);
}

}  // namespace
}  // namespace seer
