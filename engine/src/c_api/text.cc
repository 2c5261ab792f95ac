// Text to ids and back. What is returned is malloc's, so that seer_free needs no type.
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
    give_ids(engine->engine->tokenizer().encode_chat(turns, text_or_empty(chat_template)), ids, n_ids);
  });
}

seer_status seer_decode(const seer_engine* engine, const int32_t* ids, size_t n_ids, int keep_special,
                        char** text, size_t* text_size) {
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    check_pointer(text, "the text to fill");
    if (n_ids > 0) check_pointer(ids, "the ids");
    const std::vector<int32_t> in(ids, ids + n_ids);
    const std::string out = engine->engine->tokenizer().decode(in, keep_special == 0);
    *text = copy_out(out.data(), out.size(), 1);
    if (text_size != nullptr) *text_size = out.size();
  });
}
