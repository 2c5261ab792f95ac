// What the C interface's files share: the handles, errors to status codes, and structs of another version's
// length.
#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "seer/ranks.h"
#include "seer/seer.h"

struct seer_engine {
  std::shared_ptr<seer::Engine> engine;
  std::vector<const char*> stop_id_sources;
  std::string default_rule, default_decode_rule, chat_template;
  bool has_tokenizer = false;
};

namespace seer::c_api {

// Arrays that a seer_result points to, and that a GenerateResult has in another form.
struct ResultArrays {
  std::vector<seer_position_logprobs> logprobs, prompt_logprobs;
};

}  // namespace seer::c_api

struct seer_session {
  std::unique_ptr<seer::Session> session;
  seer::SamplingParams default_sampling;
  seer::GenerateResult result;  // of the last request: what a seer_result points into
  seer::c_api::ResultArrays arrays;
};

struct seer_generation {
  std::unique_ptr<seer::Generation> generation;
  std::mutex mutex;  // several threads may wait
  std::optional<seer::GenerateResult> result;
  seer::c_api::ResultArrays arrays;
};

struct seer_ranks {
  std::shared_ptr<seer::Ranks> ranks;
};

namespace seer::c_api {

// The status for the exception in flight, whose message becomes the thread's last error. Called in a handler.
seer_status fail() noexcept;

// Runs `body` and turns its exception, if any, into a status.
template <class Body>
seer_status guard(const Body& body) noexcept {
  try {
    body();
    return SEER_OK;
  } catch (...) {
    return fail();
  }
}

[[noreturn]] void refuse_null(const char* name);
[[noreturn]] void refuse_size(const char* type, size_t expected, size_t found);

// Throws Error{kUsage} if it is null.
inline void check_pointer(const void* pointer, const char* name) {
  if (pointer == nullptr) refuse_null(name);
}

inline std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

// A program's struct may be shorter than ours (older headers) or longer (newer ones): the common part counts,
// and of a longer one the rest must be zero, which asks for nothing that we do not know.
template <class Struct>
Struct from_caller(const Struct* theirs, Struct ours, const char* type) {
  check_pointer(theirs, type);
  const size_t size = theirs->size;
  if (size < sizeof(size_t) || size > 65536) refuse_size(type, sizeof(Struct), size);
  const auto* bytes = reinterpret_cast<const unsigned char*>(theirs);
  if (size > sizeof(Struct) &&
      !std::all_of(bytes + sizeof(Struct), bytes + size, [](auto b) { return b == 0; }))
    refuse_size(type, sizeof(Struct), size);
  std::memcpy(&ours, bytes, std::min(size, sizeof(Struct)));
  return ours;
}

template <class Struct>
void to_caller(Struct* theirs, size_t size, Struct ours, const char* type) {
  check_pointer(theirs, type);
  if (size < sizeof(size_t) || size > 65536) refuse_size(type, sizeof(Struct), size);
  ours.size = size;
  std::memset(static_cast<void*>(theirs), 0, size);
  std::memcpy(static_cast<void*>(theirs), &ours, std::min(size, sizeof(Struct)));
}

}  // namespace seer::c_api
