// Keeps the state of a training run in a file. Another process that goes on from it gets the same bits.
#pragma once

#include <optional>
#include <string>

#include "engine/base/json.h"
#include "models/distill/trainer.h"

namespace seer {

constexpr const char* kCheckpointName = "checkpoint.safetensors";

// Writes the file in the folder, in place of an earlier one. If that fails, the earlier one stays. `settings`
// is everything on which the run's results depend. Throws Error{kRuntime}.
void write_checkpoint(const std::string& dir, const TrainerState& state, const OrderedJson& settings);
// Returns the state in the folder's checkpoint, or nothing if there is no checkpoint. Throws Error{kFile} if
// it is malformed or not of `n_weights` weights, and Error{kUsage} if it is of a run with other settings: the
// message names the first that differs.
std::optional<TrainerState> read_checkpoint(const std::string& dir, int64_t n_weights,
                                            const OrderedJson& settings);
void remove_checkpoint(const std::string& dir);

}  // namespace seer
