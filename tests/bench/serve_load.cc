// Measures what requests cost one another: decodes together, a decode next to a long prompt, and a prompt
// whose prefix is cached. Weights are random, in the shape of a configuration.
//
//   bench_serve_load --config FILE [--device cuda] [--weights TYPE] [--sparse RULE] [--scale X]
//                    [--output md|json]
//   bench_serve_load --config FILE --depth N [--together N] [--sparse-decode RULE,...] [...]
//
// --scale X multiplies all lengths, for devices on which 64k tokens take too long; --threads,
// --mixed-chunk-size and --max-batch-size are the engine's. With --depth it only measures requests
// that decode together after N tokens each, under each rule for decoding.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "seer/engine.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr int64_t kPrompt = 128;        // tokens before a measured decode
constexpr int64_t kGenerated = 256;     // tokens of a measured decode
constexpr int64_t kTogether = 32;       // requests
constexpr int64_t kLongPrompt = 65536;  // next to a decode
constexpr int64_t kCachedPrompt = 32768;

struct Options {
  EngineOptions engine;
  std::optional<SparseRule> sparse;
  std::vector<SparseDecodeRule> decode_rules;
  int64_t depth = 0, together = kTogether;
  double scale = 1.0;
  bool json = false;

  int64_t scaled(int64_t n) const {
    return std::max<int64_t>(2, std::llround(static_cast<double>(n) * scale));
  }
};

std::vector<SparseDecodeRule> parse_rules(const std::string& list) {
  std::vector<SparseDecodeRule> rules;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    rules.push_back(SparseDecodeRule::parse(list.substr(begin, end - begin)));
    begin = end + 1;
  }
  return rules;
}

Options parse(int argc, char** argv) {
  Options options;
  options.engine.device = "auto";
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw Error(ErrorKind::kUsage, name + ": expected a value after it");
    const std::string value = argv[++i];
    if (name == "--config") {
      options.engine.random_config = value;
    } else if (name == "--device") {
      options.engine.device = value;
    } else if (name == "--weights") {
      options.engine.weights = value;
    } else if (name == "--sparse") {
      options.sparse = SparseRule::parse(value);
    } else if (name == "--sparse-decode") {
      options.decode_rules = parse_rules(value);
    } else if (name == "--depth") {
      options.depth = std::stoll(value);
    } else if (name == "--together") {
      options.together = std::stoll(value);
    } else if (name == "--scale") {
      options.scale = std::stod(value);
    } else if (name == "--threads") {
      options.engine.threads = std::stoi(value);
    } else if (name == "--mixed-chunk-size") {
      options.engine.mixed_chunk_size = std::stoll(value);
    } else if (name == "--max-batch-size") {
      options.engine.max_batch_size = std::stoll(value);
    } else if (name == "--output" && (value == "md" || value == "json")) {
      options.json = value == "json";
    } else {
      throw Error(ErrorKind::kUsage, "unknown option " + name + " " + value);
    }
  }
  if (options.engine.random_config.empty()) throw Error(ErrorKind::kUsage, "expected --config FILE");
  if (!(options.scale > 0.0 && options.scale <= 1.0))
    throw Error(ErrorKind::kUsage, "expected a --scale above 0 and at most 1");
  if (options.depth < 0 || options.together < 1)
    throw Error(ErrorKind::kUsage, "expected a --depth of 0 or more, and 1 or more requests --together");
  if (options.depth == 0 && (!options.decode_rules.empty() || options.together != kTogether))
    throw Error(ErrorKind::kUsage, "--sparse-decode and --together need --depth");
  return options;
}

double ms_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

// The times at which the tokens of a request came. The callback writes on the engine's thread; read them
// after wait().
struct Times {
  std::vector<Clock::time_point> at;
};

struct Gaps {
  double median = 0.0, p95 = 0.0, max = 0.0;  // ms
};

Gaps gaps_of(const std::vector<Clock::time_point>& at, Clock::time_point from, Clock::time_point to) {
  std::vector<double> ms;
  for (size_t i = 1; i < at.size(); ++i)
    if (at[i - 1] >= from && at[i] <= to) ms.push_back(ms_between(at[i - 1], at[i]));
  if (ms.empty()) throw Error(ErrorKind::kRuntime, "no two tokens came: the lengths are too small");
  std::sort(ms.begin(), ms.end());
  const auto quantile = [&](double q) {
    return ms[static_cast<size_t>(std::lround(q * static_cast<double>(ms.size() - 1)))];
  };
  return {quantile(0.5), quantile(0.95), ms.back()};
}

class Load {
 public:
  explicit Load(const Options& options) : options_(options) {
    EngineOptions engine = options.engine;
    if (engine.max_batch_size == 0) engine.max_batch_size = std::max(2 * kTogether, options.together);
    const int64_t n_long = options.depth > 0 ? options.depth : options.scaled(kLongPrompt);
    engine.ctx_size = n_long + options.scaled(kPrompt) + 4096;
    // On a CPU the pool has the requested size; on a GPU it fills the memory, which is more.
    if (engine.device == "cpu")
      engine.pool_size =
          options.depth > 0
              ? options.together * (options.depth + 4096)
              : 2 * engine.ctx_size + kTogether * (options.scaled(kPrompt) + options.scaled(kGenerated) + 64);
    engine_ = Engine::load(engine);
  }

  const EngineInfo& info() const { return engine_->info(); }
  const ModelInfo& model() const { return engine_->model(); }

  // Returns the tokens per second of n requests together, while all of them decode.
  double decode_rate(int64_t n) {
    std::vector<GenerateRequest> requests;
    for (int64_t i = 0; i < n; ++i) requests.push_back(request_of(kPrompt, n_generated()));
    return decode_rate(requests, nullptr);
  }

  // Returns the requests of --depth and --together. Their prompts are in the prefix cache, so that all of
  // them begin to decode at nearly the same time.
  std::vector<GenerateRequest> deep_requests() {
    std::vector<GenerateRequest> requests;
    for (int64_t i = 0; i < options_.together; ++i) {
      requests.push_back(request_of_length(options_.depth, 1));
      engine_->submit(requests.back())->wait();
      requests.back().max_new_tokens = n_generated();
    }
    return requests;
  }

  // Returns the tokens per second of the requests together, while all of them decode. If `density` is not
  // null, it gets their mean decode density.
  double decode_rate(const std::vector<GenerateRequest>& requests, double* density) {
    std::vector<Times> times(requests.size());
    std::vector<std::unique_ptr<Generation>> running;
    for (size_t i = 0; i < requests.size(); ++i) running.push_back(start(requests[i], &times[i]));
    double sum = 0.0;
    for (const auto& generation : running) sum += generation->wait().stats.decode_density;
    if (density != nullptr) *density = sum / static_cast<double>(running.size());
    Clock::time_point begin = times[0].at.front(), end = times[0].at.back();
    for (const Times& t : times) {
      begin = std::max(begin, t.at.front());
      end = std::min(end, t.at.back());
    }
    int64_t n_tokens = 0;
    for (const Times& t : times)
      n_tokens += std::count_if(t.at.begin(), t.at.end(), [&](auto at) { return at > begin && at <= end; });
    if (n_tokens == 0) throw Error(ErrorKind::kRuntime, "the requests did not decode at the same time");
    return 1e3 * static_cast<double>(n_tokens) / ms_between(begin, end);
  }

  // Returns the gaps between a decode's tokens, alone and while a long prompt is computed.
  std::pair<Gaps, Gaps> decode_gaps() {
    Times decode, prompt;
    const auto running = start(kPrompt, engine_->info().ctx_size, &decode);
    const int64_t n_alone = std::max<int64_t>(options_.scaled(kGenerated), 32);
    while (n_tokens(decode) < n_alone) std::this_thread::yield();
    const Clock::time_point submitted = Clock::now();
    start(kLongPrompt, 1, &prompt)->wait();
    running->cancel();
    running->wait();
    // The first tokens are left out: they came while the device warmed up.
    const size_t warm = std::min<size_t>(8, decode.at.size() / 4);
    return {gaps_of(decode.at, decode.at[warm], submitted), gaps_of(decode.at, submitted, prompt.at[0])};
  }

  // Returns the milliseconds to the first token of a prompt, when it is computed and when it is found in the
  // cache.
  std::pair<double, double> first_token() {
    GenerateRequest request = request_of(kCachedPrompt, 1);
    double ms[2];
    for (double& each : ms) {
      Times times;
      const Clock::time_point submitted = Clock::now();
      start(request, &times)->wait();
      each = ms_between(submitted, times.at[0]);
    }
    return {ms[0], ms[1]};
  }

 private:
  // Each generates enough tokens that the first request still decodes when the last has begun to.
  int64_t n_generated() const { return std::max(options_.scaled(kGenerated), 2 * options_.together); }

  GenerateRequest request_of(int64_t n_prompt, int64_t n_generated) {
    return request_of_length(options_.scaled(n_prompt), n_generated);
  }

  GenerateRequest request_of_length(int64_t n_prompt, int64_t n_generated) {
    GenerateRequest request;
    request.prompt.resize(static_cast<size_t>(n_prompt));
    const auto n_vocab = static_cast<uint64_t>(engine_->model().n_vocab);
    for (int32_t& id : request.prompt) id = static_cast<int32_t>(random_() % n_vocab);
    request.max_new_tokens = n_generated;
    request.sampling.temperature = 0.0;
    request.ignore_eos = true;
    request.sparse = options_.sparse;
    return request;
  }

  std::unique_ptr<Generation> start(GenerateRequest request, Times* times) {
    times->at.reserve(1 << 16);
    request.on_token = [this, times](const TokenEvent&) {
      const std::lock_guard lock(mutex_);
      times->at.push_back(Clock::now());
      return true;
    };
    return engine_->submit(std::move(request));
  }
  std::unique_ptr<Generation> start(int64_t n_prompt, int64_t n_generated, Times* times) {
    return start(request_of(n_prompt, n_generated), times);
  }

  int64_t n_tokens(const Times& times) {
    const std::lock_guard lock(mutex_);
    return static_cast<int64_t>(times.at.size());
  }

  Options options_;
  std::shared_ptr<Engine> engine_;
  std::mt19937_64 random_{1};
  std::mutex mutex_;  // guards all times
};

Json json_of(const Gaps& gaps) {
  return {{"median_ms", gaps.median}, {"p95_ms", gaps.p95}, {"max_ms", gaps.max}};
}

// Measures requests that decode together after --depth tokens each, under each rule for decoding.
int run_deep(const Options& options) {
  Load load(options);
  std::vector<SparseDecodeRule> rules = options.decode_rules;
  if (rules.empty()) rules.emplace_back();
  for (const SparseDecodeRule& rule : rules) check_rule(rule, load.model());
  std::vector<GenerateRequest> requests = load.deep_requests();
  Json rows = Json::array();
  if (!options.json)
    std::printf(
        "%s, %lld requests after %lld tokens each\n\n"
        "| rule for decoding | tokens/s | ratio | density |\n| ----------------- | -------: | ----: | "
        "------: "
        "|\n",
        load.info().device.c_str(), static_cast<long long>(options.together),
        static_cast<long long>(options.depth));
  double first = 0.0;
  for (const SparseDecodeRule& rule : rules) {
    for (GenerateRequest& request : requests) request.sparse_decode = rule;
    double density = 1.0;
    load.decode_rate(requests, &density);  // warms up, so that steps are recorded before the measurement
    const double rate = load.decode_rate(requests, &density);
    if (first == 0.0) first = rate;
    rows.push_back({{"sparse_decode", rule.to_string()}, {"decode_ts", rate}, {"decode_density", density}});
    if (!options.json)
      std::printf("| %-17s | %8.1f | %5.2f | %6.1f%% |\n", rule.to_string().c_str(), rate, rate / first,
                  100.0 * density);
  }
  if (options.json)
    std::cout << Json({{"device", load.info().device},
                       {"config", options.engine.random_config},
                       {"n_depth", options.depth},
                       {"n", options.together},
                       {"rows", rows}})
                     .dump(2)
              << '\n';
  return 0;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.depth > 0) return run_deep(options);
  Load load(options);
  load.decode_rate(kTogether);  // warms up: memory is touched, steps are recorded
  const double one = load.decode_rate(1), together = load.decode_rate(kTogether);
  const auto [alone, beside] = load.decode_gaps();
  const auto [cold, cached] = load.first_token();
  const auto n_long = static_cast<long long>(options.scaled(kLongPrompt)),
             n_cached = static_cast<long long>(options.scaled(kCachedPrompt));
  if (options.json) {
    const Json json = {
        {"device", load.info().device},
        {"config", options.engine.random_config},
        {"mixed_chunk_size", load.info().mixed_chunk_size},
        {"decode_ts", {{"one", one}, {"together", together}, {"n", kTogether}}},
        {"gap", {{"alone", json_of(alone)}, {"beside", json_of(beside)}, {"n_prompt", n_long}}},
        {"first_token_ms", {{"cold", cold}, {"cached", cached}, {"n_prompt", n_cached}}}};
    std::cout << json.dump(2) << '\n';
    return 0;
  }
  std::printf("%s, mixed chunks of %lld tokens\n\n", load.info().device.c_str(),
              static_cast<long long>(load.info().mixed_chunk_size));
  std::printf("| test                                     |     value |  ratio |\n");
  std::printf("| ---------------------------------------- | --------: | -----: |\n");
  const auto row = [](const std::string& name, double value, double ratio) {
    std::printf("| %-40s | %9.2f |", name.c_str(), value);
    ratio > 0.0 ? std::printf(" %5.1fx |\n", ratio) : std::printf("        |\n");
  };
  row("decode, 1 request, t/s", one, 0.0);
  row("decode, " + std::to_string(kTogether) + " requests, t/s", together, together / one);
  const std::string prompt = std::to_string(n_long) + " tokens prefilled";
  row("gap between tokens alone, median ms", alone.median, 0.0);
  row("  p95", alone.p95, 0.0);
  row("  max", alone.max, 0.0);
  row("gap, " + prompt + ", median ms", beside.median, beside.median / alone.median);
  row("  p95", beside.p95, beside.p95 / alone.median);
  row("  max", beside.max, beside.max / alone.median);
  row("first token of " + std::to_string(n_cached) + " tokens, cold, ms", cold, 0.0);
  row("  with its prefix cached, ms", cached, cold / cached);
  return 0;
}

}  // namespace
}  // namespace seer

int main(int argc, char** argv) try { return seer::run(argc, argv); } catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
