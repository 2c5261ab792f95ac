#include "tokenizer/characters.h"

#include <utf8proc.h>

#include "tokenizer/unicode_additions.h"
#include "tokenizer/utf8.h"

namespace seer {
namespace {

constexpr int32_t kNone = -1;

int32_t first_point(std::string_view text, size_t* size) {
  *size = 0;
  if (text.empty()) return kNone;
  const Utf8Step step = utf8_step(text);
  if (step.kind != Utf8Step::Kind::kCharacter) return kNone;
  *size = step.size;
  return utf8_point(text.substr(0, step.size));
}

int32_t last_point(std::string_view text, size_t* size) {
  for (size_t n = 1; n <= 4 && n <= text.size(); ++n) {
    const int32_t point = first_point(text.substr(text.size() - n), size);
    if (*size == n) return point;
  }
  *size = 0;
  return kNone;
}

bool is_space(int32_t point) {
  return (point >= '\t' && point <= '\r') || point == ' ' || point == 0x85 || point == 0xA0 ||
         point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 ||
         point == 0x202F || point == 0x205F || point == 0x3000;
}

bool is_word(int32_t point) {
  if (point < 0) return false;
  // Joiners, and the circled and squared letters, which are symbols but alphabetic.
  if (point == 0x200C || point == 0x200D || (point >= 0x24B6 && point <= 0x24E9) ||
      (point >= 0x1F130 && point <= 0x1F149) || (point >= 0x1F150 && point <= 0x1F169) ||
      (point >= 0x1F170 && point <= 0x1F189))
    return true;
  if (const std::string_view category = unicode_addition(point); !category.empty())
    return category[0] == 'L' || category[0] == 'M' || category == "Nd" || category == "Nl" ||
           category == "Pc";
  switch (utf8proc_category(point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

}  // namespace

size_t leading_space(std::string_view text) {
  size_t done = 0, size = 0;
  while (is_space(first_point(text.substr(done), &size))) done += size;
  return done;
}

size_t trailing_space(std::string_view text) {
  size_t done = 0, size = 0;
  while (is_space(last_point(text.substr(0, text.size() - done), &size))) done += size;
  return done;
}

bool begins_with_word(std::string_view text) {
  size_t size = 0;
  return is_word(first_point(text, &size));
}

bool ends_with_word(std::string_view text) {
  size_t size = 0;
  return is_word(last_point(text, &size));
}

void replace_all(std::string* text, std::string_view pattern, std::string_view content) {
  std::string out;
  size_t done = 0;
  for (size_t at = text->find(pattern); at != std::string::npos; at = text->find(pattern, done)) {
    out.append(*text, done, at - done).append(content);
    done = at + pattern.size();
  }
  *text = out.append(*text, done, std::string::npos);
}

}  // namespace seer
