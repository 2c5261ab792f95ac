#include "tools/seer/args.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include <CLI/CLI.hpp>

#include "seer/error.h"
#include "seer/version.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr size_t kHelpColumn = 34;
constexpr size_t kHelpWidth = 100;

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

// `text` in lines of at most `width` characters, further lines indented by `indent`.
std::string wrap(const std::string& text, size_t width, size_t indent) {
  std::string out;
  size_t column = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const size_t length = end - begin;
    if (column > 0 && column + 1 + length > width) {
      out += "\n" + std::string(indent, ' ');
      column = 0;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out.append(text, begin, length);
    column += length;
    begin = end + 1;
  }
  return out;
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

Setter into(std::string& target, std::vector<std::string> choices) {
  return [&target, choices = std::move(choices)](const std::string& value) {
    if (std::find(choices.begin(), choices.end(), value) == choices.end()) {
      std::string list;
      for (const std::string& choice : choices) list += (list.empty() ? "" : ", ") + choice;
      refuse("'" + value + "' is not one of " + list);
    }
    target = value;
  };
}

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

struct Args::Impl {
  struct Entry {
    CLI::Option* option;
    std::string left;   // "-m, --model DIR"
    std::string right;  // the help text with its default
    std::string group;
    Setter set;  // empty for flags
    bool* flag = nullptr;
    bool many = false;
  };

  std::string name, synopsis, description;
  CLI::App app;
  std::vector<Entry> entries;
  std::string current_group = "Options";

  void add(const std::string& names, Entry entry, const std::string& metavar, const std::string& help,
           const std::string& standard) {
    const size_t comma = names.find(',');
    // Long names stand below one another, with or without a short one.
    entry.left =
        comma == std::string::npos ? "    " + names : names.substr(0, comma) + ", " + names.substr(comma + 1);
    if (!metavar.empty()) entry.left += " " + metavar;
    entry.right = help + " (default: " + standard + ")";
    entry.group = current_group;
    entries.push_back(std::move(entry));
  }

  std::string help() const {
    std::string out = "usage: seer " + name + (synopsis.empty() ? "" : " " + synopsis) + "\n\n" +
                      wrap(description, kHelpWidth, 0) + "\n";
    std::string shown;
    for (const Entry& entry : entries) {
      if (entry.group != shown) out += "\n" + entry.group + ":\n";
      shown = entry.group;
      std::string left = "  " + entry.left;
      // A name too long for its column gets a line of its own.
      if (left.size() + 2 > kHelpColumn) {
        out += left + "\n" + std::string(kHelpColumn, ' ');
      } else {
        left.resize(kHelpColumn, ' ');
        out += left;
      }
      out += wrap(entry.right, kHelpWidth - kHelpColumn, kHelpColumn) + "\n";
    }
    return out;
  }

  [[noreturn]] void usage_error(const std::string& message) const {
    refuse(message + "; see 'seer " + name + " --help'");
  }

  [[noreturn]] void unknown(const std::string& argument) const {
    if (argument.empty() || argument[0] != '-') usage_error("unexpected argument '" + argument + "'");
    const std::string word = argument.substr(0, argument.find('='));
    std::vector<std::string> names;
    for (const Entry& entry : entries)
      for (const std::string& long_name : entry.option->get_lnames()) names.push_back("--" + long_name);
    const std::string guess = nearest(word, names);
    usage_error("unknown option '" + word + "'" + (guess.empty() ? "" : " (did you mean '" + guess + "'?)"));
  }
};

Args::Args(std::string name, std::string synopsis, std::string description)
    : impl_(std::make_unique<Impl>()) {
  impl_->name = std::move(name);
  impl_->synopsis = std::move(synopsis);
  impl_->description = std::move(description);
  impl_->app.set_help_flag();  // -h is added below, so that it looks like every other option
}

Args::~Args() = default;

void Args::group(const std::string& title) { impl_->current_group = title; }

void Args::flag(const std::string& names, bool& target, const std::string& help) {
  Impl::Entry entry;
  entry.option = impl_->app.add_flag(names);
  entry.flag = &target;
  impl_->add(names, std::move(entry), "", help, target ? "on" : "off");
}

void Args::value(const std::string& names, const std::string& metavar, const std::string& standard,
                 const std::string& help, Setter set, const std::string& environment) {
  // The setters read the option's raw results after parsing: what CLI11 hands to a callback differs between
  // versions ("{}" and "[x]" stand for containers in some).
  Impl::Entry entry;
  entry.option = impl_->app.add_option(
      names, [](const CLI::results_t&) { return true; }, "");
  entry.option->take_last();
  if (!environment.empty()) entry.option->envname(environment);
  entry.set = std::move(set);
  impl_->add(names, std::move(entry), metavar, help,
             environment.empty() ? standard : "$" + environment + ", else " + standard);
}

void Args::values(const std::string& names, const std::string& metavar, const std::string& standard,
                  const std::string& help, Setter set) {
  value(names, metavar, standard, help, std::move(set));
  impl_->entries.back().option->take_all();
  impl_->entries.back().many = true;
}

bool Args::parse(const std::vector<std::string>& arguments) {
  Impl& impl = *impl_;
  bool help = false;
  bool version = false;
  group("General");
  flag("-h,--help", help, "print this help and exit");
  flag("--version", version, "print the version and exit");

  std::vector<std::string> reversed;  // CLI11 takes the arguments last first
  for (const std::string& argument : arguments) {
    // CLI11 reads "--stop= -n 5" as a --stop whose value is "-n"; here it is an empty value.
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
  if (help) {
    write_stdout(impl.help());
    return false;
  }
  if (version) {
    write_stdout("seer " SEER_VERSION "\n");
    return false;
  }
  if (!problem.empty()) impl.usage_error(problem);
  if (!impl.app.remaining().empty()) impl.unknown(impl.app.remaining().front());

  for (const Impl::Entry& entry : impl.entries) {
    const std::vector<std::string>& results = entry.option->results();
    if (entry.flag != nullptr || results.empty()) continue;
    try {
      for (size_t i = entry.many ? 0 : results.size() - 1; i < results.size(); ++i) entry.set(results[i]);
    } catch (const Error& error) {
      impl.usage_error(entry.option->get_name(false, true) + ": " + error.what());
    }
  }
  return true;
}

}  // namespace seer::cli
