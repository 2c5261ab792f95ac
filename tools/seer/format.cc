#include "tools/seer/format.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdarg>
#include <cstdio>

namespace seer::cli {

std::string format(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  va_list again;
  va_copy(again, arguments);
  const int size = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(size > 0 ? static_cast<size_t>(size) : 0, '\0');
  if (size > 0) std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

std::string moved_pages(const RequestStats& stats) {
  if (stats.movable_pages == 0) return "";
  return format(", %lld of %lld pages moved", static_cast<long long>(stats.moved_pages),
                static_cast<long long>(stats.movable_pages));
}

std::string cached_tokens(const RequestStats& stats) {
  if (stats.n_cached == 0) return "";
  std::string text = std::to_string(stats.n_cached) + " cached", from;
  if (stats.n_from_host > 0) from = std::to_string(stats.n_from_host) + " from the host's memory";
  if (stats.n_from_disk > 0)
    from += (from.empty() ? "" : ", ") + std::to_string(stats.n_from_disk) + " from the disk";
  if (from.empty()) return text;
  return text + " (" + from + " in " + human_seconds(1e-9 * static_cast<double>(stats.restore_ns)) + ")";
}

std::string human_bytes(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (value >= 0x1p30) return format("%.2f GiB", value / 0x1p30);
  if (value >= 0x1p20) return format("%.2f MiB", value / 0x1p20);
  if (value >= 0x1p10) return format("%.2f KiB", value / 0x1p10);
  return format("%.0f B", value);
}

std::string human_count(int64_t count) {
  const auto value = static_cast<double>(count);
  if (value >= 1e9) return format("%.2f B", value / 1e9);
  if (value >= 1e6) return format("%.2f M", value / 1e6);
  if (value >= 1e3) return format("%.2f K", value / 1e3);
  return format("%.0f", value);
}

std::string human_seconds(double seconds) {
  if (seconds < 1.0) return format("%.3g ms", seconds * 1e3);
  return format("%.2f s", seconds);
}

std::string human_duration(double seconds) {
  const auto total = static_cast<long long>(std::ceil(std::max(seconds, 0.0)));
  if (total < 60) return format("%lld s", total);
  if (total < 3600) return format("%lld min %lld s", total / 60, total % 60);
  return format("%lld h %lld min", total / 3600, total / 60 % 60);
}

std::string token_rate(int64_t tokens, int64_t ns) {
  std::string text = format("%lld tokens", static_cast<long long>(tokens));
  if (tokens > 0 && ns > 0) {
    const double seconds = static_cast<double>(ns) * 1e-9;
    text +=
        " in " + human_seconds(seconds) + format(" (%.1f tokens/s)", static_cast<double>(tokens) / seconds);
  }
  return text;
}

std::string saved_session(const std::string& file, const SavedSession& saved, const EngineInfo& info) {
  return file + format(": %lld tokens, ", static_cast<long long>(saved.n_tokens)) +
         human_bytes(saved.n_bytes) + " (" + human_bytes(saved.page_bytes / info.page_tokens) + " a token)";
}

std::string model_type(const ModelInfo& model) {
  std::string name = model.architecture.substr(0, model.architecture.find("For"));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name + " " + human_count(model.n_params) + " " + model.dtype;
}

std::string backend_name(const EngineInfo& info) {
  std::string name = info.device.substr(0, info.device.find_first_of(" :("));
  for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

Spread spread(const std::vector<double>& samples) {
  Spread result;
  if (samples.empty()) return result;
  for (const double x : samples) result.mean += x;
  result.mean /= static_cast<double>(samples.size());
  if (samples.size() < 2) return result;
  double squares = 0.0;
  for (const double x : samples) squares += (x - result.mean) * (x - result.mean);
  result.stddev = std::sqrt(squares / static_cast<double>(samples.size() - 1));
  return result;
}

std::string to_text(const OrderedJson& json, int indent) {
  return json.dump(indent, ' ', false, OrderedJson::error_handler_t::replace);
}

}  // namespace seer::cli
