#include "tools/seer/option_hints.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <string_view>

namespace seer::cli {
namespace {

struct Foreign {
  std::string_view word;
  // The name of an option here, or a reason, which begins with a blank. If a word is in the list twice, the
  // first option that the command has counts.
  std::string_view here;
};

constexpr std::string_view kWholeDevice =
    " is not needed: a model is on one device as a whole (see --device), or divided among several with --tp";
constexpr std::string_view kOwnType = " is not needed: weights are used in the type in which they are saved";
constexpr std::string_view kNoCode = " is not needed: no code from a model's folder is run";
constexpr std::string_view kAlways = " is not needed: it is always on";

constexpr Foreign kForeign[] = {
    {"--temperature", "--temp"},
    {"--max-tokens", "--n-predict"},
    {"--max-tokens", "--n-gen"},
    {"--max-new-tokens", "--n-predict"},
    {"--max-new-tokens", "--n-gen"},
    {"--max-length", "--n-predict"},
    {"--predict", "--n-predict"},
    {"--n-gen", "--n-predict"},
    {"--output-len", "--n-gen"},
    {"--input-len", "--n-prompt"},
    {"--reverse-prompt", "--stop"},
    {"--antiprompt", "--stop"},
    {"--stop-sequence", "--stop"},
    {"--stop-strings", "--stop"},
    {"--max-model-len", "--ctx-size"},
    {"--max-seq-len", "--ctx-size"},
    {"--max-context-len", "--ctx-size"},
    {"--context-length", "--ctx-size"},
    {"--context-size", "--ctx-size"},
    {"--context", "--ctx-size"},
    {"--n-ctx", "--ctx-size"},
    {"--ctx", "--ctx-size"},
    {"--num-ctx", "--ctx-size"},
    {"--repetition-penalty", "--repeat-penalty"},
    {"--system-prompt", "--system"},
    {"--prompt-file", "--file"},
    {"--input-file", "--file"},
    {"--print-ids", "--ids"},
    {"--special", "--parse-special"},
    {"--greedy", " is --temp 0 here"},
    {"--do-sample", " is a --temp above 0 here"},
    {"--model-path", "--model"},
    {"--model-dir", "--model"},
    {"--model-id", "--model"},
    {"--model-name", "--served-model-name"},
    {"--model-name", "--model"},
    {"--model-name-or-path", "--model"},
    {"--pretrained", "--model"},
    {"--tokenizer", " is not needed: the tokenizer is read from the model's folder"},
    {"--hf-repo", " is not supported: models are not downloaded; give a folder with -m"},
    {"--hf", " is not supported: models are not downloaded; give a folder with -m"},
    {"-hf", " is not supported: models are not downloaded; give a folder with -m"},
    {"--alias", "--served-model-name"},
    {"--tensor-parallel-size", "--tp"},
    {"--tensor-parallel", "--tp"},
    {"--tp-size", "--tp"},
    {"-tp", "--tp"},
    {"--context-parallel-size", "--cp"},
    {"--prefill-context-parallel-size", "--cp"},
    {"--gpu-memory-fraction", "--gpu-memory-utilization"},
    {"--mem-fraction-static", "--gpu-memory-utilization"},
    {"--n-gpu-layers", kWholeDevice},
    {"--gpu-layers", kWholeDevice},
    {"-ngl", kWholeDevice},
    {"--device-map", "--device"},
    {"--main-gpu", "--device"},
    {"-mg", "--device"},
    {"--cpu", " is --device cpu here"},
    {"--num-threads", "--threads"},
    {"--n-threads", "--threads"},
    {"--threads-batch", "--threads"},
    {"-tb", "--threads"},
    {"--max-num-seqs", "--max-batch-size"},
    {"--max-running-requests", "--max-batch-size"},
    {"--parallel", "--max-batch-size"},
    {"-np", "--max-batch-size"},
    {"--max-num-batched-tokens", "--chunk-size"},
    {"--chunked-prefill-size", "--chunk-size"},
    {"--batch-size", "--chunk-size"},
    {"--ubatch-size", "--chunk-size"},
    {"-ub", "--chunk-size"},
    {"--cache-type-k", "--kv-cache-dtype"},
    {"--cache-type-v", "--kv-cache-dtype"},
    {"-ctk", "--kv-cache-dtype"},
    {"-ctv", "--kv-cache-dtype"},
    {"--no-enable-prefix-caching", "--no-prefix-cache"},
    {"--disable-radix-cache", "--no-prefix-cache"},
    {"--enable-prefix-caching", kAlways},
    {"--enable-chunked-prefill", kAlways},
    {"--flash-attn", kAlways},
    {"-fa", kAlways},
    {"--cont-batching", kAlways},
    {"-cb", kAlways},
    {"--mlock", kAlways},
    {"--dtype", kOwnType},
    {"--torch-dtype", kOwnType},
    {"--quantization", "--weights"},
    {"--load-in-8bit", "--weights"},
    {"--load-in-4bit", "--weights"},
    {"--trust-remote-code", kNoCode},
};

// Other tools also write options with "_" and in capitals.
std::string normal_form(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return c == '_' ? '-' : static_cast<char>(std::tolower(c)); });
  return word;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string did_you_mean(const std::string& option) { return " (did you mean '" + option + "'?)"; }

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

bool is_single_dash_option(const std::string& word, const std::vector<std::string>& known) {
  if (word.size() < 3 || word[0] != '-' || word[1] == '-') return false;
  return std::find(known.begin(), known.end(), "-" + word) != known.end() ||
         std::any_of(std::begin(kForeign), std::end(kForeign),
                     [&](const Foreign& foreign) { return foreign.word == word; });
}

std::string option_hint(const std::string& word, const std::vector<std::string>& known) {
  const auto has = [&](std::string_view option) {
    return std::find(known.begin(), known.end(), option) != known.end();
  };
  std::string normal = normal_form(word);
  if (normal.starts_with("-") && !normal.starts_with("--") && has("-" + normal)) normal = "-" + normal;
  if (has(normal)) return did_you_mean(normal);
  for (const Foreign& foreign : kForeign) {
    if (foreign.word != normal) continue;
    if (foreign.here.starts_with(" ")) return "; it" + std::string(foreign.here);
    if (has(foreign.here)) return did_you_mean(std::string(foreign.here));
  }
  const std::string guess = nearest(normal, known);
  return guess.empty() ? "" : did_you_mean(guess);
}

}  // namespace seer::cli
