#include "tools/seer/chat_commands.h"

#include <algorithm>
#include <cstring>

#include "seer/error.h"
#include "tools/seer/format.h"
#include "tools/seer/option_hints.h"

namespace seer::cli {

const std::vector<ChatCommand>& chat_commands() {
  static const std::vector<ChatCommand> table = {
      {"/help", "", "list these commands"},
      {"/file", "FILE", "put FILE's text before the next message"},
      {"/retry", "", "answer the last message again; computes the conversation anew"},
      {"/undo", "", "take the last message and its answer back"},
      {"/reset", "", "forget the conversation, keep the system message"},
      {"/system", "[TEXT]", "start again with another system message, or none"},
      {"/sparse", "[RULE]",
       "from now on read prompts by RULE (dense, threshold=T, head_threshold=T, nz_ratio=R, nz_ratio_row=R), "
       "or the "
       "gates' own"},
      {"/sparse-decode", "[RULE]",
       "from now on decode answers by RULE (dense, budget=N, threshold=T, ratio=R), or the gates' own"},
      {"/temp", "T", "from now on sample at temperature T; 0 is greedy"},
      {"/history", "", "print the conversation"},
      {"/save", "FILE",
       "save the conversation with its KV pages to FILE, for /load; if the name ends in .json, only the "
       "messages, as in the OpenAI API"},
      {"/load", "FILE", "go on with the conversation that /save has saved, in place of this one"},
      {"/stats", "", "the last answer's tokens, speed and density, and how full the context is"},
      {"/exit", "", "leave; so do /quit and Ctrl-D"},
      {"/quit", "", "leave"},
  };
  return table;
}

ChatLine parse_chat_line(const std::string& line) {
  if (line.starts_with("//")) return {nullptr, line.substr(1)};
  if (!line.starts_with('/') || line.find('\n') != std::string::npos) return {nullptr, line};
  const size_t space = std::min(line.find_first_of(" \t"), line.size());
  const std::string name = line.substr(0, space);
  const size_t begin = std::min(line.find_first_not_of(" \t", space), line.size());
  std::string argument = line.substr(begin);
  argument.erase(argument.find_last_not_of(" \t") + 1);
  std::vector<std::string> names;
  for (const ChatCommand& command : chat_commands()) {
    names.emplace_back(command.name);
    if (name != command.name) continue;
    const bool takes = std::strlen(command.argument) > 0;
    if (!takes && !argument.empty())
      throw Error(ErrorKind::kUsage, name + " takes nothing, found '" + argument + "'");
    if (takes && command.argument[0] != '[' && argument.empty())
      throw Error(ErrorKind::kUsage, name + " needs " + command.argument + "; see /help");
    if (std::strcmp(command.argument, "FILE") == 0 && argument.find('\0') != std::string::npos)
      throw Error(ErrorKind::kUsage, name + ": expected a file's name, found a character of zero in it");
    return {&command, argument};
  }
  const std::string guess = nearest(name, names);
  throw Error(ErrorKind::kUsage, "unknown command '" + name + "'" +
                                     (guess.empty() ? "" : " (did you mean '" + guess + "'?)") +
                                     "; see /help, or begin with // for a message that starts with a slash");
}

std::string chat_help() {
  std::string text;
  for (const ChatCommand& command : chat_commands()) {
    const std::string left = std::string(command.name) + " " + command.argument;
    text += format("  %-22s %s\n", left.c_str(), command.help);
  }
  return text +
         "  A line that ends in \\ goes on in the next; \"\"\" begins a message of several lines and ends "
         "it.\n"
         "  Ctrl-C stops an answer, Ctrl-D leaves.\n";
}

}  // namespace seer::cli
