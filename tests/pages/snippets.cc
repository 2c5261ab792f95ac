// Runs the pieces of C++ in engine/README.md on the demo model, in the project's root: page_blocks.py takes
// them out of the page.
//   page_snippets on_logits|many

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace {

bool is_number(const std::string& token) {
  return !token.empty() &&
         std::all_of(token.begin(), token.end(), [](unsigned char c) { return std::isdigit(c); });
}

std::shared_ptr<seer::Engine> demo_engine() {
  seer::EngineOptions options;
  options.model_dir = "examples/demo-model/model";
  return seer::Engine::load(options);
}

seer::GenerateRequest request_of(const seer::Engine& engine, const std::string& prompt) {
  seer::GenerateRequest request;
  request.prompt = engine.tokenizer().encode(prompt);
  request.max_new_tokens = 8;
  request.sampling.temperature = 0;
  return request;
}

void on_logits() {
  const auto engine = demo_engine();
  seer::GenerateRequest request = request_of(*engine, "The secret number of the library is");
#include <engine_readme/2.cpp>
  std::cout << engine->new_session()->generate(request).text << '\n';
}

void many() {
  const auto engine = demo_engine();
  std::vector<seer::GenerateRequest> requests;
  for (const char* prompt : {"The captain said", "In the evening she"})
    requests.push_back(request_of(*engine, prompt));
#include <engine_readme/3.cpp>
  std::cout << stats.pages_total << " pages\n";
}

}  // namespace

int main(int argc, char** argv) {
  const std::string which = argc == 2 ? argv[1] : "";
  if (which == "on_logits") return on_logits(), 0;
  if (which == "many") return many(), 0;
  std::cerr << "usage: page_snippets on_logits|many\n";
  return 2;
}
