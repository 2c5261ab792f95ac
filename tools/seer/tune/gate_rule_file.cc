#include "tools/seer/tune/gate_rule_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>

#include "engine/base/json_reader.h"
#include "seer/error.h"
#include "tools/seer/input.h"

namespace seer::cli {
namespace {

constexpr const char* kMethod = "seerattn_sparsity_method";
constexpr const char* kJsonSpace = " \t\r\n";

std::string value_text(const std::string& rule) { return rule.substr(rule.find('=') + 1); }

// A member of an object: where its key begins, and its value.
struct Member {
  std::string key;
  size_t begin, value, end;
};

// Returns the position after the string that begins at `at`.
size_t after_string(const std::string& text, size_t at) {
  for (++at; text.at(at) != '"'; ++at) at += text[at] == '\\' ? 1 : 0;
  return at + 1;
}

// Returns the position after the value that begins at `at`, without white space after it.
size_t after_value(const std::string& text, size_t at) {
  int depth = 0;
  size_t end = at;
  while (true) {
    const char c = text.at(at);
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return end;
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    at = c == '"' ? after_string(text, at) : at + 1;
    if (std::string_view(kJsonSpace).find(c) == std::string_view::npos) end = at;
  }
}

// Returns the members of the outermost object. The text is known to be JSON.
std::vector<Member> members_of(const std::string& text) {
  std::vector<Member> members;
  size_t at = text.find('{') + 1;
  while (true) {
    at = text.find_first_not_of(std::string(kJsonSpace) + ",", at);
    if (text.at(at) == '}') return members;
    const size_t begin = at, end = after_string(text, at);
    const size_t value = text.find_first_not_of(std::string(kJsonSpace) + ":", end);
    at = after_value(text, value);
    members.push_back({read_json(text.substr(begin, end - begin)).get<std::string>(), begin, value, at});
  }
}

}  // namespace

JsonMembers config_members(const SparseRule& rule) {
  const std::string value = value_text(rule.to_string());
  switch (rule.method) {
    case SparseRule::Method::kThreshold:
      if (rule.value == 0.0) return {};
      return {{kMethod, "\"threshold\""}, {"seerattn_threshold", value}};
    case SparseRule::Method::kHeadThreshold:
      if (rule.value == 0.0) return {};
      return {{kMethod, "\"head_threshold\""}, {"seerattn_threshold", value}};
    case SparseRule::Method::kNzRatio:
      return {{kMethod, "\"nz_ratio\""}, {"seerattn_nz_ratio", value}};
    case SparseRule::Method::kNzRatioRow:
      return {{kMethod, "\"nz_ratio_row\""}, {"seerattn_nz_ratio", value}};
    case SparseRule::Method::kDense:
      break;
  }
  return {};
}

JsonMembers config_members(const SparseDecodeRule& rule) {
  const std::pair<std::string, std::string> sparse = {"seerattn_implementation", "\"seer_sparse\""};
  if (rule.method == SparseDecodeRule::Method::kThreshold && rule.value > 0.0)
    return {sparse, {kMethod, "\"threshold\""}, {"seerattn_threshold", value_text(rule.to_string())}};
  if (rule.method == SparseDecodeRule::Method::kBudget)
    return {sparse,
            {kMethod, "\"token_budget\""},
            {"seerattn_token_budget", std::to_string(static_cast<int64_t>(rule.value))}};
  return {};
}

JsonMembers factor_members(const std::vector<float>& factors, int64_t n_heads) {
  std::string text;
  for (size_t i = 0; i < factors.size(); ++i) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, factors[i]).ptr;
    text += (i % static_cast<size_t>(n_heads) != 0 ? ", "
             : i == 0                              ? "[["
                                                   : "], [") +
            std::string(digits, end);
  }
  return {{"seer_threshold_factors", text + "]]"}};
}

std::string with_members(const std::string& text, const JsonMembers& members) {
  if (!read_json(text, {.rounds_wide_integers = true}).is_object())
    throw JsonError(JsonError::Kind::kSyntax, "expected an object", "");
  std::string out = text;
  for (const auto& member : members) {
    const std::vector<Member> all = members_of(out);
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Member& other) { return other.key == member.first; });
    if (found != all.end()) {
      out.replace(found->value, found->end - found->value, member.second);
      continue;
    }
    // A new member gets the white space before it that the last member has.
    const size_t at = all.empty() ? out.find('{') + 1 : all.back().end;
    std::string before;
    if (!all.empty()) {
      const size_t gap = out.find_last_of(",{", all.back().begin) + 1;
      before = "," + out.substr(gap, all.back().begin - gap);
    }
    out.insert(at, before + "\"" + member.first + "\": " + member.second);
  }
  return out;
}

GateRuleFile::GateRuleFile(const std::string& weights)
    : path_((std::filesystem::path(weights).parent_path() / "config.json").string()), out_(path_) {}

void GateRuleFile::write(const JsonMembers& members) {
  // The file is read only now, because somebody may have changed it in the meantime.
  try {
    out_.write(with_members(read_bytes(path_), members));
  } catch (const JsonError& error) {
    throw Error(ErrorKind::kFile, path_ + ": " + error.what());
  }
  struct stat info {};
  if (::stat(path_.c_str(), &info) == 0 && ::fchmod(out_.fd(), info.st_mode & 07777) != 0)
    out_.fail_to_write();
  if (::fsync(out_.fd()) != 0) out_.fail_to_write();
  out_.finish();
}

}  // namespace seer::cli
