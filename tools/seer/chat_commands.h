// The lines of a chat that begin with a slash.
#pragma once

#include <string>
#include <vector>

namespace seer::cli {

struct ChatCommand {
  const char* name;      // "/sparse"
  const char* argument;  // "RULE"; empty if there is none, in brackets if it may be left out
  const char* help;
};
const std::vector<ChatCommand>& chat_commands();

struct ChatLine {
  const ChatCommand* command;  // null for a message
  std::string text;            // the message, or the command's argument
};
// Reads a line. "//usr" is the message "/usr"; a text of several lines is never a command. Throws
// Error{kUsage} for an unknown command, naming the nearest one, and for an argument that is missing or not
// allowed.
ChatLine parse_chat_line(const std::string& line);

std::string chat_help();

}  // namespace seer::cli
