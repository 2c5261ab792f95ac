#include "tests/models/decoder_runner.h"

#include <algorithm>
#include <numeric>

#include "tests/support/narrow_floats.h"

namespace seer::testing {

std::vector<int32_t> random_ids(int64_t n, int64_t n_vocab, uint64_t seed) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  for (int32_t& id : ids)
    id = static_cast<int32_t>((next_random(&seed) + 1.0F) / 2.0F * static_cast<float>(n_vocab));
  return ids;
}

DecoderRunner::DecoderRunner(const std::string& model_dir, const RunnerOptions& options)
    : options_(options),
      config_(ModelConfig::load(model_dir)),
      shard_(config_, options.comm == nullptr || options.divided ? 0 : options.comm->rank(),
             options.comm == nullptr || options.divided ? 1 : options.comm->size()),
      backend_(make_cpu_backend(options.n_threads, options.round_inputs)),
      weights_(ModelWeights::load(model_dir, config_, shard_, backend_.get(), {})) {
  std::vector<std::string> dirs;
  for (const std::string& dir : {options.gates, options.more_gates})
    if (!dir.empty()) dirs.push_back(dir);
  gates_ = Gates::load(dirs, config_);
  gates_.keep(shard_);
  const int64_t n_pages = options.divided ? options.n_pages / options.comm->size() : options.n_pages;
  cache_ = std::make_unique<KvCache>(backend_.get(), shard_.local, gates_.configs(), options.page_tokens,
                                     n_pages, options.kv_dtype);
  StepLimits limits;
  limits.n_tokens = options.n_tokens;
  limits.n_sequences = 4;
  limits.n_logits = options.n_logits;
  limits.n_blocks = options.n_pages;
  limits.page_tokens = options.page_tokens;
  decoder_ = std::make_unique<Decoder>(backend_.get(), shard_, weights_, gates_.set(), cache_.get(), limits,
                                       options.comm);
}

GatesDir::GatesDir(const TinyModel& model, const TinyGates& gates) : block_(gates.gate_block) {
  write_file(dir_.path() / "config.json", gates.config(model.shape()).dump());
  write_file(dir_.path() / "attn_gate_weights.safetensors", safetensors_bytes(gates.tensors(model.shape())));
}

RunnerOptions GatesDir::options() const {
  RunnerOptions options;
  options.page_tokens = block_;
  options.gates = dir_.path().string();
  return options;
}

void DecoderRunner::follow() {
  Message message;
  receive_message(*options_.comm, &message);
  decoder_->follow(message);
}

void DecoderRunner::fill_pages(float value) {
  for (int64_t l = 0; l < config_.n_layers; ++l)
    for (const Tensor& t :
         {cache_->layer(l).k, cache_->layer(l).v, cache_->layer(l).gate_k, cache_->layer(l).decode_gate_k})
      if (t && t.dtype == DType::kBF16) {
        std::fill_n(static_cast<uint16_t*>(t.data), t.numel(), to_bf16(value));
      } else if (t) {
        std::fill_n(t.as<float>(), t.numel(), value);
      }
}

Logits DecoderRunner::step(const std::vector<Part>& prefills, const std::vector<Part>& decodes,
                           const std::vector<int64_t>& rows) {
  if (!rows.empty()) return forward(prefills, decodes, rows);
  size_t n = 0;
  for (const auto* parts : {&prefills, &decodes})
    for (const Part& p : *parts) n += p.ids.size();
  std::vector<int64_t> all(n);
  std::iota(all.begin(), all.end(), 0);
  return forward(prefills, decodes, all);
}

int DecoderRunner::step_without_logits(const std::vector<Part>& prefills) {
  forward(prefills, {}, {});
  return n_rounds_;
}

Logits DecoderRunner::forward(const std::vector<Part>& prefills, const std::vector<Part>& decodes,
                              const std::vector<int64_t>& rows) {
  std::vector<int32_t> ids;
  const auto segments = [&](const std::vector<Part>& parts) {
    std::vector<Segment> out;
    for (const Part& p : parts) {
      out.push_back(
          {static_cast<int64_t>(ids.size()), static_cast<int64_t>(p.ids.size()), p.start, p.pages.data()});
      ids.insert(ids.end(), p.ids.begin(), p.ids.end());
    }
    return out;
  };
  const std::vector<Segment> prefill_segments = segments(prefills), decode_segments = segments(decodes);
  std::vector<PrefillPlan> plans;
  for (const Part& p : prefills) {
    const auto end = p.start + static_cast<int64_t>(p.ids.size());
    plans.push_back({p.n_prompt_tokens == 0 ? end : p.n_prompt_tokens, p.select});
  }
  std::vector<DecodeRule> rules;
  for (const Part& p : decodes) rules.push_back(p.decode);
  decode_stats_.assign(decodes.size(), {});
  Logits out;
  DecoderStep in;
  in.ids = ids;
  in.step = {static_cast<int64_t>(ids.size()), prefill_segments, decode_segments};
  in.plans = plans;
  in.logit_rows = rows;
  in.before_attention = before_attention_;
  in.on_gate = on_gate_;
  in.decode_rules = rules;
  in.decode_stats = decode_stats_;
  in.on_decode_gate = on_decode_gate_;
  n_rounds_ = 0;
  in.on_logits = [&](int64_t first, const Tensor& logits) {
    ++n_rounds_;
    std::vector<float> host(static_cast<size_t>(logits.numel()));
    backend_->read(host.data(), logits);
    for (auto row = host.begin(); row != host.end(); row += config_.n_vocab)
      out.emplace_back(row, row + config_.n_vocab);
    return !on_logits_ || on_logits_(first, logits.dim(0));
  };
  stats_ = decoder_->forward(in);
  return out;
}

}  // namespace seer::testing
