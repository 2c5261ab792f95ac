// One conversation: the same tokens however a prompt is cut, and what is reused and reported.
#include "seer/engine.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

Ids tokens_of(Engine& engine, const Ids& prompt, int64_t n, const SparseRule& rule) {
  return engine.new_session()->generate(greedy(prompt, n, rule)).tokens;
}

// All layers' masks of a prompt, [n_heads, n_blocks, n_blocks] each.
std::map<int64_t, std::vector<uint8_t>> masks_of(Engine& engine, const Ids& prompt, const SparseRule& rule) {
  std::map<int64_t, std::vector<uint8_t>> masks;
  EvaluateRequest request;
  request.tokens = prompt;
  request.sparse = rule;
  request.on_gate = [&](const GateRows& rows) {
    std::vector<uint8_t>& mask = masks[rows.layer];
    mask.resize(static_cast<size_t>(rows.n_heads * rows.n_blocks * rows.n_blocks));
    const int64_t n = rows.n_rows * rows.n_blocks;
    for (int64_t h = 0; h < rows.n_heads; ++h)
      std::copy_n(rows.mask + h * n, n, mask.begin() + (h * rows.n_blocks + rows.first_row) * rows.n_blocks);
  };
  engine.new_session()->evaluate(request);
  return masks;
}

// Logits of the last n positions of `tokens`, [n, n_vocab].
std::vector<float> logits_of(Engine& engine, const Ids& tokens, int64_t n, const SparseRule& rule) {
  std::vector<float> out;
  EvaluateRequest request;
  request.tokens = tokens;
  request.sparse = rule;
  request.n_last_logits = n;
  request.on_logits = [&](int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits) {
    CHECK(position == static_cast<int64_t>(tokens.size()) - n + static_cast<int64_t>(out.size()) / n_vocab);
    out.insert(out.end(), logits, logits + n_rows * n_vocab);
    return true;
  };
  engine.new_session()->evaluate(request);
  return out;
}

TEST_CASE("chunks of 64, 192 and 4096 tokens give the same greedy tokens and masks") {
  const Ids prompt = document(450);
  const auto whole = load_demo(1024, 4096);
  for (const int64_t chunk : {64, 192}) {
    const auto engine = load_demo(1024, chunk);
    for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow}) {
      INFO("chunk " << chunk << ", " << rule.to_string());
      CHECK(tokens_of(*engine, prompt, 12, rule) == tokens_of(*whole, prompt, 12, rule));
      const auto masks = masks_of(*engine, prompt, rule);
      CHECK(masks.size() == (rule == kDense ? 0 : 6));
      CHECK(masks == masks_of(*whole, prompt, rule));
    }
  }
}

TEST_CASE("prompts of 1, 63, 64, 65, 127, 128 and 129 tokens give what one chunk gives") {
  const auto chunked = load_demo(192, 64), whole = load_demo(192, 192);
  for (const int64_t n : {1, 63, 64, 65, 127, 128, 129})
    for (const SparseRule& rule : {kDense, kThreshold}) {
      INFO(n << " tokens, " << rule.to_string());
      CHECK(tokens_of(*chunked, document(n), 8, rule) == tokens_of(*whole, document(n), 8, rule));
    }
}

TEST_CASE("a rule is what decides the density") {
  const auto engine = load_demo(512);
  const Ids prompt = document(500);
  const auto density = [&](const std::optional<SparseRule>& rule) {
    GenerateRequest request = greedy(prompt, 0);
    request.sparse = rule;
    return engine->new_session()->generate(request).stats.density;
  };
  CHECK(density(kDense) == 1.0);
  CHECK(density(SparseRule::parse("threshold=0")) > 0.99);
  CHECK(density(SparseRule::parse("nz_ratio=1")) == 1.0);
  CHECK(density(SparseRule::parse("nz_ratio_row=1")) == 1.0);
  CAPTURE(density(kThreshold), density(kNzRatio));
  CHECK(density(kThreshold) > 0.2);
  CHECK(density(kThreshold) < 0.8);
  CHECK(density(kNzRatio) > 0.2);
  CHECK(density(kNzRatio) < 0.8);
  CHECK(density(SparseRule::parse("threshold=0.2")) < density(kThreshold));
  CHECK(density(SparseRule::parse("nz_ratio=0.5")) > density(kNzRatio));
  // Of rows of 1 to 8 blocks, six keep one block and the last two keep all.
  CHECK(density(kNzRatioRow) == Approx((6.0 + 7.0 + 8.0) / 36.0));
  CHECK(density(std::nullopt) == density(engine->model().gates->default_rule));
}

TEST_CASE("two turns give what one prompt of both gives, and reuse the pages they may") {
  const auto engine = load_demo(2048);
  const Ids text = document(500);
  struct Case {
    SparseRule rule;
    int64_t cached;  // of the second turn
  };
  // 320 prompt tokens are five pages; the 20 tokens after them are part of a sixth. Under a threshold or a
  // ratio of rows, the last two rows were dense in the first turn and are not in the second. Under a ratio of
  // the prompt, the counts depend on the whole length.
  for (const Case& c :
       {Case{kDense, 320}, Case{kThreshold, 192}, Case{kNzRatioRow, 192}, Case{kNzRatio, 0}}) {
    INFO(c.rule.to_string());
    const auto session = engine->new_session();
    const GenerateResult first = session->generate(greedy(slice(text, 0, 320), 20, c.rule));
    CHECK(session->tokens() == join(slice(text, 0, 320), first.tokens));
    const Ids both = join(session->tokens(), slice(text, 320, 500));
    const GenerateResult second = session->generate(greedy(slice(text, 320, 500), 20, c.rule));
    CHECK(second.stats.n_cached == c.cached);
    CHECK(second.stats.n_cached + second.stats.n_prompt == static_cast<int64_t>(both.size()));
    const GenerateResult one_shot = engine->new_session()->generate(greedy(both, 20, c.rule));
    CHECK(one_shot.stats.n_cached == 0);
    CHECK(second.tokens == one_shot.tokens);
  }
}

TEST_CASE("a generation may go on without a prompt, and is what it would have been in one") {
  const auto engine = load_demo(512);
  const Ids prompt = document(190);
  const auto session = engine->new_session();
  const Ids first = session->generate(greedy(prompt, 5)).tokens;
  const GenerateResult rest = session->generate(greedy({}, 5));
  CHECK(join(first, rest.tokens) == tokens_of(*engine, prompt, 10, kDense));
  CHECK(rest.stats.n_cached == 192);
}

TEST_CASE("max_new_tokens 0 prefills and chooses nothing") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  GenerateRequest request = greedy(document(100), 0);
  request.on_token = [](const TokenEvent&) {
    FAIL("a token was chosen");
    return true;
  };
  const GenerateResult result = session->generate(request);
  CHECK(result.tokens.empty());
  CHECK(result.text == "");
  CHECK(result.finish == FinishReason::kLength);
  CHECK(result.stats.n_prompt == 100);
  CHECK(result.stats.n_generated == 0);
  CHECK(session->tokens() == document(100));
}

TEST_CASE("events and the result tell the same tokens and text") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(100), 30);
  Ids ids;
  std::string text;
  request.on_token = [&](const TokenEvent& event) {
    ids.push_back(event.id);
    text += event.text;
    return true;
  };
  const GenerateResult result = engine->new_session()->generate(request);
  CHECK(result.finish == FinishReason::kLength);
  CHECK(result.tokens.size() == 30);
  CHECK(result.stats.n_generated == 30);
  CHECK(result.tokens == ids);
  CHECK(result.text == text);
  // The text is a part of the whole text, beginning at the prompt's end.
  const std::string prompt = engine->tokenizer().decode(document(100));
  CHECK(prompt + text == engine->tokenizer().decode(join(document(100), ids)));
}

TEST_CASE("a generation without a limit ends where the context is full") {
  const auto engine = load_demo(128);
  const auto session = engine->new_session();
  const GenerateResult result = session->generate(greedy(document(100), -1));
  CHECK(result.finish == FinishReason::kContextFull);
  CHECK(session->tokens().size() == 128);
  CHECK(result.tokens.size() == 28);
  // A prompt that fills the context still gets one token after it.
  const auto full = engine->new_session();
  session->reset();
  const GenerateResult one = full->generate(greedy(document(128), -1));
  CHECK(one.finish == FinishReason::kContextFull);
  CHECK(one.tokens.size() == 1);
}

TEST_CASE("a stop string is found across tokens, and nothing of it is streamed") {
  const auto engine = load_demo(256);
  const Ids prompt = document(100);
  const GenerateResult free = engine->new_session()->generate(greedy(prompt, 30));
  // From the middle of the fifth token's text to the middle of the eighth's.
  const Tokenizer& t = engine->tokenizer();
  const auto end_of = [&](int64_t n) {
    return t.decode(join(prompt, slice(free.tokens, 0, n))).size() - t.decode(prompt).size();
  };
  const size_t begin = end_of(5) - 1, end = end_of(8) - 1;
  REQUIRE(end > begin + 2);
  const std::string stop = free.text.substr(begin, end - begin);
  const size_t first = free.text.find(stop);
  GenerateRequest request = greedy(prompt, 30);
  request.stop = {"never written", stop};
  std::string streamed;
  request.on_token = [&](const TokenEvent& event) {
    streamed += event.text;
    // Text that was streamed can no longer be taken back.
    CHECK(free.text.substr(0, first).starts_with(streamed));
    return true;
  };
  const auto session = engine->new_session();
  const GenerateResult result = session->generate(request);
  CHECK(result.finish == FinishReason::kStopString);
  CHECK(result.stop == stop);
  CHECK(result.text == free.text.substr(0, first));
  CHECK(streamed == result.text);
  CHECK(result.tokens == slice(free.tokens, 0, static_cast<int64_t>(result.tokens.size())));
  CHECK(session->tokens() == join(prompt, result.tokens));
}

TEST_CASE("the beginning of a stop string that is never completed comes out at the end") {
  const auto engine = load_demo(256);
  const Ids prompt = document(100);
  const GenerateResult free = engine->new_session()->generate(greedy(prompt, 10));
  GenerateRequest request = greedy(prompt, 10);
  request.stop = {free.text.substr(free.text.size() - 3) + "\x01"};
  std::vector<std::string> pieces;
  request.on_token = [&](const TokenEvent& event) {
    pieces.emplace_back(event.text);
    return true;
  };
  const GenerateResult result = engine->new_session()->generate(request);
  CHECK(result.finish == FinishReason::kLength);
  CHECK(result.text == free.text);
  CHECK(pieces.size() == 10);
  CHECK(pieces.back().size() >= 3);  // it came with the last token
}

TEST_CASE("an EOS ends the generation and is no part of it, and ignore_eos never chooses one") {
  const Ids prompt = document(100);
  const Ids free = load_demo(256)->new_session()->generate(greedy(prompt, 10)).tokens;
  const auto at = std::find_if(free.begin() + 2, free.end(), [&](int32_t id) {
    return std::find(free.begin(), free.begin() + 2, id) == free.begin() + 2;
  });
  REQUIRE(at != free.end());
  // A model whose EOS is a token that the demo model chooses.
  const TempDir dir;
  link_model_without_tokenizer(dir.path());
  std::filesystem::remove(dir.path() / "generation_config.json");
  write_file(dir.path() / "generation_config.json",
             "{\"eos_token_id\": [4095, " + std::to_string(*at) + "]}");
  EngineOptions options = demo_options(256);
  options.model_dir = dir.path().string();
  const auto engine = Engine::load(options);
  CHECK(engine->model().eos_ids == Ids{4095, *at, 2});  // config.json says 2

  GenerateRequest request = greedy(prompt, 10);
  request.ignore_eos = false;
  std::vector<int32_t> events;
  request.on_token = [&](const TokenEvent& event) {
    events.push_back(event.id);
    return true;
  };
  const auto session = engine->new_session();
  const GenerateResult ended = session->generate(request);
  const Ids before(free.begin(), std::find(free.begin(), free.end(), *at));
  CHECK(ended.finish == FinishReason::kEos);
  CHECK(ended.tokens == before);
  CHECK(ended.stats.n_generated == static_cast<int64_t>(before.size()) + 1);
  CHECK(events == join(before, {*at}));
  CHECK(session->tokens() == join(prompt, events));

  request.ignore_eos = true;
  const GenerateResult ignored = engine->new_session()->generate(request);
  CHECK(ignored.finish == FinishReason::kLength);
  CHECK(ignored.tokens.size() == 10);
  CHECK(std::count(ignored.tokens.begin(), ignored.tokens.end(), *at) == 0);
  CHECK(slice(ignored.tokens, 0, static_cast<int64_t>(before.size())) == before);
}

TEST_CASE("equal seeds give equal text, others differ") {
  const auto engine = load_demo(256);
  const auto sampled = [&](std::optional<uint64_t> seed) {
    GenerateRequest request = greedy(document(100), 24);
    request.sampling.temperature = 1.0;
    request.sampling.seed = seed;
    return engine->new_session()->generate(request).text;
  };
  const std::string text = sampled(7);
  CHECK(sampled(7) == text);
  CHECK(sampled(8) != text);
  CHECK(sampled(std::nullopt) != sampled(std::nullopt));
}

TEST_CASE("evaluate's logits choose the tokens that generate chose") {
  const auto engine = load_demo(512);
  const Ids prompt = document(200);
  const Ids chosen = tokens_of(*engine, prompt, 12, kDense);
  const Ids all = join(prompt, slice(chosen, 0, 11));
  const std::vector<float> logits = logits_of(*engine, all, 12, kDense);
  REQUIRE(logits.size() == 12U * 4096);
  Ids best;
  for (auto row = logits.begin(); row != logits.end(); row += 4096) {
    // Otherwise greedy requests here never choose an EOS, 2.
    std::vector<float> allowed(row, row + 4096);
    allowed[2] = -INFINITY;
    best.push_back(static_cast<int32_t>(std::max_element(allowed.begin(), allowed.end()) - allowed.begin()));
  }
  CHECK(best == chosen);
}

TEST_CASE("evaluate begins from an empty session and leaves its tokens in it") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  session->generate(greedy(document(100), 5));
  EvaluateRequest request;
  request.tokens = document(65);
  const RequestStats stats = session->evaluate(request);
  CHECK(stats.n_prompt == 65);
  CHECK(stats.n_cached == 0);
  CHECK(session->tokens() == document(65));
  CHECK(session->generate(greedy({}, 5)).tokens == tokens_of(*engine, document(65), 5, kDense));
}

TEST_CASE("evaluate reports losses of targets, which the logits of the same positions give") {
  const auto engine = load_demo(256, 64);
  EvaluateRequest request;
  request.tokens = document(130);
  request.n_last_logits = 70;
  for (int32_t i = 0; i < 70; ++i) request.targets.push_back((i * 37) % 300);
  std::vector<double> expected, found;
  request.on_logits = [&](int64_t position, int64_t n_rows, int64_t n_vocab, const float* logits) {
    for (int64_t r = 0; r < n_rows; ++r) {
      double sum = 0.0;
      for (int64_t i = 0; i < n_vocab; ++i) sum += std::exp(static_cast<double>(logits[r * n_vocab + i]));
      const int32_t target = request.targets[static_cast<size_t>(position + r - 60)];
      expected.push_back(std::log(sum) - static_cast<double>(logits[r * n_vocab + target]));
    }
    return true;
  };
  request.on_losses = [&](int64_t position, std::span<const double> losses) {
    CHECK(position == 60 + static_cast<int64_t>(found.size()));
    found.insert(found.end(), losses.begin(), losses.end());
    return true;
  };
  CHECK(engine->new_session()->evaluate(request).losses_ns > 0);
  REQUIRE(found.size() == 70);
  REQUIRE(expected.size() == 70);
  for (size_t i = 0; i < 70; ++i) CHECK(found[i] == Approx(expected[i]).margin(1e-6));

  request.targets.pop_back();
  CHECK_THAT(error_of([&] { engine->new_session()->evaluate(request); }),
             ContainsSubstring("usage: ") && ContainsSubstring("70") && ContainsSubstring("69"));
  request.targets.push_back(1 << 20);
  CHECK_THAT(error_of([&] { engine->new_session()->evaluate(request); }),
             ContainsSubstring("targets") && ContainsSubstring("1048576"));
  request.targets.back() = 3;
  request.on_losses = [](int64_t, std::span<const double>) { return false; };
  CHECK_THAT(error_of([&] { engine->new_session()->evaluate(request); }), ContainsSubstring("cancelled"));
}

TEST_CASE(
    "evaluate reports logits of every position if 0 are asked for, in order, and of no more than there "
    "are") {
  const auto engine = load_demo(256, 64);
  const Ids prompt = document(130);
  for (const int64_t asked : {int64_t{0}, int64_t{1000}}) {
    int64_t next = 0;
    EvaluateRequest request;
    request.tokens = prompt;
    request.n_last_logits = asked;
    request.on_logits = [&](int64_t position, int64_t n_rows, int64_t, const float*) {
      CHECK(position == next);
      next += n_rows;
      return true;
    };
    engine->new_session()->evaluate(request);
    CHECK(next == 130);
  }
  EvaluateRequest negative;
  negative.tokens = prompt;
  negative.n_last_logits = -1;
  CHECK_THAT(error_of([&] { engine->new_session()->evaluate(negative); }),
             ContainsSubstring("usage: ") && ContainsSubstring("-1"));
}

TEST_CASE("progress begins before the first chunk and ends with the whole prompt") {
  const auto engine = load_demo(512, 128);
  const auto session = engine->new_session();
  std::vector<PrefillProgress> seen;
  GenerateRequest request = greedy(document(300), 1);
  request.on_progress = [&](const PrefillProgress& p) {
    seen.push_back(p);
    return true;
  };
  session->generate(request);
  REQUIRE(seen.size() == 4);
  CHECK(seen[0].processed == 0);
  CHECK(seen[1].processed == 128);
  CHECK(seen[2].processed == 256);
  CHECK(seen[3].processed == 300);
  for (size_t i = 0; i < seen.size(); ++i) {
    CHECK(seen[i].total == 300);
    CHECK(seen[i].cached == 0);
    CHECK(seen[i].time_ms >= (i == 0 ? 0.0 : seen[i - 1].time_ms));
  }
  seen.clear();
  request.prompt = slice(document(400), 300, 400);
  session->generate(request);
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].total == 401);  // it includes the token that the first turn chose
  CHECK(seen[0].cached == 256);
  CHECK(seen.back().cached + seen.back().processed == 401);
}

}  // namespace
}  // namespace seer
