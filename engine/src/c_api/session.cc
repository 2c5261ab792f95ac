// The functions for sessions.
#include <vector>

#include "engine/src/c_api/request.h"

using namespace seer::c_api;

seer_status seer_session_new(seer_session** session, seer_engine* engine) {
  if (session != nullptr) *session = nullptr;
  return guard([&] {
    check_pointer(session, "the seer_session* to fill");
    check_pointer(engine, "a seer_engine");
    auto handle = std::make_unique<seer_session>();
    handle->session = engine->engine->new_session();
    handle->default_sampling = engine->engine->model().default_sampling;
    *session = handle.release();
  });
}

seer_status seer_session_load(seer_session** session, seer_engine* engine, const char* path) {
  if (session != nullptr) *session = nullptr;
  return guard([&] {
    check_pointer(session, "the seer_session* to fill");
    check_pointer(engine, "a seer_engine");
    check_pointer(path, "the path of a saved session");
    auto handle = std::make_unique<seer_session>();
    handle->session = engine->engine->load_session(path);
    handle->default_sampling = engine->engine->model().default_sampling;
    *session = handle.release();
  });
}

seer_status seer_session_save(seer_session* session, const char* path) {
  return guard([&] {
    check_pointer(session, "a seer_session");
    check_pointer(path, "the path for a saved session");
    session->session->save(path);
  });
}

void seer_session_free(seer_session* session) { delete session; }

seer_status seer_session_generate(seer_session* session, const seer_request* request, seer_result* result,
                                  size_t result_size) {
  return guard([&] {
    check_pointer(session, "a seer_session");
    // Checks the caller's struct before the work is done, not after it.
    if (result != nullptr) to_caller(result, result_size, seer_result{}, "seer_result");
    session->arrays = {};
    session->result = {};
    session->result = session->session->generate(
        request_of(from_caller(request, default_request(), "seer_request"), session->default_sampling));
    session->arrays = arrays_of(session->result);
    if (result != nullptr)
      to_caller(result, result_size, result_to_c(session->result, session->arrays), "seer_result");
  });
}

void seer_session_cancel(seer_session* session) {
  if (session != nullptr) session->session->cancel();
}

seer_status seer_session_reset(seer_session* session) {
  return guard([&] {
    check_pointer(session, "a seer_session");
    session->session->reset();
  });
}

seer_status seer_session_tokens(const seer_session* session, const int32_t** tokens, size_t* n_tokens) {
  return guard([&] {
    check_pointer(session, "a seer_session");
    check_pointer(tokens, "the tokens to fill");
    check_pointer(n_tokens, "the number of tokens to fill");
    const std::vector<int32_t>& held = session->session->tokens();
    *tokens = held.empty() ? nullptr : held.data();
    *n_tokens = held.size();
  });
}
