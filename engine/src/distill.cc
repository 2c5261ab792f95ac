#include "seer/distill.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <numeric>

#include "engine/src/activations.h"
#include "engine/src/devices.h"
#include "engine/src/planted_look_ups.h"
#include "engine/src/rank_leader.h"
#include "engine/src/weight_format.h"
#include "models/checkpoint_folder.h"
#include "models/distill/checkpoint.h"
#include "models/distill/gates_writer.h"
#include "models/distill/held_out.h"
#include "models/distill/trainer.h"
#include "models/distill/windows.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

bool for_decoding(const DistillOptions& options) { return options.kind == GateKind::kDecode; }

double mean(const std::vector<double>& values) {
  return values.empty()
             ? 0.0
             : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void require(bool allowed, const std::string& option, const std::string& expected, const std::string& found) {
  if (!allowed) throw Error(ErrorKind::kUsage, option + ": expected " + expected + ", found " + found);
}

// Returns the options with values for all that they leave open.
DistillOptions completed(DistillOptions options, const ModelConfig& model) {
  const bool decode = for_decoding(options);
  require(options.block_size >= 1, "block size", "1 or more", std::to_string(options.block_size));
  if (options.gate_type.empty()) options.gate_type = decode ? "Qproj_Kmaxminavg" : "Qavg_Kmaxminavg";
  if (options.steps == 0) options.steps = decode ? 800 : 500;
  if (!options.last_rate) options.last_rate = decode ? 1e-5 : 0.0;
  const int64_t longest = std::min(model.max_positions, model.window.value_or(model.max_positions));
  if (options.window == 0) {
    options.window = std::min<int64_t>(decode ? 32768 : 65536, longest);
    options.window = std::max(options.window / options.block_size, int64_t{1}) * options.block_size;
  }
  require(options.window % options.block_size == 0, "window",
          "a multiple of the block of " + std::to_string(options.block_size) + " tokens",
          std::to_string(options.window));
  require(options.window >= 4 * options.block_size, "window",
          "at least four blocks of " + std::to_string(options.block_size) + " tokens",
          std::to_string(options.window));
  require(options.window <= longest, "window",
          "at most the model's longest context of " + std::to_string(longest) + " tokens",
          std::to_string(options.window));
  return options;
}

void check_options(const DistillOptions& o) {
  const auto at_least = [](const char* name, int64_t value, int64_t least) {
    require(value >= least, name, std::to_string(least) + " or more", std::to_string(value));
  };
  require(!o.out_dir.empty(), "out", "a folder for the gates", "none");
  at_least("batch", o.batch, 1);
  at_least("steps", o.steps, 0);
  at_least("warm-up", o.warm_up, 0);
  at_least("row stride", o.row_stride, 1);
  at_least("window", o.window, 0);
  require(o.learning_rate > 0.0, "learning rate", "a number above 0", std::to_string(o.learning_rate));
  require(o.look_ups >= 0.0 && o.look_ups <= 1.0, "look-ups", "a share between 0 and 1",
          std::to_string(o.look_ups));
  require(o.max_norm > 0.0, "largest norm", "a number above 0", std::to_string(o.max_norm));
}

// Returns a checksum of the texts (FNV-1a), by which a resumed run is found to have the same ones.
std::string checksum(const std::vector<int32_t>& tokens) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const int32_t id : tokens) hash = (hash ^ static_cast<uint32_t>(id)) * 0x100000001b3ULL;
  return std::to_string(hash);
}

// Everything on which the bits of the result depend.
OrderedJson settings_of(const DistillOptions& o, const GatePlan& plan, const std::vector<int32_t>& tokens,
                        const Backend& backend, int n_ranks) {
  OrderedJson settings = {{"kind", for_decoding(o) ? "decode" : "prefill"},
                          {"batch", o.batch},
                          {"steps", o.steps},
                          {"window", o.window},
                          {"learning_rate", o.learning_rate},
                          {"last_rate", *o.last_rate},
                          {"warm_up", o.warm_up},
                          {"max_norm", o.max_norm},
                          {"clip", o.clip == GradientClip::kLayer ? "layer" : "all"},
                          {"row_stride", o.row_stride},
                          {"look_ups", o.look_ups},
                          {"seed", o.seed},
                          {"weights", o.weights},
                          {"device", backend.has_own_memory() ? "cuda" : "cpu"},
                          {"ranks", n_ranks},
                          {"n_tokens", tokens.size()},
                          {"texts", checksum(tokens)}};
  for (const auto& [key, value] : plan.config().items())
    if (key != "base_model" && key != "_name_or_path") settings[key] = value;  // no bit depends on names
  return settings;
}

class Run {
 public:
  Run(const DistillOptions& options, const std::vector<int32_t>& tokens, const std::vector<int32_t>& held_out,
      int64_t max_held_out)
      : model_({options.model_dir, "", "", "", 0, named_weight_format(options.weights)}),
        options_(completed(options, model_.config())),
        spec_({for_decoding(options_), options_.gate_type, options_.block_size, options_.hidden_size,
               options_.force_double, options_.norms, options_.rope}),
        plan_(spec_, options_.model_dir, model_.config()),
        ranks_(options.ranks),
        shard_(model_.config(), 0, ranks_.size()),
        tokens_(tokens),
        held_out_(held_out),
        max_held_out_(max_held_out) {
    (void)plan_.divided(ranks_.size());  // refuses gates that so many ranks cannot divide
  }

  DistillResult run() {
    check_texts();
    make_look_ups();
    std::unique_ptr<Backend> backend =
        open_device(options_.device, ranks_.threads(options_.threads), Activations::kAuto,
                    [this](const std::string& text) { log(LogLevel::kWarning, text); });
    settings_ = settings_of(options_, plan_, tokens_, *backend, ranks_.size());
    prepare_folder();
    load(std::move(backend));
    train();
    DistillResult result;
    result.n_done = trainer_->n_done();
    result.n_steps = options_.steps;
    result.stopped = stopped_;
    if (stopped_) return result;
    const std::vector<float> weights = trainer_->state().weights;
    write_gates(options_.out_dir, plan_, weights, options_.pth);
    remove_checkpoint(options_.out_dir);
    trainer_->set_weights(rounded_weights(weights));
    measure(&result);
    return result;
  }

 private:
  void log(LogLevel level, const std::string& text) const {
    if (options_.on_log) options_.on_log(level, text);
  }

  void check_ids(const std::vector<int32_t>& ids, const std::string& what) const {
    for (const int32_t id : ids)
      if (id < 0 || id >= model_.config().n_vocab)
        throw Error(ErrorKind::kUsage, what + ": expected ids below the vocabulary's " +
                                           std::to_string(model_.config().n_vocab) + ", found " +
                                           std::to_string(id));
  }

  void check_texts() const {
    const auto check = [&](const std::vector<int32_t>& ids, const std::string& what) {
      const auto n = static_cast<int64_t>(ids.size());
      if (n < options_.window)
        throw Error(ErrorKind::kUsage, what + ": expected at least one window of " +
                                           std::to_string(options_.window) + " tokens, found " +
                                           std::to_string(n) +
                                           " tokens. Give more text, or a smaller window.");
      check_ids(ids, what);
    };
    if (tokens_.empty()) throw Error(ErrorKind::kUsage, "no text to learn from: give at least one");
    check(tokens_, "the texts");
    if (!held_out_.empty()) check(held_out_, "the texts held out");
  }

  void make_look_ups() {
    if (options_.look_ups == 0.0) return;
    tokenizer_ = Tokenizer::load(options_.model_dir);
    look_ups_.emplace(*tokenizer_, options_.look_ups, options_.seed);
    require(options_.window >= look_ups_->least_window(), "window",
            "at least " + std::to_string(look_ups_->least_window()) +
                " tokens, in which there is room for look-ups",
            std::to_string(options_.window));
  }

  // Makes the folder, and reads the checkpoint if the run is resumed. Refuses a folder in which the run would
  // overwrite gates or another run's checkpoint.
  void prepare_folder() {
    const fs::path folder = options_.out_dir;
    std::error_code error;
    fs::create_directories(folder, error);
    if (!fs::is_directory(folder))
      throw Error(ErrorKind::kRuntime, options_.out_dir + ": cannot make this folder" +
                                           (error ? ": " + error.message() : std::string()));
    if (has_entry((folder / "config.json").string()))
      throw Error(ErrorKind::kUsage, options_.out_dir +
                                         " has a config.json already, so it has gates or a "
                                         "model. Give another folder.");
    const bool there = has_entry((folder / kCheckpointName).string());
    if (there && !options_.resume)
      throw Error(ErrorKind::kUsage, options_.out_dir +
                                         " has the checkpoint of another run. Resume it with "
                                         "--resume, or give another folder.");
    if (!there && options_.resume)
      throw Error(ErrorKind::kUsage,
                  options_.out_dir + " has no checkpoint to resume: expected " + kCheckpointName);
    if (there) resumed_ = read_checkpoint(options_.out_dir, plan_.size(), settings_);
  }

  void load(std::unique_ptr<Backend> backend) {
    const DType kv_dtype = backend->kv_dtypes().front();
    const int64_t n_blocks = options_.window / plan_.block();
    model_.open(std::move(backend), shard_, kv_dtype);
    model_.check(plan_.block(), n_blocks);
    const std::string device = !model_.backend().has_own_memory() ? "cpu"
                               : options_.device == "auto"        ? "cuda"
                                                                  : options_.device;
    ModelSource source;
    source.files = model_.files();
    source.device = device;
    source.threads = options_.threads;
    source.page_tokens = plan_.block();
    source.n_blocks = n_blocks;
    source.kv_dtype = kv_dtype;
    ranks_.load(source, &model_.backend());
    model_.load([&](int64_t done, int64_t total) {
      ranks_.check();
      return !options_.on_load || options_.on_load({total, done});
    });
    ranks_.loaded();
    make_trainer();
    log_start();
  }

  void make_trainer() {
    TrainerOptions options;
    options.window = options_.window;
    options.n_steps = options_.steps;
    options.warm_up = options_.warm_up;
    options.learning_rate = options_.learning_rate;
    options.last_rate = *options_.last_rate;
    options.max_norm = options_.max_norm;
    options.clips_layers = options_.clip == GradientClip::kLayer;
    options.row_stride = options_.row_stride;
    ranks_.train({spec_, options, options_.seed});
    trainer_ = std::make_unique<Trainer>(model_, plan_, options, options_.seed, ranks_.comm());
    ranks_.allocated();
    if (resumed_) trainer_->set_state(*resumed_);
    resumed_.reset();
  }

  void log_start() const {
    log(LogLevel::kInfo,
        "training " + plan_.type() + " gates of " + std::to_string(plan_.size()) + " weights on " +
            model_.backend().description() +
            (ranks_.size() > 1 ? ", " + std::to_string(ranks_.size()) + " ranks" : std::string()) +
            ", windows of " + std::to_string(options_.window) + " tokens, " + std::to_string(options_.batch) +
            " a step, " + std::to_string(tokens_.size()) + " tokens of text" +
            (trainer_->n_done() > 0 ? ", from step " + std::to_string(trainer_->n_done()) + " on"
                                    : std::string()));
  }

  void train() {
    Windows windows(tokens_, options_.window, options_.seed);
    const Clock::time_point begin = Clock::now();
    const int64_t first = trainer_->n_done();
    while (trainer_->n_done() < options_.steps) {
      StepReport report;
      try {
        report = take_step(&windows);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kCancelled) throw;
        stopped_ = true;
        write_checkpoint(options_.out_dir, trainer_->state(), settings_);
        return;
      }
      const int64_t done = trainer_->n_done();
      if (options_.checkpoint_steps > 0 && done % options_.checkpoint_steps == 0 && done < options_.steps)
        write_checkpoint(options_.out_dir, trainer_->state(), settings_);
      if (options_.on_step) report_step(report, first, begin);
    }
  }

  StepReport take_step(Windows* windows) {
    std::vector<PlantedWindow> planted(static_cast<size_t>(look_ups_ ? options_.batch : 0));
    std::vector<TaughtWindow> batch;
    for (int64_t i = 0; i < options_.batch; ++i) {
      const int64_t number = trainer_->n_done() * options_.batch + i;
      batch.push_back({windows->at(number)});
      if (!look_ups_) continue;
      PlantedWindow& with = planted[static_cast<size_t>(i)];
      with = look_ups_->window(batch.back().ids, number, trainer_->first_token());
      check_ids(with.ids, "look-ups by the model's tokenizer");
      batch.back() = {with.ids, with.answers};
    }
    return trainer_->step(batch, [this] { throw_if_stopped(); });
  }

  void throw_if_stopped() const {
    if (options_.go_on && !options_.go_on()) throw Error(ErrorKind::kCancelled, "the training was stopped");
  }

  void report_step(const StepReport& report, int64_t first, Clock::time_point begin) const {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const auto n_run = static_cast<double>(trainer_->n_done() - first);
    DistillStep step;
    step.step = trainer_->n_done();
    step.n_steps = options_.steps;
    step.layer_losses = report.losses;
    step.gradient_norm = report.gradient_norm;
    step.learning_rate = report.learning_rate;
    step.tokens_per_second = n_run * static_cast<double>(options_.batch * options_.window) / seconds;
    step.seconds_left = seconds / n_run * static_cast<double>(options_.steps - trainer_->n_done());
    options_.on_step(step);
  }

  void measure(DistillResult* result) {
    const int64_t n = std::min(static_cast<int64_t>(held_out_.size()) / options_.window, max_held_out_);
    HeldOutPoints points;
    result->held_out_losses.assign(static_cast<size_t>(plan_.n_layers()), 0.0);
    for (int64_t i = 0; i < n; ++i) {
      if (options_.go_on && !options_.go_on()) break;
      const Window window = std::span(held_out_).subspan(static_cast<size_t>(i * options_.window),
                                                         static_cast<size_t>(options_.window));
      const std::vector<double> losses = trainer_->measure(window, &points);
      for (size_t l = 0; l < losses.size(); ++l) result->held_out_losses[l] += losses[l];
      ++result->n_held_out;
    }
    for (double& loss : result->held_out_losses)
      loss /= static_cast<double>(std::max<int64_t>(result->n_held_out, 1));
    if (result->n_held_out == 0) return;
    for (const RulePoint& point : points.points())
      result->held_out_rules.push_back(
          {point.rule, point.density(), point.recall(), point.possible_recall()});
  }

  Model model_;
  DistillOptions options_;
  GateSpec spec_;
  GatePlan plan_;
  RankLeader ranks_;
  Shard shard_;
  const std::vector<int32_t>&tokens_, &held_out_;
  int64_t max_held_out_;
  std::shared_ptr<const Tokenizer> tokenizer_;  // null without look-ups
  std::optional<PlantedLookUps> look_ups_;
  OrderedJson settings_;
  std::optional<TrainerState> resumed_;
  std::unique_ptr<Trainer> trainer_;  // destroyed before the ranks, which it uses
  bool stopped_ = false;
};

}  // namespace

double DistillStep::loss() const { return mean(layer_losses); }
double DistillResult::held_out_loss() const { return mean(held_out_losses); }

int64_t default_window(const DistillOptions& options) {
  return completed(options, ModelConfig::load(options.model_dir)).window;
}

DistillResult distill(const DistillOptions& options, const std::vector<int32_t>& tokens,
                      const std::vector<int32_t>& held_out, int64_t max_held_out_windows) {
  check_options(options);
  return Run(options, tokens, held_out, max_held_out_windows).run();
}

}  // namespace seer
