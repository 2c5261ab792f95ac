// A program that uses Seer as a library: embed MODEL_DIR PROMPT
#include <seer/engine.h>
#include <seer/version.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: embed MODEL_DIR PROMPT\n";
    return 2;
  }
  try {
    seer::EngineOptions options;
    options.model_dir = argv[1];
    options.on_log = [](seer::LogLevel, const std::string& message) { std::cerr << message << '\n'; };
    const auto engine = seer::Engine::load(options);

    seer::GenerateRequest request;
    request.prompt = engine->tokenizer().encode(argv[2]);
    request.max_new_tokens = 16;
    request.sampling.temperature = 0.0;  // the same text every time
    std::cout << argv[2] << engine->new_session()->generate(request).text << '\n';
    std::cerr << "seer " << seer::version() << " on " << engine->info().device << '\n';
    return 0;
  } catch (const seer::Error& error) {  // the message says what was expected, what was found, and what to do
    std::cerr << error.what() << '\n';
    return 1;
  }
}
