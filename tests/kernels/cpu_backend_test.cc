// The CPU backend's description of itself, its memory and its clock.
#include <algorithm>
#include <chrono>
#include <thread>

#include "kernels/backend.h"
#include "seer/error.h"
#include "tests/kernels/device.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

TEST_CASE("a thread count out of range is a usage error that names it") {
  for (const int n : {-1, 1025}) {
    INFO(n);
    try {
      make_cpu_backend(n);
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::kUsage);
      CHECK_THAT(e.what(),
                 ContainsSubstring("between 1 and 1024") && ContainsSubstring("found " + std::to_string(n)));
    }
  }
}

TEST_CASE("the description counts the threads") {
  CHECK_THAT(make_cpu_backend(1)->description(), ContainsSubstring("cpu (1 thread, "));
  CHECK_THAT(make_cpu_backend(3)->description(), ContainsSubstring("cpu (3 threads, "));
}

TEST_CASE("allocated memory is zero and the caller's to write") {
  const auto cpu = make_cpu_backend(1);
  constexpr int64_t kBytes = 1 << 20;
  const Buffer buffer = cpu->allocate(kBytes, "a test");
  auto* bytes = static_cast<unsigned char*>(buffer.get());
  CHECK(std::all_of(bytes, bytes + kBytes, [](unsigned char b) { return b == 0; }));
  std::fill(bytes, bytes + kBytes, static_cast<unsigned char>(0xAB));
  CHECK(cpu->allocate(0, "nothing") != nullptr);
}

TEST_CASE("memory that the system refuses is a memory error that names its purpose and size") {
  const auto cpu = make_cpu_backend(1);
  try {
    cpu->allocate(int64_t{1} << 61, "the KV cache");
    FAIL("allocated two exbibytes");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kMemory);
    CHECK_THAT(e.what(),
               ContainsSubstring("the KV cache") && ContainsSubstring(std::to_string(int64_t{1} << 41)));
  }
}

TEST_CASE("what is uploaded is read back") {
  const auto cpu = make_cpu_backend(1);
  Device device(cpu.get());
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const HostTensor x(type, {2, 3}, {1.0F, -2.5F, 0.0F, 0x1p-14F, 100.0F, -0.125F});
    CHECK(device.read(device.upload(x)) == x.values);
  }
  CHECK(device.read_ints(device.upload({1, -2, 3}, {3})) == std::vector<int32_t>{1, -2, 3});
}

TEST_CASE("phases add up apart from each other and start again after a reset") {
  const auto cpu = make_cpu_backend(1);
  const auto spend = [&](Phase phase) {
    cpu->begin_phase(phase);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    cpu->end_phase(phase);
  };
  spend(Phase::kGate);
  const int64_t once = cpu->phase_ns(Phase::kGate);
  CHECK(once >= 2'000'000);
  CHECK(cpu->phase_ns(Phase::kAttention) == 0);
  spend(Phase::kGate);
  CHECK(cpu->phase_ns(Phase::kGate) >= once + 2'000'000);
  cpu->reset_phases();
  CHECK(cpu->phase_ns(Phase::kGate) == 0);
}

}  // namespace
}  // namespace seer::testing
