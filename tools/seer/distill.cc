// seer distill: trains gates for a model from plain text.
#include "seer/distill.h"

#include <algorithm>

#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/model_options.h"
#include "tools/seer/output.h"
#include "tools/seer/rank_options.h"
#include "tools/seer/row_writer.h"
#include "tools/seer/status_line.h"
#include "tools/seer/training_text.h"

namespace seer::cli {
namespace {

constexpr const char* kDistillDescription =
    "Trains SeerAttention gates for a model from plain text, on a CPU, a GPU or several ranks. The model "
    "stays as it is: each layer's gate learns which key blocks the layer attends to, by the KL divergence "
    "from the layer's own attention, pooled over blocks. Writes config.json and "
    "attn_gate_weights.safetensors to --out, which -g of the other commands takes. Without --held-out, up to "
    "8 windows at the end of the texts, and at most a tenth of them, are held out. At the end stdout gets a "
    "row for each of some rules: the share of the blocks that it would keep on the texts held out, the share "
    "of the attention in them, and the share that as many blocks could have. Ctrl-C writes a checkpoint, "
    "from which --resume goes on with the same bits.";

constexpr int64_t kHeldOutWindows = 8;
constexpr int64_t kMaxThreads = 4096, kMaxRanks = 1024;

struct DistillCommand {
  static constexpr CommandHead kHead = {"distill", "-m DIR -f PATH --out DIR [options]", kDistillDescription};

  DistillOptions options;
  std::vector<std::string> texts, held_out;
  std::string kind = "prefill", clip = "all";
  std::string output = "md";
  int64_t threads = 0, seed = 0, tp = 0;
  std::optional<double> learning_rate, max_norm, look_ups, comm_timeout;
  bool no_norms = false, no_rope = false, quiet = false;

  void add_to(Args& args) {
    add_data(args);
    add_gate(args);
    add_run(args);
    args.group("Model");
    add_model_dir(args, options.model_dir);
    args.value("--weights", "TYPE", "auto: as they are stored",
               "round the layers' matrices while loading, as they will be rounded when the gates are used: "
               "bf16, fp8 or int4",
               into(options.weights));
    args.value("-t,--threads", "N", "0: every core, within the container's CPU limit", "CPU threads",
               into(threads, 0, kMaxThreads));
    args.value("--device", "NAME", "auto", "auto, cpu, cuda or cuda:N", into(options.device), "SEER_DEVICE");
    args.value("--tp", "N", "1, or as many as mpirun started",
               "ranks on this machine that hold the model together, a GPU each or a share of the CPU's "
               "cores; each trains the gates of its heads",
               into(tp, 1, kMaxRanks));
    args.value("--comm-timeout", "SECONDS", "60",
               "give up a rank that others wait for longer than this within a step", into(comm_timeout));
  }

 private:
  void add_data(Args& args) {
    args.group("Texts");
    args.values("-f,--file", "PATH", "none: it must be given",
                "a text, .jsonl with a text in the key text of each line, .ids with token ids, or a folder "
                "of such files (.txt, .md, .jsonl, .ids); may be given many times",
                into(texts));
    args.values("--held-out", "PATH", "the end of the texts",
                "texts to measure the gates by, in the same forms; may be given many times", into(held_out));
    args.value("-o,--out", "DIR", "none: it must be given", "folder for the gates; it may not have any yet",
               into(options.out_dir));
    args.flag("--pth", options.pth, "also write attn_gate_weights.pth, which upstream's Python loads");
  }

  void add_gate(Args& args) {
    args.group("Gates");
    args.choice("--kind", "KIND", kind, {"prefill", "decode"},
                "gates that choose blocks for prompts, or for decoded tokens");
    args.value("--gate-type", "TYPE", "Qavg_Kmaxminavg, or Qproj_Kmaxminavg for decoding",
               "pools of queries and of keys: Q and K with max, min and avg; for decoding Qproj, Qavgproj or "
               "Qavg, and K",
               into(options.gate_type));
    args.value("--block-size", "N", "64", "tokens of a block: 16 to 128, for decoding 16, 32 or 64",
               into(options.block_size, 1));
    args.value("--hidden-size", "N", "0: the size of the model's heads", "size of a gate's queries and keys",
               into(options.hidden_size, 0));
    args.flag("--force-double", options.force_double,
              "two weights, of queries and of keys, where one would do; for prompts");
    args.flag("--no-norms", no_norms, "leave out the norms of gate queries and gate keys; for decoding");
    args.flag("--no-rope", no_rope, "leave out the rotation of gate queries and gate keys; for decoding");
  }

  void add_run(Args& args) {
    args.group("Training");
    args.value("--window", "N", "0: 65536, for decoding 32768, or the model's maximum",
               "tokens of a window, a multiple of the block", into(options.window, 0));
    args.value("--batch", "N", "16", "windows of a step", into(options.batch, 1));
    args.value("--steps", "N", "0: 500, or 800 for decoding", "steps of the optimiser (AdamW)",
               into(options.steps, 0));
    args.value("--lr", "X", "0.001", "learning rate at its highest, after the warm-up", into(learning_rate));
    args.value("--last-lr", "X", "0, or 0.00001 for decoding", "learning rate at the end of its cosine",
               into(options.last_rate));
    args.value("--warm-up", "N", "20", "steps in which the learning rate rises", into(options.warm_up, 0));
    args.value("--max-norm", "X", "1", "clip gradients to this norm", into(max_norm));
    args.choice("--clip", "WHAT", clip, {"all", "layer"},
                "clip the gradients of all gates together, as in the published recipe, or each layer's by "
                "themselves");
    args.value("--row-stride", "N", "1",
               "learn from every N-th token of a window's second half; for decoding",
               into(options.row_stride, 1));
    args.value("--look-ups", "SHARE", "0",
               "plant sentences with numbers in this share of the windows, and ask for the numbers later in "
               "them; the answers then have an eighth of the window's loss",
               into(look_ups));
    args.value("-s,--seed", "N", "0", "seed of the first weights and of the windows", into(seed, 0));
    args.flag("--resume", options.resume, "go on from the checkpoint in --out; give the other options again");
    args.value("--checkpoint-steps", "N", "50", "write a checkpoint every N steps; 0: only after a Ctrl-C",
               into(options.checkpoint_steps, 0));
    args.flag("-q,--quiet", quiet, "leave out the progress");
    args.choice("--output", "FORMAT", output, kRowFormats, "how rows are written");
  }

 public:
  void finish() {
    require_model_dir(options.model_dir);
    if (texts.empty()) throw Error(ErrorKind::kUsage, "no text: give -f PATH, as often as there are texts");
    if (options.out_dir.empty()) throw Error(ErrorKind::kUsage, "no folder for the gates: give --out DIR");
    const bool decode = kind == "decode";
    if (!decode && (no_norms || no_rope || options.row_stride != 1))
      throw Error(ErrorKind::kUsage,
                  "--no-norms, --no-rope and --row-stride are about gates for decoding; give --kind decode");
    if (decode && options.force_double)
      throw Error(ErrorKind::kUsage, "--force-double is about gates for prompts; leave it out");
    options.kind = decode ? GateKind::kDecode : GateKind::kPrefill;
    options.norms = !no_norms;
    options.rope = !no_rope;
    options.threads = static_cast<int>(threads);
    options.seed = static_cast<uint64_t>(seed);
    if (learning_rate) options.learning_rate = *learning_rate;
    if (max_norm) options.max_norm = *max_norm;
    if (look_ups) options.look_ups = *look_ups;
    if (clip == "layer") options.clip = GradientClip::kLayer;
  }
};

// Returns the losses of layers in up to four groups: "0-7 1.234, 8-15 1.100".
std::string losses_by_group(const std::vector<double>& losses) {
  const size_t n = losses.size(), n_groups = std::min<size_t>(n, 4);
  std::string text;
  for (size_t g = 0; g < n_groups; ++g) {
    const size_t first = g * n / n_groups, end = (g + 1) * n / n_groups;
    double sum = 0.0;
    for (size_t l = first; l < end; ++l) sum += losses[l];
    text += (g == 0 ? "" : ", ") + std::to_string(first) +
            (end - first > 1 ? "-" + std::to_string(end - 1) : std::string()) +
            format(" %.4f", sum / static_cast<double>(end - first));
  }
  return text;
}

std::string describe(const DistillStep& step) {
  return format("step %lld/%lld: loss %.4f (layers ", static_cast<long long>(step.step),
                static_cast<long long>(step.n_steps), step.loss()) +
         losses_by_group(step.layer_losses) +
         format("), gradient %.3f, rate %.2e, %.0f tokens/s, ETA ", step.gradient_norm, step.learning_rate,
                step.tokens_per_second) +
         human_duration(step.seconds_left);
}

class Distill {
 public:
  explicit Distill(DistillCommand command) : command_(std::move(command)) {}

  int run() {
    std::vector<int32_t> tokens = read_training_text(command_.texts, command_.options.model_dir);
    std::vector<int32_t> held_out = command_.held_out.empty()
                                        ? hold_out(&tokens)
                                        : read_training_text(command_.held_out, command_.options.model_dir);
    DistillOptions options = command_.options;
    options.on_load = [](const LoadProgress&) { return !interrupted(); };
    options.go_on = [] { return !interrupted(); };
    options.on_log = [this](LogLevel level, const std::string& text) {
      line_.clear();
      if (level == LogLevel::kWarning) {
        log_warning(text);
      } else if (!command_.quiet) {
        log_info(text);
      }
    };
    options.on_step = [this](const DistillStep& step) { show(step); };
    options.ranks = ranks_for(command_.tp, 0);
    if (command_.comm_timeout && options.ranks) options.ranks->set_timeout(*command_.comm_timeout);
    const DistillResult result = distill(options, tokens, held_out, kHeldOutWindows);
    line_.clear();
    if (result.stopped) {
      log_info("interrupted after step " + std::to_string(result.n_done) + " of " +
               std::to_string(result.n_steps) + "; --resume goes on from the checkpoint in " +
               options.out_dir);
      return kInterrupted;
    }
    log_info("wrote the gates to " + options.out_dir);
    print(result);
    return kDone;
  }

 private:
  // Takes windows from the end of the tokens: at most kHeldOutWindows, and at most a tenth of the tokens.
  std::vector<int32_t> hold_out(std::vector<int32_t>* tokens) const {
    const int64_t window = default_window(command_.options), n = static_cast<int64_t>(tokens->size());
    const int64_t n_held_out = std::min(kHeldOutWindows, n / 10 / window) * window;
    std::vector<int32_t> last(tokens->end() - n_held_out, tokens->end());
    tokens->resize(static_cast<size_t>(n - n_held_out));
    return last;
  }

  // Shows every step on a terminal's status line, and some 40 steps as lines of a log.
  void show(const DistillStep& step) {
    if (command_.quiet) return;
    line_.update(describe(step));
    const int64_t every = std::max<int64_t>(1, step.n_steps / 40);
    if (step.step != 1 && step.step != step.n_steps && step.step % every != 0) return;
    line_.clear();
    log_info(describe(step));
  }

  void print(const DistillResult& result) const {
    if (result.n_held_out == 0) {
      log_info(interrupted() ? "interrupted before a window held out was measured; the gates are written"
                             : "no window was held out, so nothing was measured: the texts are too short for "
                               "that; give --held-out");
      return;
    }
    log_info(format("held out: loss %.4f (layers ", result.held_out_loss()) +
             losses_by_group(result.held_out_losses) + ") in " + std::to_string(result.n_held_out) +
             (result.n_held_out == 1 ? " window" : " windows"));
    RowWriter writer(command_.output, {{"rule", 15, false}, {"density", 7}, {"recall", 7}, {"possible", 8}});
    for (const HeldOutRule& rule : result.held_out_rules)
      writer.write({{"rule", rule.rule},
                    {"density", rule.density},
                    {"recall", rule.recall},
                    {"possible_recall", rule.possible_recall},
                    {"loss", result.held_out_loss()},
                    {"n_windows", result.n_held_out}},
                   {rule.rule, format("%.1f%%", 100.0 * rule.density), format("%.1f%%", 100.0 * rule.recall),
                    format("%.1f%%", 100.0 * rule.possible_recall)});
    writer.finish();
  }

  DistillCommand command_;
  StatusLine line_;
};

}  // namespace

CommandTable describe_distill() { return table_of<DistillCommand>(); }

int run_distill(const Arguments& arguments) {
  DistillCommand command;
  Args args(DistillCommand::kHead);
  command.add_to(args);
  if (!args.parse(arguments)) return kDone;
  command.finish();
  return Distill(std::move(command)).run();
}

}  // namespace seer::cli
