// Suggestions for an option that does not exist.
#pragma once

#include <string>
#include <vector>

namespace seer::cli {

// Returns text for the end of an error about `word`, an option that is not among `known`: " (did you mean
// '--temp'?)", or the reason why there is no such option. Returns an empty text if there is nothing to say.
// Options of llama.cpp, vLLM and the Hugging Face tools are known by name; others are compared with `known`
// by their spelling.
std::string option_hint(const std::string& word, const std::vector<std::string>& known);

// Returns whether `word` is an option with one dash and several letters: one of those tools', such as "-ngl",
// or one of `known` that lacks a dash. The same letters could also mean "-n" with a value.
bool is_single_dash_option(const std::string& word, const std::vector<std::string>& known);

// Returns the member of `known` with the smallest edit distance, or an empty text if none is near enough.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace seer::cli
