#include "tokenizer/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

namespace seer::jinja {
namespace {

utf8proc_category_t category(int32_t point) { return utf8proc_category(point); }

bool within(utf8proc_category_t value, std::initializer_list<utf8proc_category_t> set) {
  return std::find(set.begin(), set.end(), value) != set.end();
}

// The unconditional mappings of Unicode's SpecialCasing.txt to more than one character, except for regular
// ones: Greek letters with iota subscript (U+1F80 to U+1FFC) are computed below.
struct Special {
  int32_t point;
  int32_t upper[3];
  int32_t title[3];
};
constexpr Special kSpecial[] = {{0x00DF, {0x53, 0x53, 0}, {0x53, 0x73, 0}},
                                {0x0149, {0x2BC, 0x4E, 0}, {0x2BC, 0x4E, 0}},
                                {0x01F0, {0x4A, 0x30C, 0}, {0x4A, 0x30C, 0}},
                                {0x0390, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
                                {0x03B0, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
                                {0x0587, {0x535, 0x552, 0}, {0x535, 0x582, 0}},
                                {0x1E96, {0x48, 0x331, 0}, {0x48, 0x331, 0}},
                                {0x1E97, {0x54, 0x308, 0}, {0x54, 0x308, 0}},
                                {0x1E98, {0x57, 0x30A, 0}, {0x57, 0x30A, 0}},
                                {0x1E99, {0x59, 0x30A, 0}, {0x59, 0x30A, 0}},
                                {0x1E9A, {0x41, 0x2BE, 0}, {0x41, 0x2BE, 0}},
                                {0x1F50, {0x3A5, 0x313, 0}, {0x3A5, 0x313, 0}},
                                {0x1F52, {0x3A5, 0x313, 0x300}, {0x3A5, 0x313, 0x300}},
                                {0x1F54, {0x3A5, 0x313, 0x301}, {0x3A5, 0x313, 0x301}},
                                {0x1F56, {0x3A5, 0x313, 0x342}, {0x3A5, 0x313, 0x342}},
                                {0x1FB2, {0x1FBA, 0x399, 0}, {0x1FBA, 0x345, 0}},
                                {0x1FB3, {0x391, 0x399, 0}, {0x1FBC, 0, 0}},
                                {0x1FB4, {0x386, 0x399, 0}, {0x386, 0x345, 0}},
                                {0x1FB6, {0x391, 0x342, 0}, {0x391, 0x342, 0}},
                                {0x1FB7, {0x391, 0x342, 0x399}, {0x391, 0x342, 0x345}},
                                {0x1FBC, {0x391, 0x399, 0}, {0x1FBC, 0, 0}},
                                {0x1FC2, {0x1FCA, 0x399, 0}, {0x1FCA, 0x345, 0}},
                                {0x1FC3, {0x397, 0x399, 0}, {0x1FCC, 0, 0}},
                                {0x1FC4, {0x389, 0x399, 0}, {0x389, 0x345, 0}},
                                {0x1FC6, {0x397, 0x342, 0}, {0x397, 0x342, 0}},
                                {0x1FC7, {0x397, 0x342, 0x399}, {0x397, 0x342, 0x345}},
                                {0x1FCC, {0x397, 0x399, 0}, {0x1FCC, 0, 0}},
                                {0x1FD2, {0x399, 0x308, 0x300}, {0x399, 0x308, 0x300}},
                                {0x1FD3, {0x399, 0x308, 0x301}, {0x399, 0x308, 0x301}},
                                {0x1FD6, {0x399, 0x342, 0}, {0x399, 0x342, 0}},
                                {0x1FD7, {0x399, 0x308, 0x342}, {0x399, 0x308, 0x342}},
                                {0x1FE2, {0x3A5, 0x308, 0x300}, {0x3A5, 0x308, 0x300}},
                                {0x1FE3, {0x3A5, 0x308, 0x301}, {0x3A5, 0x308, 0x301}},
                                {0x1FE4, {0x3A1, 0x313, 0}, {0x3A1, 0x313, 0}},
                                {0x1FE6, {0x3A5, 0x342, 0}, {0x3A5, 0x342, 0}},
                                {0x1FE7, {0x3A5, 0x308, 0x342}, {0x3A5, 0x308, 0x342}},
                                {0x1FF2, {0x1FFA, 0x399, 0}, {0x1FFA, 0x345, 0}},
                                {0x1FF3, {0x3A9, 0x399, 0}, {0x1FFC, 0, 0}},
                                {0x1FF4, {0x38F, 0x399, 0}, {0x38F, 0x345, 0}},
                                {0x1FF6, {0x3A9, 0x342, 0}, {0x3A9, 0x342, 0}},
                                {0x1FF7, {0x3A9, 0x342, 0x399}, {0x3A9, 0x342, 0x345}},
                                {0x1FFC, {0x3A9, 0x399, 0}, {0x1FFC, 0, 0}},
                                {0xFB00, {0x46, 0x46, 0}, {0x46, 0x66, 0}},
                                {0xFB01, {0x46, 0x49, 0}, {0x46, 0x69, 0}},
                                {0xFB02, {0x46, 0x4C, 0}, {0x46, 0x6C, 0}},
                                {0xFB03, {0x46, 0x46, 0x49}, {0x46, 0x66, 0x69}},
                                {0xFB04, {0x46, 0x46, 0x4C}, {0x46, 0x66, 0x6C}},
                                {0xFB05, {0x53, 0x54, 0}, {0x53, 0x74, 0}},
                                {0xFB06, {0x53, 0x54, 0}, {0x53, 0x74, 0}},
                                {0xFB13, {0x544, 0x546, 0}, {0x544, 0x576, 0}},
                                {0xFB14, {0x544, 0x535, 0}, {0x544, 0x565, 0}},
                                {0xFB15, {0x544, 0x53B, 0}, {0x544, 0x56B, 0}},
                                {0xFB16, {0x54E, 0x546, 0}, {0x54E, 0x576, 0}},
                                {0xFB17, {0x544, 0x53D, 0}, {0x544, 0x56D, 0}}};

// Greek letters with iota subscript come in blocks of 16: eight small ones, then their eight title forms.
bool greek_with_iota(int32_t point) { return point >= 0x1F80 && point <= 0x1FAF; }

void append_greek(std::string* bytes, int32_t point, Case to) {
  if (to == Case::kTitle) {
    append_point(bytes, point | 8);
    return;
  }
  // 1F80 is mapped to 1F08, 1F90 to 1F28 and 1FA0 to 1F68, each followed by a capital iota.
  constexpr int32_t kCapital[] = {0x1F08, 0x1F28, 0x1F68};
  append_point(bytes, kCapital[(point - 0x1F80) / 16] + (point & 7));
  append_point(bytes, 0x399);
}

}  // namespace

bool is_space(int32_t p) {
  return (p >= 9 && p <= 13) || (p >= 0x1C && p <= 0x20) || p == 0x85 || p == 0xA0 || p == 0x1680 ||
         (p >= 0x2000 && p <= 0x200A) || p == 0x2028 || p == 0x2029 || p == 0x202F || p == 0x205F ||
         p == 0x3000;
}

bool is_line_end(int32_t p) {
  return (p >= 10 && p <= 13) || (p >= 0x1C && p <= 0x1E) || p == 0x85 || p == 0x2028 || p == 0x2029;
}

bool is_alpha(int32_t p) {
  return within(category(p), {UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LT,
                              UTF8PROC_CATEGORY_LM, UTF8PROC_CATEGORY_LO});
}

bool is_decimal(int32_t p) { return category(p) == UTF8PROC_CATEGORY_ND; }

bool is_digit(int32_t p) {
  // Digits other than decimals: superscripts, subscripts, and digits in circles, in parentheses or with a
  // full stop.
  constexpr int32_t kRanges[][2] = {
      {0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
      {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
      {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
      {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}};
  return is_decimal(p) || std::any_of(std::begin(kRanges), std::end(kRanges),
                                      [&](const auto& r) { return p >= r[0] && p <= r[1]; });
}

bool is_numeric(int32_t p) {
  // Ideographs with a numeric value, which the categories of numbers do not contain.
  constexpr int32_t kHan[] = {
      0x3405,  0x3483,  0x382A,  0x3B4D,  0x4E00,  0x4E03,  0x4E07,  0x4E09,  0x4E5D,  0x4E8C,  0x4E94,
      0x4E96,  0x4EBF,  0x4EC0,  0x4EDF,  0x4EE8,  0x4F0D,  0x4F70,  0x5104,  0x5146,  0x5169,  0x516B,
      0x516D,  0x5341,  0x5343,  0x5344,  0x5345,  0x534C,  0x53C1,  0x53C2,  0x53C3,  0x53C4,  0x56DB,
      0x58F1,  0x58F9,  0x5E7A,  0x5EFE,  0x5EFF,  0x5F0C,  0x5F0D,  0x5F0E,  0x5F10,  0x62FE,  0x634C,
      0x67D2,  0x6F06,  0x7396,  0x767E,  0x8086,  0x842C,  0x8CAE,  0x8CB3,  0x8D30,  0x9621,  0x9646,
      0x964C,  0x9678,  0x96F6,  0xF96B,  0xF973,  0xF978,  0xF9B2,  0xF9D1,  0xF9D3,  0xF9FD,  0x20001,
      0x20064, 0x200E2, 0x20121, 0x2092A, 0x20983, 0x2098C, 0x2099C, 0x20AEA, 0x20AFD, 0x20B19, 0x22390,
      0x22998, 0x23B1B, 0x2626D, 0x2F890};
  return within(category(p), {UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NL, UTF8PROC_CATEGORY_NO}) ||
         std::binary_search(std::begin(kHan), std::end(kHan), p);
}

bool is_word(int32_t p) { return p == '_' || is_alpha(p) || is_numeric(p); }

bool is_identifier_start(int32_t p) { return p == '_' || is_alpha(p) || category(p) == UTF8PROC_CATEGORY_NL; }

bool is_identifier_part(int32_t p) {
  return is_identifier_start(p) || within(category(p), {UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MC,
                                                        UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_PC});
}

bool is_printable(int32_t p) {
  if (p == ' ') return true;
  return !within(category(p),
                 {UTF8PROC_CATEGORY_CN, UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CF, UTF8PROC_CATEGORY_CS,
                  UTF8PROC_CATEGORY_CO, UTF8PROC_CATEGORY_ZS, UTF8PROC_CATEGORY_ZL, UTF8PROC_CATEGORY_ZP});
}

bool is_title(int32_t p) { return category(p) == UTF8PROC_CATEGORY_LT; }

bool is_upper(int32_t p) {
  // Unicode's Other_Uppercase: Roman numerals, and Latin letters in circles and squares.
  return category(p) == UTF8PROC_CATEGORY_LU || (p >= 0x2160 && p <= 0x216F) ||
         (p >= 0x24B6 && p <= 0x24CF) || (p >= 0x1F130 && p <= 0x1F149) || (p >= 0x1F150 && p <= 0x1F169) ||
         (p >= 0x1F170 && p <= 0x1F189);
}

bool is_lower(int32_t p) {
  // Unicode's Other_Lowercase.
  constexpr int32_t kRanges[][2] = {
      {0xAA, 0xAA},       {0xBA, 0xBA},       {0x2B0, 0x2B8},     {0x2C0, 0x2C1},    {0x2E0, 0x2E4},
      {0x345, 0x345},     {0x37A, 0x37A},     {0x1D2C, 0x1D6A},   {0x1D78, 0x1D78},  {0x1D9B, 0x1DBF},
      {0x2071, 0x2071},   {0x207F, 0x207F},   {0x2090, 0x209C},   {0x2170, 0x217F},  {0x24D0, 0x24E9},
      {0x2C7C, 0x2C7D},   {0xA69C, 0xA69D},   {0xA770, 0xA770},   {0xA7F8, 0xA7F9},  {0xAB5C, 0xAB5F},
      {0x10780, 0x10780}, {0x10783, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}};
  return category(p) == UTF8PROC_CATEGORY_LL ||
         std::any_of(std::begin(kRanges), std::end(kRanges),
                     [&](const auto& r) { return p >= r[0] && p <= r[1]; });
}

bool is_cased(int32_t p) { return is_upper(p) || is_lower(p) || is_title(p); }

bool is_case_ignorable(int32_t p) {
  if (within(category(p), {UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME, UTF8PROC_CATEGORY_CF,
                           UTF8PROC_CATEGORY_LM, UTF8PROC_CATEGORY_SK}))
    return true;
  // Punctuation within words: Word_Break is MidLetter, MidNumLet or Single_Quote.
  constexpr int32_t kMid[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                              0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  return std::binary_search(std::begin(kMid), std::end(kMid), p);
}

void append_case(std::string* bytes, int32_t point, Case to) {
  if (to == Case::kLower) {
    if (point == 0x130) {
      bytes->append("i\xCC\x87");
    } else {
      append_point(bytes, utf8proc_tolower(point));
    }
    return;
  }
  if (point >= 0x80) {
    if (greek_with_iota(point)) return append_greek(bytes, point, to);
    const auto* special = std::lower_bound(std::begin(kSpecial), std::end(kSpecial), point,
                                           [](const Special& s, int32_t p) { return s.point < p; });
    if (special != std::end(kSpecial) && special->point == point) {
      for (const int32_t p : to == Case::kUpper ? special->upper : special->title)
        if (p != 0) append_point(bytes, p);
      return;
    }
  }
  append_point(bytes, to == Case::kUpper ? utf8proc_toupper(point) : utf8proc_totitle(point));
}

size_t leading_spaces(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && is_space(point_at(text, at))) at += point_size(text[at]);
  return at;
}

size_t trailing_spaces(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t before = point_before(text, end);
    if (!is_space(point_at(text, before))) break;
    end = before;
  }
  return text.size() - end;
}

}  // namespace seer::jinja
