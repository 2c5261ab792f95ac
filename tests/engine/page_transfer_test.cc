// Pages go to the host and back, on one rank and on several.
#include "engine/src/page_transfer.h"

#include <cstring>
#include <numeric>

#include "engine/src/engine_impl.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using Bytes = std::vector<std::byte>;

// Runs `body` with the scheduler's turn.
template <class Body>
void with_turn(EngineImpl& engine, const Body& body) {
  Scheduler::Lock lock(engine.scheduler().mutex());
  const Scheduler::Turn turn(&engine.scheduler(), &lock);
  lock.unlock();
  body();
}

Bytes random_bytes(size_t n, uint64_t seed) {
  Bytes bytes(n);
  for (std::byte& b : bytes) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    b = static_cast<std::byte>(seed >> 56);
  }
  return bytes;
}

EngineOptions on(int n_ranks, RankSplit split) {
  EngineOptions options = testing::demo_options(1024, 64);
  options.more_gates_dir = (testing::demo_model() / "decode-gates").string();
  if (n_ranks == 1) return options;
  options.ranks = Ranks::start(n_ranks, {SEER_BINARY});
  options.rank_split = split;
  options.threads = 1;
  return options;
}

TEST_CASE("pages that were written are read back, in any order, and their neighbours stay as they were") {
  const auto [n_ranks, split] = GENERATE(std::pair(1, RankSplit::kTensor), std::pair(2, RankSplit::kTensor),
                                         std::pair(2, RankSplit::kContext));
  const auto loaded = Engine::load(on(n_ranks, split));
  auto& engine = dynamic_cast<EngineImpl&>(*loaded);
  PageTransfer& transfer = engine.page_transfer();
  const auto record = static_cast<size_t>(transfer.record_bytes());
  const bool whole = n_ranks == 1 || split == RankSplit::kContext;
  CHECK(transfer.record_bytes() * engine.info().n_pages ==
        engine.info().kv_bytes * (whole && n_ranks == 1 ? 1 : n_ranks));
  const auto n_pages = static_cast<int32_t>(engine.info().n_pages);
  std::vector<int32_t> all(static_cast<size_t>(n_pages));
  std::iota(all.begin(), all.end(), 0);
  const Bytes first = random_bytes(all.size() * record, 1);
  const std::vector<int32_t> some = {n_pages - 1, 3, 4, 5, 0, 9};
  const Bytes second = random_bytes(some.size() * record, 2);
  Bytes expected = first, found(first.size()), some_found(second.size());
  with_turn(engine, [&] {
    transfer.write(all, first.data());
    transfer.write(some, second.data());
    transfer.read({}, nullptr);
    transfer.read(all, found.data());
    transfer.read(some, some_found.data());
  });
  for (size_t i = 0; i < some.size(); ++i)
    std::memcpy(expected.data() + static_cast<size_t>(some[i]) * record, second.data() + i * record, record);
  CHECK(found == expected);
  CHECK(some_found == second);
}

TEST_CASE("an image is cleared of what its sequence has not written, and of nothing else") {
  const auto loaded = Engine::load(on(1, RankSplit::kTensor));
  auto& engine = dynamic_cast<EngineImpl&>(*loaded);
  const PagedKv kv = engine.cache().layer(0);
  const auto bytes_of_page = [](const Tensor& t) { return static_cast<size_t>(t.nbytes() / t.dim(0)); };
  const size_t n_heads = 2, slot = bytes_of_page(kv.k) / n_heads / 64;
  const Bytes ones(static_cast<size_t>(engine.page_transfer().record_bytes()), std::byte{1});
  for (const int64_t n_tokens : {0, 1, 63, 64})
    for (const bool gated : {false, true}) {
      INFO(n_tokens << " tokens, gated " << gated);
      Bytes expected;
      const auto put = [&](size_t n, bool used) {
        expected.insert(expected.end(), n, std::byte{static_cast<unsigned char>(used ? 1 : 0)});
      };
      const auto used = static_cast<size_t>(n_tokens) * slot;
      for (int64_t l = 0; l < engine.config().n_layers; ++l) {
        for (size_t head = 0; head < 2 * n_heads; ++head) {  // keys, then values
          put(used, true);
          put(64 * slot - used, false);
        }
        put(bytes_of_page(kv.gate_k), gated);
        put(bytes_of_page(kv.decode_gate_k), n_tokens == 64);
      }
      Bytes image = ones;
      engine.page_transfer().clear_unused(image.data(), n_tokens, gated);
      CHECK(image == expected);
    }
}

}  // namespace
}  // namespace seer
