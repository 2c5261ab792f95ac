#include "tools/seer/serve/metrics.h"

#include <algorithm>

#include "seer/version.h"
#include "tools/seer/format.h"

namespace seer::serve {
namespace {

using cli::format;

std::string head(const std::string& name, const char* type, const std::string& help) {
  return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

std::string whole(int64_t value) { return std::to_string(value); }

std::string gauge(const std::string& name, const std::string& help, int64_t value) {
  return head(name, "gauge", help) + name + " " + whole(value) + "\n";
}

std::string counter(const std::string& name, const std::string& help, int64_t value) {
  return head(name, "counter", help) + name + " " + whole(value) + "\n";
}

// Bounds in seconds. Long prompts take minutes on a CPU; a token takes a millisecond on a GPU.
const std::vector<double> kFirstToken = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                         2.5,   5,    10,    30,   60,  120,  300};
const std::vector<double> kOutputToken = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1};
const std::vector<double> kQueue = {0, 1, 2, 5, 10, 20, 50, 100, 200, 500};

// A family with a sample for each tier below the pool.
std::string tier_family(const std::string& name, const char* type, const std::string& help,
                        const EngineStats& stats, int64_t TierStats::*value) {
  return head(name, type, help) + name + "{tier=\"host\"} " + whole(stats.host_cache.*value) + "\n" + name +
         "{tier=\"disk\"} " + whole(stats.disk_cache.*value) + "\n";
}

std::string seconds(double ns) { return format("%.9g", 1e-9 * ns); }

// Tiers that are off count 0.
std::string tiers_text(const EngineStats& stats) {
  const auto family = [&](const char* name, const char* type, const char* help, int64_t TierStats::*value) {
    return tier_family(std::string("seer_tier_") + name, type, help, stats, value);
  };
  std::string out =
      family("pages", "gauge", "KV pages that a tier below the pool holds.", &TierStats::n_pages);
  out += family("bytes", "gauge", "Bytes that a tier holds.", &TierStats::n_bytes);
  out += family("saved_pages_total", "counter", "KV pages written to a tier.", &TierStats::saved_pages);
  out += family("lost_pages_total", "counter", "KV pages that a tier was to get and did not.",
                &TierStats::lost_pages);
  out +=
      family("hit_pages_total", "counter", "KV pages brought back from a tier.", &TierStats::restored_pages);
  out += family("hit_tokens_total", "counter", "Prompt tokens brought back from a tier.",
                &TierStats::restored_tokens);
  out += family("hit_bytes_total", "counter", "Bytes brought back from a tier.", &TierStats::restored_bytes);
  out += family("failed_pages_total", "counter", "KV pages that a tier had damaged or lost.",
                &TierStats::failed_pages);
  out += head("seer_tier_read_seconds_total", "counter", "Seconds of bringing KV pages back.");
  for (const auto& [name, tier] :
       {std::pair("host", &stats.host_cache), std::pair("disk", &stats.disk_cache)})
    out += std::string("seer_tier_read_seconds_total{tier=\"") + name + "\"} " +
           seconds(static_cast<double>(tier->restore_ns)) + "\n";
  // A gauge, because it may fall: now and then bringing pages back takes longer than expected.
  out += head("seer_tier_saved_seconds", "gauge",
              "Expected seconds of computing, less those of bringing the same KV pages back.");
  out += "seer_tier_saved_seconds " + seconds(static_cast<double>(stats.restore_saved_ns)) + "\n";
  out += counter("seer_tier_refused_tokens_total",
                 "Prompt tokens computed although a tier had them, because that was expected to be faster.",
                 stats.refused_tokens);
  return out;
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(bounds_.size() + 1) {}

void Histogram::observe(double value) {
  const auto at = std::lower_bound(bounds_.begin(), bounds_.end(), value);
  ++counts_[static_cast<size_t>(at - bounds_.begin())];
  sum_ += value;
}

std::string Histogram::text(const std::string& name, const std::string& help) const {
  std::string out = head(name, "histogram", help);
  int64_t total = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i];
    const std::string bound = i < bounds_.size() ? format("%g", bounds_[i]) : "+Inf";
    out += name + "_bucket{le=\"" + bound + "\"} " + whole(total) + "\n";
  }
  return out + name + "_sum " + format("%.9g", sum_) + "\n" + name + "_count " + whole(total) + "\n";
}

Metrics::Metrics() : first_token_(kFirstToken), output_token_(kOutputToken), queue_(kQueue) {}

void Metrics::count_request(const std::string& route, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{route, status}];
}

void Metrics::observe_first_token(double seconds) {
  const std::lock_guard lock(mutex_);
  first_token_.observe(seconds);
}

void Metrics::observe_output_token(double seconds) {
  const std::lock_guard lock(mutex_);
  output_token_.observe(seconds);
}

void Metrics::observe_queue(int64_t depth) {
  const std::lock_guard lock(mutex_);
  queue_.observe(static_cast<double>(depth));
}

std::string Metrics::text(const EngineStats* stats, int64_t n_active) const {
  std::string out = head("seer_build_info", "gauge", "The version that runs.") +
                    "seer_build_info{version=\"" SEER_VERSION "\"} 1\n";
  {
    const std::lock_guard lock(mutex_);
    out += head("seer_http_requests_total", "counter", "HTTP requests answered, by route and status.");
    for (const auto& [key, count] : requests_)
      out += "seer_http_requests_total{route=\"" + key.first + "\",code=\"" + whole(key.second) + "\"} " +
             whole(count) + "\n";
    out +=
        first_token_.text("seer_time_to_first_token_seconds", "From a request's arrival to its first token.");
    out += output_token_.text("seer_time_per_output_token_seconds",
                              "Mean time between the tokens of one choice.");
    out += queue_.text("seer_queue_depth", "Generations that waited when a request came.");
  }
  out += gauge("seer_http_requests_active", "HTTP requests under way, this one included.", n_active);
  if (stats == nullptr) return out;
  out += gauge("seer_generations_waiting", "Generations that wait to begin.", stats->n_waiting);
  out += gauge("seer_generations_running", "Generations in the batch.", stats->n_running);
  out += gauge("seer_kv_pages", "KV pages there are.", stats->pages_total);
  out += gauge("seer_kv_pages_used", "KV pages held by generations and sessions.", stats->pages_used);
  out += gauge("seer_kv_pages_cached", "KV pages kept for reuse, evictable at once.", stats->pages_cached);
  out += counter("seer_generations_total", "Generations submitted.", stats->n_requests);
  out +=
      counter("seer_generations_finished_total", "Generations that ended by themselves.", stats->n_finished);
  out += counter("seer_generations_cancelled_total", "Generations cancelled, by clients that left say.",
                 stats->n_cancelled);
  out += counter("seer_generations_failed_total", "Generations ended by an error.", stats->n_failed);
  out += counter("seer_preemptions_total", "Generations put back into the queue for want of pages.",
                 stats->n_preempted);
  out += counter("seer_prompt_tokens_total", "Prompt tokens computed.", stats->prompt_tokens);
  out += counter("seer_cached_tokens_total", "Prompt tokens taken from the cache.", stats->cached_tokens);
  out += counter("seer_generated_tokens_total", "Tokens generated.", stats->generated_tokens);
  out += counter("seer_steps_total", "Steps of the batch.", stats->n_steps);
  return out + tiers_text(*stats);
}

}  // namespace seer::serve
