// Chat templates: the part of Jinja that they use, with the same results as jinja2 in the setup of Hugging
// Face transformers (trim_blocks, lstrip_blocks, break and continue, tojson, raise_exception, strftime_now,
// generation blocks, and an immutable sandbox).
#pragma once

#include <cstddef>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "seer/error.h"
#include "tokenizer/jinja/meter.h"
#include "tokenizer/marked_text.h"

namespace seer::jinja {

inline constexpr size_t kMaxSource = size_t{1}
                                     << 19;  // bytes of a template: real ones have at most some 30 kB

struct RenderOptions {
  Limits limits;
  // The time for strftime_now, in seconds since 1970; -1 reads the clock.
  std::time_t now = -1;
};

// The error of a template that calls raise_exception. what() is the template's text and nothing else.
class RaisedError : public Error {
 public:
  explicit RaisedError(const std::string& message) : Error(ErrorKind::kUnsupported, message) {}
};

struct Program;

// A Template is immutable; any number of threads may render it at the same time.
class Template {
 public:
  // `name` stands for the template in messages, which begin with "NAME:LINE: ". Throws Error{kFile} if the
  // source is malformed, and Error{kUnsupported} if it uses a construct that is not supported or passes a
  // limit.
  static Template parse(std::string_view source, std::string name);

  // Returns the text that the template makes of its variables. Strings of the first object (such as
  // bos_token) count as the template's own, those of the second as the messages'. If both have a name, the
  // second's is used. Each is an object or null. Throws RaisedError, and Error{kUnsupported} for every other
  // error of rendering.
  MarkedText render(OrderedJson variables_from_files, OrderedJson variables_from_messages,
                    const RenderOptions& options = {}) const;

  // Returns whether the source reads this variable of the context, not only one of the same name that it has
  // set itself before.
  bool refers_to(std::string_view variable) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

  std::shared_ptr<const Program> program_;
};

}  // namespace seer::jinja
