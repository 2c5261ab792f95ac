// One forward step as the scheduler packs it, and the interface that runs it.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "engine/src/tiers/layer_arrivals.h"
#include "kernels/paged_kv.h"
#include "kernels/sample_row.h"
#include "models/attn_gate.h"
#include "models/decoder.h"

namespace seer {

class Request;
class Sequence;

// A logit row that is read to the host for its request.
struct HostRow {
  size_t row = 0;  // its index among the logit rows
  Request* request = nullptr;
  int64_t prompt_position = -1;  // its position if the token after it is the prompt's; -1 if the row is to
                                 // choose that token
  std::exception_ptr error;      // the error with which the request is to fail
};

// Prefill segments come first on the token axis, and logit rows ascend. The same Batch is used for every
// step, so that packing allocates nothing once the vectors have grown.
struct Batch {
  std::vector<int32_t> ids;  // [n_tokens]
  std::vector<Segment> prefills, decodes;
  std::vector<PrefillPlan> plans;        // one for each prefill
  std::vector<DecodeRule> decode_rules;  // one for each decode
  // The rows whose logits are computed: that of every decode, the last row of every prefill that reaches the
  // end of its sequence, and rows by which a prompt's log-probabilities are computed.
  std::vector<int64_t> logit_rows;
  std::vector<SampleRow> samples;    // how the token after each logit row is chosen
  std::vector<HostRow> host_rows;    // ascending
  std::vector<Request*> prefill_of;  // the request of each prefill
  std::vector<Request*> decode_of;
  std::vector<Request*> sampled_by;  // the request of each logit row; null if it chooses no token
  // One for each request of the step whose pages another thread is still filling.
  std::vector<std::shared_ptr<LayerArrivals>> arrivals;

  // The results of the step.
  std::vector<int32_t> chosen;              // one for each logit row
  std::vector<DecoderStats> blocks;         // one for each prefill
  std::vector<DecoderStats> decode_blocks;  // one for each decode
  int64_t attention_ns = 0, gate_ns = 0, step_ns = 0;

  int64_t n_tokens() const { return static_cast<int64_t>(ids.size()); }
  bool empty() const { return ids.empty(); }
  // Waits until this layer has its contents in all pages of the step. Throws as LayerArrivals::wait_for()
  // does.
  void wait_for_layer(int64_t layer) const {
    for (const auto& pages : arrivals) pages->wait_for(layer + 1);
  }
  void clear() {
    ids.clear();
    prefills.clear();
    decodes.clear();
    plans.clear();
    decode_rules.clear();
    logit_rows.clear();
    samples.clear();
    host_rows.clear();
    prefill_of.clear();
    decode_of.clear();
    sampled_by.clear();
    arrivals.clear();
    attention_ns = gate_ns = step_ns = 0;
  }
};

// Returns how the next chunk of a sequence that is prefilling is to be computed.
PrefillPlan prefill_plan(const Sequence& sequence);

// Runs steps: the model on its device, or a test's stand-in.
class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // Runs the step and fills in its results. Throws Error{kDevice} if the device is lost.
  virtual void run(Batch* batch) = 0;
  // Throws Error if no step can be run any more, because the device or another rank has failed. Called
  // between steps; returns at once.
  virtual void check() {}
};

}  // namespace seer
