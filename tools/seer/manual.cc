#include "tools/seer/manual.h"

#include <map>
#include <vector>

#include "seer/version.h"
#include "tools/seer/args.h"
#include "tools/seer/chat_commands.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

struct Line {
  const char* name;
  const char* text;
};

constexpr const char* kSummary = "long-prompt inference with trained block-sparse prefill";

constexpr Line kEnvironment[] = {
    {"SEER_MODEL", "stands in for --model"},
    {"SEER_GATES", "stands in for --gates"},
    {"SEER_DEVICE", "stands in for --device"},
    {"SEER_API_KEY", "stands in for serve's --api-key"},
};

constexpr Line kExitCodes[] = {
    {"0", "done"},          {"1", "failed while running, or no such device"},
    {"2", "bad usage"},     {"3", "a file is missing, malformed or unsupported"},
    {"4", "out of memory"}, {"130", "interrupted"},
};

// Escapes text for troff, which treats a backslash as an escape, a quote or a dot at the start of a line as a
// request, and a bare hyphen as a typographic one.
std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += std::string("\\&") + c;
    } else {
      out += c;
    }
  }
  return out;
}

std::string section(const std::string& title) { return ".SH " + title + "\n"; }

std::string item(const std::string& head, const std::string& body) {
  return ".TP\n" + head + "\n" + escaped(body) + "\n";
}

std::string option_head(const OptionRow& option) {
  std::string text;
  for (const std::string& name : option.names)
    text += (text.empty() ? "\\fB" : ", \\fB") + escaped(name) + "\\fR";
  return option.metavar.empty() ? text : text + " \\fI" + escaped(option.metavar) + "\\fR";
}

std::string command_section(const CommandTable& table) {
  std::string text =
      ".SS seer " + table.name + "\n\\fBseer " + table.name + "\\fR " + escaped(table.synopsis) + "\n.PP\n";
  text += escaped(table.description) + "\n";
  std::string shown;
  for (const OptionRow& option : table.options) {
    if (option.group == "General") continue;  // the same for every command
    if (option.group != shown && !shown.empty()) text += ".PP\n" + escaped(option.group) + ":\n";
    shown = option.group;
    text += item(option_head(option), option.help + " " + default_text(option));
  }
  return text;
}

struct ManOptions {
  static constexpr CommandHead kHead = {
      "man", "> seer.1", "Prints the manual page, in man(7) macros, from the tables that --help prints."};
  void add_to(Args& /*args*/) {}
};

}  // namespace

Parts built_parts() {
  return {SEER_BUILT_WITH_CUDA != 0, SEER_BUILT_WITH_NCCL != 0, SEER_BUILT_WITH_MPI != 0};
}

std::string left_out(const Parts& parts) {
  std::string lines;
  if (!parts.cuda)
    lines += "  GPUs           the CUDA Toolkit, 12.4 or newer (NVIDIA's package cuda-toolkit)\n";
  if (!parts.nccl) lines += "  ranks on GPUs  NCCL, next to the CUDA Toolkit (package libnccl-dev)\n";
  if (!parts.mpi) lines += "  mpirun         MPI, for ranks on several machines (package libopenmpi-dev)\n";
  if (lines.empty()) return lines;
  return "\nLeft out of this build, and what brings it when Seer is configured and built again:\n" + lines;
}

std::string overview() {
  std::string out =
      "usage: seer COMMAND [options]\n\nLong-prompt inference with trained block-sparse prefill.\n"
      "\nCommands:\n";
  for (const Command& command : commands()) out += format("  %-12s %s\n", command.name, command.summary);
  out +=
      "\nOptions:\n"
      "  -h, --help   print this help, or a command's with 'seer COMMAND --help' (default: off)\n"
      "  --version    print the version and exit (default: off)\n"
      "\nEnvironment:\n";
  for (const Line& line : kEnvironment) out += format("  %-12s %s\n", line.name, line.text);
  out += "\nExit codes:\n";
  for (const Line& line : kExitCodes) out += format("  %-12s %s\n", line.name, line.text);
  out += "\nResults go to stdout, everything else to stderr.\n" + left_out(built_parts());
  return out;
}

std::string manual_page() {
  std::string out = ".TH SEER 1 \"\" \"seer " SEER_VERSION "\" \"User Commands\"\n";
  out += section("NAME") + "seer \\- " + escaped(kSummary) + "\n";
  out += section("SYNOPSIS") + "\\fBseer\\fR \\fICOMMAND\\fR [\\fIoptions\\fR]\n";
  out += section("DESCRIPTION") +
         escaped(
             "Runs Llama, Mistral and Qwen models on long prompts. Trained SeerAttention gates say for every "
             "block of "
             "queries which blocks of keys matter, and the prefill computes only those. Results go to "
             "stdout, everything else to stderr.") +
         "\n";
  for (const Command& command : commands())
    out += item("\\fB" + std::string(command.name) + "\\fR", command.summary);
  out += ".PP\nEvery command takes \\fB\\-h\\fR, \\fB\\-\\-help\\fR and \\fB\\-\\-version\\fR.\n";
  out += section("COMMANDS");
  for (const Command& command : commands()) {
    out += command_section(command.describe());
    if (command.name != std::string("chat")) continue;
    out += ".PP\nCommands in a chat:\n";
    for (const ChatCommand& line : chat_commands())
      out += item("\\fB" + escaped(line.name) + "\\fR \\fI" + escaped(line.argument) + "\\fR", line.help);
  }
  out += section("ENVIRONMENT");
  for (const Line& line : kEnvironment) out += item("\\fB" + std::string(line.name) + "\\fR", line.text);
  out += section("EXIT STATUS");
  for (const Line& line : kExitCodes) out += item("\\fB" + std::string(line.name) + "\\fR", line.text);
  return out;
}

CommandTable describe_man() { return table_of<ManOptions>(); }

int run_man(const Arguments& arguments) {
  ManOptions options;
  Args args(ManOptions::kHead);
  options.add_to(args);
  if (!args.parse(arguments)) return kDone;
  write_stdout(manual_page());
  return kDone;
}

}  // namespace seer::cli
