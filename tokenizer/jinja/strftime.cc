#include "tokenizer/jinja/strftime.h"

#include <array>
#include <string>

#include "tokenizer/jinja/errors.h"

namespace seer::jinja {
namespace {

constexpr std::string_view kDirectives = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY";

std::string formatted(char directive, char flag, const std::tm& time) {
  std::string format = flag == 0 ? std::string{'%', directive} : std::string{'%', flag, directive};
  std::array<char, 128> buffer;
  // The names of days and months follow the process's locale, which is the C locale unless a program around
  // this library sets another one.
  const size_t n = std::strftime(buffer.data(), buffer.size(), format.c_str(), &time);
  return {buffer.data(), n};
}

}  // namespace

Text format_time(const Text& format, std::time_t time) {
  std::tm local{};
  localtime_r(&time, &local);
  TextBuilder out;
  size_t plain = 0;
  const std::string& bytes = format.bytes;
  for (size_t at = bytes.find('%'); at != std::string::npos; at = bytes.find('%', plain)) {
    out.append(format, plain, at);
    size_t i = at + 1;
    char flag = 0;
    if (i < bytes.size() &&
        (bytes[i] == '-' || bytes[i] == '_' || bytes[i] == '0' || bytes[i] == '^' || bytes[i] == '#'))
      flag = bytes[i++];
    const char directive = i < bytes.size() ? bytes[i] : '\0';
    if (directive == '%' && flag == 0) {
      out.append(format, at, at + 1);
    } else if (directive == 'f' && flag == 0) {
      out.append("000000");  // the clock is read in whole seconds
    } else if ((directive == 'z' || directive == 'Z') && flag == 0) {
      // Python's datetime.now() has no time zone, so nothing is written.
    } else if (directive != '\0' && kDirectives.find(directive) != std::string_view::npos) {
      out.append(formatted(directive, flag, local));
    } else {
      fail(ErrorType::kUnsupported, "strftime_now: the directive '" + bytes.substr(at, i + 1 - at) +
                                        "' is not supported; expected one of % with " +
                                        std::string(kDirectives));
    }
    plain = i + 1;
  }
  if (plain < bytes.size()) out.append(format, plain, bytes.size());
  return out.take();
}

}  // namespace seer::jinja
