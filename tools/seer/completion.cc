// seer completion: scripts with which shells complete commands, options and their values.
#include <algorithm>

#include "tools/seer/args.h"
#include "tools/seer/commands.h"
#include "tools/seer/exit_code.h"
#include "tools/seer/format.h"
#include "tools/seer/option_hints.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kCompletionDescription =
    "Prints a script that makes SHELL complete seer's commands, options and values. bash: source <(seer "
    "completion bash). zsh: seer completion zsh > a folder of $fpath, as _seer. fish: seer completion fish > "
    "~/.config/fish/completions/seer.fish.";

const std::vector<std::string> kShells = {"bash", "zsh", "fish"};

struct CompletionOptions {
  static constexpr CommandHead kHead = {"completion", "SHELL", kCompletionDescription};
  void add_to(Args& /*args*/) {}
};

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

std::string command_names() {
  std::vector<std::string> names;
  for (const Command& command : commands()) names.emplace_back(command.name);
  return joined(names, " ");
}

// Returns the first sentence or clause of a help text, without the default: a menu has no room for more.
std::string brief(const std::string& help) { return help.substr(0, help.find_first_of(";:(")); }

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

std::string single_quoted(const std::string& text) { return "'" + replaced(text, "'", "'\\''") + "'"; }

// Returns the arguments of bash's compgen for the values of an option.
std::string bash_values(const OptionRow& option) {
  if (!option.choices.empty()) return "-W " + single_quoted(joined(option.choices, " "));
  if (option.metavar == "DIR") return "-d";
  return option.metavar == "FILE" ? "-f" : "-W ''";
}

std::string bash_script() {
  std::string out =
      "# bash completion for seer\n"
      "_seer() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  COMPREPLY=()\n"
      "  if ((COMP_CWORD == 1)); then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '" +
      command_names() +
      " --help --version' -- \"$word\")\n"
      "    return\n"
      "  fi\n"
      "  case ${COMP_WORDS[1]} in\n";
  for (const Command& command : commands()) {
    const CommandTable table = command.describe();
    out += "    " + table.name + ")\n      case $before in\n";
    std::vector<std::string> names;
    for (const OptionRow& option : table.options) {
      names.insert(names.end(), option.names.begin(), option.names.end());
      if (!option.metavar.empty())
        out += "        " + joined(option.names, "|") + ") mapfile -t COMPREPLY < <(compgen " +
               bash_values(option) + " -- \"$word\"); return ;;\n";
    }
    if (table.name == "completion") names.insert(names.begin(), kShells.begin(), kShells.end());
    out += "      esac\n      mapfile -t COMPREPLY < <(compgen -W " + single_quoted(joined(names, " ")) +
           " -- \"$word\") ;;\n";
  }
  return out + "  esac\n}\ncomplete -o filenames -F _seer seer\n";
}

std::string zsh_action(const OptionRow& option) {
  if (!option.choices.empty()) return "(" + joined(option.choices, " ") + ")";
  if (option.metavar == "DIR") return "_files -/";
  return option.metavar == "FILE" ? "_files" : " ";
}

// Escapes brackets and colons, which have a meaning in a specification for _arguments.
std::string zsh_text(std::string text) {
  for (const char* special : {"\\", "[", "]", ":"})
    text = replaced(text, special, std::string("\\") + special);
  return text;
}

std::string zsh_script() {
  std::string out = "#compdef seer\n_seer() {\n  if ((CURRENT == 2)); then\n    local -a commands=(\n";
  for (const Command& command : commands())
    out += "      " + single_quoted(std::string(command.name) + ":" + zsh_text(command.summary)) + "\n";
  out +=
      "    )\n    _describe command commands\n    return\n  fi\n"
      "  local command=$words[2]\n  shift words\n  ((CURRENT--))\n  case $command in\n";
  for (const Command& command : commands()) {
    const CommandTable table = command.describe();
    out += "    " + table.name + ")\n      _arguments";
    for (const OptionRow& option : table.options)
      for (const std::string& name : option.names) {
        std::string spec = name + "[" + zsh_text(brief(option.help)) + "]";
        if (!option.metavar.empty()) spec += ":" + zsh_text(option.metavar) + ":" + zsh_action(option);
        out += " \\\n        " + single_quoted(spec);
      }
    if (table.name == "completion")
      out += " \\\n        " + single_quoted("1:shell:(" + joined(kShells, " ") + ")");
    out += "\n      ;;\n";
  }
  return out + "  esac\n}\nif [[ $funcstack[1] == _seer ]]; then _seer \"$@\"; else compdef _seer seer; fi\n";
}

std::string fish_script() {
  std::string out = "# fish completion for seer\ncomplete -c seer -f\n";
  for (const Command& command : commands())
    out += "complete -c seer -n __fish_use_subcommand -a " + std::string(command.name) + " -d " +
           single_quoted(command.summary) + "\n";
  for (const Command& command : commands()) {
    const CommandTable table = command.describe();
    const std::string start = "complete -c seer -n '__fish_seen_subcommand_from " + table.name + "'";
    for (const OptionRow& option : table.options) {
      out += start;
      for (const std::string& name : option.names)
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option.choices.empty()) {
        out += " -x -a " + single_quoted(joined(option.choices, " "));
      } else if (option.metavar == "FILE") {
        out += " -r -F";
      } else if (option.metavar == "DIR") {
        out += " -x -a '(__fish_complete_directories)'";
      } else if (!option.metavar.empty()) {
        out += " -x";
      }
      out += " -d " + single_quoted(brief(option.help)) + "\n";
    }
    if (table.name == "completion") out += start + " -a " + single_quoted(joined(kShells, " ")) + "\n";
  }
  return out;
}

}  // namespace

CommandTable describe_completion() { return table_of<CompletionOptions>(); }

int run_completion(const Arguments& arguments) {
  if (arguments.size() == 1 && std::find(kShells.begin(), kShells.end(), arguments[0]) != kShells.end()) {
    write_stdout(arguments[0] == "bash"  ? bash_script()
                 : arguments[0] == "zsh" ? zsh_script()
                                         : fish_script());
    return kDone;
  }
  CompletionOptions options;
  Args args(CompletionOptions::kHead);
  options.add_to(args);
  if (!arguments.empty() && !arguments[0].starts_with('-')) {
    const std::string guess = nearest(arguments[0], kShells);
    throw Error(ErrorKind::kUsage, "expected one shell of bash, zsh and fish, found '" +
                                       joined(arguments, " ") + "'" +
                                       (guess.empty() ? "" : " (did you mean '" + guess + "'?)"));
  }
  if (!args.parse(arguments)) return kDone;
  throw Error(ErrorKind::kUsage, "name the shell: seer completion bash, zsh or fish");
}

}  // namespace seer::cli
