// Requests whose decoded tokens attend to blocks that gates choose: the same tokens with the prefix cache and
// without, after a pre-emption, in several turns, and next to others.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/engine/random_decode_gates.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kBlock = 16;

// Blocks are small, so that short sequences have many.
class DecodeGateTest {
 protected:
  EngineOptions options(int64_t ctx_size, bool prefix_cache = false) const {
    EngineOptions o = demo_options(ctx_size, 64);
    o.gates_dir = gates_.path();
    o.prefix_cache = prefix_cache;
    return o;
  }
  std::shared_ptr<Engine> load(int64_t ctx_size, bool prefix_cache = false) const {
    return Engine::load(options(ctx_size, prefix_cache));
  }

 private:
  RandomDecodeGates gates_{kBlock};
};

GenerateRequest decoded(const Ids& prompt, int64_t n, const SparseDecodeRule& rule) {
  GenerateRequest request = greedy(prompt, n);
  request.sparse_decode = rule;
  return request;
}

// Checks that two answers have the same tokens, and that the gates kept as many blocks for them.
void check_same(const GenerateResult& found, const GenerateResult& expected) {
  CHECK(found.tokens == expected.tokens);
  CHECK(found.stats.decode_density == Approx(expected.stats.decode_density).epsilon(1e-6));
}

TEST_CASE_METHOD(DecodeGateTest,
                 "a rule for decoding decides the density of decodes, and not of the prompt") {
  const auto engine = load(512);
  const Ids prompt = document(320);
  const GenerateResult dense = engine->submit(decoded(prompt, 30, kDenseDecode))->wait();
  CHECK(dense.stats.decode_density == 1.0);
  for (const SparseDecodeRule& rule : {kDecodeBudget, kDecodeThreshold, kDecodeRatio}) {
    INFO(rule.to_string());
    const GenerateResult result = engine->submit(decoded(prompt, 30, rule))->wait();
    CHECK(result.stats.density == 1.0);
    CHECK(result.stats.decode_density > 0.05);
    CHECK(result.stats.decode_density < 0.6);
    CHECK(result.tokens.front() == dense.tokens.front());  // the prefill chooses it
    CHECK(result.tokens != dense.tokens);
  }
  // The gates' own rule is a budget of two blocks, and the first and the last are kept besides them.
  CHECK(engine->model().decode_gates->default_rule == SparseDecodeRule::parse("budget=32"));
  GenerateRequest by_default = decoded(prompt, 30, kDenseDecode);
  by_default.sparse_decode = std::nullopt;
  check_same(engine->submit(by_default)->wait(),
             engine->submit(decoded(prompt, 30, SparseDecodeRule::parse("budget=32")))->wait());
}

TEST_CASE_METHOD(DecodeGateTest, "after a prefix-cache hit a request decodes what it decodes without") {
  const auto cached = load(512, true), plain = load(512);
  const Ids text = document(340);
  for (const SparseDecodeRule& rule : {kDecodeBudget, kDecodeThreshold})
    for (const int64_t n : {320, 333, 1}) {  // with whole blocks, an open one, and nothing to share
      INFO(rule.to_string() << ", " << n << " tokens");
      const GenerateRequest request = decoded(slice(text, 0, n), 15, rule);
      const GenerateResult expected = plain->submit(request)->wait();
      check_same(cached->submit(request)->wait(), expected);  // leaves its pages
      const GenerateResult found = cached->submit(request)->wait();
      check_same(found, expected);
      CHECK(found.stats.n_cached == (n - 1) / kBlock * kBlock);
    }
}

TEST_CASE_METHOD(DecodeGateTest, "a cached page's gate keys are right whoever filled it") {
  const auto cached = load(512, true), plain = load(512);
  // Dense decodes fill pages that serve later prompts.
  const Ids prompt = document(150);
  const GenerateResult first = cached->submit(decoded(prompt, 200, kDenseDecode))->wait();
  const Ids all = join(prompt, first.tokens);
  for (const SparseDecodeRule& rule : {kDecodeBudget, kDecodeThreshold, kDecodeRatio}) {
    INFO(rule.to_string());
    const GenerateRequest next = decoded(all, 40, rule);
    const GenerateResult found = cached->submit(next)->wait();
    CHECK(found.stats.n_cached == (150 + 199) / kBlock * kBlock);  // the last token was not computed
    check_same(found, plain->submit(next)->wait());
  }
}

TEST_CASE_METHOD(DecodeGateTest, "pages of an answer for which gates chose blocks serve nobody") {
  const auto cached = load(512, true), plain = load(512);
  const Ids prompt = document(150);
  const GenerateResult first = cached->submit(decoded(prompt, 100, kDecodeBudget))->wait();
  const Ids all = join(prompt, first.tokens);
  for (const SparseDecodeRule& rule : {kDenseDecode, kDecodeThreshold}) {
    INFO(rule.to_string());
    const GenerateResult found = cached->submit(decoded(all, 20, rule))->wait();
    // The dense request comes first, and leaves `all` in the cache.
    CHECK(found.stats.n_cached == (rule == kDenseDecode ? 144 : 240));
    check_same(found, plain->submit(decoded(all, 20, rule))->wait());
  }
}

TEST_CASE_METHOD(DecodeGateTest, "turns of a session give what one prompt of all before gives") {
  const bool with_cache = GENERATE(false, true);
  const auto engine = load(1024, with_cache), plain = load(1024);
  const Ids text = document(500);
  const auto session = engine->new_session();
  Ids all;
  struct Turn {
    int64_t n_prompt;
    SparseDecodeRule rule;
    int64_t n_cached;
  };
  // After a sparse turn the next one keeps the prompt's whole pages; after a dense one, whole pages of all
  // that was computed, which is everything but the last token.
  const Turn turns[] = {{203, kDecodeBudget, 0},
                        {40, kDecodeThreshold, 192},         // of a prompt of 203
                        {1, kDenseDecode, 272},              // of 203 + 30 + 40 = 273
                        {77, kDecodeRatio, 333 / 16 * 16}};  // of 273 + 30 + 1 + 30 - 1 = 333
  int64_t at = 0;
  for (const Turn& t : turns) {
    INFO(t.rule.to_string() << " after " << all.size());
    const Ids prompt = slice(text, at, at + t.n_prompt);
    at += t.n_prompt;
    all = join(all, prompt);
    const GenerateResult found = session->generate(decoded(prompt, 30, t.rule));
    check_same(found, plain->submit(decoded(all, 30, t.rule))->wait());
    CHECK(found.stats.n_cached == t.n_cached);
    all = join(all, found.tokens);
  }
}

TEST_CASE_METHOD(DecodeGateTest, "a prompt of one token, and answers of several blocks after it") {
  const auto engine = load(256);
  const Ids prompt = slice(document(2), 0, 1);
  const GenerateResult whole = engine->submit(decoded(prompt, 150, kDecodeBudget))->wait();
  CHECK(whole.stats.decode_density < 1.0);
  // Tokens are forced one by one through the decode path, with the same blocks.
  EvaluateRequest forced;
  forced.tokens = join(prompt, whole.tokens);
  forced.n_prompt = 1;
  forced.sparse_decode = kDecodeBudget;
  forced.n_last_logits = 0;
  Ids likeliest;
  forced.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    for (int64_t r = 0; r < n_rows; ++r) {
      const float* row = logits + r * n_vocab;
      likeliest.push_back(static_cast<int32_t>(std::max_element(row, row + n_vocab) - row));
    }
    return true;
  };
  engine->new_session()->evaluate(forced);
  likeliest.pop_back();
  CHECK(likeliest == whole.tokens);
}

TEST_CASE_METHOD(DecodeGateTest, "requests of all rules together give what each gives alone") {
  EngineOptions o = options(256);
  o.pool_size = 4096;
  o.max_batch_size = 32;
  const auto together = Engine::load(o);
  const auto alone = load(256);
  const Ids text = document(400);
  const SparseDecodeRule rules[] = {kDecodeBudget, kDenseDecode, kDecodeThreshold, kDecodeRatio};
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 32; ++i)
    requests.push_back(decoded(slice(text, 7 * i, 7 * i + 1 + 53 * i % 160), 10 + i % 5, rules[i % 4]));
  std::vector<std::unique_ptr<Generation>> running;
  for (const GenerateRequest& request : requests) running.push_back(together->submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    check_same(running[i]->wait(), alone->submit(requests[i])->wait());
  }
  CHECK(together->stats().n_preempted == 0);
}

TEST_CASE_METHOD(DecodeGateTest, "a pre-empted request decodes what it decodes undisturbed") {
  EngineOptions o = options(256, GENERATE(false, true));
  o.pool_size = 384;  // 24 pages
  const auto small = Engine::load(o);
  const auto alone = load(256);
  const Ids text = document(400);
  const SparseDecodeRule rules[] = {kDecodeBudget, kDecodeThreshold, kDenseDecode};
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 6; ++i)
    requests.push_back(decoded(slice(text, 30 * i, 30 * i + 50 + 13 * i), 45, rules[i % 3]));
  std::vector<std::unique_ptr<Generation>> running;
  for (const GenerateRequest& request : requests) running.push_back(small->submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    check_same(running[i]->wait(), alone->submit(requests[i])->wait());
  }
  CHECK(small->stats().n_preempted > 0);
  CHECK(small->stats().pages_used == 0);
}

TEST_CASE_METHOD(DecodeGateTest, "ranks generate what one does, with the same blocks, whatever they divide") {
  const RankSplit split = GENERATE(RankSplit::kTensor, RankSplit::kContext);
  EngineOptions o = options(256, true);
  o.ranks = Ranks::start(split == RankSplit::kTensor ? 2 : 3, {SEER_BINARY});
  o.rank_split = split;
  o.threads = 1;
  o.pool_size = 512;  // too few pages for all at once
  const auto ranked = Engine::load(o);
  const auto alone = load(256);
  const Ids text = document(400);
  const SparseDecodeRule rules[] = {kDecodeBudget, kDecodeThreshold, kDenseDecode};
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 6; ++i)
    requests.push_back(decoded(slice(text, 30 * i, 30 * i + 1 + 33 * i), 40, rules[i % 3]));
  requests.push_back(requests.back());  // takes the pages that another left
  std::vector<std::unique_ptr<Generation>> running;
  for (const GenerateRequest& request : requests) running.push_back(ranked->submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    check_same(running[i]->wait(), alone->submit(requests[i])->wait());
  }
  CHECK(ranked->stats().pages_used == 0);
}

TEST_CASE("gates for prompts and gates for decoding serve the same requests") {
  const RandomDecodeGates gates(64);
  EngineOptions options = demo_options(1024, 64);
  options.more_gates_dir = gates.path();
  const auto both = Engine::load(options), prompts = load_demo(1024);
  REQUIRE(both->model().gates.has_value());
  REQUIRE(both->model().decode_gates.has_value());
  GenerateRequest request = greedy(document(500), 20, kThreshold);
  request.sparse_decode = SparseDecodeRule::parse("budget=128");
  const GenerateResult sparse = both->submit(request)->wait();
  CHECK(sparse.stats.decode_density < 0.6);
  request.sparse_decode = kDenseDecode;
  const GenerateResult dense = both->submit(request)->wait(), other = prompts->submit(request)->wait();
  check_same(dense, other);
  CHECK(sparse.stats.density == other.stats.density);
  CHECK(sparse.tokens != dense.tokens);
}

TEST_CASE_METHOD(DecodeGateTest, "rules for decoding that cannot be followed are refused by name") {
  const auto with = load(256), without = load_demo(256);
  const auto message = [](Engine& engine, const SparseDecodeRule& rule) {
    return refusal(ErrorKind::kUsage, [&] { engine.submit(decoded(document(5), 1, rule)); });
  };
  CHECK_THAT(message(*without, kDecodeBudget),
             ContainsSubstring("budget=64") && ContainsSubstring("needs gates for decoding"));
  CHECK_THAT(message(*with, SparseDecodeRule::parse("budget=15")),
             ContainsSubstring("at least one block of 16 tokens") && ContainsSubstring("budget=15"));
  CHECK(with->submit(decoded(document(5), 1, SparseDecodeRule::parse("budget=16")))->wait().tokens.size() ==
        1);
  for (const SparseDecodeRule& wrong : {SparseDecodeRule{SparseDecodeRule::Method::kThreshold, -0.5},
                                        SparseDecodeRule{SparseDecodeRule::Method::kRatio, 1.5},
                                        SparseDecodeRule{SparseDecodeRule::Method::kBudget, -64.0}})
    CHECK_THAT(message(*with, wrong), ContainsSubstring("expected"));
  EvaluateRequest evaluate;
  evaluate.tokens = document(5);
  evaluate.n_prompt = 6;
  CHECK_THAT(refusal(ErrorKind::kUsage, [&] { with->new_session()->evaluate(evaluate); }),
             ContainsSubstring("found 6"));
  evaluate.n_prompt = 2;
  evaluate.on_decode_gate_keys = [](const DecodeGateKeys&) {};
  CHECK_THAT(refusal(ErrorKind::kUsage, [&] { without->new_session()->evaluate(evaluate); }),
             ContainsSubstring("gates for decoding"));
}

}  // namespace
}  // namespace seer
