#include "tools/seer/commands.h"

namespace seer::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> table = {
      {"generate", "complete a prompt", run_generate, describe_generate},
      {"chat", "answer messages, the conversation kept in the cache", run_chat, describe_chat},
      {"serve", "answer the OpenAI API over HTTP", run_serve, describe_serve},
      {"bench", "measure prefill and decode, dense and sparse", run_bench, describe_bench},
      {"perplexity", "perplexity of a text, several sparse rules side by side", run_perplexity,
       describe_perplexity},
      {"tune", "what each sparse rule of the gates costs on a text, and which one to take", run_tune,
       describe_tune},
      {"distill", "train gates for a model from plain text", run_distill, describe_distill},
      {"inspect", "describe a model; a prompt's densities, block masks and gate scores", run_inspect,
       describe_inspect},
      {"tokenize", "text to token ids, and back", run_tokenize, describe_tokenize},
      {"render", "the prompt that a chat template makes of messages", run_render, describe_render},
      {"completion", "print a completion script for bash, zsh or fish", run_completion, describe_completion},
      {"man", "print the manual page", run_man, describe_man},
  };
  return table;
}

}  // namespace seer::cli
