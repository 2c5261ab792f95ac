#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <limits>

#include "seer/error.h"

namespace seer {

struct Regex::Impl {
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;
  ~Impl() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
};

namespace {

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

Regex::Regex(const std::string& pattern, const std::string& origin) : impl_(std::make_unique<Impl>()) {
  int error = 0;
  PCRE2_SIZE at = 0;
  // Tokenizer files mean Unicode's letters, digits and spaces.
  impl_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &error, &at, nullptr);
  if (impl_->code == nullptr)
    throw Error(ErrorKind::kUnsupported, origin + ": the regular expression is not supported at character " +
                                             std::to_string(at) + " (" + message_of(error) + "): " + pattern);
  pcre2_jit_compile(impl_->code, PCRE2_JIT_COMPLETE);  // where the machine has none, matching interprets
  impl_->context = pcre2_match_context_create(nullptr);
  if (impl_->context == nullptr) throw std::bad_alloc();
  // A megabyte of spaces is legitimate text and needs as many steps back.
  pcre2_set_match_limit(impl_->context, std::numeric_limits<uint32_t>::max());
}

Regex::~Regex() = default;

void Regex::split(std::string_view text, std::vector<std::string_view>* parts) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create(1, nullptr), &pcre2_match_data_free);
  if (data == nullptr) throw std::bad_alloc();
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data.get());
  size_t done = 0, at = 0;
  while (at < text.size()) {
    const int found = pcre2_match(impl_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                  PCRE2_NOTEMPTY, data.get(), impl_->context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      throw Error(ErrorKind::kRuntime, "splitting the text into words failed: " + message_of(found));
    if (range[0] > done) parts->push_back(text.substr(done, range[0] - done));
    parts->push_back(text.substr(range[0], range[1] - range[0]));
    done = at = range[1];
  }
  if (done < text.size()) parts->push_back(text.substr(done));
}

}  // namespace seer
