// An engine whose GPU faults in the middle of a request. This is a program of its own, because after a fault
// the GPU does no more work for its process.
#include <unistd.h>

#include "kernels/backend.h"
#include "tests/engine_cuda/evaluation.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

// Lets another user of the same GPU in this process read from an invalid address.
void break_gpu() {
  const auto device = make_cuda_backend(0);
  const Buffer memory = device->allocate(4096, "a test");
  const Tensor out(memory.get(), DType::kBF16, {16, 64});
  const Tensor nowhere(static_cast<std::byte*>(memory.get()) + (int64_t{1} << 46), DType::kBF16, {16, 64});
  std::vector<std::byte> host(2048);
  device->rms_norm(out, nowhere, out.rows(0, 1).reshaped({64}), 1e-5);
  CHECK_THROWS_AS(device->read(host.data(), out), Error);
}

TEST_CASE("cuda: after a GPU's fault in mid-request, every request fails with it, and the engine ends") {
  if (!testing::have_gpu()) return;
  ::alarm(120);
  std::shared_ptr<Engine> engine = Engine::load(testing::demo_options("cuda"));
  GenerateRequest request;
  request.prompt = testing::document_tokens(*engine, 500);
  request.ignore_eos = true;
  request.max_new_tokens = 50;
  const GenerateRequest plain = request;
  request.on_token = [n = 0](const TokenEvent&) mutable {
    if (++n == 5) break_gpu();
    return true;
  };
  const auto first = engine->submit(request), beside = engine->submit(plain);
  for (Generation* generation : {first.get(), beside.get()}) {
    try {
      generation->wait();
      FAIL_CHECK("a request ended well on a GPU that had failed");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kDevice);
      CHECK_THAT(error.what(), ContainsSubstring("the GPU failed") && ContainsSubstring("start it again"));
    }
  }
  REQUIRE(engine->failure());
  CHECK(engine->failure()->kind() == ErrorKind::kDevice);
  CHECK_THROWS_AS(engine->submit(plain)->wait(), Error);
  const auto session = engine->new_session();
  CHECK_THROWS_AS(session->generate(plain), Error);
  CHECK(engine->stats().pages_used == 0);
  CHECK(engine->stats().n_failed == 4);
}

}  // namespace
}  // namespace seer
