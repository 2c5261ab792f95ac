// Gates that several ranks train together are those that one rank trains.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/models/distill_runner.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/thread_ranks.h"

namespace seer {
namespace {

using testing::decode_spec;
using testing::DistillRunner;
using testing::prefill_spec;
using testing::TinyModel;
using testing::TinyShape;

using Floats = std::vector<float>;

// A trainer for each of several ranks, which are threads of the test.
class RankedDistill {
 public:
  RankedDistill(const TinyModel& tiny, const GateSpec& spec, const TrainerOptions& options, int n_ranks)
      : ranks_(n_ranks) {
    sides_.resize(static_cast<size_t>(n_ranks));
    ranks_.run_all([&](Communicator& comm) {
      sides_[static_cast<size_t>(comm.rank())] = std::make_unique<Side>(tiny, spec, options, &comm);
    });
    for (uint64_t i = 0; i < 2; ++i)
      windows_.push_back(
          testing::random_ids(DistillRunner::kWindow, sides_[0]->model.config().n_vocab, 100 + i));
  }

  // Calls lead() with rank 0's trainer while the other ranks follow. Returns each rank's error, which is
  // empty if it threw nothing.
  std::vector<std::string> try_lead(const std::function<void(Trainer&)>& lead) {
    return ranks_.run([&](Communicator& comm) {
      constexpr uint32_t kStop = 1000;
      Trainer& trainer = sides_[static_cast<size_t>(comm.rank())]->trainer;
      if (comm.rank() == 0) {
        lead(trainer);
        send_message(comm, kStop, {});
        return;
      }
      for (Message message;;) {
        receive_message(comm, &message);
        if (message.kind == kStop) return;
        trainer.follow(message);
      }
    });
  }
  void lead(const std::function<void(Trainer&)>& lead) {
    for (const std::string& error : try_lead(lead)) CHECK(error.empty());
  }
  // `answers` are of the first window.
  std::vector<TaughtWindow> both(const std::vector<int64_t>& answers = {}) const {
    return {{windows_[0], answers}, {windows_[1]}};
  }
  const std::vector<int32_t>& window() const { return windows_[0]; }

 private:
  struct Side {
    Side(const TinyModel& tiny, const GateSpec& spec, const TrainerOptions& options, Communicator* comm)
        : model(testing::loaded_model(tiny.path(), make_cpu_backend(1), comm->rank(), comm->size())),
          plan(spec, tiny.path(), model.config()),
          trainer(model, plan, options, 1, comm) {}
    Model model;
    GatePlan plan;
    Trainer trainer;
  };

  testing::ThreadRanks ranks_;
  std::vector<std::unique_ptr<Side>> sides_;
  std::vector<std::vector<int32_t>> windows_;
};

double largest(const Floats& values) {
  float most = 0.0F;
  for (const float x : values) most = std::max(most, std::abs(x));
  return most;
}

double largest_difference(const Floats& a, const Floats& b) {
  REQUIRE(a.size() == b.size());
  float most = 0.0F;
  for (size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

double mean_difference(const Floats& a, const Floats& b) {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(static_cast<double>(a[i]) - b[i]);
  return sum / static_cast<double>(a.size());
}

// Ranks add up a layer's outputs in another order, which changes activations by some units of float32's last
// place, 6e-8, and thus losses and gradients by some 1e-6 of themselves. AdamW divides each gradient by its
// own size, so a weight whose gradient is nothing but rounding may take a step of its own, by the learning
// rate at most; there are few of these, so weights are compared by their mean difference.
void check_ranks(const TinyShape& shape, const GateSpec& spec, int n_ranks, bool clips_layers = false) {
  INFO(shape.architecture << ", " << spec.type << ", " << n_ranks << " ranks, norms " << spec.norms
                          << ", two weights " << spec.force_double << ", clips layers " << clips_layers);
  constexpr double kRate = 0.01;
  const TinyModel tiny(shape);
  TrainerOptions options = DistillRunner::options(kRate);
  options.clips_layers = clips_layers;
  options.max_norm = 0.05;  // less than the gradients have
  DistillRunner one(tiny, spec, options, make_cpu_backend(1));
  RankedDistill many(tiny, spec, options, n_ranks);
  many.lead([&](Trainer& trainer) {
    CHECK((trainer.state().weights == one.trainer().state().weights));  // first weights
    for (int i = 0; i < 3; ++i) {
      INFO("step " << i);
      const StepReport expected = one.step(), found = trainer.step(many.both(), {});
      for (size_t l = 0; l < expected.losses.size(); ++l)
        CHECK(found.losses[l] == Approx(expected.losses[l]).epsilon(1e-5));
      CHECK(found.gradient_norm == Approx(expected.gradient_norm).epsilon(1e-5));
      CHECK(expected.gradient_norm > options.max_norm);
      const Floats gradients = one.trainer().gradients();
      CHECK(largest_difference(trainer.gradients(), gradients) < 1e-4 * largest(gradients));
    }
    const TrainerState expected = one.trainer().state(), found = trainer.state();
    CHECK(found.n_done == 3);
    CHECK(mean_difference(found.weights, expected.weights) < 1e-4 * kRate);
    CHECK(largest_difference(found.moments, expected.moments) < 1e-4 * largest(expected.moments));
    HeldOutPoints a, b;
    const std::vector<double> losses = one.trainer().measure(one.window(), &a),
                              of_ranks = trainer.measure(many.window(), &b);
    for (size_t l = 0; l < losses.size(); ++l) CHECK(of_ranks[l] == Approx(losses[l]).epsilon(1e-5));
    for (size_t i = 0; i < a.points().size(); ++i) {
      INFO(a.points()[i].rule);
      CHECK(b.points()[i].visible == a.points()[i].visible);
      CHECK(b.points()[i].n_rows == a.points()[i].n_rows);
      CHECK(b.points()[i].density() == Approx(a.points()[i].density()).margin(1e-3));
      CHECK(b.points()[i].recall() == Approx(a.points()[i].recall()).margin(1e-3));
    }
  });
}

TEST_CASE("ranks train the gates for prompts that one rank trains, also if they share KV heads") {
  const TinyShape llama;
  for (const int n_ranks : {2, 4}) check_ranks(llama, prefill_spec("Qavg_Kmaxminavg"), n_ranks);
  check_ranks(llama, prefill_spec("Qmin_Kavg", 0, true), 2);
  check_ranks(llama, prefill_spec("Qavg_Kavg"), 2, /*clips_layers=*/true);
}

TEST_CASE("ranks train the gates for decoding that one rank trains, whose norms belong to all heads") {
  const TinyShape llama;
  for (const bool clips_layers : {false, true})
    check_ranks(llama, decode_spec("Qproj_Kmaxminavg"), 2, clips_layers);
  check_ranks(llama, decode_spec("Qavg_Kmaxmin", false), 2);
  TinyShape qwen3;
  qwen3.architecture = "Qwen3ForCausalLM";
  check_ranks(qwen3, decode_spec("Qavgproj_Kavg"), 2);
}

TEST_CASE("ranks give the rows of answers the weights that one rank gives them, in their window alone") {
  const TinyModel tiny;
  const GateSpec spec = decode_spec("Qproj_Kmaxminavg");
  const TrainerOptions options = DistillRunner::options(0.01);
  const std::vector<int64_t> answers = {70, 71, 127};
  DistillRunner one(tiny, spec, options, make_cpu_backend(1)),
      plain(tiny, spec, options, make_cpu_backend(1));
  RankedDistill many(tiny, spec, options, 2);
  many.lead([&](Trainer& trainer) {
    for (const bool asks : {true, false, true}) {
      INFO("answers: " << asks);
      const std::vector<int64_t> of_step = asks ? answers : std::vector<int64_t>();
      const StepReport expected = one.step(of_step), found = trainer.step(many.both(of_step), {});
      for (size_t l = 0; l < expected.losses.size(); ++l)
        CHECK(found.losses[l] == Approx(expected.losses[l]).epsilon(1e-5));
      const Floats gradients = one.trainer().gradients();
      CHECK(largest_difference(trainer.gradients(), gradients) < 1e-4 * largest(gradients));
    }
    // Without weights the gradients are others.
    plain.trainer().set_state(one.trainer().state());
    plain.step();
    one.step(answers);
    const Floats gradients = one.trainer().gradients();
    CHECK(largest_difference(plain.trainer().gradients(), gradients) > 1e-2 * largest(gradients));
  });
}

TEST_CASE("ranks go on from a state with the same bits, and a step that was stopped leaves no trace") {
  const TinyModel tiny;
  for (const GateSpec& spec : {prefill_spec("Qavg_Kmaxminavg"), decode_spec("Qproj_Kmaxminavg")}) {
    INFO(spec.type);
    const TrainerOptions options = DistillRunner::options(0.01);
    RankedDistill whole(tiny, spec, options, 2), parts(tiny, spec, options, 2);
    TrainerState middle, end, resumed;
    whole.lead([&](Trainer& trainer) {
      trainer.step(whole.both(), {});
      int n = 0;
      const auto stop = [&] {
        if (++n == 2) throw Error(ErrorKind::kCancelled, "stopped");
      };
      CHECK(testing::refusal(ErrorKind::kCancelled, [&] { trainer.step(whole.both(), stop); }) == "stopped");
      middle = trainer.state();
      trainer.step(whole.both(), {});
      end = trainer.state();
    });
    CHECK(middle.n_done == 1);
    CHECK(end.n_done == 2);
    parts.lead([&](Trainer& trainer) {
      trainer.set_state(middle);
      CHECK((trainer.state().moments == middle.moments));
      trainer.step(parts.both(), {});
      resumed = trainer.state();
    });
    CHECK(resumed.n_done == 2);
    CHECK((resumed.weights == end.weights));
    CHECK((resumed.moments == end.moments));
    CHECK((resumed.second_moments == end.second_moments));
  }
}

TEST_CASE("a loss that is not finite is named with its step and layer on whichever rank it is") {
  const TinyModel tiny;
  for (const size_t rank : {0, 1}) {
    INFO("rank " << rank);
    RankedDistill ranks(tiny, prefill_spec("Qavg_Kavg"), DistillRunner::options(0.01), 2);
    const std::vector<std::string> errors = ranks.try_lead([&](Trainer& trainer) {
      trainer.step(ranks.both(), {});
      Floats weights = trainer.state().weights;
      // The heads of this rank in layer 1 are a quarter of all numbers.
      const size_t quarter = weights.size() / 4;
      std::fill_n(weights.begin() + static_cast<std::ptrdiff_t>((2 + rank) * quarter), quarter,
                  std::numeric_limits<float>::quiet_NaN());
      trainer.set_weights(weights);
      trainer.step(ranks.both(), {});
    });
    const std::string expected =
        "step 2: layer 1: the loss is not a finite number. Try a lower learning rate.";
    CHECK(errors[0] == expected);
    CHECK_THAT(errors[1], ContainsSubstring("layer 1: the loss is not a finite number"));
  }
}

TEST_CASE("gates with weights of KV heads are refused for more ranks than these") {
  const TinyModel tiny;
  const ModelConfig config = ModelConfig::load(tiny.path());
  const auto refused = [&](const GateSpec& spec, int n_ranks) {
    const GatePlan plan(spec, tiny.path(), config);
    return testing::refusal(ErrorKind::kUnsupported, [&] { (void)plan.divided(n_ranks); });
  };
  CHECK_THAT(
      refused(decode_spec("Qproj_Kmaxminavg"), 4),
      ContainsSubstring("for each of 2 KV heads, and are trained by no more ranks than these: found 4"));
  CHECK_THAT(refused(prefill_spec("Qmin_Kavg", 0, true), 4), ContainsSubstring("mask_linear_k.weight"));
}

}  // namespace
}  // namespace seer
