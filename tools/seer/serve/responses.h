// The API's answers as JSON text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "seer/request.h"

namespace seer::serve {

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

struct Choice {
  std::string text;
  FinishReason finish = FinishReason::kLength;
};

// "stop" or "length".
const char* finish_reason(FinishReason finish);

std::string models_list(const std::string& model, int64_t created, int64_t ctx_size);
std::string model_object(const std::string& model, int64_t created, int64_t ctx_size);

// Everything one request's answer is written with: whole, or in pieces as server-sent events.
class ResponseWriter {
 public:
  ResponseWriter(bool chat, std::string model, bool include_usage);

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) const;

  // Events, each ending in an empty line.
  std::string first(size_t choice) const;  // of a chat: who speaks; empty for completions
  std::string piece(size_t choice, const std::string& text) const;
  std::string last(size_t choice, FinishReason finish) const;
  std::string usage(const Usage& usage) const;  // empty where it was not asked for
  static std::string end();                     // "data: [DONE]\n\n"
  static std::string event(const nlohmann::ordered_json& json);

 private:
  nlohmann::ordered_json envelope(bool streamed) const;
  std::string chunk(size_t choice, const nlohmann::ordered_json& content,
                    const nlohmann::ordered_json& finish) const;

  bool chat_;
  std::string model_, id_;
  int64_t created_;
  bool include_usage_;
};

}  // namespace seer::serve
