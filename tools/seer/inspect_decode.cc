#include "tools/seer/inspect_decode.h"

#include <algorithm>

#include "tools/seer/decode_maps.h"
#include "tools/seer/format.h"
#include "tools/seer/sparse_options.h"

namespace seer::cli {
namespace {

constexpr int64_t kMapSide = 256;  // the most rows and columns of a map

std::string percent_column(double share) { return format("%7.1f", 100.0 * share); }

}  // namespace

DecodeInspection::DecodeInspection(const Engine& engine, const SparseDecodeRule& rule, int64_t n_prompt,
                                   int64_t n_tokens, bool dumps)
    : rule_(rule), n_prompt_(n_prompt), n_steps_(n_tokens - n_prompt) {
  if (n_steps_ < 1)
    throw Error(ErrorKind::kUsage,
                "--prompt-tokens: expected fewer than the " + std::to_string(n_tokens) +
                    " tokens that there are, because those after the prompt are decoded; found " +
                    std::to_string(n_prompt));
  const ModelInfo& model = engine.model();
  if (dumps) dump_.emplace(model, rule_, n_prompt_, n_steps_);
  if (!model.decode_gates) return;
  block_ = model.decode_gates->gate_block;
  has_keys_ = engine.info().n_ranks == 1;
  if (!is_dense(rule_))
    layers_.assign(static_cast<size_t>(model.n_layers), DecodeSummary(n_prompt_, n_steps_, block_, kMapSide));
}

void DecodeInspection::prepare(EvaluateRequest* request) {
  request->n_prompt = n_prompt_;
  request->sparse_decode = rule_;
  if (!layers_.empty())
    request->on_decode_gate = [this](const DecodeGateRows& rows) {
      if (dump_) dump_->take_gates(rows);
      layers_.at(static_cast<size_t>(rows.layer)).take(rows);
    };
  if (dump_ && has_keys_)
    request->on_decode_gate_keys = [this](const DecodeGateKeys& keys) { dump_->take_keys(keys); };
}

std::string DecodeInspection::title() const {
  return format("%lld tokens decoded after %lld in %lld blocks, ", static_cast<long long>(n_steps_),
                static_cast<long long>(n_prompt_), static_cast<long long>(layers_.front().n_blocks())) +
         rule_.to_string();
}

std::string DecodeInspection::table(double density) const {
  std::string text = title() + format(", density %.1f%%\n\n", 100.0 * density) +
                     "density, % of the blocks up to a decoded token's own\n  layer     all";
  for (int64_t head = 0; head < layers_.back().n_heads(); ++head)
    text += format("%7s", ("kv" + std::to_string(head)).c_str());
  text += "\n";
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (layers_[i].empty()) {
      text += format("  %5zu   dense\n", i);
      continue;
    }
    text += format("  %5zu ", i) + percent_column(layers_[i].density());
    for (int64_t head = 0; head < layers_[i].n_heads(); ++head)
      text += percent_column(layers_[i].density(head));
    text += "\n";
  }
  return text;
}

OrderedJson DecodeInspection::json(double density) const {
  OrderedJson rows = OrderedJson::array();
  for (size_t i = 0; i < layers_.size(); ++i) {
    OrderedJson heads = OrderedJson::array();
    for (int64_t head = 0; head < layers_[i].n_heads(); ++head) heads.push_back(layers_[i].density(head));
    rows.push_back({{"layer", i}, {"density", layers_[i].density()}, {"head_density", heads}});
  }
  return {{"n_prompt", n_prompt_},
          {"n_decoded", n_steps_},
          {"n_blocks", layers_.front().n_blocks()},
          {"sparse_decode", rule_.to_string()},
          {"density", density},
          {"layers", rows}};
}

int64_t DecodeInspection::write_maps(const std::string& dir) const {
  return write_decode_maps(dir, title(), n_prompt_, block_, layers_);
}

}  // namespace seer::cli
