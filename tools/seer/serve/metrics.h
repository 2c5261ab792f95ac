// The report of GET /metrics, in Prometheus's text format.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "seer/engine.h"

namespace seer::serve {

// Counts the observations between ascending bounds. It is not thread-safe.
class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);  // ascending
  void observe(double value);
  std::string text(const std::string& name, const std::string& help) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;  // [bounds + 1], not cumulative; the last counts values above every bound
  double sum_ = 0.0;
};

// Any thread may call any function at any time.
class Metrics {
 public:
  Metrics();
  void count_request(const std::string& route, int status);
  void observe_first_token(double seconds);   // seconds since the request came
  void observe_output_token(double seconds);  // mean of one choice, without its first token
  void observe_queue(int64_t depth);          // how many requests waited when one came
  // `stats` is null while the model loads.
  std::string text(const EngineStats* stats, int64_t n_active) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, int64_t> requests_;
  Histogram first_token_, output_token_, queue_;
};

}  // namespace seer::serve
