// The CUDA backend's refusals and their messages.
#include <functional>
#include <set>

#include "seer/error.h"
#include "tests/kernels/gpu.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

ErrorKind kind_of(const std::function<void()>& call, std::string* message) {
  try {
    call();
  } catch (const Error& error) {
    *message = error.what();
    return error.kind();
  }
  FAIL("no error");
  return ErrorKind::kRuntime;
}

// Every user of --device cuda gets this message on a machine without a GPU, so the test needs none.
TEST_CASE("cuda: a GPU that is not there is refused with what was expected") {
  std::string message;
  CHECK(kind_of([] { make_cuda_backend(4096); }, &message) == ErrorKind::kDevice);
  CHECK_THAT(message, ContainsSubstring("expected") || ContainsSubstring("no NVIDIA GPU"));
}

TEST_CASE("cuda: a model that no kernel takes is refused by the dimension at fault") {
  const auto device = gpu();
  if (!device) return;
  ModelShape good;
  good.d_model = 4096;
  good.d_ff = 14336;
  good.d_head = good.d_gate = good.d_decode_gate = 128;
  good.n_vocab = 128256;
  good.page_tokens = 64;
  good.n_blocks = 2048;
  good.group = 4;
  device->check_model(good);
  const auto refused = [&](int64_t ModelShape::*member, int64_t value) {
    ModelShape shape = good;
    shape.*member = value;
    std::string message;
    CHECK(kind_of([&] { device->check_model(shape); }, &message) == ErrorKind::kUnsupported);
    CHECK_THAT(message, ContainsSubstring(std::to_string(value)) && ContainsSubstring("--device cpu"));
  };
  refused(&ModelShape::d_head, 80);
  refused(&ModelShape::page_tokens, 48);
  refused(&ModelShape::d_model, 4097);
  refused(&ModelShape::d_ff, 14337);
  refused(&ModelShape::n_vocab, 32001);
  refused(&ModelShape::d_gate, 72);
  refused(&ModelShape::n_blocks, 1 << 20);
  good.d_gate = 0;  // gates for decoding alone
  refused(&ModelShape::n_blocks, 1 << 20);
}

TEST_CASE("cuda: memory that the GPU does not have is refused with the numbers, and the GPU stays usable") {
  const auto device = gpu();
  if (!device) return;
  std::string message;
  CHECK(kind_of([&] { device->allocate(int64_t{1} << 50, "a test"); }, &message) == ErrorKind::kMemory);
  CHECK_THAT(message, ContainsSubstring("a test") && ContainsSubstring("MiB"));
  CHECK(device->allocate(1 << 20, "a test") != nullptr);
}

TEST_CASE("cuda: random weights are the same values on GPU and CPU") {
  const auto device = gpu();
  if (!device) return;
  const auto cpu = make_cpu_backend(1);
  constexpr int64_t kCount = 100000;
  const auto fill = [](Backend& backend) {
    Tensor t(nullptr, DType::kBF16, {kCount});
    const Buffer buffer = backend.allocate(t.nbytes(), "a test");
    t.data = buffer.get();
    backend.fill_random(t, 7, 0.5F, 2.0F, {});
    std::vector<uint16_t> values(static_cast<size_t>(kCount));
    backend.read(values.data(), t);
    return values;
  };
  const std::vector<uint16_t> values = fill(*device);
  CHECK(values == fill(*cpu));
  CHECK(std::set<uint16_t>(values.begin(), values.end()).size() > 500);
}

}  // namespace
}  // namespace seer::testing
