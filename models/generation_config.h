// Reads generation_config.json of a Hugging Face checkpoint: how the model's makers sample, and where answers
// end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seer {

// The contents of the file. A field is absent if the file or its key is. Values are as they are in the file.
// A top_p of 0 keeps only the likeliest token, a min_p of 1 keeps the tokens that are as likely as the
// likeliest, and a top_k of 0 or -1 keeps all tokens.
struct GenerationConfig {
  bool exists = false;
  std::vector<int32_t> eos_ids;
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;
  // Keys that transformers' generate() follows and Seer does not, if their value would change the text, each
  // with its value as JSON: "no_repeat_ngram_size 3". Limits (max_length, max_new_tokens, max_time) are not
  // among them, because a request has its own. If do_sample is false, keys that matter only when tokens are
  // drawn are not among them either.
  std::vector<std::string> ignored;

  // Throws Error{kFile} if the file is malformed or a key above has the wrong type or range.
  static GenerationConfig load(const std::string& model_dir);
};

}  // namespace seer
