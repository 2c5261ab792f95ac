#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>
#include <new>
#include <optional>

#include "engine/base/json_reader.h"
#include "engine/base/stop_check.h"
#include "seer/error.h"
#include "tokenizer/oniguruma.h"
#include "tokenizer/unicode_additions.h"
#include "tokenizer/utf8.h"

namespace seer {
namespace {

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

template <class T>
T* present(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code{nullptr, &pcre2_code_free};

  Code(const std::string& pattern, bool with_additions, const std::string& origin) {
    const std::string translated = pcre2_of_oniguruma(pattern, with_additions, origin);
    const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> options(
        present(pcre2_compile_context_create(nullptr)), &pcre2_compile_context_free);
    pcre2_set_newline(options.get(), PCRE2_NEWLINE_LF);
    int error = 0;
    PCRE2_SIZE at = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_MULTILINE, &error, &at,
                             options.get()));
    if (code == nullptr)
      throw Error(ErrorKind::kUnsupported, origin + ": the regular expression is not supported (" +
                                               message_of(error) + "): " + pattern);
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // if the machine has no such compiler, matching
                                                        // interprets the pattern
  }
};

namespace {

constexpr uint32_t kHeapKiB = uint32_t{64} << 10;
// Ten million steps take tens of milliseconds. A megabyte of spaces is legitimate text and needs as many
// steps back, so the limit grows with the text. (?:a|a)+b needs 2^n steps for n letters.
constexpr uint64_t kMinSteps = 10'000'000, kStepsPerByte = 16;

using MatchContext = std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)>;

MatchContext limits_for(size_t n_bytes) {
  MatchContext context(present(pcre2_match_context_create(nullptr)), &pcre2_match_context_free);
  const uint64_t steps = kMinSteps + kStepsPerByte * n_bytes;
  const auto limit = static_cast<uint32_t>(std::min<uint64_t>(steps, std::numeric_limits<uint32_t>::max()));
  pcre2_set_match_limit(context.get(), limit);
  pcre2_set_depth_limit(context.get(), limit);
  pcre2_set_heap_limit(context.get(), kHeapKiB);
  return context;
}

// Returns the result of pcre2_match. Compiled code has a stack of 32 KiB; a match that needs more is
// interpreted.
int match(const pcre2_code* code, std::string_view text, size_t at, pcre2_match_data* data,
          pcre2_match_context* context) {
  const auto with = [&](uint32_t options) {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at, options, data,
                       context);
  };
  const int found = with(0);
  return found == PCRE2_ERROR_JIT_STACKLIMIT ? with(PCRE2_NO_JIT) : found;
}

}  // namespace

Regex::Regex(const std::string& pattern, const std::string& origin)
    : pattern_(pattern),
      origin_(origin),
      complete_(std::make_unique<Code>(pattern, /*with_additions=*/true, origin)),
      plain_(std::make_unique<Code>(pattern, /*with_additions=*/false, origin)) {}

Regex::~Regex() = default;

void Regex::fail(int error, size_t n_bytes) const {
  const bool limit =
      error == PCRE2_ERROR_MATCHLIMIT || error == PCRE2_ERROR_DEPTHLIMIT || error == PCRE2_ERROR_HEAPLIMIT;
  if (!limit)
    throw Error(ErrorKind::kRuntime,
                origin_ + ": splitting the text into words failed: " + message_of(error));
  throw Error(ErrorKind::kUnsupported,
              origin_ + ": the regular expression " + json_excerpt(pattern_) +
                  " takes too long for a text of " + std::to_string(n_bytes) + " bytes (" +
                  message_of(error) + "); expected one that does not try exponentially many ways to match");
}

void Regex::find(std::string_view text, std::vector<Span>* spans) const {
  const Code& regex = has_unicode_additions(text) ? *complete_ : *plain_;
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      present(pcre2_match_data_create(1, nullptr)), &pcre2_match_data_free);
  const MatchContext context = limits_for(text.size());
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
  size_t done = 0, at = 0;
  std::optional<size_t> last_end;  // the end of the match before
  while (at < text.size()) {
    const int found = match(regex.code.get(), text, at, data.get(), context.get());
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) fail(found, text.size());
    const size_t begin = range[0], end = range[1];
    if (begin == end && last_end == end) {
      at += utf8_step(text.substr(at)).size;  // an empty match directly after another one does not count
      continue;
    }
    if (begin > done) spans->push_back({done, begin, false});
    spans->push_back({begin, end, true});
    last_end = done = at = end;
    StopCheck::work(4);
  }
  if (done < text.size()) spans->push_back({done, text.size(), false});
}

}  // namespace seer
