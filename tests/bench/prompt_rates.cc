// Measures how fast prompts are made: token ids of a text, and of a chat of 100 turns by a chat template.
//   bench_prompt_rates MODEL_DIR TEXT_FILE [TEMPLATE]
// MODEL_DIR needs only the files of a tokenizer. TEMPLATE is a Jinja file or the name of a template; if it is
// not given, the model's own template is used.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

#include "seer/tokenizer.h"

namespace {

constexpr int kRepeats = 9;
constexpr size_t kTurns = 100;
constexpr size_t kTurnBytes = 400;

// The median of several runs, in milliseconds.
template <typename Work>
double milliseconds(const Work& work) {
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + kRepeats / 2, times.end());
  return times[kRepeats / 2];
}

std::vector<seer::ChatMessage> chat_of(const std::string& text) {
  std::vector<seer::ChatMessage> messages;
  for (size_t i = 0; i + 1 < kTurns; ++i)
    messages.push_back({i % 2 == 0 ? "user" : "assistant", text.substr(i * kTurnBytes, kTurnBytes)});
  return messages;
}

void measure(const std::string& model, const std::string& file, const seer::ChatTemplate* chat_template) {
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (text.size() < kTurns * kTurnBytes)
    throw seer::Error(seer::ErrorKind::kUsage, file + ": expected a text of at least 40,000 bytes");
  const auto tokenizer = seer::Tokenizer::load(model);
  size_t n_ids = 0;
  const double encode = milliseconds([&] { n_ids = tokenizer->encode(text).size(); });
  std::printf("tokenize  %8zu bytes, %7zu ids  %8.2f ms  %6.1f MB/s\n", text.size(), n_ids, encode,
              1e-3 * static_cast<double>(text.size()) / encode);
  const std::vector<seer::ChatMessage> messages = chat_of(text);
  const double render = milliseconds([&] { tokenizer->render_chat(messages, chat_template); });
  const double ids = milliseconds([&] { n_ids = tokenizer->encode_chat(messages, chat_template).size(); });
  std::printf("render    %8zu turns                %8.2f ms\n", messages.size(), render);
  std::printf("chat ids  %8zu turns, %7zu ids  %8.2f ms\n", messages.size(), n_ids, ids);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: bench_prompt_rates MODEL_DIR TEXT_FILE [TEMPLATE]\n");
    return 2;
  }
  try {
    const auto chat_template = argc == 4 ? seer::ChatTemplate::load(argv[3]) : nullptr;
    measure(argv[1], argv[2], chat_template.get());
    return 0;
  } catch (const seer::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
