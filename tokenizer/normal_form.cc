#include "tokenizer/normal_form.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

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
// which a hostile text could have a million of.
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

// `text` is well-formed.
void append_normalized(std::string_view text, Options options, std::string* out) {
  CodePoints points;
  points.reserve(text.size());
  while (!text.empty()) {
    utf8proc_int32_t point = 0;
    const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &point);
    append_decomposed(point, options.decompose, &points);
    text.remove_prefix(static_cast<size_t>(size));
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

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// The characters of a run beyond ASCII, and whether one of them can change under NFC: none below U+0300 does,
// whose first bytes are below 0xCC.
struct Run {
  size_t size;
  bool below_marks;
};

Run run_of(std::string_view text) {
  Run run{0, true};
  while (run.size < text.size() && !is_ascii(text[run.size])) {
    const Utf8Step step = utf8_step(text.substr(run.size));
    if (step.kind != Utf8Step::Kind::kCharacter) break;
    run.below_marks = run.below_marks && static_cast<unsigned char>(text[run.size]) < 0xCC;
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
    if (run.size == 0) {  // a byte that is no UTF-8
      ++at;
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
