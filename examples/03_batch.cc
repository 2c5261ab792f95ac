// Several prompts at once: 03_batch MODEL_DIR PROMPT...
//
// All prompts are submitted, and the engine computes them together: every step gives each of them its next
// token. Each gives the same tokens as it would alone.
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"

int main(int argc, char** argv) try {
  if (argc < 3) throw seer::Error(seer::ErrorKind::kUsage, "usage: 03_batch MODEL_DIR PROMPT...");
  const std::vector<std::string> prompts(argv + 2, argv + argc);
  seer::EngineOptions options;
  options.model_dir = argv[1];
  options.ctx_size = 1024;   // tokens of each request
  options.pool_size = 8192;  // of all requests; if it is too small, requests wait or take turns
  const auto engine = seer::Engine::load(options);

  std::vector<std::unique_ptr<seer::Generation>> running;
  for (const std::string& prompt : prompts) {
    seer::GenerateRequest request;
    request.prompt = engine->tokenizer().encode(prompt);
    request.max_new_tokens = 32;
    request.sampling.temperature = 0.0;
    running.push_back(engine->submit(request));
  }
  for (size_t i = 0; i < prompts.size(); ++i)
    std::cout << "--- " << prompts[i] << running[i]->wait().text << '\n';
  const seer::EngineStats stats = engine->stats();
  std::cerr << stats.generated_tokens << " tokens in " << stats.n_steps << " steps\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
