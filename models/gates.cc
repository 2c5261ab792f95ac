#include "models/gates.h"

#include <algorithm>
#include <filesystem>

#include "models/checkpoint_folder.h"
#include "models/gate_files.h"
#include "seer/error.h"

namespace seer {
namespace {

namespace fs = std::filesystem;

bool is_for_prompts(const JsonReader& config) { return config.has("seerattn_gate_type"); }

// Returns the folders of gates that lie in `dir`, in the order of their names. Folders of other things, such
// as the model, are left out.
std::vector<std::string> gate_folders(const std::string& dir) {
  std::vector<std::string> folders;
  std::error_code error;
  for (fs::directory_iterator i(dir, error), end; !error && i != end; i.increment(error)) {
    if (!has_entry(i->path() / "config.json")) continue;
    const JsonReader config = read_gate_config(i->path().string());
    if (is_for_prompts(config) || DecodeGateWeights::describes(config)) folders.push_back(i->path().string());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

}  // namespace

Gates Gates::load(const std::vector<std::string>& dirs, const ModelConfig& model) {
  Gates gates;
  for (const std::string& dir : dirs) {
    const std::vector<std::string> inside =
        has_entry(fs::path(dir) / "config.json") ? std::vector<std::string>() : gate_folders(dir);
    if (inside.empty()) gates.add(dir, model);
    for (const std::string& folder : inside) gates.add(folder, model);
  }
  return gates;
}

void Gates::add(const std::string& dir, const ModelConfig& model) {
  const JsonReader config = read_gate_config(dir);
  const bool for_prompts = is_for_prompts(config), for_decoding = DecodeGateWeights::describes(config);
  if (for_prompts && for_decoding)
    throw Error(ErrorKind::kFile, config.origin() +
                                      ": expected gates of one kind, found the keys of both kinds "
                                      "(seerattn_gate_type: for prompts; seerattn_k_seq_pooling_type: for "
                                      "decoding). Use a folder for each.");
  if (for_decoding ? decode_.has_value() : prefill_.has_value())
    throw Error(ErrorKind::kFile, dir + ": expected one folder of gates for " +
                                      (for_decoding ? "decoding" : "prompts") +
                                      ", found a second one. Leave one of them out.");
  if (for_decoding) {
    decode_ = DecodeGateWeights::load(dir, model);
  } else {
    prefill_ = GateWeights::load(dir, model);
  }
  check_blocks(dir);
}

void Gates::check_blocks(const std::string& origin) const {
  if (!prefill_ || !decode_ || prefill_->config.gate_block == decode_->config.gate_block) return;
  throw Error(ErrorKind::kUnsupported,
              origin + ": gates with blocks of different sizes are not supported together: found blocks of " +
                  std::to_string(prefill_->config.gate_block) + " tokens for prompts and of " +
                  std::to_string(decode_->config.gate_block) + " for decoding. Use one of them.");
}

Gates Gates::random(const std::string& config_path, const ModelConfig& model, uint64_t seed) {
  Gates gates;
  gates.prefill_ = GateWeights::random(config_path, model, seed);
  gates.decode_ = DecodeGateWeights::random(config_path, model, seed + 1000000);
  gates.check_blocks(config_path);
  return gates;
}

void Gates::keep(const Shard& shard) {
  if (prefill_) prefill_->keep(shard);
  if (!decode_) return;
  if (shard.local.n_kv_heads * shard.size != static_cast<int64_t>(decode_->layers.front().linear_k.dim(0)))
    throw Error(ErrorKind::kUnsupported,
                "gates for decoding are not supported with more ranks than KV heads: expected at most " +
                    std::to_string(decode_->layers.front().linear_k.dim(0)) + " ranks, found " +
                    std::to_string(shard.size) + ". Use fewer ranks, or leave out these gates.");
  decode_->keep(shard);
}

}  // namespace seer
