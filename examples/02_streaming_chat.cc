// A chat on the terminal, or of lines from a pipe: 02_streaming_chat MODEL_DIR [TEMPLATE]
//
// TEMPLATE is a Jinja file, llama2, llama3, chatml or mistral; without it the model's own is used. The
// session keeps its KV pages. If the template renders the conversation so far into just the tokens that the
// session holds, a turn computes only the last question. Otherwise it computes everything, because an answer
// may be tokenised differently from how it was generated. Ctrl-C stops an answer, Ctrl-D ends the chat.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace {

// A handler must not call the library, so it sets a flag that the next callback reads.
volatile std::sig_atomic_t interrupted = 0;

// Returns the tokens to add to the session so that it holds `all`. If it holds something else, it starts
// anew.
std::vector<int32_t> rest_of(const std::vector<int32_t>& all, seer::Session& session) {
  const std::vector<int32_t>& held = session.tokens();
  const bool begins = held.size() < all.size() && std::equal(held.begin(), held.end(), all.begin());
  if (!begins) session.reset();
  return {all.begin() + static_cast<std::ptrdiff_t>(session.tokens().size()), all.end()};
}

void chat(const seer::EngineOptions& options, const seer::ChatTemplate* chat_template) {
  const auto engine = seer::Engine::load(options);
  const auto session = engine->new_session();
  std::vector<seer::ChatMessage> messages;
  std::string line;
  while (std::cerr << "> " && std::getline(std::cin, line)) {
    if (line.empty()) continue;
    messages.push_back({"user", line});
    seer::GenerateRequest request;
    request.prompt = rest_of(engine->tokenizer().encode_chat(messages, chat_template), *session);
    request.max_new_tokens = 48;
    request.sampling = engine->model().default_sampling;
    interrupted = 0;
    request.on_token = [](const seer::TokenEvent& event) {
      std::cout << event.text << std::flush;
      return interrupted == 0;
    };
    const seer::GenerateResult result = session->generate(request);
    std::cout << '\n';
    std::cerr << "[" << result.stats.n_prompt << " tokens computed, " << result.stats.n_cached
              << " cached]\n";
    messages.push_back({"assistant", result.text});
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::cerr << "usage: 02_streaming_chat MODEL_DIR [TEMPLATE]\n";
    return 2;
  }
  std::signal(SIGINT, [](int) { interrupted = 1; });
  try {
    seer::EngineOptions options;
    options.model_dir = argv[1];
    const auto chat_template = argc == 3 ? seer::ChatTemplate::load(argv[2]) : nullptr;
    chat(options, chat_template.get());
    return 0;
  } catch (const seer::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
