// What one test of seer bench measured, and how a row of it reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/model_options.h"
#include "tools/seer/row_writer.h"

namespace seer::cli {

struct BenchTest {
  int64_t n_prompt = 0;  // prefilled and timed; 0 for a decode test
  int64_t n_gen = 0;     // decoded and timed; 0 for a prefill test, both set for one of both together
  int64_t n_depth = 0;   // in the cache before
  SparseRule rule;

  std::string name() const;  // "pp512", "tg128 @ d4096", "pp512+tg128"
};

struct BenchSample {
  int64_t ns;
  int64_t n_computed;             // tokens that its prefill computed: asked for, or earlier and not reusable
  int64_t attention_ns, gate_ns;  // of its prefill
  double density;
  int64_t device_ns = 0;  // of its decoding
};

struct BenchResult {
  BenchTest test;
  std::vector<BenchSample> samples;
};

class BenchRows {
 public:
  BenchRows(const std::string& format, const Engine& engine, const ModelOptions& options);
  void write(const BenchResult& result);
  void finish() { writer_.finish(); }

 private:
  const Engine& engine_;
  std::string model_path_;
  int64_t threads_;
  std::map<std::string, double> dense_ns_;  // by test name, where its dense test has run
  RowWriter writer_;
};

}  // namespace seer::cli
