// What an option that does not exist was probably meant to be.
#pragma once

#include <string>
#include <vector>

namespace seer::cli {

// Returns text for the end of an error about `word`, an option that is not among `known`: " (did you mean
// '--temp'?)", or why there is no such option. It is empty if nothing can be said. Options of llama.cpp, vLLM
// and the Hugging Face tools are known by name; others are compared with `known` by their spelling.
std::string option_hint(const std::string& word, const std::vector<std::string>& known);

// Whether `word` is an option with one dash and several letters: one of theirs, such as "-ngl", or one of
// `known` that lacks a dash. The same letters could also be "-n" with a value.
bool is_single_dash_option(const std::string& word, const std::vector<std::string>& known);

// The closest of `known` by edit distance, where one is near enough to be what was meant; empty otherwise.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace seer::cli
