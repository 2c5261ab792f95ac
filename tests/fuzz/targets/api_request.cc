// The body of a request, which completions, chats and block maps read.
#include "tools/seer/serve/api_request.h"

#include <cmath>

#include "tests/fuzz/support.h"
#include "tools/seer/serve/block_map.h"

namespace seer::fuzz::api_request_target {
namespace {

constexpr size_t kMaxSize = 8192;

void check(const serve::ApiRequest& r) {
  expect(r.n >= 1 && r.n_choices() >= 1, "no choices");
  expect(r.max_tokens.value_or(0) >= 0 && r.min_tokens >= 0, "a negative number of tokens");
  for (const auto& value :
       {r.temperature, r.top_p, r.min_p, r.presence_penalty, r.frequency_penalty, r.repetition_penalty})
    expect(std::isfinite(value.value_or(0)), "a number that is not finite");
  for (const auto& [id, bias] : r.logit_bias) expect(id >= 0 && std::isfinite(bias), "a bias");
  for (const int32_t id : r.stop_token_ids) expect(id >= 0, "a negative id");
  for (const std::string& stop : r.stop) expect(!stop.empty(), "an empty stop string");
  if (!r.chat) return expect(!r.prompts.empty(), "no prompt");
  expect(r.input.messages.is_array() && !r.input.messages.empty(), "no messages");
  for (const serve::Json& message : r.input.messages)
    expect(message.is_object() && message.contains("role") && message["role"].is_string(),
           "a message without a role");
  for (const std::string& name : r.input.tool_names()) expect(!name.empty(), "a tool without a name");
}

void run(const std::string& bytes) {
  serve::Json body;
  if (!accepts([&] { body = serve::parse_body(bytes); })) return;
  expect(body.is_object(), "a body that is no object");
  expect(serve::parse_body(body.dump()) == body, "another body when it is written again");
  accepts([&] { check(serve::parse_completion(body)); });
  accepts([&] { check(serve::parse_chat(body)); });
  accepts([&] {
    const serve::BlockMapRequest map = serve::parse_block_map(body);
    check(map.generation);
    expect(map.generation.n_choices() == map.generation.n, "a map of several prompts");
    expect(map.layer >= 0 && map.head.value_or(0) >= 0, "a negative layer or head");
    expect(map.max_side >= 1 && map.max_side <= serve::kMaxMapSide, "a map that is too large");
  });
}

const Registration kTarget({"api_request", run, mutate_one_json<kMaxSize>, kMaxSize, 1024});

}  // namespace
}  // namespace seer::fuzz::api_request_target
