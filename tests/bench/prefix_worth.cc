// Compares the prefix cache's order of eviction with "least recently used", on traces of requests.
//
//   bench_prefix_worth [--seeds N] [--running N] [--keys-per-token N]
//                      [--share X] [--slack X] [--uses N] [--per-use X] [--per-cost X]
//
// Prints, for each trace, which share of the pages was found in the cache, and which share of the work of
// computing all prompts (PageCost) was left to do. Then it prints how long the cache takes for a page.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "engine/src/prefix_cache.h"

namespace seer {
namespace {

using Pages = std::vector<int32_t>;  // a prompt: an id stands for a page of kPage tokens
using Random = std::mt19937_64;

constexpr int64_t kPage = 64, kPool = 12 * 512;  // twelve documents of 32k tokens
constexpr double kKeysPerToken = 26600;          // of a model of 8B parameters (page_cost())

struct Trace {
  std::string name;
  std::vector<Pages> prompts;
};

// Makes prompts. All numbers are pages.
class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}

  void extend(Pages* prompt, int64_t n) {
    while (n-- > 0) prompt->push_back(next_++);
  }
  Pages document(int64_t n) {
    Pages pages;
    extend(&pages, n);
    return pages;
  }
  std::vector<Pages> documents(int n, int64_t least, int64_t most) {
    std::vector<Pages> all(static_cast<size_t>(n));
    for (Pages& one : all) one = document(length(least, most));
    return all;
  }
  Pages ask(Pages document, int64_t question = 1) {
    extend(&document, question);
    return document;
  }
  double uniform() { return std::uniform_real_distribution<>(0.0, 1.0)(random_); }
  int64_t below(int64_t n) { return static_cast<int64_t>(uniform() * static_cast<double>(n)); }
  // The logarithm of the length is uniform, so all orders of magnitude are equally likely.
  int64_t length(int64_t least, int64_t most) {
    const double ratio = static_cast<double>(most) / static_cast<double>(least);
    return static_cast<int64_t>(static_cast<double>(least) * std::pow(ratio, uniform()));
  }
  // Returns an index by Zipf's law: the n-th thing is asked for 1/n^power times as often as the first.
  size_t zipf(size_t n, double power) {
    double sum = 0.0;
    for (size_t i = 1; i <= n; ++i) sum += std::pow(i, -power);
    double rest = uniform() * sum;
    for (size_t i = 1; i <= n; ++i)
      if ((rest -= std::pow(i, -power)) <= 0.0) return i - 1;
    return n - 1;
  }

 private:
  Random random_;
  int32_t next_ = 0;
};

Trace system_prompt(Maker make) {
  Trace t{"a system prompt of 2k, documents of 4k to 64k once each", {}};
  const Pages system = make.document(32);
  for (int i = 0; i < 400; ++i) t.prompts.push_back(make.ask(system, make.length(64, 1024)));
  return t;
}

Trace in_turn(Maker make) {
  Trace t{"20 documents of 32k in turn", {}};
  const std::vector<Pages> documents = make.documents(20, 512, 512);
  for (int round = 0; round < 20; ++round)
    for (const Pages& d : documents) t.prompts.push_back(make.ask(d));
  return t;
}

// Eight chats at a time, of one to eight turns each.
Trace chats(Maker make) {
  Trace t{"chats about 100 documents of 4k to 64k, by Zipf's law", {}};
  struct Chat {
    Pages pages;
    int64_t turns;
  };
  const std::vector<Pages> documents = make.documents(100, 64, 1024);
  std::vector<Chat> chats;
  for (int i = 0; i < 3000; ++i) {
    if (chats.empty() || (chats.size() < 8 && make.uniform() < 0.5))
      chats.push_back({documents[make.zipf(100, 1.0)], 1 + make.below(8)});
    const int64_t c = make.below(static_cast<int64_t>(chats.size()));
    Chat& chat = chats[static_cast<size_t>(c)];
    make.extend(&chat.pages, 4 + make.below(10));
    t.prompts.push_back(chat.pages);
    if (--chat.turns == 0) chats.erase(chats.begin() + c);
  }
  return t;
}

// Between two turns of a chat, `gap` other chats begin on average.
Trace own_chats(Maker make, double gap) {
  Trace t{"chats of 1 to 6 turns, each with a document of its own, a turn every " +
              std::to_string(static_cast<int>(gap)) + " chats",
          {}};
  std::vector<std::pair<double, Pages>> turns;
  for (int i = 0; i < 400; ++i) {
    Pages pages = make.document(make.length(64, 1024));
    double at = i;
    for (int64_t left = 1 + make.below(6); left > 0; --left) {
      make.extend(&pages, 4 + make.below(10));
      turns.emplace_back(at, pages);
      at -= gap * std::log(1.0 - make.uniform());
    }
  }
  std::stable_sort(turns.begin(), turns.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (auto& turn : turns) t.prompts.push_back(std::move(turn.second));
  return t;
}

Trace short_and_long(Maker make) {
  Trace t{"short prompts, 3% ask about 12 documents of 32k to 128k", {}};
  const std::vector<Pages> longs = make.documents(12, 512, 2048), shorts = make.documents(400, 4, 32);
  for (int i = 0; i < 8000; ++i) {
    const double u = make.uniform();
    t.prompts.push_back(u < 0.03  ? make.ask(longs[make.zipf(12, 0.8)], 2)
                        : u < 0.5 ? make.ask(shorts[make.zipf(400, 0.8)], 4)
                                  : make.document(make.length(4, 64)));
  }
  return t;
}

Trace scans(Maker make) {
  Trace t{"30 questions about 6 documents, then 30 other documents, in turn", {}};
  const std::vector<Pages> documents = make.documents(6, 512, 512);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 30; ++i) t.prompts.push_back(make.ask(documents[static_cast<size_t>(make.below(6))]));
    for (int i = 0; i < 30; ++i) t.prompts.push_back(make.document(512));
  }
  return t;
}

// Documents that were asked about often are never asked about again.
Trace changing(Maker make, int n, int n_questions) {
  Trace t{
      std::to_string(n_questions) + " questions about " + std::to_string(n) + " documents, then about others",
      {}};
  for (int round = 0; round < 10; ++round) {
    const std::vector<Pages> documents = make.documents(n, 512, 512);
    for (int i = 0; i < n_questions; ++i)
      t.prompts.push_back(make.ask(documents[static_cast<size_t>(make.below(n))]));
  }
  return t;
}

Trace zipf(Maker make) {
  Trace t{"40 documents of 4k to 64k, by Zipf's law", {}};
  const std::vector<Pages> documents = make.documents(40, 64, 1024);
  for (int i = 0; i < 1500; ++i) t.prompts.push_back(make.ask(documents[make.zipf(40, 0.9)], 2));
  return t;
}

std::vector<Trace> traces(uint64_t seed) {
  const Maker make(seed);
  return {system_prompt(make), in_turn(make),          chats(make),
          own_chats(make, 3),  own_chats(make, 10),    short_and_long(make),
          scans(make),         changing(make, 10, 60), changing(make, 16, 120),
          zipf(make)};
}

struct Result {
  int64_t n_pages = 0, n_found = 0;
  double work = 0.0, done = 0.0, seconds = 0.0;
};

// Serves prompts as Sequence does. Up to n_running of them keep their pages at a time.
class Server {
 public:
  Server(const EvictionRule& rule, const PageCost& cost, size_t n_running)
      : cost_(cost), cache_(kPool, 1, true, nullptr, {}, cost, rule), n_running_(n_running) {}

  Result serve(const Trace& trace) {
    Result r;
    for (const Pages& prompt : trace.prompts) {
      const auto start = std::chrono::steady_clock::now();
      const size_t n_found = run(prompt);
      r.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      r.n_pages += static_cast<int64_t>(prompt.size());
      r.n_found += static_cast<int64_t>(n_found);
      for (size_t i = 0; i < prompt.size(); ++i) {
        const double cost = cost_.of_page({}, static_cast<int64_t>(i), 1);
        r.work += cost;
        if (i >= n_found) r.done += cost;
      }
    }
    return r;
  }

 private:
  size_t run(const Pages& prompt) {
    Pages table;
    const auto parent = [&] { return table.empty() ? PrefixCache::kRoot : table.back(); };
    for (const int32_t& id : prompt) {
      const int32_t page = cache_.find(parent(), {}, {&id, 1});
      if (page == PrefixCache::kNone) break;
      table.push_back(page);
    }
    const size_t n_found = table.size();
    for (size_t i = n_found; i < prompt.size(); ++i) {
      int32_t page = cache_.allocate();
      while (page == PrefixCache::kNone) {
        end_oldest();
        page = cache_.allocate();
      }
      table.push_back(cache_.add(parent(), {}, {&prompt[i], 1}, page));
    }
    running_.push_back(std::move(table));
    if (running_.size() >= n_running_) end_oldest();
    return n_found;
  }
  void end_oldest() {
    if (running_.empty()) std::abort();  // a prompt is longer than the pool
    const Pages& table = running_.front();
    for (size_t i = table.size(); i-- > 0;) cache_.release(table[i]);
    running_.pop_front();
  }

  PageCost cost_;
  PrefixCache cache_;
  size_t n_running_;
  std::deque<Pages> running_;
};

double option(int argc, char** argv, const std::string& name, double value) {
  for (int i = 1; i + 1 < argc; ++i)
    if (argv[i] == name) value = std::atof(argv[i + 1]);
  return value;
}

void run(int argc, char** argv) {
  const auto n_seeds = static_cast<uint64_t>(option(argc, argv, "--seeds", 3));
  const auto n_running = static_cast<size_t>(option(argc, argv, "--running", 4));
  EvictionRule rule;
  const PageCost cost{option(argc, argv, "--keys-per-token", kKeysPerToken) / kPage};
  rule.kept_share = option(argc, argv, "--share", rule.kept_share);
  rule.slack = option(argc, argv, "--slack", rule.slack);
  rule.most_uses = static_cast<int32_t>(option(argc, argv, "--uses", rule.most_uses));
  rule.turns_per_use = option(argc, argv, "--per-use", rule.turns_per_use);
  rule.turns_per_cost = option(argc, argv, "--per-cost", rule.turns_per_cost);
  const EvictionRule rules[] = {EvictionRule::least_recently_used(), rule};

  std::printf("%-72s %9s %9s   %9s %9s\n", "", "found LRU", "worth", "done LRU", "worth");
  double seconds[2] = {0.0, 0.0};
  double n_pages = 0.0;
  const size_t n_traces = traces(0).size();
  for (size_t t = 0; t < n_traces; ++t) {
    Result sums[2];
    std::string name;
    for (uint64_t seed = 1; seed <= n_seeds; ++seed) {
      const Trace trace = std::move(traces(seed)[t]);
      name = trace.name;
      for (int k = 0; k < 2; ++k) {
        const Result r = Server(rules[k], cost, n_running).serve(trace);
        sums[k].n_pages += r.n_pages;
        sums[k].n_found += r.n_found;
        sums[k].work += r.work;
        sums[k].done += r.done;
        seconds[k] += r.seconds;
      }
    }
    n_pages += static_cast<double>(sums[0].n_pages);
    const auto found = [&](int k) {
      return 100.0 * static_cast<double>(sums[k].n_found) / static_cast<double>(sums[k].n_pages);
    };
    std::printf("%-72s %8.1f%% %8.1f%%   %8.1f%% %8.1f%%\n", name.c_str(), found(0), found(1),
                100.0 * sums[0].done / sums[0].work, 100.0 * sums[1].done / sums[1].work);
  }
  std::printf("ns for a page of a prompt: %.0f LRU, %.0f worth\n", 1e9 * seconds[0] / n_pages,
              1e9 * seconds[1] / n_pages);
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) { seer::run(argc, argv); }
