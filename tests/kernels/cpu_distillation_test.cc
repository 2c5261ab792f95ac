// The CPU's operations that train gates against float64.
#include <vector>

#include "tests/kernels/distillation_checks.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

TEST_CASE("block maxima and ground truth are those of the whole map of probabilities") {
  const auto cpu = make_cpu_backend(2);
  check_ground_truth(cpu.get(), 1e-5);
}

TEST_CASE("products of many matrices are the reference's in every form") {
  const auto cpu = make_cpu_backend(2);
  check_multiply(cpu.get(), 1e-5);
}

TEST_CASE("gradients of rotation, norm and divergence are finite differences") {
  const auto cpu = make_cpu_backend(2);
  check_gradients(cpu.get(), 2e-5);
}

TEST_CASE("AdamW is the published update") {
  const auto cpu = make_cpu_backend(2);
  check_optimiser(cpu.get(), 1e-5);
}

TEST_CASE("squares are added up by rows, of which the last numbers may be left out") {
  const auto cpu = make_cpu_backend(2);
  check_squares(cpu.get(), 1e-12);
}

// Sums over many rows and numbers, of which each thread takes some.
std::vector<float> sums_with(int n_threads) {
  const auto cpu = make_cpu_backend(n_threads);
  Distillation& device = *cpu->distillation();
  const int64_t n = 1000, width = 24;
  std::vector<float> x(static_cast<size_t>(n * width)), dy(x.size()), w(static_cast<size_t>(width), 1.5F),
      dw(w.size(), 0.0F), product(static_cast<size_t>(width * width), 0.0F);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(i * 7919 % 1000) * 1e-3F - 0.4F;
    dy[i] = static_cast<float>(i * 104729 % 1000) * 1e-3F - 0.5F;
  }
  const auto view = [](std::vector<float>& values, std::initializer_list<int64_t> shape) {
    return Tensor(values.data(), DType::kF32, shape);
  };
  device.normalise_back(view(dy, {1, n, width}), view(dw, {width}), view(x, {1, n, width}), view(w, {width}),
                        1e-6F);
  device.multiply(Matrices(view(product, {1, width, width})), Matrices(view(x, {1, n, width})).transpose(),
                  Matrices(view(dy, {1, n, width})), 1.0F, false);
  dw.insert(dw.end(), product.begin(), product.end());
  double squares[2];
  device.sums_of_squares(squares, view(x, {2, n * width / 2}), n * width / 2);
  for (const double sum : squares) dw.push_back(static_cast<float>(sum));
  return dw;
}

TEST_CASE("sums have the same bits for any number of threads") {
  const std::vector<float> one = sums_with(1);
  CHECK((sums_with(2) == one));
  CHECK((sums_with(3) == one));
}

}  // namespace
}  // namespace seer::testing
