// Engines with a disk cache give the answers of a fresh computation, bit for bit, whatever happens to the
// files.
#include <filesystem>
#include <utility>

#include "engine/src/engine_impl.h"
#include "engine/src/tiers/page_folder.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/engine/disk_pages.h"
#include "tests/engine/gates_with_factors.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using namespace testing;

const SparseRule kHeadThreshold = SparseRule::parse("head_threshold=0.1");

// The options have gates of both kinds, and factors of heads.
EngineOptions options_with(const GatesWithFactors& gates, int64_t chunk_size = 64,
                           const std::string& kv_cache_dtype = "f32") {
  EngineOptions options = demo_options(512, chunk_size, kv_cache_dtype);
  options.gates_dir = gates.dir.path().string();
  options.more_gates_dir = (demo_model() / "decode-gates").string();
  return options;
}

EngineOptions on_disk(EngineOptions options, const DiskFolder& folder) {
  options.prefix_cache = true;
  options.disk_cache_dir = folder.path();
  options.disk_cache_bytes = int64_t{1} << 30;
  return options;
}

GenerateRequest request(const Ids& prompt, const SparseRule& rule,
                        const SparseDecodeRule& decode_rule = kDenseDecode) {
  GenerateRequest asked = greedy(prompt, 6, rule);
  asked.sparse_decode = decode_rule;
  asked.n_logprobs = 2;
  return asked;
}

void check_same_answer(const GenerateResult& found, const GenerateResult& expected) {
  CHECK(found.tokens == expected.tokens);
  REQUIRE(found.logprobs.size() == expected.logprobs.size());
  for (size_t i = 0; i < found.logprobs.size(); ++i)
    for (size_t j = 0; j < found.logprobs[i].top.size(); ++j) {
      CHECK(found.logprobs[i].top[j].id == expected.logprobs[i].top[j].id);
      CHECK(found.logprobs[i].top[j].logprob == expected.logprobs[i].top[j].logprob);
    }
}

GenerateResult run(Engine& engine, const GenerateRequest& asked) { return engine.submit(asked)->wait(); }

// Loads an engine that brings back whatever its tiers have, because on a busy machine computing may seem
// faster.
std::shared_ptr<Engine> load_tiered(const EngineOptions& options) {
  auto engine = Engine::load(options);
  if (TieredPages* tiers = dynamic_cast<EngineImpl&>(*engine).tiers()) tiers->restore_always();
  return engine;
}

void flush(Engine& engine) { dynamic_cast<EngineImpl&>(engine).tiers()->flush(); }

// Returns the path of the file of the prompt's page `i` under the dense rule.
std::string file_of(Engine& engine, const DiskFolder& folder, const Ids& prompt, int64_t i) {
  const PageFingerprint& model = dynamic_cast<EngineImpl&>(engine).fingerprint();
  PageName name = root_name(model, {});
  for (int64_t page = 0; page <= i; ++page)
    name = page_name(name, std::span(prompt).subspan(static_cast<size_t>(64 * page), 64));
  return folder.file(name, model);
}

TEST_CASE("after a restart every rule finds its own pages, and says what a fresh computation says") {
  const GatesWithFactors gates(some_head_factors());
  const std::string type = GENERATE("f32", "bf16");
  const DiskFolder folder;
  const EngineOptions plain = options_with(gates, 64, type);
  const auto fresh = Engine::load(plain);
  auto engine = load_tiered(on_disk(plain, folder));
  const Ids prompt = document(450);
  struct Rules {
    SparseRule rule;
    SparseDecodeRule decode;
    int64_t n_found;  // of 450 tokens; sparse rules leave the last two block rows to each prompt
  };
  const std::vector<Rules> all = {{kDense, kDenseDecode, 448},
                                  {kThreshold, kDecodeThreshold, 384},
                                  {kNzRatio, kDecodeRatio, 384},
                                  {kNzRatioRow, kDenseDecode, 384},
                                  {kHeadThreshold, kDecodeBudget, 384}};
  for (const Rules& r : all) {
    INFO(r.rule.to_string());
    const GenerateResult first = run(*engine, request(prompt, r.rule, r.decode));
    CHECK(first.stats.n_cached == 0);
    check_same_answer(first, run(*fresh, request(prompt, r.rule, r.decode)));
  }
  for (int restart = 0; restart < 2; ++restart) {
    engine = nullptr;  // it writes what is not yet written
    engine = load_tiered(on_disk(plain, folder));
    for (const Rules& r : all) {
      INFO(type << ", " << r.rule.to_string() << ", restart " << restart);
      const GenerateResult found = run(*engine, request(prompt, r.rule, r.decode));
      CHECK(found.stats.n_from_disk == r.n_found);
      CHECK(found.stats.n_cached == r.n_found);
      CHECK(found.stats.n_prompt == 450 - r.n_found);
      check_same_answer(found, run(*fresh, request(prompt, r.rule, r.decode)));
    }
    const TierStats stats = engine->stats().disk_cache;
    CHECK(stats.restored_tokens == 448 + 4 * 384);
    CHECK(stats.saved_pages == 0);
    CHECK(stats.failed_pages == 0);
    CHECK(engine->stats().cached_tokens == stats.restored_tokens);
  }
}

TEST_CASE("pages from the disk are as good as pages of the pool, whatever the chunks are") {
  // The chunk sizes of the engine that writes pages, and of the one that finds them. The last bits of sums
  // depend on them, so pages from the disk and pages of the pool are compared in one engine.
  const auto [writer, reader] = GENERATE(std::pair(64, 256), std::pair(192, 64), std::pair(512, 512));
  const GatesWithFactors gates(some_head_factors());
  const DiskFolder folder;
  const Ids prompt = document(450);
  std::vector<GenerateResult> computed;
  for (const SparseRule& rule : {kDense, kThreshold}) {
    const auto engine = load_tiered(on_disk(options_with(gates, writer), folder));
    computed.push_back(run(*engine, request(prompt, rule)));
  }
  EngineOptions options = options_with(gates, reader);
  options.pool_size = 1024;
  const auto engine = load_tiered(on_disk(options, folder));
  for (const SparseRule& rule : {kDense, kThreshold}) {
    INFO(writer << " and " << reader << ", " << rule.to_string());
    const GenerateResult from_disk = run(*engine, request(prompt, rule)),
                         from_pool = run(*engine, request(prompt, rule));
    CHECK(from_disk.stats.n_from_disk == from_disk.stats.n_cached);
    CHECK(from_pool.stats.n_from_disk == 0);
    CHECK(from_disk.stats.n_cached == from_pool.stats.n_cached);
    check_same_answer(from_disk, from_pool);
    CHECK(from_disk.tokens == computed[rule == kDense ? 0 : 1].tokens);
  }
}

TEST_CASE("two documents in turn in a pool for one are each computed once, by sessions too") {
  const GatesWithFactors gates(some_head_factors());
  const DiskFolder folder;
  const EngineOptions plain = options_with(gates);  // 512 tokens in pool and context
  const auto fresh = Engine::load(plain), engine = load_tiered(on_disk(plain, folder));
  const Ids a = document(450), b = slice(document(900), 450, 900);
  for (const bool session : {false, true})
    for (int round = 0; round < 2; ++round)
      for (const Ids& prompt : {a, b})
        for (const SparseRule& rule : {kDense, kThreshold}) {
          INFO(session << ", round " << round << ", " << rule.to_string());
          const GenerateRequest asked = request(prompt, rule);
          const GenerateResult found = session ? engine->new_session()->generate(asked) : run(*engine, asked);
          check_same_answer(found, run(*fresh, asked));
          flush(*engine);
          if (session || round > 0) CHECK(found.stats.n_from_disk == (rule == kDense ? 448 : 384));
        }
  CHECK(engine->stats().disk_cache.lost_pages == 0);
  CHECK(engine->stats().pages_used == 0);
}

TEST_CASE("a session's second turn after a restart goes on from the first one's pages") {
  const GatesWithFactors gates(some_head_factors());
  const DiskFolder folder;
  const EngineOptions plain = options_with(gates);
  const Ids first = document(200), second = slice(document(400), 300, 400);
  const auto fresh = Engine::load(plain)->new_session();
  const GenerateResult expected_first = fresh->generate(request(first, kDense)),
                       expected = fresh->generate(request(second, kDense));
  {
    const auto session = load_tiered(on_disk(plain, folder))->new_session();
    check_same_answer(session->generate(request(first, kDense)), expected_first);
  }
  const auto session = load_tiered(on_disk(plain, folder))->new_session();
  check_same_answer(session->generate(request(first, kDense)), expected_first);
  check_same_answer(session->generate(request(second, kDense)), expected);
  CHECK(session->tokens() == fresh->tokens());
}

TEST_CASE("a file that is damaged or gone in the middle of a document costs its page and those after it") {
  const GatesWithFactors gates(some_head_factors());
  const EngineOptions plain = options_with(gates);
  const Ids prompt = document(450);
  const GenerateResult expected = run(*Engine::load(plain), request(prompt, kDense));
  for (const bool gone : {false, true})
    for (const int64_t page : {0, 3, 6}) {
      INFO("page " << page << (gone ? " is gone" : " is damaged"));
      const DiskFolder folder;
      run(*load_tiered(on_disk(plain, folder)), request(prompt, kDense));
      const auto engine = load_tiered(on_disk(plain, folder));
      const std::string file = file_of(*engine, folder, prompt, page);
      REQUIRE(std::filesystem::exists(file));
      if (gone) {
        std::filesystem::remove(file);
      } else {
        std::string bytes = read_file(file);
        bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
        write_file(file, bytes);
      }
      const GenerateResult found = run(*engine, request(prompt, kDense));
      check_same_answer(found, expected);
      CHECK(found.stats.n_from_disk == 64 * page);
      CHECK(engine->stats().disk_cache.failed_pages == (gone ? 0 : 1));
      // The page is computed and written again, so that the next run finds all of them.
      flush(*engine);
      CHECK(engine->stats().disk_cache.saved_pages == 1);
      check_same_answer(run(*load_tiered(on_disk(plain, folder)), request(prompt, kDense)), expected);
    }
}

TEST_CASE("a folder that is removed while the engine runs costs no request") {
  const GatesWithFactors gates(some_head_factors());
  const DiskFolder folder;
  const EngineOptions plain = options_with(gates);
  const auto fresh = Engine::load(plain), engine = load_tiered(on_disk(plain, folder));
  const GenerateRequest a = request(document(450), kDense),
                        b = request(slice(document(900), 450, 900), kDense);
  check_same_answer(run(*engine, a), run(*fresh, a));
  flush(*engine);
  std::filesystem::remove_all(folder.path());
  for (const GenerateRequest& asked : {b, a, b}) {
    check_same_answer(run(*engine, asked), run(*fresh, asked));
    flush(*engine);
  }
}

TEST_CASE("ranks that divide the model or prompts keep pages on the disk together") {
  const RankSplit split = GENERATE(RankSplit::kTensor, RankSplit::kContext);
  const GatesWithFactors gates(some_head_factors());
  const DiskFolder folder;
  EngineOptions plain = options_with(gates);
  plain.threads = 1;
  plain.rank_split = split;
  const Ids a = document(450), b = slice(document(900), 450, 900);
  const auto ranked = [&](EngineOptions options) {
    options.ranks = Ranks::start(2, {SEER_BINARY});
    return load_tiered(options);
  };
  std::vector<GenerateResult> expected;
  {
    const auto fresh = ranked(plain);
    for (const Ids& prompt : {a, b})
      for (const SparseRule& rule : {kDense, kThreshold})
        expected.push_back(run(*fresh, request(prompt, rule, kDecodeBudget)));
  }
  for (int start = 0; start < 2; ++start) {
    const auto engine = ranked(on_disk(plain, folder));
    for (int round = 0; round < 2; ++round) {
      size_t i = 0;
      for (const Ids& prompt : {a, b})
        for (const SparseRule& rule : {kDense, kThreshold}) {
          INFO(start << ", " << round << ", " << rule.to_string());
          const GenerateResult found = run(*engine, request(prompt, rule, kDecodeBudget));
          check_same_answer(found, expected[i++]);
          const bool was_there = start + round > 0;
          CHECK(found.stats.n_from_disk == (!was_there ? 0 : rule == kDense ? 448 : 384));
          flush(*engine);
        }
    }
  }
}

TEST_CASE("what a page's sequence has not written is zero on the disk") {
  // Under the dense rule pages have no keys of the gates for prompts. The pool's pages have been used before.
  const GatesWithFactors gates(some_head_factors());
  const DiskFolder clean, used;
  const EngineOptions plain = options_with(gates);
  const Ids prompt = document(450);
  const auto fresh = load_tiered(on_disk(plain, clean)), other = load_tiered(on_disk(plain, used));
  run(*other, request(slice(document(900), 450, 900), kThreshold));
  for (const auto& engine : {fresh, other}) {
    run(*engine, request(prompt, kDense));
    flush(*engine);
  }
  // The head in front says how long the page took to compute.
  const auto record = [&](Engine& engine, const DiskFolder& folder, int64_t page) {
    return read_file(file_of(engine, folder, prompt, page)).substr(kPageFileBlock);
  };
  for (int64_t page = 0; page < 7; ++page) {
    const bool same = record(*fresh, clean, page) == record(*other, used, page);
    CHECK(same);
  }
}

TEST_CASE("options of the tiers that make no sense are refused by name") {
  const DiskFolder folder;
  const auto refused = [&](const auto& change) {
    EngineOptions options = on_disk(demo_options(256), folder);
    change(&options);
    return refusal(ErrorKind::kUsage, [&] { Engine::load(options); });
  };
  CHECK_THAT(refused([](EngineOptions* o) { o->prefix_cache = false; }),
             ContainsSubstring("--no-prefix-cache"));
  CHECK_THAT(refused([](EngineOptions* o) { o->disk_cache_bytes = 0; }), ContainsSubstring("1 byte or more"));
  CHECK_THAT(refused([](EngineOptions* o) { o->disk_cache_bytes = -1; }), ContainsSubstring("found -1"));
  CHECK_THAT(refused([](EngineOptions* o) { o->disk_cache_dir = ""; }),
             ContainsSubstring("expected a folder"));
  CHECK_THAT(refused([](EngineOptions* o) { o->disk_cache_bytes = 1000; }), ContainsSubstring("found 1000"));
  CHECK_THAT(refused([](EngineOptions* o) { o->host_cache_bytes = 1 << 30; }),
             ContainsSubstring("--pool-size"));
  CHECK_THAT(refused([](EngineOptions* o) { o->host_cache_bytes = -1; }), ContainsSubstring("found -1"));
}

}  // namespace
}  // namespace seer
