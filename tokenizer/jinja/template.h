// Chat templates: the part of Jinja that they use, with the results of jinja2 as Hugging Face transformers
// sets it up (trim_blocks, lstrip_blocks, break and continue, tojson, raise_exception, strftime_now,
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
  // For strftime_now; -1 is the clock's.
  std::time_t now = -1;
};

// What a template says by raise_exception; what() is the template's text and nothing else.
class RaisedError : public Error {
 public:
  explicit RaisedError(const std::string& message) : Error(ErrorKind::kUnsupported, message) {}
};

struct Program;

// Immutable; any number of threads may render it at the same time.
class Template {
 public:
  // `name` stands for the template in messages, which begin with "NAME:LINE: ". Throws Error{kFile} where the
  // source is malformed, Error{kUnsupported} where it uses what is not built or passes a limit.
  static Template parse(std::string_view source, std::string name);

  // The text that the template makes of its variables. Strings of the first object count as the template's
  // own (bos_token), those of the second as messages'; where both have a name, the second's is used. Both are
  // objects or null. Throws RaisedError; Error{kUnsupported} for every other error of rendering.
  MarkedText render(OrderedJson variables_from_files, OrderedJson variables_from_messages,
                    const RenderOptions& options = {}) const;

  // Whether the source reads the variable, other than one of that name that it has set itself before.
  bool refers_to(std::string_view variable) const;

 private:
  explicit Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

  std::shared_ptr<const Program> program_;
};

}  // namespace seer::jinja
