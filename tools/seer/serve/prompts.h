// From a request to what the engine is asked for: token ids, and room for the answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/serve/api_request.h"

namespace seer::serve {

struct EncodedPrompt {
  std::vector<int32_t> ids;
  std::string text;  // where the answer echoes it
};

// Throws ApiError (400) for ids out of range, an empty prompt, or a chat that the template does not take.
// `chat_template`: as in ServiceOptions.
std::vector<EncodedPrompt> encode_prompts(const ApiRequest& request, const Engine& engine,
                                          const std::string& chat_template);

// Tokens to generate at most after a prompt of `n_prompt`; throws ApiError (400, context_length_exceeded)
// where prompt and answer do not fit.
int64_t token_limit(const ApiRequest& request, int64_t n_prompt, const EngineInfo& info);

// One for each choice: those of the first prompt first.
std::vector<GenerateRequest> generate_requests(const ApiRequest& request,
                                               const std::vector<EncodedPrompt>& prompts,
                                               const Engine& engine,
                                               const std::optional<SparseRule>& standard_rule);

}  // namespace seer::serve
