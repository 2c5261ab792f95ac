// Numbers formatted for people, and JSON text that never fails on a file name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "seer/engine.h"

namespace seer::cli {

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...);

// Returns ", 120 of 400 pages moved" if ranks divide prompts, else an empty text.
std::string moved_pages(const RequestStats& stats);

// Returns "448 cached (448 from the disk in 12 ms)"; an empty text if none were cached.
std::string cached_tokens(const RequestStats& stats);

std::string human_bytes(int64_t bytes);      // "11.01 MiB"
std::string human_count(int64_t count);      // "5.77 M", as llama-bench writes parameters
std::string human_seconds(double seconds);   // "12.30 s", "85 ms"
std::string human_duration(double seconds);  // the rest of a run: "12 s", "3 min 20 s", "2 h 5 min"

// Returns "39 tokens in 14.9 ms (2618.3 tokens/s)", or the count alone if `ns` is 0.
std::string token_rate(int64_t tokens, int64_t ns);

// Returns "FILE: 1200 tokens, 7.41 MiB (6.19 KiB a token)".
std::string saved_session(const std::string& file, const SavedSession& saved, const EngineInfo& info);

std::string model_type(const ModelInfo& model);    // "llama 5.77 M BF16"
std::string backend_name(const EngineInfo& info);  // "CPU": the first word of the device's name

// The mean and the sample standard deviation (0 for one sample).
struct Spread {
  double mean = 0.0;
  double stddev = 0.0;
};
Spread spread(const std::vector<double>& samples);

// Returns JSON text. Bytes that are not UTF-8 become U+FFFD; they cause no exception. An indent of -1 gives
// one line.
std::string to_text(const OrderedJson& json, int indent = -1);

}  // namespace seer::cli
