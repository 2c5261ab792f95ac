#include "tokenizer/oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <cctype>
#include <string>

#include "seer/error.h"
#include "tokenizer/unicode_additions.h"

namespace seer {
namespace {

// \s of Oniguruma is Unicode's White_Space. PCRE2's \s also has U+180E.
constexpr const char* kSpaces =
    R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";
constexpr const char* kNoSpaces =
    R"(\x{0}-\x{8}\x{E}-\x{1F}\x{21}-\x{84}\x{86}-\x{9F}\x{A1}-\x{167F}\x{1681}-\x{1FFF}\x{200B}-\x{2027})"
    R"(\x{202A}-\x{202E}\x{2030}-\x{205E}\x{2060}-\x{2FFF}\x{3001}-\x{10FFFF})";
// The characters that \w has besides letters, marks, decimal digits, letter numbers and connectors: the
// circled and squared letters and, but not within a set, some numbers of Latin-1.
constexpr const char* kMoreWordCharacters =
    R"(\x{24B6}-\x{24E9}\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
constexpr const char* kWordNumbers = R"(\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";

// Returns whether PCRE2 can compile the pattern.
bool pcre2_takes(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_UCP, &error, &at, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// Translates one pattern from left to right. set(), group(), interval() and escape() each translate the
// construct at at_, append the result to out_, and move at_ past the construct. They throw
// Error{kUnsupported} if it has no equivalent.
class Translation {
 public:
  Translation(std::string_view pattern, bool with_additions, const std::string& origin)
      : pattern_(pattern), origin_(origin), with_additions_(with_additions) {}

  std::string result() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape(/*in_set=*/false);
      } else if (c == '[') {
        set();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        take(1);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(ErrorKind::kUnsupported, origin_ + ": the regular expression has " + what + " at byte " +
                                             std::to_string(at_) +
                                             ", which is not supported: " + std::string(pattern_));
  }
  std::string_view rest() const { return pattern_.substr(at_); }
  char peek(size_t ahead) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  void take(size_t n) {
    out_ += pattern_.substr(at_, n);
    at_ += n;
  }
  void replace(size_t n, const std::string& by) {
    out_ += by;
    at_ += n;
  }

  // Returns the text that stands for a property within a set.
  std::string members(const std::string& name) const {
    return "\\p{" + name + "}" + (with_additions_ ? unicode_additions(name) : std::string());
  }
  std::string word_members(bool in_set) const {
    std::string all = std::string(kMoreWordCharacters) + (in_set ? "" : kWordNumbers);
    for (const char* category : {"L", "M", "Nd", "Nl", "Pc"}) all += members(category);
    return all;
  }

  void set() {
    take(1);
    if (peek(0) == '^') take(1);
    if (peek(0) == ']') take(1);  // a ] that comes first is a member
    while (peek(0) != ']') {
      if (at_ >= pattern_.size()) refuse("a set without an end");
      if (rest().starts_with("&&")) refuse("an intersection of sets");
      if (peek(0) == '\\') {
        escape(/*in_set=*/true);
      } else if (peek(0) == '[') {
        refuse(peek(1) == ':' ? "a POSIX bracket" : "a set within a set");
      } else {
        take(1);
      }
    }
    take(1);
  }

  void group() {
    if (peek(1) == '*') refuse("the verb (*");
    if (peek(1) != '?') return take(1);
    const std::string_view after = rest().substr(2);
    if (after.starts_with(':') || after.starts_with('=') || after.starts_with('!') ||
        after.starts_with('>') || after.starts_with('<') || after.starts_with('#'))
      return take(after.starts_with('#') ? std::min(rest().find(')'), rest().size() - 1) + 1 : 3);
    const size_t n = std::min(after.find_first_not_of("im-"), after.size());
    const char end = n < after.size() ? after[n] : '\0';
    // Options in parentheses of their own, such as (?i), hold until the end of the group around them. At the
    // very beginning of a pattern PCRE2 understands them in the same way.
    if (n == 0 || (end != ':' && (end != ')' || at_ != 0)))
      refuse("the group '" + std::string(rest().substr(0, 4)) + "'");
    std::string options(rest().substr(0, 2 + n + 1));
    // The option that lets the dot match line ends is m in Ruby and s in PCRE2.
    std::replace(options.begin(), options.end(), 'm', 's');
    replace(options.size(), options);
  }

  void interval() {
    size_t n = 1;
    const auto digits = [&] {
      const size_t from = n;
      while (std::isdigit(static_cast<unsigned char>(peek(n))) != 0) ++n;
      return std::string(rest().substr(from, n - from));
    };
    const std::string least = digits();
    const bool comma = peek(n) == ',';
    if (comma) ++n;
    const std::string most = comma ? digits() : least;
    if (peek(n) != '}' || (least.empty() && most.empty())) return replace(1, "\\{");
    ++n;
    // After such an interval, a + or ? repeats the interval in Ruby, but makes it possessive or lazy in
    // PCRE2.
    if (peek(n) == '+' || (peek(n) == '?' && !comma)) refuse("an interval with a + or ? after it");
    replace(n, "{" + (least.empty() ? "0" : least) + (comma ? "," + most : "") + "}");
  }

  void escape(bool in_set) {
    const char c = peek(1);
    switch (c) {
      case 's':
        return replace(2, in_set ? kSpaces : std::string("[") + kSpaces + "]");
      case 'S':
        return replace(2, in_set ? kNoSpaces : std::string("[^") + kSpaces + "]");
      case 'w':
        return replace(2, in_set ? word_members(true) : "[" + word_members(false) + "]");
      case 'W':
        if (in_set) refuse("\\W in a set");
        return replace(2, "[^" + word_members(false) + "]");
      case 'd':
      case 'D':
        at_ += 2;
        return property("Nd", c == 'D', in_set);
      case 'h':
      case 'H':
        if (c == 'H' && in_set) refuse("\\H in a set");
        return replace(2, in_set ? "0-9A-Fa-f" : c == 'h' ? "[0-9A-Fa-f]" : "[^0-9A-Fa-f]");
      case 'b':
      case 'B':
        return in_set ? take(2) : boundary(c == 'B');
      case 'p':
      case 'P':
        return named_property(in_set);
      case 'u':
        return code_point();
      case 'v':
        return replace(2, "\\x{B}");
      case 'x':
        if (peek(2) != '{' && std::string_view("01234567").find(peek(2)) == std::string_view::npos)
          refuse("a byte that is no character");
        return take(2);
      default:
        break;
    }
    if (c == '\0') refuse("a \\ at the end");
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 &&
        std::string_view(in_set ? "nrtfae" : "nrtfaeAzZGKRX").find(c) == std::string_view::npos)
      refuse(std::string("\\") + c);
    take(2);
  }

  void boundary(bool negated) {
    const std::string word = "[" + word_members(false) + "]";
    const char* same = negated ? "=" : "!";
    const char* other = negated ? "!" : "=";
    replace(2, "(?:(?<=" + word + ")(?" + same + word + ")|(?<!" + word + ")(?" + other + word + "))");
  }

  void named_property(bool in_set) {
    const size_t end = rest().find('}');
    if (peek(2) != '{' || end == std::string_view::npos) refuse("\\p without a name in braces");
    std::string name(rest().substr(3, end - 3));
    bool negated = peek(1) == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    at_ += end + 1;
    property(name, negated, in_set);
  }

  // Writes a property or its complement. A complement within a set contains the additions too, because sets
  // have no way to remove them.
  void property(const std::string& name, bool negated, bool in_set) {
    const std::string additions = with_additions_ ? unicode_additions(name) : std::string();
    // A plain script name means the script with its extensions in PCRE2, and the script alone in Oniguruma.
    const bool script = name.size() > 2 && pcre2_takes("\\p{sc:" + name + "}");
    const std::string known = std::string(negated ? "\\P{" : "\\p{") + (script ? "sc:" : "") + name + "}";
    if (additions.empty() || (in_set && negated)) {
      out_ += known;
    } else if (in_set) {
      out_ += known + additions;
    } else {
      out_ +=
          std::string(negated ? "[^" : "[") + "\\p{" + (script ? "sc:" : "") + name + "}" + additions + "]";
    }
  }

  void code_point() {
    const std::string_view digits = rest().substr(2, 4);
    const bool hex = digits.size() == 4 && std::all_of(digits.begin(), digits.end(),
                                                       [](unsigned char d) { return std::isxdigit(d) != 0; });
    if (!hex) refuse("\\u without four hexadecimal digits");
    replace(6, "\\x{" + std::string(digits) + "}");
  }

  std::string_view pattern_;
  const std::string& origin_;
  bool with_additions_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre2_of_oniguruma(std::string_view pattern, bool with_additions, const std::string& origin) {
  return Translation(pattern, with_additions, origin).result();
}

}  // namespace seer
