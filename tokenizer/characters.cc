#include "tokenizer/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <cctype>
#include <iterator>

#include "engine/base/stop_check.h"
#include "tokenizer/unicode_additions.h"
#include "tokenizer/utf8.h"

namespace seer {
namespace {

constexpr int32_t kNone = -1;

// Differences in punctuation between Unicode 14 and the package's older tables, as measured with tokenizers
// 0.23.3. Nearly all are characters that became punctuation since; a few (U+166D, U+111C9) were punctuation
// before. The tables also lack everything in unicode_additions.h.
struct CharacterRange {
  int32_t first, last;
};
constexpr CharacterRange kOtherPunctuation[] = {
    {0x61D, 0x61D},     {0x9FD, 0x9FD},     {0xA76, 0xA76},     {0xC77, 0xC77},     {0xC84, 0xC84},
    {0x166D, 0x166D},   {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},   {0x10EAD, 0x10EAD},
    {0x10F55, 0x10F59}, {0x10F86, 0x10F89}, {0x111C9, 0x111C9}, {0x1144B, 0x1144F}, {0x1145A, 0x1145B},
    {0x1145D, 0x1145D}, {0x11660, 0x1166C}, {0x116B9, 0x116B9}, {0x1183B, 0x1183B}, {0x11944, 0x11946},
    {0x119E2, 0x119E2}, {0x11A3F, 0x11A46}, {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11C41, 0x11C45},
    {0x11C70, 0x11C71}, {0x11EF7, 0x11EF8}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F}};

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

// Returns the general category, such as "Lu", or "Cn" for a number that is no code point.
std::string_view category_of(int32_t point) {
  if (point < 0 || point > 0x10FFFF) return "Cn";
  const std::string_view addition = unicode_addition(point);
  return addition.empty() ? std::string_view(utf8proc_category_string(point)) : addition;
}

// Numbers and lower case in the package follow Unicode 17, which has these beyond Unicode 16.
bool is_later_number(int32_t point) {
  return (point >= 0x11DE0 && point <= 0x11DE9) || (point >= 0x16FF4 && point <= 0x16FF6);
}

int32_t lower_of(int32_t point) {
  if (point == 0xA7CE || point == 0xA7D2 || point == 0xA7D4) return point + 1;
  if (point >= 0x16EA0 && point <= 0x16EB8) return point + 0x1B;
  return unicode_addition(point).empty() ? utf8proc_tolower(point) : addition_in_lower_case(point);
}

}  // namespace

bool is_white_space(int32_t point) {
  return (point >= '\t' && point <= '\r') || point == ' ' || point == 0x85 || point == 0xA0 ||
         point == 0x1680 || (point >= 0x2000 && point <= 0x200A) || point == 0x2028 || point == 0x2029 ||
         point == 0x202F || point == 0x205F || point == 0x3000;
}

bool is_numeric(int32_t point) {
  if (point >= 0 && point < 0x80) return point >= '0' && point <= '9';
  return category_of(point)[0] == 'N' || is_later_number(point);
}

bool is_punctuation(int32_t point) {
  if (point >= 0 && point < 0x80) return std::ispunct(static_cast<unsigned char>(point)) != 0;
  const auto* other =
      std::upper_bound(std::begin(kOtherPunctuation), std::end(kOtherPunctuation), point,
                       [](int32_t p, const CharacterRange& range) { return p <= range.last; });
  const bool differs = other != std::end(kOtherPunctuation) && point >= other->first;
  return unicode_addition(point).empty() && (category_of(point)[0] == 'P') != differs;
}

bool is_word_character(int32_t point) {
  // Joiners, and the circled and squared letters, which are symbols but alphabetic.
  if (point == 0x200C || point == 0x200D || (point >= 0x24B6 && point <= 0x24E9) ||
      (point >= 0x1F130 && point <= 0x1F149) || (point >= 0x1F150 && point <= 0x1F169) ||
      (point >= 0x1F170 && point <= 0x1F189))
    return true;
  if (point >= 0 && point < 0x80) return std::isalnum(static_cast<unsigned char>(point)) != 0 || point == '_';
  const std::string_view category = category_of(point);
  return category[0] == 'L' || category[0] == 'M' || category == "Nd" || category == "Nl" || category == "Pc";
}

size_t leading_space(std::string_view text) {
  size_t done = 0, size = 0;
  while (is_white_space(first_point(text.substr(done), &size))) done += size;
  return done;
}

size_t trailing_space(std::string_view text) {
  size_t done = 0, size = 0;
  while (is_white_space(last_point(text.substr(0, text.size() - done), &size))) done += size;
  return done;
}

size_t count_white_space(std::string_view text) {
  size_t n = 0;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (step.kind == Utf8Step::Kind::kCharacter && is_white_space(utf8_point(text.substr(0, step.size))))
      n += step.size;
    text.remove_prefix(step.size);
  }
  return n;
}

bool begins_with_word(std::string_view text) {
  size_t size = 0;
  return is_word_character(first_point(text, &size));
}

bool ends_with_word(std::string_view text) {
  size_t size = 0;
  return is_word_character(last_point(text, &size));
}

std::string lower_case(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    StopCheck::work();
    const Utf8Step step = utf8_step(text);
    const std::string_view character = text.substr(0, step.size);
    text.remove_prefix(step.size);
    if (step.kind != Utf8Step::Kind::kCharacter) {
      out += character;
      continue;
    }
    const int32_t point = utf8_point(character);
    if (point == 0x130) {  // the only character whose lower case has two characters
      out += "i\u0307";
      continue;
    }
    const int32_t lower = lower_of(point);
    char bytes[4];
    out.append(bytes,
               static_cast<size_t>(utf8proc_encode_char(lower, reinterpret_cast<utf8proc_uint8_t*>(bytes))));
  }
  return out;
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
