#include "tests/engine/demo.h"

#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {

EngineOptions demo_options(int64_t ctx_size, int64_t chunk_size, const std::string& kv_cache_dtype) {
  EngineOptions options;
  options.model_dir = (demo_model() / "model").string();
  options.gates_dir = (demo_model() / "gates").string();
  options.device = "cpu";
  options.threads = 2;
  options.ctx_size = ctx_size;
  options.chunk_size = chunk_size;
  options.kv_cache_dtype = kv_cache_dtype;
  options.prefix_cache = false;  // the results of one case must not serve the next
  return options;
}

std::shared_ptr<Engine> load_demo(int64_t ctx_size, int64_t chunk_size, const std::string& kv_cache_dtype) {
  return Engine::load(demo_options(ctx_size, chunk_size, kv_cache_dtype));
}

double logprob_margin(const std::string& kv_cache_dtype) { return kv_cache_dtype == "bf16" ? 2e-2 : 2e-4; }

void link_model_without_tokenizer(const std::filesystem::path& dir) {
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors"})
    std::filesystem::create_symlink(demo_model() / "model" / name, dir / name);
}

Ids document(int64_t n) {
  const std::string text = read_file(demo_model().parent_path() / "long-document" / "document.txt");
  // The tokens of this text are on average much shorter than 16 bytes.
  const auto tokenizer = Tokenizer::load((demo_model() / "model").string());
  Ids ids = tokenizer->encode(text.substr(0, static_cast<size_t>(16 * n)));
  ids.resize(static_cast<size_t>(n));
  return ids;
}

Ids slice(const Ids& ids, int64_t begin, int64_t end) { return {ids.begin() + begin, ids.begin() + end}; }

Ids join(const Ids& a, const Ids& b) {
  Ids all = a;
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

GenerateRequest greedy(const Ids& prompt, int64_t max_new_tokens, const SparseRule& rule) {
  GenerateRequest request;
  request.prompt = prompt;
  request.max_new_tokens = max_new_tokens;
  request.sampling.temperature = 0.0;
  request.ignore_eos = true;
  request.sparse = rule;
  return request;
}

void check_together(Engine& together, Engine& alone, const std::vector<GenerateRequest>& requests) {
  std::vector<std::unique_ptr<Generation>> running;
  running.reserve(requests.size());
  for (const GenerateRequest& request : requests) running.push_back(together.submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    const GenerateResult expected = alone.new_session()->generate(requests[i]), found = running[i]->wait();
    CHECK(found.tokens == expected.tokens);
    CHECK(found.stats.density == Approx(expected.stats.density).epsilon(1e-6));
  }
}

}  // namespace seer::testing
