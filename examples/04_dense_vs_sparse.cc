// Shows how much the gates save on a long text: 04_dense_vs_sparse MODEL_DIR GATES_DIR TEXT_FILE [RULE...]
//
// Reads the text once with every block of keys and once with each rule (threshold=0.01 by default). For each
// it prints how long that took, which share of the blocks was computed, and how the answer continues.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace {

std::string read_text(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw seer::Error(seer::ErrorKind::kFile, std::string(path) + " cannot be read");
  return text.str();
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 4)
    throw seer::Error(seer::ErrorKind::kUsage,
                      "usage: 04_dense_vs_sparse MODEL_DIR GATES_DIR TEXT_FILE [RULE...]");
  std::vector<std::string> rules = {"dense"};
  rules.insert(rules.end(), argv + 4, argv + argc);
  if (rules.size() == 1) rules.push_back("threshold=0.01");
  seer::EngineOptions options;
  options.model_dir = argv[1];
  options.gates_dir = argv[2];
  options.prefix_cache = false;  // every rule must compute the whole prompt, even a rule that is named twice
  const auto engine = seer::Engine::load(options);
  const std::vector<int32_t> prompt = engine->tokenizer().encode(read_text(argv[3]));

  std::printf("%zu tokens on %s\n", prompt.size(), engine->info().device.c_str());
  std::printf("%-16s %10s %9s %9s  %s\n", "rule", "prefill ms", "speed-up", "density", "answer");
  double dense_ms = 0.0;
  for (const std::string& rule : rules) {
    seer::GenerateRequest request;
    request.prompt = prompt;
    request.max_new_tokens = 8;
    request.sampling.temperature = 0.0;
    request.sparse = seer::SparseRule::parse(rule);
    const seer::GenerateResult result = engine->new_session()->generate(request);
    const double ms = 1e-6 * static_cast<double>(result.stats.prefill_ns);
    if (rule == "dense") dense_ms = ms;
    std::printf("%-16s %10.1f %8.2fx %8.1f%%  %s\n", rule.c_str(), ms, dense_ms / ms,
                100.0 * result.stats.density, one_line(result.text).c_str());
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
