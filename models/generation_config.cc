#include "models/generation_config.h"

#include <filesystem>

#include "models/checkpoint_folder.h"
#include "models/json_util.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kMaxBytes = int64_t{16} << 20;
constexpr int64_t kMaxTopK = int64_t{1} << 24;

// A key that Seer does not follow, and its values that change nothing; null and empty lists never do.
struct IgnoredKey {
  const char* name;
  std::optional<double> neutral;   // a number
  bool only_when_drawing = false;  // greedy decoding does not look at it
};
constexpr IgnoredKey kIgnored[] = {
    {"no_repeat_ngram_size", 0.0},
    {"encoder_no_repeat_ngram_size", 0.0},
    {"encoder_repetition_penalty", 1.0},
    {"suppress_tokens", {}},
    {"begin_suppress_tokens", {}},
    {"bad_words_ids", {}},
    {"force_words_ids", {}},
    {"constraints", {}},
    {"sequence_bias", {}},
    {"forced_bos_token_id", {}},
    {"forced_eos_token_id", {}},
    {"forced_decoder_ids", {}},
    {"num_beams", 1.0},
    {"num_beam_groups", 1.0},
    {"diversity_penalty", 0.0},
    {"penalty_alpha", 0.0},
    {"dola_layers", {}},
    {"guidance_scale", 1.0},
    {"exponential_decay_length_penalty", {}},
    {"watermarking_config", {}},
    {"stop_strings", {}},
    {"min_length", 0.0},
    {"min_new_tokens", 0.0},
    {"typical_p", 1.0, true},
    {"epsilon_cutoff", 0.0, true},
    {"eta_cutoff", 0.0, true},
    {"top_h", {}, true},
};

bool changes_text(const Json& value, const IgnoredKey& key) {
  if (value.is_null()) return false;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  if (value.is_array() || value.is_object()) return !value.empty();
  if (value.is_boolean()) return value.get<bool>();
  return !key.neutral || value.get<double>() != *key.neutral;
}

}  // namespace

GenerationConfig GenerationConfig::load(const std::string& model_dir) {
  GenerationConfig g;
  const std::string path = (std::filesystem::path(model_dir) / "generation_config.json").string();
  if (!has_entry(path)) return g;
  const JsonReader r(read_json_object(path, kMaxBytes), path);
  g.exists = true;
  g.eos_ids = r.ids("eos_token_id");
  if (r.has("do_sample")) g.do_sample = r.boolean("do_sample", false);
  g.temperature = r.optional_number("temperature", 0.0, 1e6);
  g.top_p = r.optional_number("top_p", 0.0, 1.0);
  g.min_p = r.optional_number("min_p", 0.0, 1.0);
  g.repetition_penalty = r.optional_number("repetition_penalty", 1e-6, 1e6);
  g.top_k = r.optional_integer("top_k", -1, kMaxTopK);
  for (const IgnoredKey& key : kIgnored) {
    const Json* value = r.find(key.name);
    if (value == nullptr || (key.only_when_drawing && g.do_sample == false)) continue;
    if (changes_text(*value, key)) g.ignored.push_back(std::string(key.name) + " " + json_excerpt(*value));
  }
  return g;
}

}  // namespace seer
