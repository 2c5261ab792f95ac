// The functions for ranks: starting, joining and following.
#include <vector>

#include "engine/src/c_api/handles.h"

using namespace seer::c_api;

namespace {

seer_ranks* handle_of(std::shared_ptr<seer::Ranks> ranks) {
  return ranks ? std::make_unique<seer_ranks>(seer_ranks{std::move(ranks)}).release() : nullptr;
}

}  // namespace

seer_status seer_ranks_join(seer_ranks** ranks) {
  if (ranks != nullptr) *ranks = nullptr;
  return guard([&] {
    check_pointer(ranks, "the seer_ranks* to fill");
    *ranks = handle_of(seer::Ranks::join());
  });
}

seer_status seer_ranks_start(seer_ranks** ranks, int32_t n, const char* const* command, size_t n_command) {
  if (ranks != nullptr) *ranks = nullptr;
  return guard([&] {
    check_pointer(ranks, "the seer_ranks* to fill");
    if (n_command > 0) check_pointer(command, "the command");
    std::vector<std::string> words;
    for (size_t i = 0; i < n_command; ++i) {
      check_pointer(command[i], "every word of the command");
      words.emplace_back(command[i]);
    }
    *ranks = handle_of(seer::Ranks::start(n, words));
  });
}

void seer_ranks_free(seer_ranks* ranks) { delete ranks; }

int32_t seer_ranks_rank(const seer_ranks* ranks) { return ranks == nullptr ? 0 : ranks->ranks->rank(); }

int32_t seer_ranks_size(const seer_ranks* ranks) { return ranks == nullptr ? 1 : ranks->ranks->size(); }

int32_t seer_ranks_core_sharers(const seer_ranks* ranks) {
  return ranks == nullptr ? 1 : ranks->ranks->core_sharers();
}

seer_status seer_ranks_set_timeout(seer_ranks* ranks, double seconds) {
  return guard([&] {
    check_pointer(ranks, "a seer_ranks");
    ranks->ranks->set_timeout(seconds);
  });
}

seer_status seer_ranks_follow(seer_ranks* ranks, int* completed) {
  if (completed != nullptr) *completed = 0;
  return guard([&] {
    check_pointer(ranks, "a seer_ranks");
    const bool ended = ranks->ranks->follow();
    if (completed != nullptr) *completed = ended ? 1 : 0;
  });
}
