// Measures the time to the first token when documents are asked about in turn, of which the pool cannot hold
// all, with and without tiers below the pool.
//
//   bench_documents (--config FILE | --model DIR --gates DIR) --pool TOKENS [--documents N] [--tokens N]
//                   [--questions N,...] [--rules RULE,...] [--rounds N] [--answer N] [--host-cache GB]
//                   [--disk-cache DIR --disk-size GB] [--restart 1] [--device NAME] [--weights TYPE]
//                   [--threads N] [--chunk-size N]
//
// Documents are random ids, so thresholds keep another share of the blocks than they do in a text. Each row
// of the table is one round over all documents; an answer has N tokens (1). After each document comes a
// question of random ids, which are new each time. The i-th number of --questions (0) says how many ids a
// question of the i-th round has. If there are more rounds than numbers, the list begins again. With
// --restart 1, the engine is loaded again before the last round of each rule, unless there is only one round.
// Answers to a document without a question must be the same. A GPU rounds in other places if the rest of a
// prompt is computed in steps of other sizes. So on a GPU two answers are compared only if equally many
// tokens came from the pool and the tiers together.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kGB = 1e9;

struct Options {
  EngineOptions engine;
  std::vector<SparseRule> rules;
  int64_t documents = 20, tokens = 32000, rounds = 2, answer = 1;
  std::vector<int64_t> questions = {0};
  int64_t question(int64_t round) const { return questions[static_cast<size_t>(round) % questions.size()]; }
  bool restart = false;
};

// Returns what `parse` makes of the words between commas.
template <class Parse>
auto parse_list(const std::string& list, const Parse& parse) {
  std::vector<decltype(parse(list))> items;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    items.push_back(parse(list.substr(begin, end - begin)));
    begin = end + 1;
  }
  return items;
}

void set(Options* options, const std::string& name, const std::string& value) {
  EngineOptions& engine = options->engine;
  const auto bytes = [&] { return static_cast<int64_t>(std::stod(value) * kGB); };
  if (name == "--config") {
    engine.random_config = value;
  } else if (name == "--model") {
    engine.model_dir = value;
  } else if (name == "--gates") {
    engine.gates_dir = value;
  } else if (name == "--pool") {
    engine.pool_size = std::stoll(value);
  } else if (name == "--documents") {
    options->documents = std::stoll(value);
  } else if (name == "--tokens") {
    options->tokens = std::stoll(value);
  } else if (name == "--questions") {
    options->questions = parse_list(value, [](const std::string& n) { return int64_t{std::stoll(n)}; });
  } else if (name == "--rules") {
    options->rules = parse_list(value, [](const std::string& rule) { return SparseRule::parse(rule); });
  } else if (name == "--rounds") {
    options->rounds = std::stoll(value);
  } else if (name == "--answer") {
    options->answer = std::stoll(value);
  } else if (name == "--host-cache") {
    engine.host_cache_bytes = bytes();
  } else if (name == "--disk-cache") {
    engine.disk_cache_dir = value;
  } else if (name == "--disk-size") {
    engine.disk_cache_bytes = bytes();
  } else if (name == "--restart") {
    options->restart = value == "1";
  } else if (name == "--device") {
    engine.device = value;
  } else if (name == "--weights") {
    engine.weights = value;
  } else if (name == "--threads") {
    engine.threads = std::stoi(value);
  } else if (name == "--chunk-size") {
    engine.chunk_size = std::stoll(value);
  } else {
    throw Error(ErrorKind::kUsage, "unknown option " + name);
  }
}

Options parse(int argc, char** argv) {
  Options options;
  options.rules = {SparseRule::parse("dense")};
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) throw Error(ErrorKind::kUsage, std::string(argv[i]) + ": expected a value after it");
    set(&options, argv[i], argv[i + 1]);
  }
  if (options.engine.random_config.empty() == options.engine.model_dir.empty())
    throw Error(ErrorKind::kUsage, "expected --config FILE or --model DIR");
  const auto [shortest, longest] = std::minmax_element(options.questions.begin(), options.questions.end());
  if (options.documents < 1 || options.tokens < 2 || options.rounds < 1 || options.answer < 1 ||
      *shortest < 0)
    throw Error(ErrorKind::kUsage,
                "expected --documents, --rounds and --answer of 1 or more, --tokens of 2 or more, and "
                "--questions of 0 or more");
  options.engine.ctx_size = options.tokens + *longest + options.answer + 63;
  options.engine.on_log = [](LogLevel level, const std::string& text) {
    if (level != LogLevel::kInfo) std::cerr << "bench_documents: " << text << '\n';
  };
  return options;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void append_random_ids(const Engine& engine, uint32_t seed, int64_t n_tokens, std::vector<int32_t>* ids) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int32_t> id(3, static_cast<int32_t>(engine.model().n_vocab) - 1);
  for (int64_t i = 0; i < n_tokens; ++i) ids->push_back(id(random));
}

struct Round {
  std::vector<double> first_token, next_token;  // seconds, of each document
  int64_t from_pool = 0, from_host = 0, from_disk = 0;
  std::vector<int64_t> n_cached;
  std::vector<std::vector<int32_t>> answers;
};

Round ask_all(Engine& engine, const Options& options, const SparseRule& rule, int64_t question,
              int64_t n_asked_before) {
  Round round;
  for (int64_t i = 0; i < options.documents; ++i) {
    GenerateRequest request;
    append_random_ids(engine, static_cast<uint32_t>(i + 1), options.tokens, &request.prompt);
    append_random_ids(engine, static_cast<uint32_t>(1000000 + n_asked_before + i), question, &request.prompt);
    request.sparse = rule;
    request.max_new_tokens = options.answer;
    request.ignore_eos = true;
    request.sampling.temperature = 0.0;
    const Clock::time_point begin = Clock::now();
    double first = 0.0;
    request.on_token = [&](const TokenEvent&) {
      if (first == 0.0) first = seconds_since(begin);
      return true;
    };
    const GenerateResult result = engine.submit(request)->wait();
    const double rest = seconds_since(begin) - first;
    round.first_token.push_back(first);
    round.next_token.push_back(rest / static_cast<double>(std::max<int64_t>(1, options.answer - 1)));
    const RequestStats& stats = result.stats;
    round.from_host += stats.n_from_host;
    round.from_disk += stats.n_from_disk;
    round.from_pool += stats.n_cached - stats.n_from_host - stats.n_from_disk;
    round.answers.push_back(result.tokens);
    round.n_cached.push_back(stats.n_cached);
  }
  return round;
}

void print_row(const SparseRule& rule, int64_t index, const Options& options, Round round) {
  std::vector<double>&times = round.first_token, &next = round.next_token;
  std::sort(times.begin(), times.end());
  std::sort(next.begin(), next.end());
  const auto share = [&](int64_t n) {
    return 100.0 * static_cast<double>(n) / static_cast<double>(options.documents * options.tokens);
  };
  const std::string token = options.answer > 1 ? std::to_string(1e3 * next[next.size() / 2]) : "-";
  std::printf("| %-15s | %5lld | %8lld | %8.3f | %8.3f | %8.3f | %8.8s | %5.1f%% | %5.1f%% | %5.1f%% |\n",
              rule.to_string().c_str(), static_cast<long long>(index + 1),
              static_cast<long long>(options.question(index)), times[times.size() / 2], times.front(),
              times.back(), token.c_str(), share(round.from_pool), share(round.from_host),
              share(round.from_disk));
  std::fflush(stdout);
}

void print_tier(const char* name, const TierStats& tier) {
  if (tier.saved_pages + tier.restored_pages + tier.lost_pages + tier.failed_pages == 0) return;
  const double seconds = 1e-9 * static_cast<double>(tier.restore_ns);
  const double bytes = static_cast<double>(tier.restored_bytes);
  std::printf("%s: %lld pages saved, %lld lost, %lld failed, %lld restored", name,
              static_cast<long long>(tier.saved_pages), static_cast<long long>(tier.lost_pages),
              static_cast<long long>(tier.failed_pages), static_cast<long long>(tier.restored_pages));
  if (seconds > 0.0) std::printf(" at %.2f GB/s", bytes / kGB / seconds);
  std::printf("\n");
}

void print_stats(const Engine& engine) {
  const EngineStats stats = engine.stats();
  print_tier("host", stats.host_cache);
  print_tier("disk", stats.disk_cache);
  if (stats.refused_tokens > 0)
    std::printf("%lld tokens were computed although a tier had them\n",
                static_cast<long long>(stats.refused_tokens));
  std::fflush(stdout);
}

// The answer to a document, by the document's index and by how many of its tokens came from the pool and the
// tiers (always 0 on a CPU). If equally many came, the rest is computed in the same steps, so that the answer
// must be the same.
using Answers = std::map<std::pair<int64_t, int64_t>, std::vector<int32_t>>;

void check_answers(const Engine& engine, const Round& round, Answers* answers) {
  const bool same_bits = engine.info().device.starts_with("cpu");  // whatever the sizes of the steps are
  int64_t n_compared = 0;
  for (size_t i = 0; i < round.answers.size(); ++i) {
    const auto [found, first] =
        answers->try_emplace({static_cast<int64_t>(i), same_bits ? 0 : round.n_cached[i]}, round.answers[i]);
    if (found->second != round.answers[i])
      throw Error(ErrorKind::kRuntime, "document " + std::to_string(i) + " had another answer than before");
    n_compared += first ? 0 : 1;
  }
  if (n_compared > 0) std::printf("%lld answers were as before\n", static_cast<long long>(n_compared));
}

std::shared_ptr<Engine> load(const Options& options, std::shared_ptr<Engine> old) {
  if (old) print_stats(*old);
  const Clock::time_point begin = Clock::now();
  old.reset();  // this writes the pages that are not on the disk yet
  const double ended = seconds_since(begin);
  std::shared_ptr<Engine> engine = Engine::load(options.engine);
  std::printf("the engine ended in %.1f s and loaded in %.1f s\n", ended, seconds_since(begin) - ended);
  return engine;
}

int run(const Options& options) {
  std::shared_ptr<Engine> engine = load(options, nullptr);
  std::printf("%s, %lld documents of %lld tokens, a pool of %lld tokens\n\n", engine->info().device.c_str(),
              static_cast<long long>(options.documents), static_cast<long long>(options.tokens),
              static_cast<long long>(engine->info().n_pages * engine->info().page_tokens));
  const char* head =
      "| rule            | round | question | median s |      min |      max | ms/token |   pool |   host |  "
      " "
      "disk |\n"
      "| --------------- | ----: | -------: | -------: | -------: | -------: | -------: | -----: | -----: | "
      "-----: |\n";
  std::fputs(head, stdout);
  int64_t n_asked = 0;
  for (const SparseRule& rule : options.rules) {
    Answers answers;
    for (int64_t i = 0; i < options.rounds; ++i) {
      if (options.restart && i > 0 && i + 1 == options.rounds) engine = load(options, std::move(engine));
      const Round round = ask_all(*engine, options, rule, options.question(i), n_asked);
      n_asked += options.documents;
      print_row(rule, i, options, round);
      if (options.question(i) == 0) check_answers(*engine, round, &answers);
    }
  }
  print_stats(*engine);
  return 0;
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) try {
  return seer::run(seer::parse(argc, argv));
} catch (const std::exception& error) {
  std::cerr << "bench_documents: " << error.what() << '\n';
  return 1;
}
