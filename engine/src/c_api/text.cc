// Converts text to ids and back. Memory that is returned comes from malloc, so that seer_free needs no type.
#include <cstdlib>
#include <limits>
#include <new>
#include <string_view>
#include <vector>

#include "engine/src/c_api/handles.h"

namespace seer::c_api {
namespace {

template <class T>
T* copy_out(const T* items, size_t n, size_t n_zeros) {
  if (n + n_zeros == 0) return nullptr;
  auto* copy = static_cast<T*>(std::malloc((n + n_zeros) * sizeof(T)));
  if (copy == nullptr) throw std::bad_alloc();
  std::copy_n(items, n, copy);
  std::fill_n(copy + n, n_zeros, T{});
  return copy;
}

void give_ids(const std::vector<int32_t>& in, int32_t** ids, size_t* n_ids) {
  *ids = copy_out(in.data(), in.size(), 0);
  *n_ids = in.size();
}

void give_text(const std::string& in, char** text, size_t* text_size) {
  *text = copy_out(in.data(), in.size(), 1);
  if (text_size != nullptr) *text_size = in.size();
}

// Returns null, which selects the model's own template, for a null pointer.
std::shared_ptr<const seer::ChatTemplate> template_of(const char* name_or_file) {
  return name_or_file == nullptr ? nullptr : seer::ChatTemplate::load(name_or_file);
}

seer::ChatPrompt prompt_of(const seer_chat_prompt& asked) {
  check_pointer(asked.messages, "the messages");
  seer::ChatPrompt prompt;
  prompt.messages = asked.messages;
  prompt.tools = text_or_empty(asked.tools);
  prompt.kwargs = text_or_empty(asked.kwargs);
  prompt.add_generation_prompt = asked.add_generation_prompt != 0;
  prompt.continue_final_message = asked.continue_final_message != 0;
  prompt.now = asked.now;
  return prompt;
}

void check_ids_out(const seer_engine* engine, int32_t** ids, const size_t* n_ids) {
  check_pointer(engine, "a seer_engine");
  check_pointer(ids, "the ids to fill");
  check_pointer(n_ids, "the number of ids to fill");
}

}  // namespace
}  // namespace seer::c_api

using namespace seer::c_api;

seer_status seer_encode(const seer_engine* engine, const char* text, size_t text_size, uint32_t flags,
                        int32_t** ids, size_t* n_ids) {
  return guard([&] {
    check_ids_out(engine, ids, n_ids);
    if (text_size > 0) check_pointer(text, "the text");
    constexpr uint32_t kKnown = SEER_ENCODE_ADD_SPECIAL | SEER_ENCODE_PARSE_SPECIAL;
    if ((flags & ~kKnown) != 0)
      throw seer::Error(seer::ErrorKind::kUsage,
                        "seer_encode: expected SEER_ENCODE_ flags, found " + std::to_string(flags));
    const std::string_view view(text_size > 0 ? text : "", text_size);
    give_ids(engine->engine->tokenizer().encode(view, (flags & SEER_ENCODE_ADD_SPECIAL) != 0,
                                                (flags & SEER_ENCODE_PARSE_SPECIAL) != 0),
             ids, n_ids);
  });
}

seer_status seer_encode_chat(const seer_engine* engine, const seer_chat_message* messages, size_t n_messages,
                             const char* chat_template, int32_t** ids, size_t* n_ids) {
  return guard([&] {
    check_ids_out(engine, ids, n_ids);
    if (n_messages > 0) check_pointer(messages, "the messages");
    std::vector<seer::ChatMessage> turns;
    for (size_t i = 0; i < n_messages; ++i) {
      check_pointer(messages[i].role, "the role of every message");
      check_pointer(messages[i].content, "the content of every message");
      turns.push_back({messages[i].role, messages[i].content});
    }
    const auto named = template_of(chat_template);
    give_ids(engine->engine->tokenizer().encode_chat(turns, named.get()), ids, n_ids);
  });
}

seer_status seer_chat_prompt_init(seer_chat_prompt* prompt, size_t size) {
  return guard([&] {
    seer_chat_prompt ours = {};
    ours.add_generation_prompt = 1;
    ours.now = -1;
    to_caller(prompt, size, ours, "seer_chat_prompt");
  });
}

seer_status seer_encode_chat_prompt(const seer_engine* engine, const seer_chat_prompt* prompt, int32_t** ids,
                                    size_t* n_ids) {
  return guard([&] {
    check_ids_out(engine, ids, n_ids);
    const seer_chat_prompt asked = from_caller(prompt, {}, "seer_chat_prompt");
    const auto named = template_of(asked.chat_template);
    give_ids(engine->engine->tokenizer().encode_chat(prompt_of(asked), named.get()), ids, n_ids);
  });
}

seer_status seer_render_chat(const seer_engine* engine, const seer_chat_prompt* prompt, char** text,
                             size_t* text_size) {
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    check_pointer(text, "the text to fill");
    const seer_chat_prompt asked = from_caller(prompt, {}, "seer_chat_prompt");
    const auto named = template_of(asked.chat_template);
    give_text(engine->engine->tokenizer().render_chat(prompt_of(asked), named.get()), text, text_size);
  });
}

seer_status seer_decode(const seer_engine* engine, const int32_t* ids, size_t n_ids, int keep_special,
                        char** text, size_t* text_size) {
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    check_pointer(text, "the text to fill");
    if (n_ids > 0) check_pointer(ids, "the ids");
    const std::vector<int32_t> in(ids, ids + n_ids);
    give_text(engine->engine->tokenizer().decode(in, keep_special == 0), text, text_size);
  });
}
