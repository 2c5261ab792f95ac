// The measurements of one test of seer bench, and the row that shows them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/model_options.h"
#include "tools/seer/row_writer.h"
#include "tools/seer/sparse_options.h"

namespace seer::cli {

struct BenchTest {
  int64_t n_prompt = 0;  // tokens prefilled and timed; 0 in a decode test
  int64_t n_gen = 0;  // tokens decoded and timed; 0 in a prefill test; both are set in a test of prefill and
                      // decoding together
  int64_t n_depth = 0;  // tokens in the cache before the test
  SparseRule rule;
  SparseDecodeRule decode_rule;

  // Returns whether no gates choose in this test.
  bool dense() const;
  std::string name() const;  // "pp512", "tg128 @ d4096", "pp512+tg128"
};

struct BenchSample {
  int64_t ns;
  int64_t n_computed;             // tokens the prefill computed: those asked for, and earlier ones not reused
  int64_t attention_ns, gate_ns;  // of the prefill
  double density;
  int64_t device_ns = 0;  // of the decoding
  double decode_density = 1.0;
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
  bool may_choose_;                         // whether decoding may be sparse, which takes two columns more
  std::map<std::string, double> dense_ns_;  // by test name, once the dense test has run
  RowWriter writer_;
};

}  // namespace seer::cli
