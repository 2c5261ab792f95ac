// Loading: the allowed options, the reported figures, and models with missing parts.
#include "seer/engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;
namespace fs = std::filesystem;

std::string refused_load(const EngineOptions& options) {
  return error_of([&] { Engine::load(options); });
}

TEST_CASE("a loaded engine says what the model, its gates and its cache are") {
  const auto engine = load_demo(1000, 128);
  CHECK(engine->model().architecture == "LlamaForCausalLM");
  CHECK(engine->model().dtype == "BF16");
  CHECK(engine->model().n_layers == 6);
  CHECK(engine->model().n_heads == 4);
  CHECK(engine->model().n_kv_heads == 2);
  CHECK(engine->model().n_vocab == 4096);
  CHECK(engine->model().max_positions == 16384);
  CHECK(engine->model().eos_ids == Ids{2});
  CHECK(engine->model().default_sampling.temperature == 0.8);
  CHECK(engine->model().default_sampling.top_p == 0.95);
  REQUIRE(engine->model().gates.has_value());
  CHECK(engine->model().gates->gate_type == "Qavg_Kmaxminavg");
  CHECK(engine->model().gates->gate_block == 64);
  CHECK(engine->model().gates->last_block_dense);
  CHECK(engine->model().gates->default_rule == SparseRule::parse("threshold=0.002"));
  CHECK(engine->info().ctx_size == 1000);
  CHECK(engine->info().chunk_size == 128);
  CHECK(engine->info().page_tokens == 64);
  CHECK(engine->info().n_pages == 16);  // 15 hold 960 tokens
  CHECK(engine->info().kv_bytes > 0);
  CHECK_THAT(engine->info().device, ContainsSubstring("cpu (2 threads"));
}

TEST_CASE("a KV cache of bf16 takes half of float32's memory, gate keys apart, and says what it is") {
  EngineOptions options = demo_options(1000);
  options.kv_cache_dtype = "f32";
  const auto wide = Engine::load(options);
  options.kv_cache_dtype = "bf16";
  const auto narrow = Engine::load(options);
  CHECK(wide->info().kv_cache_dtype == "f32");
  CHECK(narrow->info().kv_cache_dtype == "bf16");
  const int64_t gate_bytes = 16 * 6 * 4 * narrow->model().gates->d_gate * int64_t{sizeof(float)};
  CHECK(wide->info().kv_bytes == 16 * 6 * 2 * 64 * 2 * 64 * int64_t{sizeof(float)} + gate_bytes);
  CHECK(narrow->info().kv_bytes - gate_bytes == (wide->info().kv_bytes - gate_bytes) / 2);
  options.kv_cache_dtype = "auto";
  CHECK(Engine::load(options)->info().kv_cache_dtype == "f32");
}

TEST_CASE("a KV cache type that is not there is refused by name before any file is read") {
  EngineOptions options;
  options.model_dir = "no-such-folder";
  for (const char* type : {"fp8", "fp8_e4m3", "fp8_e5m2"}) {
    options.kv_cache_dtype = type;
    CHECK_THAT(refused_load(options), ContainsSubstring("unsupported: ") && ContainsSubstring(type) &&
                                          ContainsSubstring("not supported yet: expected f32 or bf16"));
  }
  for (const char* type : {"", "f16", "BF16", "float32"}) {
    options.kv_cache_dtype = type;
    CHECK_THAT(refused_load(options), ContainsSubstring("usage: ") &&
                                          ContainsSubstring("auto, f32 or bf16") &&
                                          ContainsSubstring("found '" + std::string(type) + "'"));
  }
}

TEST_CASE("a context of 1, 63, 64 or 65 tokens has the pages it needs") {
  for (const auto& [ctx, pages] : {std::pair(1, 1), std::pair(63, 1), std::pair(64, 1), std::pair(65, 2)}) {
    const auto engine = load_demo(ctx);
    CHECK(engine->info().ctx_size == ctx);
    CHECK(engine->info().n_pages == pages);
  }
}

TEST_CASE("a chunk longer than the context is as long as the context's pages") {
  CHECK(load_demo(100, 4096)->info().chunk_size == 128);
}

TEST_CASE("a context out of range is a usage error that says the range and what was found") {
  for (const int64_t ctx : {int64_t{-1}, (int64_t{1} << 30) + 1, INT64_MIN, INT64_MAX}) {
    const std::string error = refused_load(demo_options(ctx));
    CHECK_THAT(error, ContainsSubstring("usage: "));
    CHECK_THAT(error, ContainsSubstring("1073741824"));
    CHECK_THAT(error, ContainsSubstring(std::to_string(ctx)));
  }
}

TEST_CASE("a chunk that is no multiple of the gate block is a usage error with both numbers") {
  for (const int64_t chunk : {int64_t{-64}, int64_t{1}, int64_t{63}, int64_t{65}, int64_t{100}, INT64_MIN}) {
    const std::string error = refused_load(demo_options(256, chunk));
    CHECK_THAT(error, ContainsSubstring("usage: "));
    CHECK_THAT(error, ContainsSubstring("64 tokens"));
    CHECK_THAT(error, ContainsSubstring("found " + std::to_string(chunk)));
  }
}

TEST_CASE("a number of threads out of range is a usage error that says it") {
  for (const int threads : {-1, 1025, INT32_MAX, INT32_MIN}) {
    EngineOptions options = demo_options(256);
    options.threads = threads;
    const std::string error = refused_load(options);
    CHECK_THAT(error, ContainsSubstring("usage: "));
    CHECK_THAT(error, ContainsSubstring(std::to_string(threads)));
  }
}

// A sanitizer's shadow memory does not fit any limit.
#if !SEER_SANITIZED
TEST_CASE("threads that the system does not give are a memory error that counts them") {
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  std::ifstream statm("/proc/self/statm");
  uint64_t n_pages = 0;
  REQUIRE(statm >> n_pages);
  // There is room for a few threads' stacks, but not for a thousand.
  rlimit small = before;
  small.rlim_cur = n_pages * static_cast<uint64_t>(getpagesize()) + (uint64_t{256} << 20);
  EngineOptions options = demo_options(256);
  options.threads = 1000;
  REQUIRE(setrlimit(RLIMIT_AS, &small) == 0);
  const std::string error = refused_load(options);
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK_THAT(error, ContainsSubstring("memory: expected 1000 threads") && ContainsSubstring("--threads"));
}
#endif

TEST_CASE("an unknown device is a usage error that names it, an absent one a device error") {
  for (const char* device : {"", "gpu", "CPU", "cpu:0", "cudax"}) {
    EngineOptions options = demo_options(256);
    options.device = device;
    const std::string error = refused_load(options);
    CHECK_THAT(error, ContainsSubstring("usage: "));
    CHECK_THAT(error, ContainsSubstring("'" + std::string(device) + "'"));
  }
  EngineOptions options = demo_options(256);
  options.device = "cuda:99";
  CHECK_THAT(refused_load(options), ContainsSubstring("device: "));
}

TEST_CASE("a folder that is not there is a file error that names it") {
  EngineOptions options = demo_options(256);
  options.model_dir = "no/such/model";
  CHECK_THAT(refused_load(options), ContainsSubstring("file: ") && ContainsSubstring("no/such/model"));
  options.model_dir = "";
  CHECK_THAT(refused_load(options), ContainsSubstring("file: "));
  options = demo_options(256);
  options.gates_dir = "no/such/gates";
  CHECK_THAT(refused_load(options), ContainsSubstring("file: ") && ContainsSubstring("no/such/gates"));
}

TEST_CASE("gates of another model are refused") {
  // The model's own folder has a config.json, but says nothing of gates.
  EngineOptions options = demo_options(256);
  options.gates_dir = options.model_dir;
  CHECK_THAT(refused_load(options), ContainsSubstring("file: ") && ContainsSubstring("seerattn"));
}

TEST_CASE("the load's progress goes from nothing to everything, and false cancels it") {
  std::vector<LoadProgress> seen;
  EngineOptions options = demo_options(256);
  options.on_load = [&](const LoadProgress& p) {
    seen.push_back(p);
    return true;
  };
  const auto engine = Engine::load(options);
  REQUIRE(!seen.empty());
  for (size_t i = 0; i < seen.size(); ++i) {
    CHECK(seen[i].bytes_total == seen[0].bytes_total);
    CHECK(seen[i].bytes_done >= (i == 0 ? 0 : seen[i - 1].bytes_done));
  }
  CHECK(seen.back().bytes_done == seen.back().bytes_total);
  CHECK(seen.back().bytes_total >= engine->model().n_bytes);

  options.on_load = [](const LoadProgress&) { return false; };
  CHECK_THAT(refused_load(options), ContainsSubstring("cancelled: "));
}

TEST_CASE("what a user may want to know is logged: a context beyond the model's positions") {
  std::vector<std::string> warnings;
  EngineOptions options = demo_options(20000);
  options.on_log = [&](LogLevel level, const std::string& message) {
    if (level == LogLevel::kWarning) warnings.push_back(message);
  };
  Engine::load(options);
  REQUIRE(warnings.size() == 1);
  CHECK_THAT(warnings[0], ContainsSubstring("20000") && ContainsSubstring("16384"));
  warnings.clear();
  options.ctx_size = 16384;
  Engine::load(options);
  CHECK(warnings.empty());
}

TEST_CASE("gates that were never tuned are logged, with the threshold used instead") {
  const TempDir gates;
  const fs::path from = demo_model() / "gates";
  auto config = nlohmann::json::parse(read_file(from / "config.json"));
  config["seerattn_threshold"] = 0.0;
  write_file(gates.path() / "config.json", config.dump());
  fs::create_symlink(from / "attn_gate_weights.safetensors", gates.path() / "attn_gate_weights.safetensors");
  std::string log;
  EngineOptions options = demo_options(256);
  options.gates_dir = gates.path().string();
  options.on_log = [&](LogLevel, const std::string& message) { log += message; };
  const auto engine = Engine::load(options);
  CHECK_THAT(log, ContainsSubstring("seerattn_threshold") && ContainsSubstring("threshold=0.002"));
  CHECK(engine->model().gates->default_rule == SparseRule::parse("threshold=0.002"));
}

TEST_CASE("a model without a tokenizer works by ids, and says what needs one") {
  const TempDir dir;
  link_model_without_tokenizer(dir.path());
  EngineOptions options = demo_options(256);
  options.model_dir = dir.path().string();
  const auto engine = Engine::load(options);
  CHECK_THAT(error_of([&] { static_cast<void>(engine->tokenizer()); }),
             ContainsSubstring("file: ") && ContainsSubstring(options.model_dir) &&
                 ContainsSubstring("tokenizer.json or tokenizer.model"));
  const Ids prompt = document(100);
  const GenerateResult by_ids = engine->new_session()->generate(greedy(prompt, 8));
  CHECK(by_ids.text == "");
  CHECK(by_ids.tokens == load_demo(256)->new_session()->generate(greedy(prompt, 8)).tokens);
  GenerateRequest with_stop = greedy(prompt, 8);
  with_stop.stop = {"."};
  CHECK_THAT(error_of([&] { engine->new_session()->generate(with_stop); }),
             ContainsSubstring("usage: ") && ContainsSubstring("tokenizer"));
}

TEST_CASE("a malformed tokenizer is a file error of the load") {
  const TempDir dir;
  link_model_without_tokenizer(dir.path());
  write_file(dir.path() / "tokenizer.json", "{");
  EngineOptions options = demo_options(256);
  options.model_dir = dir.path().string();
  CHECK_THAT(refused_load(options), ContainsSubstring("file: ") && ContainsSubstring("tokenizer.json"));
}

TEST_CASE("without gates a prompt runs dense, and a sparse rule is a usage error that asks for gates") {
  EngineOptions options = demo_options(256);
  options.gates_dir = "";
  const auto engine = Engine::load(options);
  CHECK_FALSE(engine->model().gates.has_value());
  CHECK(engine->info().page_tokens == 64);
  const Ids prompt = document(200);
  GenerateRequest request = greedy(prompt, 4);
  request.sparse = std::nullopt;
  const GenerateResult dense = engine->new_session()->generate(request);
  CHECK(dense.stats.density == 1.0);
  CHECK(dense.tokens == load_demo(256)->new_session()->generate(greedy(prompt, 4, kDense)).tokens);
  for (const SparseRule& rule : {kThreshold, kNzRatio, kNzRatioRow}) {
    const auto session = engine->new_session();
    const std::string error = error_of([&] { session->generate(greedy(prompt, 4, rule)); });
    CHECK_THAT(error, ContainsSubstring("usage: ") && ContainsSubstring(rule.to_string()) &&
                          ContainsSubstring("--gates"));
    CHECK(session->tokens().empty());
    EvaluateRequest evaluate;
    evaluate.tokens = prompt;
    evaluate.sparse = rule;
    CHECK_THAT(error_of([&] { session->evaluate(evaluate); }), ContainsSubstring("usage: "));
  }
}

TEST_CASE("a sparse rule out of range is a usage error, and its value is used to the last digit") {
  const auto engine = load_demo(256);
  for (const SparseRule& rule :
       {SparseRule{SparseRule::Method::kThreshold, 1.0}, SparseRule{SparseRule::Method::kThreshold, -0.5},
        SparseRule{SparseRule::Method::kThreshold, NAN}, SparseRule{SparseRule::Method::kNzRatio, 0.0},
        SparseRule{SparseRule::Method::kNzRatio, 1.5}, SparseRule{SparseRule::Method::kNzRatioRow, 0.0}})
    CHECK_THAT(error_of([&] { engine->new_session()->generate(greedy(document(10), 1, rule)); }),
               ContainsSubstring("usage: ") && ContainsSubstring(rule.to_string()));
}

TEST_CASE("a session keeps its engine alive") {
  auto engine = load_demo(256);
  const std::weak_ptr<Engine> watch = engine;
  auto session = engine->new_session();
  const GenerateResult before = session->generate(greedy(document(65), 4));
  engine.reset();
  CHECK_FALSE(watch.expired());
  session->reset();
  CHECK(session->generate(greedy(document(65), 4)).tokens == before.tokens);
  session.reset();
  CHECK(watch.expired());
}

}  // namespace
}  // namespace seer
