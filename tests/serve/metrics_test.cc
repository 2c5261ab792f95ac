// Metrics in Prometheus's text format.
#include "tools/seer/serve/metrics.h"

#include <set>
#include <sstream>

#include "tests/support/catch.h"

namespace seer::serve {
namespace {

TEST_CASE("a histogram's buckets are cumulative and a bound counts as below itself") {
  Histogram histogram({1, 2.5});
  for (const double value : {0.5, 1.0, 2.0, 7.0}) histogram.observe(value);
  CHECK(histogram.text("h", "Help.") ==
        "# HELP h Help.\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"2.5\"} 3\n"
        "h_bucket{le=\"+Inf\"} 4\nh_sum 10.5\nh_count 4\n");
}

TEST_CASE("requests are counted by route and code") {
  Metrics metrics;
  metrics.count_request("/v1/completions", 200);
  metrics.count_request("/v1/completions", 200);
  metrics.count_request("/v1/completions", 429);
  const std::string text = metrics.text(nullptr, 3);
  CHECK_THAT(text, ContainsSubstring("seer_http_requests_total{route=\"/v1/completions\",code=\"200\"} 2\n"));
  CHECK_THAT(text, ContainsSubstring("seer_http_requests_total{route=\"/v1/completions\",code=\"429\"} 1\n"));
  CHECK_THAT(text, ContainsSubstring("seer_http_requests_active 3\n"));
  CHECK(text.find("seer_kv_pages") == std::string::npos);  // there is no engine yet
}

TEST_CASE("every line is a comment or a sample, and every family is described once") {
  Metrics metrics;
  metrics.count_request("/health", 200);
  metrics.observe_first_token(0.2);
  metrics.observe_output_token(0.01);
  metrics.observe_queue(4);
  EngineStats stats;
  stats.pages_total = 77;
  stats.disk_cache.restored_pages = 12;
  stats.disk_cache.restore_ns = 1'500'000'000;
  stats.host_cache.lost_pages = 3;
  stats.restore_saved_ns = -250'000'000;
  const std::string text = metrics.text(&stats, 0);
  CHECK_THAT(text, ContainsSubstring("\nseer_kv_pages 77\n"));
  CHECK_THAT(text, ContainsSubstring("\nseer_tier_hit_pages_total{tier=\"host\"} 0\n"
                                     "seer_tier_hit_pages_total{tier=\"disk\"} 12\n"));
  CHECK_THAT(text, ContainsSubstring("\nseer_tier_read_seconds_total{tier=\"disk\"} 1.5\n"));
  CHECK_THAT(text, ContainsSubstring("\nseer_tier_lost_pages_total{tier=\"host\"} 3\n"));
  CHECK_THAT(text, ContainsSubstring("\nseer_tier_saved_seconds -0.25\n"));
  CHECK_THAT(text, ContainsSubstring("seer_time_to_first_token_seconds_bucket{le=\"0.25\"} 1\n"));
  CHECK_THAT(text, ContainsSubstring("seer_queue_depth_sum 4\n"));
  std::istringstream lines(text);
  std::set<std::string> types;
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    if (line.starts_with("# TYPE ")) CHECK(types.insert(line).second);
    if (line.starts_with("# ")) continue;
    const size_t space = line.rfind(' ');
    REQUIRE(space != std::string::npos);
    CHECK_NOTHROW(std::stod(line.substr(space + 1)));
    CHECK(line.starts_with("seer_"));
  }
  CHECK(text.ends_with("\n"));
}

}  // namespace
}  // namespace seer::serve
