#include "models/distill/trainer.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numbers>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "models/arena.h"
#include "models/distill/row_weights.h"
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

// Returns how many tokens a part of a window has, so that its block maxima fit into options.maxima_bytes:
// those of whole blocks, and at least one block.
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

Trainer::Trainer(const Model& model, const GatePlan& plan, const TrainerOptions& options, uint64_t seed,
                 Communicator* comm)
    : model_(model),
      plan_(plan),
      alone_(comm == nullptr ? make_local_communicator() : nullptr),
      comm_(comm == nullptr ? alone_.get() : comm),
      share_(plan, model.shard()),
      options_(options),
      rows_(rows_of(plan, options)),
      device_(model.backend().distillation()),
      one_layer_(with_one_layer(model.shard().local)) {
  assert(device_ != nullptr && options.window % plan.block() == 0 && rows_.n > 0);
  assert(model.shard().size == comm_->size() && model.shard().rank == comm_->rank());
  Backend* backend = &model.backend();
  buffer_ = Arena::allocate(backend, "gates that learn", kWeightsTooLarge, [&](Arena* arena) {
    for (Tensor* t : {&weights_, &gradients_, &moments_, &second_moments_})
      *t = arena->take(DType::kF32, {plan.n_layers(), share_.plan().layer_size()});
  });
  device_->fill(moments_, 0.0F);
  device_->fill(second_moments_, 0.0F);
  device_->write(weights_, share_.take(plan.first_weights(seed)).data());
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
  const int64_t n_part = part_tokens(plan, options, one_layer_.n_heads, device_->maxima_width(n_pages));
  decoder_ = std::make_unique<Decoder>(backend, model.shard(), model.weights(), GateSet{}, cache_.get(),
                                       limits, comm_, [&](const AttentionContext& context) {
                                         return std::make_unique<LearningAttention>(context, share_.plan(),
                                                                                    rows_, n_part, &lesson_);
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

void Trainer::command(Command what, int64_t value) {
  if (comm_->size() == 1 || !leads()) return;
  std::vector<std::byte> bytes;
  MessageWriter writer(&bytes);
  writer.put(what);
  writer.put(value);
  send_message(*comm_, kCommandMessage, bytes);
}

void Trainer::follow(const Message& message) {
  if (message.kind == Decoder::kStepMessage) {
    in_step([&] { decoder_->follow(message); });
    return;
  }
  MessageReader reader(message.bytes);
  const auto what = reader.get<Command>();
  const auto value = reader.get<int64_t>();
  switch (what) {
    case Command::kBegin:
      return begin(value);
    case Command::kWeighRows:
      return weigh_rows(std::vector<float>(static_cast<size_t>(value)));
    case Command::kFinish:
      finish();
      return;
    case Command::kEvaluate:
      points_ = {};
      return begin_evaluation([this](int64_t, const Tensor& scores, const Tensor& truth) {
        points_.add(&model_.backend(), scores, truth, rows_);
      });
    case Command::kEvaluated:
      finish_evaluation(&points_);
      return;
    case Command::kState:
      state();
      return;
    case Command::kGradients:
      gradients();
      return;
    case Command::kSetState:
      return scatter_state({value, {}, {}, {}});
    case Command::kSetWeights:
      return scatter(weights_, {});
  }
}

void Trainer::in_step(const std::function<void()>& run) const {
  try {
    run();
  } catch (const Error& error) {
    const std::optional<Error> failure = comm_->failure();
    const bool of_other_rank = failure && std::string_view(failure->what()) == error.what();
    if (error.kind() != ErrorKind::kRuntime || of_other_rank || !lesson_.learns) throw;
    throw Error(ErrorKind::kRuntime,
                "step " + std::to_string(n_done_ + 1) + ": " + error.what() + ". Try a lower learning rate.");
  }
}

StepReport Trainer::step(std::span<const TaughtWindow> windows, const std::function<void()>& go_on) {
  begin(static_cast<int64_t>(windows.size()));
  for (const TaughtWindow& window : windows) {
    if (go_on) go_on();
    weigh_answers(window.answers);
    in_step([&] { forward(window.ids); });
  }
  return finish();
}

void Trainer::begin(int64_t n_windows) {
  command(Command::kBegin, n_windows);
  device_->fill(gradients_, 0.0F);
  lesson_.losses.assign(static_cast<size_t>(plan_.n_layers()), 0.0);
  lesson_.learns = true;
  lesson_.on_scores = {};
  lesson_.scale = 1.0F / static_cast<float>(n_windows);
  lesson_.row_weights.clear();
  n_windows_ = n_windows;
}

void Trainer::weigh_answers(std::span<const int64_t> answers) {
  std::vector<float> weights = row_weights(rows_, tokens_of_row(), answers);
  if (weights.empty() && lesson_.row_weights.empty()) return;
  command(Command::kWeighRows, static_cast<int64_t>(weights.size()));
  weigh_rows(std::move(weights));
}

void Trainer::weigh_rows(std::vector<float> weights) {
  if (!weights.empty())
    comm_->broadcast(weights.data(), static_cast<int64_t>(weights.size() * sizeof(float)), Patience::kStep);
  lesson_.row_weights = std::move(weights);
}

StepReport Trainer::finish() {
  command(Command::kFinish);
  share_gradients();
  const auto n_layers = static_cast<size_t>(plan_.n_layers());
  std::vector<double> sums = lesson_.losses;
  sums.resize(2 * n_layers);
  // Rank 0 alone counts the numbers that every rank has.
  device_->sums_of_squares(sums.data() + n_layers, gradients_,
                           leads() ? share_.plan().layer_size() : share_.n_own());
  sum_over_ranks(*comm_, sums);
  const std::vector<double> squares(sums.begin() + plan_.n_layers(), sums.end());
  StepReport report;
  for (size_t l = 0; l < n_layers; ++l) report.losses.push_back(sums[l] / static_cast<double>(n_windows_));
  report.gradient_norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  if (!std::isfinite(report.gradient_norm)) {
    if (!leads()) return report;  // rank 0 throws the error
    in_step([] { throw Error(ErrorKind::kRuntime, "the gradient is not finite"); });
  }
  report.learning_rate = rate_of(n_done_);
  update(squares, report.learning_rate);
  ++n_done_;
  return report;
}

void Trainer::share_gradients() {
  const int64_t n_own = share_.n_own(), n_common = share_.n_common();
  if (comm_->size() == 1 || n_common == 0) return;
  const auto common = [&](int64_t l) {
    return gradients_.rows(l, 1).reshaped({n_own + n_common}).rows(n_own, n_common);
  };
  std::vector<float> of_layer(static_cast<size_t>(n_common));
  std::vector<double> sums;
  for (int64_t l = 0; l < plan_.n_layers(); ++l) {
    model_.backend().read(of_layer.data(), common(l));
    sums.insert(sums.end(), of_layer.begin(), of_layer.end());
  }
  sum_over_ranks(*comm_, sums);
  for (int64_t l = 0; l < plan_.n_layers(); ++l) {
    for (size_t i = 0; i < of_layer.size(); ++i)
      of_layer[i] = static_cast<float>(sums[static_cast<size_t>(l) * of_layer.size() + i]);
    device_->write(common(l), of_layer.data());
  }
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
  begin_evaluation(on_scores);
  forward(window);
  HeldOutPoints none;
  return finish_evaluation(&none);
}

std::vector<double> Trainer::measure(Window window, HeldOutPoints* points) {
  HeldOutPoints of_window;
  begin_evaluation([&](int64_t, const Tensor& scores, const Tensor& truth) {
    of_window.add(&model_.backend(), scores, truth, rows_);
  });
  forward(window);
  std::vector<double> losses = finish_evaluation(&of_window);
  points->add_counts(of_window.counts());
  return losses;
}

void Trainer::begin_evaluation(const ScoresObserver& on_scores) {
  command(Command::kEvaluate);
  lesson_.losses.assign(static_cast<size_t>(plan_.n_layers()), 0.0);
  lesson_.learns = false;
  lesson_.row_weights.clear();
  lesson_.on_scores = on_scores;
}

std::vector<double> Trainer::finish_evaluation(HeldOutPoints* points) {
  command(Command::kEvaluated);
  lesson_.on_scores = {};
  std::vector<double> sums = lesson_.losses;
  const std::vector<double> counts = points->counts();
  sums.insert(sums.end(), counts.begin(), counts.end());
  sum_over_ranks(*comm_, sums);
  *points = {};
  points->add_counts(std::span(sums).subspan(lesson_.losses.size()));
  sums.resize(lesson_.losses.size());
  return sums;
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
  model_.backend().reset_phases();  // nobody reads phases here, and a GPU would keep events for all
  decoder_->forward(in);
}

TrainerState Trainer::state() {
  command(Command::kState);
  return {n_done_, gather(weights_), gather(moments_), gather(second_moments_)};
}

std::vector<float> Trainer::gradients() {
  command(Command::kGradients);
  return gather(gradients_);
}

void Trainer::set_state(const TrainerState& state) {
  command(Command::kSetState, state.n_done);
  scatter_state(state);
}

void Trainer::scatter_state(TrainerState state) {
  n_done_ = state.n_done;
  scatter(weights_, std::move(state.weights));
  scatter(moments_, std::move(state.moments));
  scatter(second_moments_, std::move(state.second_moments));
}

void Trainer::set_weights(const std::vector<float>& weights) {
  command(Command::kSetWeights);
  scatter(weights_, weights);
}

std::vector<float> Trainer::gather(const Tensor& t) const {
  std::vector<float> mine(static_cast<size_t>(t.numel()));
  model_.backend().read(mine.data(), t);
  if (comm_->size() == 1) return mine;
  const size_t n = mine.size();
  std::vector<float> all(leads() ? n * static_cast<size_t>(comm_->size()) : 0), whole;
  comm_->gather_host(leads() ? all.data() : nullptr, mine.data(), static_cast<int64_t>(n * sizeof(float)));
  if (!leads()) return whole;
  whole.resize(static_cast<size_t>(plan_.size()));
  for (int r = 0; r < comm_->size(); ++r)
    share_.put(whole, r, std::span<const float>(all).subspan(static_cast<size_t>(r) * n, n));
  return whole;
}

void Trainer::scatter(const Tensor& t, std::vector<float> whole) const {
  assert(!leads() || static_cast<int64_t>(whole.size()) == plan_.size());
  whole.resize(static_cast<size_t>(plan_.size()));
  comm_->broadcast(whole.data(), static_cast<int64_t>(whole.size() * sizeof(float)), Patience::kStep);
  device_->write(t, share_.take(whole).data());
}

}  // namespace seer
