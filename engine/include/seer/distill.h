// Trains SeerAttention gates for a model from plain text: the model is frozen, and each layer's gate learns
// which key blocks the layer attends to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "seer/ranks.h"

namespace seer {

enum class GateKind { kPrefill, kDecode };

// Which gradients are clipped together to DistillOptions::max_norm.
enum class GradientClip {
  kAll,    // those of all gates, as in the published recipe
  kLayer,  // those of each layer: a layer whose gradients are large does not slow down the others
};

// The progress of a run.
struct SEER_API DistillStep {
  int64_t step = 0, n_steps = 0;     // `step` steps are done
  std::vector<double> layer_losses;  // KL divergence, mean over the step's windows, heads and rows
  double gradient_norm = 0.0;        // of all gates together, before it was clipped
  double learning_rate = 0.0;
  double tokens_per_second = 0.0, seconds_left = 0.0;  // by the steps since this run began or was resumed

  double loss() const;  // mean over layers
};

// The bits of the result depend on these options and on the texts alone, but not on `threads`. A run that was
// stopped and resumed gives the bits of an unbroken one. Other devices give other bits: a CPU, a GPU, and a
// GPU of another kind. So a run of a CPU is not resumed on a GPU, nor the other way round. Another number of
// ranks gives other bits too, so a run is resumed on as many ranks as it began with.
struct SEER_API DistillOptions {
  std::string model_dir;  // a Hugging Face checkpoint, as in EngineOptions
  std::string out_dir;    // gets the gates and, until they are done, the checkpoint; made if it is missing
  std::string device = "auto";
  int threads = 0;  // CPU threads; 0: as many as usable_cores(), or a rank's share of them
  // The ranks among which the model is divided (tensor parallelism). Each trains the gates of its heads.
  // Null: this process alone.
  std::shared_ptr<Ranks> ranks;
  std::string weights = "auto";  // as in EngineOptions

  GateKind kind = GateKind::kPrefill;  // gates for prompts (SeerAttention) or for decoding (SeerAttention-R)
  std::string gate_type;               // empty: Qavg_Kmaxminavg for prompts, Qproj_Kmaxminavg for decoding
  int64_t block_size = 64;             // tokens
  int64_t hidden_size = 0;             // of gates; 0: the size of the model's heads
  bool force_double = false;           // gates for prompts: two weights even if one would do
  bool norms = true;                   // gates for decoding: RMS norms of gate queries and gate keys
  bool rope = true;                    // gates for decoding: RoPE of gate queries and gate keys

  int64_t window = 0;  // tokens; 0: 65536 for prompts and 32768 for decoding, or the model's maximum if that
                       // is less
  int64_t batch = 16;  // windows of a step
  int64_t steps = 0;   // 0: 500 for prompts, 800 for decoding
  double learning_rate = 1e-3;
  std::optional<double> last_rate;  // where the cosine ends; default: 0 for prompts, 1e-5 for decoding
  int64_t warm_up = 20;             // steps
  double max_norm = 1.0;            // gradients of a larger norm are clipped to it
  GradientClip clip = GradientClip::kAll;
  int64_t row_stride = 1;  // gates for decoding: learn from every so many tokens
  // The share of the windows in which look-ups are planted: sentences with numbers, and later in the window
  // questions about the numbers, followed by the answers. The answers together get an eighth of the weight of
  // the window's loss. Look-ups need the tokenizer of model_dir. Windows held out get no look-ups, and
  // DistillStep::layer_losses are means without these weights.
  double look_ups = 0.0;
  uint64_t seed = 0;

  bool resume = false;            // go on from the checkpoint in out_dir
  int64_t checkpoint_steps = 50;  // steps between checkpoints; 0: there is one only if the run is stopped
  bool pth = false;               // also write attn_gate_weights.pth

  std::function<bool(const LoadProgress&)> on_load;          // see EngineOptions
  std::function<void(LogLevel, const std::string&)> on_log;  // see EngineOptions
  // It is called before each window. If it returns false during the training, the run writes a checkpoint of
  // the steps done and returns. If it returns false later, the windows held out that are left are not
  // measured.
  std::function<bool()> go_on;
  std::function<void(const DistillStep&)> on_step;  // called after each step
};

// The blocks that a rule would keep on texts held out, by the gates' scores. Blocks that the engine keeps in
// addition, such as those of a prompt's last rows, are not counted.
struct SEER_API HeldOutRule {
  std::string rule;      // "threshold=0.002", "best 0.1"
  double density = 0.0;  // share of the blocks to choose from that it keeps
  double recall = 0.0;   // share of the ground truth in these blocks
  // The share of the ground truth that as many blocks of each row have if they are chosen by the ground truth
  // itself. No gate has a higher recall.
  double possible_recall = 0.0;
};

struct SEER_API DistillResult {
  int64_t n_done = 0, n_steps = 0;
  bool stopped = false;                 // by go_on; there is then a checkpoint, and no gates
  int64_t n_held_out = 0;               // windows that were measured; 0: none
  std::vector<double> held_out_losses;  // [n_layers], of the weights in the file
  std::vector<HeldOutRule> held_out_rules;

  double held_out_loss() const;  // mean over layers
};

// Trains gates and writes them to out_dir. `tokens` are the texts, one after the other. `held_out` are texts
// by which the result is measured, in their first max_held_out_windows windows; they may be empty. Throws
// Error: kUsage for options, for texts shorter than a window, for a folder that has gates or a model already,
// for one that has a checkpoint unless `resume` is set, and for one that has none if it is set; kFile,
// kUnsupported, kMemory and kDevice as Engine::load() does; kUnsupported also for more ranks than KV heads,
// unless the gates have no weights of KV heads; kCancelled if on_load returns false; kRuntime if a loss is
// not finite, with the layer and the step, or if a file cannot be written. The last checkpoint survives all
// of these.
SEER_API DistillResult distill(const DistillOptions& options, const std::vector<int32_t>& tokens,
                               const std::vector<int32_t>& held_out, int64_t max_held_out_windows = 8);

// Returns options.window, or the window that 0 stands for. Throws as distill() does.
SEER_API int64_t default_window(const DistillOptions& options);

}  // namespace seer
