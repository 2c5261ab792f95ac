#include "tokenizer/jinja/strings.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>

#include "tokenizer/jinja/errors.h"
#include "tokenizer/jinja/iterate.h"
#include "tokenizer/jinja/meter.h"

namespace seer::jinja {
namespace {

// The steps for each text of a list, so that a limit stops the work before it fills the memory.
constexpr int64_t kPieceSteps = 12;

bool strips(std::string_view text, size_t at, const Text* characters) {
  if (characters == nullptr) return is_space(point_at(text, at));
  Meter::touch(characters->size());
  return characters->bytes.find(text.substr(at, point_size(text[at]))) != std::string::npos;
}

void append_mapped(TextBuilder* out, const Text& text, size_t at, Case to) {
  std::string mapped;
  append_case(&mapped, point_at(text.bytes, at), to);
  out->append(mapped, from_messages(text, at, at + 1));
}

// Returns whether a Greek sigma at `at` ends a word, because its small form is different there.
bool final_sigma(std::string_view text, size_t at) {
  size_t before = at;
  bool cased = false;
  while (before > 0) {
    before = point_before(text, before);
    const int32_t point = point_at(text, before);
    if (is_case_ignorable(point)) continue;
    cased = is_cased(point);
    break;
  }
  if (!cased) return false;
  for (size_t after = at + 2; after < text.size(); after += point_size(text[after])) {
    const int32_t point = point_at(text, after);
    if (!is_case_ignorable(point)) return !is_cased(point);
  }
  return true;
}

void append_lower(TextBuilder* out, const Text& text, size_t at) {
  if (point_at(text.bytes, at) == 0x3A3)
    return out->append(final_sigma(text.bytes, at) ? "\xCF\x82" : "\xCF\x83",
                       from_messages(text, at, at + 1));
  append_mapped(out, text, at, Case::kLower);
}

bool same_case(char c, Case to) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x80 && !(to == Case::kLower ? byte >= 'A' && byte <= 'Z' : byte >= 'a' && byte <= 'z');
}

std::vector<Text> split_at_spaces(const Text& text, int64_t limit) {
  std::vector<Text> parts;
  size_t at = leading_spaces(text.bytes);
  while (at < text.size()) {
    if (limit == 0) {
      parts.push_back(strip(cut(text, at, text.size()), nullptr, Side::kRight));
      return parts;
    }
    size_t end = at;
    while (end < text.size() && !is_space(point_at(text.bytes, end))) end += point_size(text.bytes[end]);
    Meter::step(kPieceSteps);
    parts.push_back(cut(text, at, end));
    --limit;
    at = end + leading_spaces(text.view().substr(end));
  }
  return parts;
}

void check_separator(const Text& separator) {
  if (separator.size() == 0) fail(ErrorType::kValueError, "empty separator");
}

// Splits a text at white space, beginning from the right.
std::vector<Text> split_at_spaces_right(const Text& text, int64_t limit) {
  std::vector<Text> parts;
  size_t end = text.size() - trailing_spaces(text.bytes);
  while (end > 0) {
    if (limit == 0) {
      parts.push_back(strip(cut(text, 0, end), nullptr, Side::kLeft));
      break;
    }
    size_t begin = end;
    while (begin > 0) {
      const size_t before = point_before(text.bytes, begin);
      if (is_space(point_at(text.bytes, before))) break;
      begin = before;
    }
    Meter::step(kPieceSteps);
    parts.push_back(cut(text, begin, end));
    --limit;
    end = begin - trailing_spaces(text.view().substr(0, begin));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

Text strip(const Text& text, const Text* characters, Side side) {
  size_t begin = 0, end = text.size();
  if (side != Side::kRight)
    while (begin < end && strips(text.bytes, begin, characters)) begin += point_size(text.bytes[begin]);
  if (side != Side::kLeft) {
    while (end > begin) {
      const size_t before = point_before(text.bytes, end);
      if (!strips(text.bytes, before, characters)) break;
      end = before;
    }
  }
  Meter::touch(text.size() - (end - begin));
  return cut(text, begin, end);
}

std::vector<Text> split(const Text& text, const Text* separator, int64_t limit) {
  if (separator == nullptr) return split_at_spaces(text, limit);
  check_separator(*separator);
  std::vector<Text> parts;
  size_t at = 0;
  while (limit != 0) {
    Meter::step(kPieceSteps);
    const size_t found = find_bytes(text.bytes, separator->bytes, at);
    if (found == std::string::npos) break;
    parts.push_back(cut(text, at, found));
    at = found + separator->size();
    --limit;
  }
  parts.push_back(cut(text, at, text.size()));
  return parts;
}

std::vector<Text> split_right(const Text& text, const Text* separator, int64_t limit) {
  if (separator == nullptr) return split_at_spaces_right(text, limit);
  check_separator(*separator);
  std::vector<Text> parts;
  size_t end = text.size();
  for (; limit != 0 && end >= separator->size(); --limit) {
    const size_t found = text.view().substr(0, end).rfind(separator->view());
    Meter::step(
        static_cast<int64_t>(1 + (end - (found == std::string::npos ? 0 : found)) * separator->size() / 32));
    if (found == std::string::npos) break;
    parts.push_back(cut(text, found + separator->size(), end));
    end = found;
  }
  parts.push_back(cut(text, 0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  size_t begin = 0;
  Meter::touch(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t size = point_size(text.bytes[at]);
    if (!is_line_end(point_at(text.bytes, at))) {
      at += size;
      continue;
    }
    Meter::step(kPieceSteps);
    const bool both = text.bytes[at] == '\r' && at + 1 < text.size() && text.bytes[at + 1] == '\n';
    const size_t next = at + size + (both ? 1 : 0);
    lines.push_back(cut(text, begin, keep_ends ? next : at));
    begin = at = next;
  }
  if (begin < text.size()) lines.push_back(cut(text, begin, text.size()));
  return lines;
}

Text replace(const Text& text, const Text& old, const Text& with, int64_t limit) {
  TextBuilder out;
  size_t at = 0;
  if (old.size() == 0) {
    for (; limit != 0; --limit) {
      Meter::step();
      out.append(with);
      if (at == text.size()) break;
      const size_t next = at + point_size(text.bytes[at]);
      out.append(text, at, next);
      at = next;
    }
    out.append(text, at, text.size());
    return out.take();
  }
  for (; limit != 0; --limit) {
    Meter::step();
    const size_t found = find_bytes(text.bytes, old.bytes, at);
    if (found == std::string::npos) break;
    out.append(text, at, found);
    out.append(with);
    at = found + old.size();
  }
  out.append(text, at, text.size());
  return out.take();
}

Text map_case(const Text& text, Case to) {
  TextBuilder out;
  size_t plain = 0;
  Meter::touch(text.size() * 8);
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    if (same_case(text.bytes[at], to)) continue;
    out.append(text, plain, at);
    if (to == Case::kLower) {
      append_lower(&out, text, at);
    } else {
      append_mapped(&out, text, at, to);
    }
    plain = at + point_size(text.bytes[at]);
  }
  out.append(text, plain, text.size());
  return out.take();
}

Text capitalize(const Text& text) {
  TextBuilder out;
  Meter::touch(text.size() * 8);
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    if (at == 0) {
      append_mapped(&out, text, at, Case::kTitle);
    } else {
      append_lower(&out, text, at);
    }
  }
  return out.take();
}

Text title(const Text& text) {
  TextBuilder out;
  bool in_word = false;
  Meter::touch(text.size() * 8);
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    if (in_word) {
      append_lower(&out, text, at);
    } else {
      append_mapped(&out, text, at, Case::kTitle);
    }
    in_word = is_cased(point_at(text.bytes, at));
  }
  return out.take();
}

// Splits at runs of - ( { [ < and white space. The first character of each piece becomes upper case, which
// may be several characters, and the rest lower case.
Text title_of_words(const Text& text) {
  const auto divides = [&](size_t at) {
    const int32_t point = point_at(text.bytes, at);
    return point == '-' || point == '(' || point == '{' || point == '[' || point == '<' || is_space(point);
  };
  TextBuilder out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    const bool kind = divides(at);
    while (end < text.size() && divides(end) == kind) end += point_size(text.bytes[end]);
    const size_t rest = at + point_size(text.bytes[at]);
    out.append(map_case(cut(text, at, rest), Case::kUpper));
    out.append(map_case(cut(text, rest, end), Case::kLower));
    at = end;
  }
  return out.take();
}

Text swap_case(const Text& text) {
  TextBuilder out;
  Meter::touch(text.size() * 8);
  for (size_t at = 0; at < text.size(); at += point_size(text.bytes[at])) {
    const int32_t point = point_at(text.bytes, at);
    if (is_upper(point)) {
      append_lower(&out, text, at);
    } else if (is_lower(point)) {
      append_mapped(&out, text, at, Case::kUpper);
    } else {
      out.append(text, at, at + point_size(text.bytes[at]));
    }
  }
  return out.take();
}

Text reverse(const Text& text) {
  TextBuilder out;
  for (size_t end = text.size(); end > 0;) {
    const size_t begin = point_before(text.bytes, end);
    Meter::step();
    out.append(text, begin, end);
    end = begin;
  }
  return out.take();
}

Text join(const Text& separator, const std::vector<Text>& parts) {
  TextBuilder out;
  for (size_t i = 0; i < parts.size(); ++i) {
    Meter::step();
    if (i > 0) out.append(separator);
    out.append(parts[i]);
  }
  return out.take();
}

Text pad(const Text& text, int64_t width, Side text_at, const Text& fill) {
  const auto n_points = static_cast<int64_t>(count_points(text.bytes));
  if (width <= n_points) return text;
  const int64_t n = width - n_points;
  if (n > (int64_t{1} << 40)) Meter::text(SIZE_MAX);
  Meter::text(static_cast<size_t>(n) * fill.size());
  // As in str.center, an odd space goes to the left if the width is odd.
  const int64_t left = text_at == Side::kLeft ? 0 : text_at == Side::kRight ? n : n / 2 + (n & width & 1);
  TextBuilder out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(text);
  for (int64_t i = left; i < n; ++i) out.append(fill);
  return out.take();
}

namespace {

// Returns a number's text without the spaces around it, or an empty text if it has a character that no number
// has. Throws RenderError for digits other than 0 to 9.
std::string plain_number(const std::string& text) {
  std::string_view view = text;
  view.remove_prefix(leading_spaces(view));
  view.remove_suffix(trailing_spaces(view));
  std::string plain;
  for (size_t at = 0; at < view.size(); at += point_size(view[at])) {
    const int32_t point = point_at(view, at);
    if (point >= 0x80) {
      if (!is_decimal(point)) return {};
      fail(ErrorType::kUnsupported, "digits other than 0 to 9 in a number are not supported");
    }
    plain.push_back(static_cast<char>(point));
  }
  return plain;
}

bool alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool drop_underscores(std::string* text) {
  std::string plain;
  for (size_t i = 0; i < text->size(); ++i) {
    if ((*text)[i] != '_') {
      plain.push_back((*text)[i]);
    } else if (i == 0 || i + 1 == text->size() || !alnum((*text)[i - 1]) || !alnum((*text)[i + 1])) {
      return false;
    }
  }
  *text = plain;
  return true;
}

}  // namespace

bool parse_int(const std::string& text, int64_t base, int64_t* value) {
  if (base != 0 && (base < 2 || base > 36))
    fail(ErrorType::kValueError, "int() base must be >= 2 and <= 36, or 0");
  std::string plain = plain_number(text);
  size_t at = !plain.empty() && (plain[0] == '-' || plain[0] == '+') ? 1 : 0;
  const char mark =
      plain.size() > at + 1 && plain[at] == '0' ? static_cast<char>(plain[at + 1] | 0x20) : '\0';
  const int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  if (marked != 0 && (base == 0 || base == marked)) {
    plain.erase(at, 2);
    if (plain.size() > at && plain[at] == '_') plain.erase(at, 1);
    if (base == 0) base = marked;
  } else if (base == 0) {
    if (plain.size() > at && plain[at] == '0' && plain.find_first_not_of("0_", at) != std::string::npos)
      return false;
    base = 10;
  }
  if (!drop_underscores(&plain)) return false;
  if (plain.size() <= at || !alnum(plain[at])) return false;
  errno = 0;
  char* end = nullptr;
  *value = std::strtoll(plain.c_str(), &end, static_cast<int>(base));
  if (static_cast<size_t>(end - plain.c_str()) != plain.size()) return false;
  if (errno == ERANGE) fail(ErrorType::kUnsupported, "an integer of more than 64 bits is not supported");
  return true;
}

bool parse_float(const std::string& text, double* value) {
  std::string plain = plain_number(text);
  // Python does not accept hexadecimal, which strtod reads, and nan(...).
  if (plain.find_first_of("xXpP(") != std::string::npos) return false;
  for (size_t i = 0; i < plain.size(); ++i) {
    const bool digits = i > 0 && i + 1 < plain.size() && plain[i - 1] >= '0' && plain[i - 1] <= '9' &&
                        plain[i + 1] >= '0' && plain[i + 1] <= '9';
    if (plain[i] == '_' && !digits) return false;
  }
  plain.erase(std::remove(plain.begin(), plain.end(), '_'), plain.end());
  if (plain.empty() || is_space(plain[0])) return false;
  char* end = nullptr;
  *value = std::strtod(plain.c_str(), &end);
  return static_cast<size_t>(end - plain.c_str()) == plain.size();
}

}  // namespace seer::jinja
