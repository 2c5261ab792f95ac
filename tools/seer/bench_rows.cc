#include "tools/seer/bench_rows.h"

#include <ctime>

#include "seer/version.h"
#include "tools/seer/format.h"

namespace seer::cli {
namespace {

using Json = OrderedJson;

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// A row's figures, from all samples of its test.
struct Summary {
  Spread time;  // in ns
  Spread rate;  // in computed tokens per second
  int64_t n_computed = 0;
  // Means.
  double attention_ns = 0.0, gate_ns = 0.0, density = 0.0, device_ns = 0.0, decode_density = 0.0;
  std::vector<double> rates;  // of each sample
  Json samples_ns = Json::array();
};

Summary summary_of(const BenchResult& result) {
  Summary s;
  std::vector<double> ns, attention, gate, density, device, decode_density;
  for (const BenchSample& sample : result.samples) {
    ns.push_back(static_cast<double>(std::max<int64_t>(sample.ns, 1)));
    s.rates.push_back(static_cast<double>(sample.n_computed + result.test.n_gen) * 1e9 / ns.back());
    attention.push_back(static_cast<double>(sample.attention_ns));
    gate.push_back(static_cast<double>(sample.gate_ns));
    density.push_back(sample.density);
    decode_density.push_back(sample.decode_density);
    device.push_back(static_cast<double>(sample.device_ns));
    s.samples_ns.push_back(sample.ns);
  }
  s.time = spread(ns);
  s.rate = spread(s.rates);
  s.attention_ns = spread(attention).mean;
  s.gate_ns = spread(gate).mean;
  s.density = spread(density).mean;
  s.decode_density = spread(decode_density).mean;
  s.device_ns = spread(device).mean;
  // Lengths and rule determine this number, so it is the same in every sample.
  s.n_computed = result.samples.empty() ? 0 : result.samples.front().n_computed;
  return s;
}

}  // namespace

std::string BenchTest::name() const {
  std::string text = n_prompt > 0 ? "pp" + std::to_string(n_prompt) : "";
  if (n_gen > 0) text += (text.empty() ? "tg" : "+tg") + std::to_string(n_gen);
  if (n_depth > 0) text += " @ d" + std::to_string(n_depth);
  return text;
}

bool BenchTest::dense() const {
  return (n_prompt == 0 || is_dense(rule)) && (n_gen == 0 || is_dense(decode_rule));
}

namespace {

std::vector<Column> columns(bool decode_gates) {
  std::vector<Column> columns = {
      {"model", 18, false},  {"size", 10},   {"params", 8},   {"backend", 7, false}, {"threads", 7},
      {"sparse", 16, false}, {"test", 15},   {"computed", 8}, {"t/s", 18},           {"density", 7},
      {"attn ms", 9},        {"gate ms", 8}, {"speed-up", 8}};
  if (!decode_gates) return columns;
  columns.insert(columns.begin() + 6, {"sparse-decode", 16, false});
  columns.insert(columns.begin() + 11, {"decode density", 14});
  return columns;
}

}  // namespace

BenchRows::BenchRows(const std::string& format, const Engine& engine, const ModelOptions& options)
    : engine_(engine),
      model_path_(options.random_config.empty() ? options.model_dir : options.random_config),
      threads_(options.threads),
      may_choose_(engine.model().decode_gates.has_value()),
      writer_(format, columns(may_choose_)) {}

void BenchRows::write(const BenchResult& result) {
  const BenchTest& test = result.test;
  const bool is_prefill = test.n_prompt > 0;
  const Summary s = summary_of(result);
  const bool decodes = may_choose_ && test.n_gen > 0;
  const bool chooses = is_prefill || decodes;
  if (chooses && test.dense()) dense_ns_[test.name()] = s.time.mean;
  const auto dense = dense_ns_.find(test.name());
  const bool comparable = chooses && dense != dense_ns_.end();

  const ModelInfo& model = engine_.model();
  const std::string type = model_type(model);
  const std::string backend = backend_name(engine_.info());
  const std::string rule = test.rule.to_string();
  const Json fields = {{"build_version", SEER_VERSION},
                       {"backends", backend},
                       {"device", engine_.info().device},
                       {"model_filename", model_path_},
                       {"model_type", type},
                       {"model_size", model.n_bytes},
                       {"model_n_params", model.n_params},
                       {"n_threads", threads_},
                       {"n_ctx", engine_.info().ctx_size},
                       {"n_batch", engine_.info().chunk_size},
                       {"kv_cache_dtype", engine_.info().kv_cache_dtype},
                       {"activations", engine_.info().activations},
                       {"sparse", rule},
                       {"sparse_decode", test.decode_rule.to_string()},
                       {"n_prompt", test.n_prompt},
                       {"n_gen", test.n_gen},
                       {"n_depth", test.n_depth},
                       {"n_computed", s.n_computed},
                       {"test_time", utc_now()},
                       {"avg_ns", static_cast<int64_t>(s.time.mean)},
                       {"stddev_ns", static_cast<int64_t>(s.time.stddev)},
                       {"avg_ts", s.rate.mean},
                       {"stddev_ts", s.rate.stddev},
                       {"density", s.density},
                       {"sparsity", 1.0 - s.density},
                       {"decode_density", test.n_gen == 0 ? Json() : Json(s.decode_density)},
                       {"attn_ns", static_cast<int64_t>(s.attention_ns)},
                       {"gate_ns", static_cast<int64_t>(s.gate_ns)},
                       {"device_ns", test.n_gen == 0 ? Json() : Json(static_cast<int64_t>(s.device_ns))},
                       {"speedup", comparable ? Json(dense->second / s.time.mean) : Json()},
                       {"samples_ns", s.samples_ns},
                       {"samples_ts", s.rates}};
  std::vector<std::string> cells = {type,
                                    human_bytes(model.n_bytes),
                                    human_count(model.n_params),
                                    backend,
                                    std::to_string(threads_),
                                    rule,
                                    test.name(),
                                    is_prefill ? std::to_string(s.n_computed) : "",
                                    format("%.2f ± %.2f", s.rate.mean, s.rate.stddev),
                                    is_prefill ? format("%.1f%%", 100.0 * s.density) : "",
                                    is_prefill ? format("%.2f", s.attention_ns * 1e-6) : "",
                                    is_prefill ? format("%.2f", s.gate_ns * 1e-6) : "",
                                    comparable ? format("%.2fx", dense->second / s.time.mean) : ""};
  if (may_choose_) {
    cells.insert(cells.begin() + 6, decodes ? test.decode_rule.to_string() : "");
    cells.insert(cells.begin() + 11, decodes ? format("%.1f%%", 100.0 * s.decode_density) : "");
  }
  writer_.write(fields, cells);
}

}  // namespace seer::cli
