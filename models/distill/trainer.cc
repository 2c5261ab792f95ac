#include "models/distill/trainer.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "models/arena.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr const char* kWeightsTooLarge = "the gates' weights are beyond the address space";

// Gates for prompts learn from the query blocks after the first quarter, gates for decoding from the tokens
// of the second half. Earlier rows have few blocks to choose from.
ScoredRows rows_of(const GatePlan& plan, const TrainerOptions& options) {
  if (!plan.decode()) {
    const int64_t n_blocks = options.window / plan.block(), first = n_blocks / 4;
    return {first, 1, n_blocks - first, 1, true};
  }
  const int64_t first = std::max(options.window / 2, plan.block());
  return {first, options.row_stride, (options.window - first + options.row_stride - 1) / options.row_stride,
          plan.block(), false};
}

// Returns the tokens of a part of the window whose block maxima fit: whole blocks, and at least one.
int64_t part_tokens(const GatePlan& plan, const TrainerOptions& options, int64_t n_heads,
                    int64_t maxima_width) {
  const int64_t of_token = n_heads * maxima_width * dtype_bytes(DType::kF32);
  return std::max<int64_t>(options.maxima_bytes / of_token / plan.block(), 1) * plan.block();
}

ModelConfig with_one_layer(ModelConfig config) {
  config.n_layers = 1;
  return config;
}

}  // namespace

Trainer::Trainer(const Model& model, const GatePlan& plan, const TrainerOptions& options, uint64_t seed)
    : model_(model),
      plan_(plan),
      options_(options),
      rows_(rows_of(plan, options)),
      device_(model.backend().distillation()),
      one_layer_(with_one_layer(model.config())) {
  assert(device_ != nullptr && options.window % plan.block() == 0 && rows_.n > 0);
  Backend* backend = &model.backend();
  buffer_ = Arena::allocate(backend, "gates that learn", kWeightsTooLarge, [&](Arena* arena) {
    for (Tensor* t : {&weights_, &gradients_, &moments_, &second_moments_})
      *t = arena->take(DType::kF32, {plan.n_layers(), plan.layer_size()});
  });
  device_->fill(moments_, 0.0F);
  device_->fill(second_moments_, 0.0F);
  set_weights(plan.first_weights(seed));
  lesson_.weights = weights_;
  lesson_.gradients = gradients_;

  const int64_t n_pages = options.window / plan.block();
  page_table_.resize(static_cast<size_t>(n_pages));
  std::iota(page_table_.begin(), page_table_.end(), 0);
  StepLimits limits;
  limits.n_tokens = options.window;
  limits.n_logits = 1;
  limits.n_blocks = n_pages;
  limits.page_tokens = plan.block();
  cache_ =
      std::make_unique<KvCache>(backend, one_layer_, GateConfigs{}, plan.block(), n_pages, model.kv_dtype());
  const int64_t n_part = part_tokens(plan, options, model.config().n_heads, device_->maxima_width(n_pages));
  decoder_ = std::make_unique<Decoder>(backend, model.shard(), model.weights(), GateSet{}, cache_.get(),
                                       limits, nullptr, [&](const AttentionContext& context) {
                                         return std::make_unique<LearningAttention>(context, plan_, rows_,
                                                                                    n_part, &lesson_);
                                       });
}

Trainer::~Trainer() = default;

double Trainer::rate_of(int64_t step) const {
  const auto at = static_cast<double>(step);
  const double warm =
      options_.warm_up > 0 ? std::min(1.0, (at + 1.0) / static_cast<double>(options_.warm_up)) : 1.0;
  const double turn = std::numbers::pi * at / static_cast<double>(std::max<int64_t>(options_.n_steps, 1));
  const double along = 0.5 * (1.0 + std::cos(turn));
  return warm * (options_.last_rate + (options_.learning_rate - options_.last_rate) * along);
}

StepReport Trainer::step(std::span<const Window> windows, const std::function<void()>& go_on) {
  const std::string where = "step " + std::to_string(n_done_ + 1) + ": ";
  device_->fill(gradients_, 0.0F);
  lesson_.losses.assign(static_cast<size_t>(plan_.n_layers()), 0.0);
  lesson_.learns = true;
  lesson_.scale = 1.0F / static_cast<float>(windows.size());
  for (const Window window : windows) {
    if (go_on) go_on();
    try {
      forward(window);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kRuntime) throw;
      throw Error(ErrorKind::kRuntime, where + error.what() + ". Try a lower learning rate.");
    }
  }
  StepReport report;
  for (const double loss : lesson_.losses)
    report.losses.push_back(loss / static_cast<double>(windows.size()));
  std::vector<double> squares(static_cast<size_t>(plan_.n_layers()));
  device_->sums_of_squares(squares.data(), gradients_, plan_.layer_size());
  report.gradient_norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  if (!std::isfinite(report.gradient_norm))
    throw Error(ErrorKind::kRuntime, where + "the gradient is not finite. Try a lower learning rate.");
  report.learning_rate = rate_of(n_done_);
  update(squares, report.learning_rate);
  ++n_done_;
  return report;
}

void Trainer::update(const std::vector<double>& squares, double learning_rate) {
  AdamWStep adamw;
  adamw.learning_rate = learning_rate;
  adamw.number = n_done_ + 1;
  const auto take = [&](int64_t first, int64_t n_layers, double sum) {
    adamw.gradient_scale = std::min(1.0, options_.max_norm / (std::sqrt(sum) + 1e-6));
    device_->adamw(weights_.rows(first, n_layers), gradients_.rows(first, n_layers),
                   moments_.rows(first, n_layers), second_moments_.rows(first, n_layers), adamw);
  };
  if (!options_.clips_layers) {
    take(0, plan_.n_layers(), std::accumulate(squares.begin(), squares.end(), 0.0));
    return;
  }
  for (int64_t l = 0; l < plan_.n_layers(); ++l) take(l, 1, squares[static_cast<size_t>(l)]);
}

std::vector<double> Trainer::evaluate(Window window, const ScoresObserver& on_scores) {
  lesson_.losses.assign(static_cast<size_t>(plan_.n_layers()), 0.0);
  lesson_.learns = false;
  lesson_.on_scores = on_scores;
  forward(window);
  lesson_.on_scores = {};
  return lesson_.losses;
}

void Trainer::forward(Window window) {
  assert(static_cast<int64_t>(window.size()) == options_.window);
  const Segment segment{0, options_.window, 0, page_table_.data()};
  PrefillPlan plan;
  plan.n_prompt_tokens = options_.window;
  DecoderStep in;
  in.ids = window;
  in.step = {options_.window, {&segment, 1}, {}};
  in.plans = {&plan, 1};
  model_.backend().reset_phases();  // nobody reads them, and a GPU keeps an event for each until it is told
  decoder_->forward(in);
}

std::vector<float> Trainer::read(const Tensor& t) const {
  std::vector<float> host(static_cast<size_t>(t.numel()));
  model_.backend().read(host.data(), t);
  return host;
}

TrainerState Trainer::state() const {
  return {n_done_, read(weights_), read(moments_), read(second_moments_)};
}

void Trainer::set_state(const TrainerState& state) {
  n_done_ = state.n_done;
  set_weights(state.weights);
  device_->write(moments_, state.moments.data());
  device_->write(second_moments_, state.second_moments.data());
}

void Trainer::set_weights(const std::vector<float>& weights) {
  assert(static_cast<int64_t>(weights.size()) == plan_.size());
  device_->write(weights_, weights.data());
}

}  // namespace seer
