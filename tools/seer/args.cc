#include "tools/seer/args.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <CLI/CLI.hpp>

#include "seer/error.h"
#include "seer/version.h"
#include "tools/seer/option_hints.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

template <typename T>
T parse_number(const std::string& text, const char* what) {
  T value{};
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc() || end != last) refuse("'" + text + "' is not " + what);
  return value;
}

int64_t parse_integer(const std::string& text, int64_t low, int64_t high) {
  const auto value = parse_number<int64_t>(text, "a whole number");
  if (value < low || value > high) {
    const std::string upper = high == INT64_MAX ? " or more" : " to " + std::to_string(high);
    refuse("'" + text + "' is out of range; expected " + std::to_string(low) + upper);
  }
  return value;
}

}  // namespace

Setter into(std::string& target) {
  return [&target](const std::string& value) { target = value; };
}

Setter into(std::optional<std::string>& target) {
  return [&target](const std::string& value) { target = value; };
}

Setter into(std::vector<std::string>& target) {
  return [&target](const std::string& value) { target.push_back(value); };
}

Setter into(int64_t& target, int64_t low, int64_t high) {
  return [&target, low, high](const std::string& value) { target = parse_integer(value, low, high); };
}

Setter into(std::optional<int64_t>& target, int64_t low, int64_t high) {
  return [&target, low, high](const std::string& value) { target = parse_integer(value, low, high); };
}

Setter into(std::optional<double>& target) {
  return [&target](const std::string& value) {
    const auto number = parse_number<double>(value, "a number");
    if (!std::isfinite(number)) refuse("'" + value + "' is not a finite number");
    target = number;
  };
}

struct Args::Impl {
  struct Entry {
    CLI::Option* option;
    Setter set;  // empty for flags
    bool* flag = nullptr;
    bool many = false;
  };

  CLI::App app;
  CommandTable table;
  std::vector<Entry> entries;  // one for each of table.options
  std::string current_group = "Options";
  bool complete = false;  // --help and --version have been added
  bool help = false, version = false;

  // Adds an option; `names` is written as "-m,--model".
  void add(const std::string& names, Entry entry, OptionRow row) {
    for (size_t begin = 0; begin < names.size();) {
      const size_t end = std::min(names.find(',', begin), names.size());
      row.names.push_back(names.substr(begin, end - begin));
      begin = end + 1;
    }
    row.group = current_group;
    table.options.push_back(std::move(row));
    entries.push_back(std::move(entry));
  }

  [[noreturn]] void usage_error(const std::string& message) const {
    refuse(message + "; see 'seer " + table.name + " --help'");
  }

  [[noreturn]] void unknown(const std::string& argument) const {
    if (argument.empty() || argument[0] != '-') usage_error("unexpected argument '" + argument + "'");
    const std::string word = argument.substr(0, argument.find('='));
    usage_error("unknown option '" + word + "'" + option_hint(word, long_names()));
  }

  std::vector<std::string> long_names() const {
    std::vector<std::string> names;
    for (const OptionRow& option : table.options)
      for (const std::string& name : option.names)
        if (name.starts_with("--")) names.push_back(name);
    return names;
  }

  // Call this before an error is reported. CLI11 reads "-ngl 99" as "-n gl" and a stray 99, and "-temp 0" as
  // "-t emp" and a stray 0, which no user means.
  void explain_single_dash(const std::vector<std::string>& arguments) const {
    const std::vector<std::string> known = long_names();
    for (const std::string& argument : arguments)
      if (is_single_dash_option(argument, known)) unknown(argument);
  }
};

Args::Args(const CommandHead& head) : impl_(std::make_unique<Impl>()) {
  impl_->table = {head.name, head.synopsis, head.description, {}, {}};
  impl_->app.set_help_flag();  // -h is added by table(), so that it looks like every other option
}

Args::~Args() = default;

void Args::group(const std::string& title) { impl_->current_group = title; }

void Args::flag(const std::string& names, bool& target, const std::string& help) {
  Impl::Entry entry;
  entry.option = impl_->app.add_flag(names);
  entry.flag = &target;
  OptionRow row;
  row.standard = target ? "on" : "off";
  row.help = help;
  impl_->add(names, std::move(entry), std::move(row));
}

void Args::value(const std::string& names, const std::string& metavar, const std::string& standard,
                 const std::string& help, Setter set, const std::string& environment) {
  // The setters read the option's raw results after parsing, because the values that CLI11 passes to a
  // callback differ between versions (in some, "{}" and "[x]" stand for containers).
  Impl::Entry entry;
  entry.option = impl_->app.add_option(
      names, [](const CLI::results_t&) { return true; }, "");
  entry.option->take_last();
  if (!environment.empty()) entry.option->envname(environment);
  entry.set = std::move(set);
  OptionRow row;
  row.metavar = metavar;
  row.standard = standard;
  row.help = help;
  row.environment = environment;
  impl_->add(names, std::move(entry), std::move(row));
}

void Args::choice(const std::string& names, const std::string& metavar, std::string& target,
                  const std::vector<std::string>& choices, const std::string& help) {
  std::string list;
  for (const std::string& choice : choices)
    list += (list.empty() ? "" : choice == choices.back() ? " or " : ", ") + choice;
  value(names, metavar, target, help.empty() ? list : help + ": " + list,
        [&target, choices, list](const std::string& value) {
          if (std::find(choices.begin(), choices.end(), value) == choices.end())
            refuse("'" + value + "' is not one of " + list);
          target = value;
        });
  impl_->table.options.back().choices = choices;
}

void Args::values(const std::string& names, const std::string& metavar, const std::string& standard,
                  const std::string& help, Setter set, const std::string& environment) {
  value(names, metavar, standard, help, std::move(set), environment);
  impl_->entries.back().option->take_all();
  impl_->entries.back().many = true;
}

const CommandTable& Args::table() {
  if (!impl_->complete) {
    impl_->complete = true;
    group("General");
    flag("-h,--help", impl_->help, "print this help and exit");
    flag("--version", impl_->version, "print the version and exit");
  }
  return impl_->table;
}

bool Args::parse(const std::vector<std::string>& arguments) {
  Impl& impl = *impl_;
  table();
  std::vector<std::string> reversed;  // CLI11 takes the last argument first
  for (const std::string& argument : arguments) {
    // CLI11 reads "--stop= -n 5" as --stop with the value "-n". Here the value is empty.
    if (argument.size() > 3 && argument.starts_with("--") && argument.find('=') == argument.size() - 1) {
      reversed.push_back(argument.substr(0, argument.size() - 1));
      reversed.emplace_back();
    } else {
      reversed.push_back(argument);
    }
  }
  std::reverse(reversed.begin(), reversed.end());
  std::string problem;
  try {
    impl.app.parse(reversed);
  } catch (const CLI::ExtrasError&) {
    problem = impl.app.remaining().empty() ? "unexpected argument" : "";
  } catch (const CLI::ArgumentMismatch&) {
    problem = "option '" + arguments.back() + "' needs a value";
  } catch (const CLI::ParseError& error) {
    problem = error.what();
  }
  for (const Impl::Entry& entry : impl.entries)
    if (entry.flag != nullptr) *entry.flag = entry.option->count() > 0;
  if (impl.help) {
    write_stdout(help_text(impl.table));
    return false;
  }
  if (impl.version) {
    write_stdout("seer " SEER_VERSION "\n");
    return false;
  }
  if (!problem.empty() || !impl.app.remaining().empty()) impl.explain_single_dash(arguments);
  if (!problem.empty()) impl.usage_error(problem);
  if (!impl.app.remaining().empty()) impl.unknown(impl.app.remaining().front());

  for (const Impl::Entry& entry : impl.entries) {
    const std::vector<std::string>& results = entry.option->results();
    if (entry.flag != nullptr || results.empty()) continue;
    try {
      for (size_t i = entry.many ? 0 : results.size() - 1; i < results.size(); ++i) entry.set(results[i]);
    } catch (const Error& error) {
      impl.explain_single_dash(arguments);
      impl.usage_error(entry.option->get_name(false, true) + ": " + error.what());
    }
  }
  return true;
}

}  // namespace seer::cli
