// Prompts that do not fit, pools that run out, and sessions that share one.
#include <nlohmann/json.hpp>
#include <thread>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

TEST_CASE("an empty prompt in an empty session is a usage error") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  CHECK_THAT(error_of([&] { session->generate(greedy({}, 1)); }),
             ContainsSubstring("usage: ") && ContainsSubstring("empty"));
  CHECK_THAT(error_of([&] { session->evaluate({}); }),
             ContainsSubstring("usage: ") && ContainsSubstring("empty"));
}

TEST_CASE("an id out of range is a usage error that says which, where, and the range") {
  const auto engine = load_demo(256);
  for (const int32_t id : {-1, 4096, INT32_MAX, INT32_MIN}) {
    const auto session = engine->new_session();
    session->generate(greedy(document(5), 0));
    Ids prompt = document(70);
    prompt[65] = id;
    const std::string error = error_of([&] { session->generate(greedy(prompt, 1)); });
    CHECK_THAT(error, ContainsSubstring("usage: ") && ContainsSubstring("token 65 "));
    CHECK_THAT(error, ContainsSubstring("0 to 4095") && ContainsSubstring("found " + std::to_string(id)));
    CHECK(session->tokens() == document(5));  // nothing of the prompt was taken
  }
  CHECK(engine->new_session()->generate(greedy({0, 4095}, 1)).tokens.size() == 1);
}

TEST_CASE("a prompt longer than the context is a usage error with both lengths, in a later turn too") {
  const auto engine = load_demo(100);
  const auto session = engine->new_session();
  std::string error = error_of([&] { session->generate(greedy(document(101), 1)); });
  CHECK_THAT(error, ContainsSubstring("usage: ") && ContainsSubstring("101 tokens") &&
                        ContainsSubstring("context of 100") && ContainsSubstring("--ctx-size"));
  CHECK(session->tokens().empty());
  session->generate(greedy(document(90), 0));
  error = error_of([&] { session->generate(greedy(document(11), 1)); });
  CHECK_THAT(error, ContainsSubstring("usage: ") && ContainsSubstring("101 tokens"));
  CHECK(session->tokens() == document(90));
  CHECK(session->generate(greedy(document(10), 0)).finish == FinishReason::kLength);
}

TEST_CASE("sampling out of range is a usage error before anything is computed") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  GenerateRequest request = greedy(document(65), 1);
  request.sampling.temperature = -1.0;
  CHECK_THAT(error_of([&] { session->generate(request); }),
             ContainsSubstring("usage: ") && ContainsSubstring("temperature"));
  CHECK(session->tokens().empty());
}

TEST_CASE("an empty stop string is a usage error before anything is computed") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  GenerateRequest request = greedy(document(65), 1);
  request.stop = {"x", ""};
  CHECK_THAT(error_of([&] { session->generate(request); }),
             ContainsSubstring("usage: ") && ContainsSubstring("stop string"));
  CHECK(session->tokens().empty());
}

TEST_CASE("a pool that another session holds is a memory error, and what was computed stays") {
  const auto engine = load_demo(256, 64);  // four pages
  const Ids text = document(250);
  const auto holder = engine->new_session(), session = engine->new_session();
  holder->generate(greedy(slice(text, 0, 129), 0));  // three of them
  const std::string error = error_of([&] { session->generate(greedy(slice(text, 0, 200), 4)); });
  CHECK_THAT(error, ContainsSubstring("memory: ") && ContainsSubstring("all 4 pages"));
  CHECK(session->tokens() == slice(text, 0, 64));
  // The session holds the last page now, and continues once there are more.
  holder->reset();
  const GenerateResult result = session->generate(greedy(slice(text, 64, 200), 4));
  CHECK(result.stats.n_cached == 64);
  session->reset();
  CHECK(result.tokens == holder->generate(greedy(slice(text, 0, 200), 4)).tokens);
}

TEST_CASE("a pool that runs out while decoding is a memory error, and the tokens chosen stay") {
  const auto engine = load_demo(128, 64);  // two pages
  const Ids text = document(64);
  const auto holder = engine->new_session(), session = engine->new_session();
  holder->generate(greedy(document(10), 0));
  Ids chosen;
  GenerateRequest request = greedy(text, 4);
  request.on_token = [&](const TokenEvent& event) {
    chosen.push_back(event.id);
    return true;
  };
  // The prompt fills its page, so there is no room for the first chosen token.
  const std::string error = error_of([&] { session->generate(request); });
  CHECK_THAT(error, ContainsSubstring("memory: ") && ContainsSubstring("all 2 pages"));
  CHECK(chosen.size() == 1);
  CHECK(session->tokens() == join(text, chosen));
  holder->reset();
  const Ids rest = session->generate(greedy({}, 3)).tokens;
  session->reset();
  CHECK(join(chosen, rest) == holder->generate(greedy(text, 4)).tokens);
}

TEST_CASE("reset, and the end of a session, free its pages for one that needs them all") {
  const auto engine = load_demo(256, 64);
  CHECK(engine->info().n_pages == 4);
  const Ids all = document(256);
  auto first = engine->new_session();
  const auto second = engine->new_session();
  first->generate(greedy(all, 0));
  CHECK_THAT(error_of([&] { second->generate(greedy({5}, 0)); }), ContainsSubstring("memory: "));
  CHECK(second->tokens().empty());
  first->reset();
  CHECK(first->tokens().empty());
  CHECK(second->generate(greedy(all, 0)).stats.n_prompt == 256);
  second->reset();
  first->generate(greedy(all, 0));
  first = nullptr;
  CHECK(second->generate(greedy(all, 0)).stats.n_prompt == 256);
}

TEST_CASE("a failed or cancelled request gives back the pages it did not fill") {
  const auto engine = load_demo(256, 256);  // all four pages are asked for at once
  const auto holder = engine->new_session(), session = engine->new_session();
  holder->generate(greedy(document(64), 0));
  CHECK_THAT(error_of([&] { session->generate(greedy(document(256), 0)); }), ContainsSubstring("memory: "));
  CHECK(session->tokens().empty());
  CHECK(holder->generate(greedy(slice(document(256), 64, 256), 0)).stats.n_cached == 64);
}

// The demo model as a Mistral with a sliding window, and the log of its load.
struct Windowed {
  std::shared_ptr<std::string> log = std::make_shared<std::string>();  // the engine keeps writing to it
  std::shared_ptr<Engine> engine;
};
Windowed load_windowed(const nlohmann::json& window, int64_t ctx_size, int64_t pool_size = 0) {
  const TempDir dir;
  std::filesystem::create_symlink(demo_model() / "model" / "model.safetensors",
                                  dir.path() / "model.safetensors");
  auto config = nlohmann::json::parse(read_file(demo_model() / "model" / "config.json"));
  config["architectures"] = {"MistralForCausalLM"};
  config["model_type"] = "mistral";
  config["sliding_window"] = window;
  write_file(dir.path() / "config.json", config.dump());
  EngineOptions options = demo_options(ctx_size);
  options.model_dir = dir.path().string();
  options.gates_dir = "";
  options.pool_size = pool_size;
  Windowed loaded;
  options.on_log = [log = loaded.log](LogLevel, const std::string& line) { *log += line + "\n"; };
  loaded.engine = Engine::load(options);
  return loaded;
}

TEST_CASE("the context of a model with a sliding window is the window, and a line says so") {
  const Windowed loaded = load_windowed(300, 0);
  CHECK(loaded.engine->info().ctx_size == 300);
  CHECK(loaded.engine->model().window == 300);
  CHECK_THAT(*loaded.log,
             ContainsSubstring("300 tokens of the model's sliding attention window, not its 16384"));
  const Windowed small = load_windowed(300, 0, 200);
  CHECK(small.engine->info().ctx_size == 200);  // the pool's
  CHECK(small.log->empty());
}

TEST_CASE("a window beyond the model's positions, and none, leave the context alone") {
  for (const nlohmann::json& window : {nlohmann::json(1 << 20), nlohmann::json()}) {
    const Windowed loaded = load_windowed(window, 0);
    CHECK(loaded.engine->info().ctx_size == 16384);
    CHECK(loaded.log->empty());
  }
}

TEST_CASE("a context beyond the sliding window is a usage error with both numbers and the remedy") {
  const std::string error = error_of([] { load_windowed(300, 301); });
  CHECK_THAT(error, ContainsSubstring("usage: ") && ContainsSubstring("window of 300 tokens") &&
                        ContainsSubstring("found 301") && ContainsSubstring("Use -c 300 or less"));
}

TEST_CASE("a context of exactly the sliding window gives what a model without a window gives") {
  const Ids prompt = document(296);
  const auto run = [&](const nlohmann::json& window) {
    return load_windowed(window, 300).engine->new_session()->generate(greedy(prompt, 4)).tokens;
  };
  const Ids tokens = run(300);
  CHECK(tokens.size() == 4);
  CHECK(tokens == run(nullptr));
}

TEST_CASE("what of config.json was read in a way that may surprise is logged, and part of the model's info") {
  const TempDir dir;
  std::filesystem::create_symlink(demo_model() / "model" / "model.safetensors",
                                  dir.path() / "model.safetensors");
  auto config = nlohmann::json::parse(read_file(demo_model() / "model" / "config.json"));
  config.erase("max_position_embeddings");
  write_file(dir.path() / "config.json", config.dump());
  EngineOptions options = demo_options(128);
  options.model_dir = dir.path().string();
  options.gates_dir = "";
  std::string log;
  options.on_log = [&](LogLevel level, const std::string& line) {
    CHECK(level == LogLevel::kInfo);
    log += line + "\n";
  };
  const auto engine = Engine::load(options);
  const std::string note = "max_position_embeddings is absent: it is 2048, as transformers has it for llama";
  CHECK(log == "config.json: " + note + "\n");
  CHECK(engine->model().config_notes == std::vector<std::string>{note});
  CHECK(load_demo(128)->model().config_notes.empty());
}

TEST_CASE("a context is warned of beyond the positions that the model's rope scaling stretches to") {
  const auto warnings = [](const nlohmann::json& scaling, int64_t ctx_size) {
    const TempDir dir;
    std::filesystem::create_symlink(demo_model() / "model" / "model.safetensors",
                                    dir.path() / "model.safetensors");
    auto config = nlohmann::json::parse(read_file(demo_model() / "model" / "config.json"));
    config["max_position_embeddings"] = 512;
    config["rope_scaling"] = scaling;
    write_file(dir.path() / "config.json", config.dump());
    EngineOptions options = demo_options(ctx_size);
    options.model_dir = dir.path().string();
    options.gates_dir = "";
    std::string log;
    options.on_log = [&](LogLevel level, const std::string& line) {
      if (level == LogLevel::kWarning) log += line;
    };
    Engine::load(options);
    return log;
  };
  const nlohmann::json yarn = {
      {"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 512}};
  CHECK(warnings(yarn, 2048) == "");
  CHECK_THAT(warnings(yarn, 2049), ContainsSubstring("beyond the 2048 positions"));
  CHECK_THAT(warnings(nullptr, 513), ContainsSubstring("beyond the 512 positions"));
}

TEST_CASE("two sessions that two threads run at once give what each gives alone") {
  const auto engine = load_demo(1024, 64);
  const Ids text = document(600);
  struct Turns {
    Ids first, second;
    SparseRule rule;
  };
  const Turns turns[] = {{slice(text, 0, 200), slice(text, 200, 230), kDense},
                         {slice(text, 250, 550), slice(text, 550, 600), kThreshold}};
  const auto run = [&](const Turns& t) {
    const auto session = engine->new_session();
    Ids out = session->generate(greedy(t.first, 12, t.rule)).tokens;
    return join(out, session->generate(greedy(t.second, 12, t.rule)).tokens);
  };
  const Ids alone[] = {run(turns[0]), run(turns[1])};
  CHECK(alone[0] != alone[1]);
  for (int i = 0; i < 2; ++i) {
    Ids together[2];
    std::thread other([&] { together[1] = run(turns[1]); });
    together[0] = run(turns[0]);
    other.join();
    CHECK(together[0] == alone[0]);
    CHECK(together[1] == alone[1]);
  }
}

}  // namespace
}  // namespace seer
