// Submitted requests, and the counters of the engine.
#include "engine/src/c_api/request.h"

namespace {

seer_tier_stats tier_to_c(const seer::TierStats& in) {
  return {in.n_pages,         in.n_bytes,        in.saved_pages, in.lost_pages,  in.restored_pages,
          in.restored_tokens, in.restored_bytes, in.restore_ns,  in.failed_pages};
}

}  // namespace

using namespace seer::c_api;

seer_status seer_engine_submit(seer_engine* engine, const seer_request* request,
                               seer_generation** generation) {
  if (generation != nullptr) *generation = nullptr;
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    check_pointer(generation, "the seer_generation* to fill");
    auto handle = std::make_unique<seer_generation>();
    handle->generation = engine->engine->submit(request_of(
        from_caller(request, default_request(), "seer_request"), engine->engine->model().default_sampling));
    *generation = handle.release();
  });
}

seer_status seer_generation_wait(seer_generation* generation, seer_result* result, size_t result_size) {
  return guard([&] {
    check_pointer(generation, "a seer_generation");
    if (result != nullptr) to_caller(result, result_size, seer_result{}, "seer_result");
    seer::GenerateResult ended = generation->generation->wait();
    const std::lock_guard lock(generation->mutex);
    if (!generation->result) {
      generation->result = std::move(ended);
      generation->arrays = arrays_of(*generation->result);
    }
    if (result != nullptr)
      to_caller(result, result_size, result_to_c(*generation->result, generation->arrays), "seer_result");
  });
}

int seer_generation_done(const seer_generation* generation) {
  return generation != nullptr && generation->generation->done() ? 1 : 0;
}

void seer_generation_cancel(seer_generation* generation) {
  if (generation != nullptr) generation->generation->cancel();
}

void seer_generation_free(seer_generation* generation) { delete generation; }

seer_status seer_engine_check(const seer_engine* engine) {
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    if (const std::optional<seer::Error> failure = engine->engine->failure()) throw *failure;
  });
}

seer_status seer_engine_get_stats(const seer_engine* engine, seer_engine_stats* stats, size_t size) {
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    const seer::EngineStats in = engine->engine->stats();
    seer_engine_stats out = {};
    out.n_waiting = in.n_waiting;
    out.n_running = in.n_running;
    out.pages_total = in.pages_total;
    out.pages_used = in.pages_used;
    out.pages_cached = in.pages_cached;
    out.n_requests = in.n_requests;
    out.n_finished = in.n_finished;
    out.n_cancelled = in.n_cancelled;
    out.n_failed = in.n_failed;
    out.n_preempted = in.n_preempted;
    out.prompt_tokens = in.prompt_tokens;
    out.cached_tokens = in.cached_tokens;
    out.generated_tokens = in.generated_tokens;
    out.n_steps = in.n_steps;
    out.host_cache = tier_to_c(in.host_cache);
    out.disk_cache = tier_to_c(in.disk_cache);
    out.restore_saved_ns = in.restore_saved_ns;
    out.refused_tokens = in.refused_tokens;
    to_caller(stats, size, out, "seer_engine_stats");
  });
}
