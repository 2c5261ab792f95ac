#include "tokenizer/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "engine/base/stop_check.h"
#include "tokenizer/unicode_additions.h"
#include "tokenizer/utf8.h"

namespace seer {
namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

struct Options {
  utf8proc_option_t decompose;
  bool compose;
};

Options options_of(NormalForm form) {
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const int kind = compatible ? UTF8PROC_STABLE | UTF8PROC_COMPAT : static_cast<int>(UTF8PROC_STABLE);
  return {static_cast<utf8proc_option_t>(kind | UTF8PROC_DECOMPOSE),
          form == NormalForm::kNfc || form == NormalForm::kNfkc};
}

void append_decomposed(utf8proc_int32_t point, utf8proc_option_t options, CodePoints* out) {
  std::array<utf8proc_int32_t, 32> parts{};  // Unicode's longest decomposition has 18
  int last_boundary = 0;
  const auto n = utf8proc_decompose_char(point, parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
                                         options, &last_boundary);
  if (n <= 0 || n > static_cast<utf8proc_ssize_t>(parts.size())) {
    out->push_back(point);
  } else {
    out->insert(out->end(), parts.begin(), parts.begin() + n);
  }
}

// Sorts each run of combining marks by their classes. utf8proc's own sorting takes n * n steps for n marks,
// and a hostile text could have a million of them.
void order_marks(CodePoints* points) {
  const auto mark_class = [](utf8proc_int32_t point) {
    return utf8proc_get_property(point)->combining_class;
  };
  for (auto at = points->begin(); at != points->end();) {
    const auto end =
        std::find_if(at, points->end(), [&](utf8proc_int32_t point) { return mark_class(point) == 0; });
    std::stable_sort(at, end,
                     [&](utf8proc_int32_t a, utf8proc_int32_t b) { return mark_class(a) < mark_class(b); });
    at = end == points->end() ? end : end + 1;
  }
}

void append_utf8(const CodePoints& points, std::string* out) {
  for (const utf8proc_int32_t point : points) {
    std::array<utf8proc_uint8_t, 4> bytes{};
    const auto n = utf8proc_encode_char(point, bytes.data());
    out->append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(n));
  }
}

// Appends the normal form of `text`, which must be well-formed UTF-8.
void append_normalized(std::string_view text, Options options, std::string* out) {
  CodePoints points;
  points.reserve(text.size());
  while (!text.empty()) {
    StopCheck::work();
    const size_t size = utf8_step(text).size;
    append_decomposed(utf8_point(text.substr(0, size)), options.decompose, &points);
    text.remove_prefix(size);
  }
  order_marks(&points);
  if (options.compose) {
    const auto n =
        utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    points.resize(static_cast<size_t>(n));
  }
  append_utf8(points, out);
}

struct NormalisedRange {
  utf8proc_int32_t first, last;
};

// The characters that were added after Unicode 9 and up to Unicode 15 and that normalisation moves or
// changes. As measured, tokenizers 0.23.3 and utf8proc 2.8 differ only for these and for the later ones of
// unicode_additions.h.
constexpr NormalisedRange kAfterUnicode9[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},     {0xC3C, 0xC3C},
    {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},
    {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},   {0xAB69, 0xAB69},   {0x10781, 0x10785},
    {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF},
    {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
    {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
    {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};

// utf8proc 2.8 takes this character for a final consonant of Hangul and drops it after a syllable. It should
// compose with nothing.
constexpr utf8proc_int32_t kBeforeFinals = 0x11A7;

// Returns whether normalisation leaves the character as it is and lets nothing move past it.
bool stays(utf8proc_int32_t point) {
  const auto* range =
      std::upper_bound(std::begin(kAfterUnicode9), std::end(kAfterUnicode9), point,
                       [](utf8proc_int32_t p, const NormalisedRange& r) { return p <= r.last; });
  return (range != std::end(kAfterUnicode9) && point >= range->first) || !unicode_addition(point).empty() ||
         point == kBeforeFinals;
}

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// A run of non-ASCII characters to be normalised. below_marks says that all are below U+0300 (their first
// bytes are below 0xCC), so that NFC changes none of them.
struct Run {
  size_t size;  // in bytes
  bool below_marks;
};

// Returns the run that `text` begins with. It ends before ASCII, before a byte that is not UTF-8, and before
// a character that stays.
Run run_of(std::string_view text) {
  Run run{0, true};
  while (run.size < text.size() && !is_ascii(text[run.size])) {
    const Utf8Step step = utf8_step(text.substr(run.size));
    if (step.kind != Utf8Step::Kind::kCharacter) break;
    const bool below_marks = static_cast<unsigned char>(text[run.size]) < 0xCC;
    if (!below_marks && stays(utf8_point(text.substr(run.size, step.size)))) break;
    run.below_marks = run.below_marks && below_marks;
    run.size += step.size;
  }
  return run;
}

}  // namespace

std::string normal_form(std::string_view text, NormalForm form) {
  const Options options = options_of(form);
  std::string out;
  out.reserve(text.size());
  size_t done = 0, at = 0;
  while (at < text.size()) {
    if (is_ascii(text[at])) {
      ++at;
      continue;
    }
    const Run run = run_of(text.substr(at));
    if (run.size == 0) {  // a byte that is not UTF-8, or a character that stays
      at += utf8_step(text.substr(at)).size;
      continue;
    }
    const size_t end = at + run.size;
    if (form != NormalForm::kNfc || !run.below_marks) {
      // The first mark of the run may belong to the ASCII character before it.
      const size_t begin = at > done && is_ascii(text[at - 1]) ? at - 1 : at;
      out.append(text, done, begin - done);
      append_normalized(text.substr(begin, end - begin), options, &out);
      done = end;
    }
    at = end;
  }
  return out.append(text, done, std::string_view::npos);
}

}  // namespace seer
