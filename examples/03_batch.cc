// Several prompts at once: 03_batch MODEL_DIR PROMPT...
//
// One engine, a session and a thread for each prompt. The engine orders their steps; what each gives is what
// it would give alone.
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "seer/engine.h"

namespace {

struct Answer {
  std::string text;
  std::exception_ptr error;  // an exception must not leave its thread
};

Answer answer(seer::Engine& engine, const std::string& prompt) try {
  seer::GenerateRequest request;
  request.prompt = engine.tokenizer().encode(prompt);
  request.max_new_tokens = 32;
  request.sampling.temperature = 0.0;
  return {engine.new_session()->generate(request).text, nullptr};
} catch (...) {
  return {"", std::current_exception()};
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw seer::Error(seer::ErrorKind::kUsage, "usage: 03_batch MODEL_DIR PROMPT...");
  const std::vector<std::string> prompts(argv + 2, argv + argc);
  seer::EngineOptions options;
  options.model_dir = argv[1];
  options.ctx_size = 1024;  // tokens of each session
  const auto engine = seer::Engine::load(options);

  std::vector<Answer> answers(prompts.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < prompts.size(); ++i)
    threads.emplace_back([&, i] { answers[i] = answer(*engine, prompts[i]); });
  for (std::thread& thread : threads) thread.join();

  for (size_t i = 0; i < prompts.size(); ++i) {
    if (answers[i].error) std::rethrow_exception(answers[i].error);
    std::cout << "--- " << prompts[i] << answers[i].text << '\n';
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
