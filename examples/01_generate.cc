// Text from a prompt: 01_generate MODEL_DIR PROMPT
#include <iostream>

#include "seer/engine.h"

int main(int argc, char** argv) try {
  if (argc != 3) throw seer::Error(seer::ErrorKind::kUsage, "usage: 01_generate MODEL_DIR PROMPT");
  seer::EngineOptions options;
  options.model_dir = argv[1];
  const auto engine = seer::Engine::load(options);
  seer::GenerateRequest request;
  request.prompt = engine->tokenizer().encode(argv[2]);
  request.max_new_tokens = 64;
  std::cout << argv[2] << engine->new_session()->generate(request).text << '\n';
} catch (const seer::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
