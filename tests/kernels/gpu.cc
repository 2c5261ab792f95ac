#include "tests/kernels/gpu.h"

#include <cstdlib>
#include <string_view>

#include "seer/error.h"
#include "tests/support/test_data.h"

namespace seer::testing {

std::unique_ptr<Backend> gpu(bool round_inputs) {
  try {
    return make_cuda_backend(0, round_inputs);
  } catch (const Error& error) {
    const char* required = std::getenv("SEER_REQUIRE_GPU");
    if (error.kind() != ErrorKind::kDevice || (required != nullptr && std::string_view(required) == "1"))
      throw;
    skip(error.what());
    return nullptr;
  }
}

bool gpu_takes(const PagedCase& c) {
  const auto one_of = [](int64_t x, std::initializer_list<int64_t> choices) {
    return std::find(choices.begin(), choices.end(), x) != choices.end();
  };
  return one_of(c.d_head, {64, 96, 128, 256}) && one_of(c.page, {16, 32, 64, 128});
}

}  // namespace seer::testing
