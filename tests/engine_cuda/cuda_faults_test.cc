// The demo model on a GPU whose calls fail: memory runs out at every allocation of a load, and every launch,
// copy, recording and wait of requests and loads fails, once or from then on. Each must end in seer::Error,
// leak nothing, and leave later work unaffected.
//
// By default some of the points are tried. SEER_ALL_FAULTS=1 tries every one.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <thread>

#include "tests/engine_cuda/cuda_calls.h"
#include "tests/engine_cuda/evaluation.h"
#include "tests/fault/points.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::CudaCalls;
using testing::CudaFault;

constexpr unsigned kHang = 120;  // seconds that one point may take

// Returns whether `body` failed with an error of this kind. Any other exception fails the case.
bool fails(ErrorKind kind, const std::function<void()>& body) {
  ::alarm(kHang);
  bool failed = false;
  try {
    body();
  } catch (const Error& e) {
    failed = true;
    INFO(e.what());
    CHECK(e.kind() == kind);
    CHECK_THAT(e.what(), ContainsSubstring("GPU") || ContainsSubstring("cannot lock"));
  }
  ::alarm(0);
  return failed;
}

// Tries each point of `body`, once and lasting. `after` runs when the GPU works again.
void sweep(const char* what, CudaCalls calls, int64_t wanted, const std::function<void()>& body,
           const std::function<void(bool lasting)>& after) {
  const ErrorKind kind = calls == CudaCalls::kMemory ? ErrorKind::kMemory : ErrorKind::kDevice;
  body();
  after(false);
  int64_t n = 0;
  {
    const CudaFault none(calls, INT64_MAX, false);
    body();
    n = CudaFault::n_called();
  }
  after(false);
  REQUIRE(n > 0);
  int64_t n_tried = 0;
  for (const bool lasting : {false, true}) {
    for (const int64_t i : testing::fault_points(n, wanted)) {
      bool failed = false;
      {
        const CudaFault fault(calls, i, lasting);
        failed = fails(kind, body);
      }
      CAPTURE(what, i, lasting, CudaFault::struck());
      CHECK(failed == !CudaFault::struck().empty());
      n_tried += failed ? 1 : 0;
      after(lasting);
    }
  }
  std::cout << what << ": " << n << " calls, " << n_tried << " made to fail" << std::endl;
  CHECK(n_tried > 0);
}

EngineOptions small_options() {
  EngineOptions options = testing::demo_options("cuda");
  options.ctx_size = 1024;
  options.chunk_size = 256;
  options.gpu_memory_utilization = 0.05;
  return options;
}

// Three chunks of sparse prefill, and decodes enough to record a step and to replay it.
GenerateRequest request_for(const Engine& engine) {
  GenerateRequest request;
  request.prompt = testing::document_tokens(engine, 700);
  request.sampling.temperature = 0.0;
  request.sparse = SparseRule::parse("threshold=0.01");
  request.ignore_eos = true;
  request.max_new_tokens = 5;
  request.n_logprobs = 2;
  return request;
}

void sweep_loads(CudaCalls calls, int64_t wanted) {
  const int64_t n_live = testing::n_cuda_allocations();
  std::shared_ptr<Engine> engine;
  sweep(
      "load", calls, wanted, [&] { engine = Engine::load(small_options()); },
      [&](bool) {
        engine.reset();
        CHECK(testing::n_cuda_allocations() == n_live);
      });
}

TEST_CASE("cuda: a load ends cleanly wherever the GPU's memory runs out, and leaks nothing") {
  if (!testing::have_gpu()) return;
  sweep_loads(CudaCalls::kMemory, 1000);
}

TEST_CASE("cuda: a load ends cleanly wherever a call fails, and leaks nothing") {
  if (!testing::have_gpu()) return;
  sweep_loads(CudaCalls::kWork, 40);
}

TEST_CASE(
    "cuda: a request ends cleanly wherever the GPU's memory runs out, and the next is answered as ever") {
  if (!testing::have_gpu()) return;
  std::shared_ptr<Engine> engine = Engine::load(small_options());
  const GenerateRequest request = request_for(*engine);
  const std::vector<int32_t> expected = engine->submit(request)->wait().tokens;
  {
    const CudaFault none(CudaCalls::kMemory, INT64_MAX, false);
    engine->submit(request)->wait();
    CHECK(CudaFault::n_called() == 0);  // all memory was allocated when the load returned
  }
  const CudaFault full(CudaCalls::kMemory, 0, true);
  CHECK(engine->submit(request)->wait().tokens == expected);
}

TEST_CASE(
    "cuda: a request ends cleanly wherever a call fails in mid-step, and the next is answered as ever") {
  if (!testing::have_gpu()) return;
  std::shared_ptr<Engine> engine;
  GenerateRequest request;
  std::vector<int32_t> expected;
  const auto load = [&] {
    engine.reset();
    engine = Engine::load(small_options());
    request = request_for(*engine);
  };
  load();
  expected = engine->submit(request)->wait().tokens;
  REQUIRE(expected.size() == 5);
  sweep(
      "request", CudaCalls::kWork, 60, [&] { engine->submit(request)->wait(); },
      [&](bool lasting) {
        if (!engine->failure()) {
          CHECK(engine->stats().pages_used == 0);
          CHECK(engine->stats().n_running + engine->stats().n_waiting == 0);
        }
        CHECK(engine->failure().has_value() == (lasting && !CudaFault::struck().empty()));
        if (engine->failure()) load();
        CHECK(engine->submit(request)->wait().tokens == expected);
      });
}

TEST_CASE("cuda: a session's request and an evaluation end cleanly wherever a call fails in mid-step") {
  if (!testing::have_gpu()) return;
  const auto engine = Engine::load(small_options());
  const GenerateRequest request = request_for(*engine);
  const std::vector<int32_t> tokens = testing::document_tokens(*engine, 300);
  const std::vector<int32_t> expected = engine->new_session()->generate(request).tokens;
  std::unique_ptr<Session> session = engine->new_session();
  int64_t n = 0;
  {
    const CudaFault none(CudaCalls::kWork, INT64_MAX, false);
    session->generate(request);
    testing::evaluate(*engine, tokens, *request.sparse, 0);
    n = CudaFault::n_called();
  }
  for (const int64_t i : testing::fault_points(n, 30)) {
    session = engine->new_session();
    const CudaFault fault(CudaCalls::kWork, i, false);
    CAPTURE(i);
    fails(ErrorKind::kDevice, [&] {
      session->generate(request);
      testing::evaluate(*engine, tokens, *request.sparse, 0);
    });
    CHECK_FALSE(engine->failure());  // a single failed call does not mean that the GPU is lost
    session->reset();
    CHECK(engine->stats().pages_used == 0);
    CHECK(session->generate(request).tokens == expected);
  }
}

TEST_CASE("cuda: a GPU that fails while there is nothing to compute is noticed") {
  if (!testing::have_gpu()) return;
  const auto engine = Engine::load(small_options());
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  CHECK_FALSE(engine->failure());
  const CudaFault fault(CudaCalls::kWork, -1, true);
  for (int i = 0; i < 100 && !engine->failure(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  REQUIRE(engine->failure());
  CHECK(engine->failure()->kind() == ErrorKind::kDevice);
  CHECK(CudaFault::struck() == "cudaStreamQuery");
}

}  // namespace
}  // namespace seer
