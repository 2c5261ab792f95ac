// The effects of a fault on the GPU in the middle of a step, seen from outside.
#include "seer/error.h"
#include "tests/kernels/gpu.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

TEST_CASE("cuda: a fault in mid-step is an error that says so, and every later call repeats it") {
  const auto device = gpu();
  if (!device) return;
  constexpr int64_t kRows = 64, kWidth = 64;
  const Buffer memory = device->allocate(kRows * kWidth * 2, "a test");
  const Tensor out(memory.get(), DType::kBF16, {kRows, kWidth});
  // The GPU has no such address.
  const Tensor nowhere(static_cast<std::byte*>(memory.get()) + (int64_t{1} << 46), DType::kBF16,
                       {kRows, kWidth});
  const auto message_of = [&](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kDevice);
      return error.what();
    }
    return "no error";
  };
  std::vector<std::byte> host(kRows * kWidth * 2);
  for (int i = 0; i < 2; ++i) {
    const std::string message = message_of([&] {
      device->rms_norm(out, nowhere, out.rows(0, 1).reshaped({kWidth}), 1e-5);
      device->read(host.data(), out);
    });
    INFO(message);
    CHECK_THAT(message, ContainsSubstring("the GPU failed"));
    CHECK_THAT(message, ContainsSubstring("start it again") && ContainsSubstring("--device cpu"));
  }
}

}  // namespace
}  // namespace seer::testing
