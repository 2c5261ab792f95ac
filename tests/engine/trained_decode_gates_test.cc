// The demo model's trained gates for decoding. They must find what a decoded question asks for.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/engine/random_decode_gates.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kBlock = 64, kDocument = 3000;

// A document with a sentence about a number, which is its prompt, and a question that ends with the number.
struct LookUp {
  Ids tokens;
  int64_t n_prompt, n_digits;

  LookUp(const Tokenizer& tokenizer, const std::string& number) {
    const Ids prose = document(kDocument);
    Ids fact = tokenizer.encode("\nThe secret number of the castle is " + number + ".\n");
    fact.erase(fact.begin());  // BOS
    Ids question =
        tokenizer.encode("\nWhat is the secret number of the castle? The secret number of the castle is");
    question.erase(question.begin());
    n_digits = static_cast<int64_t>(number.size());
    Ids digits = tokenizer.encode("x " + number);
    digits.erase(digits.begin(), digits.end() - n_digits - 1);  // with the space before them
    tokens = join(join(slice(prose, 0, 500), fact), slice(prose, 500, kDocument));
    n_prompt = static_cast<int64_t>(tokens.size());
    tokens = join(join(tokens, question), digits);
  }
};

// Returns the likeliest digits after the question, each after the right ones before it. The whole question
// and the answer are decoded.
Ids answer(Engine& engine, const LookUp& look_up, const SparseDecodeRule& rule, double* density) {
  Ids likeliest;
  EvaluateRequest request;
  request.tokens = look_up.tokens;
  request.sparse = kDense;
  request.n_prompt = look_up.n_prompt;
  request.sparse_decode = rule;
  request.n_last_logits = look_up.n_digits + 1;
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    for (int64_t r = 0; r < n_rows; ++r, logits += n_vocab)
      likeliest.push_back(static_cast<int32_t>(std::max_element(logits, logits + n_vocab) - logits));
    return true;
  };
  *density = engine.new_session()->evaluate(request).decode_density;
  likeliest.pop_back();  // what follows the last digit
  return likeliest;
}

std::shared_ptr<Engine> load_with(const std::string& gates) {
  EngineOptions options = demo_options(4096, 1024);
  options.gates_dir = gates;
  return Engine::load(options);
}

TEST_CASE("the demo model's gates for decoding find a number with a tenth of the blocks", "[long]") {
  const auto engine = load_with((demo_model() / "decode-gates").string());
  CHECK(engine->model().decode_gates->gate_block == kBlock);
  CHECK(engine->model().decode_gates->default_rule == SparseDecodeRule::parse("budget=1024"));
  const LookUp look_up(engine->tokenizer(), "58213");
  const Ids digits = slice(look_up.tokens, static_cast<int64_t>(look_up.tokens.size()) - look_up.n_digits,
                           static_cast<int64_t>(look_up.tokens.size()));
  double density = 0.0;
  CHECK(answer(*engine, look_up, kDenseDecode, &density) == digits);
  const SparseDecodeRule rule = SparseDecodeRule::parse("budget=192");
  CHECK(answer(*engine, look_up, rule, &density) == digits);
  CHECK(density < 0.11);  // at most five of some 48 blocks
  // Blocks that are chosen at random do not have the sentence in every layer that needs it.
  const RandomDecodeGates random(kBlock);
  CHECK(answer(*load_with(random.path()), look_up, rule, &density) != digits);
}

}  // namespace
}  // namespace seer
