// Reads one call of a function, {"name": "f", "arguments": {...}}, a byte at a time.
#pragma once

#include <string>

#include "tools/seer/serve/answers/json_byte_reader.h"

namespace seer::serve {

class CallReader {
 public:
  // If `name` is empty, reads an object with the members name and arguments (which Llama calls parameters).
  // Otherwise reads only the arguments, of the function of that name.
  explicit CallReader(std::string name = "") : name_(std::move(name)), bare_(!name_.empty()) {}

  // Returns kBad also for an object that is no call.
  JsonByteReader::Progress push(char byte);

  const std::string& name() const { return name_; }  // empty until it is known
  bool has_arguments() const { return has_arguments_; }
  // Returns true if the name is known and the arguments are an object of which more than the brace has been
  // read. Hardly any text but a call looks like this.
  bool has_begun() const { return !name_.empty() && arguments_begun_; }
  // Returns the new part of the arguments' text, which is one JSON object; "{}" at the end if there are no
  // arguments.
  std::string take_arguments();

 private:
  JsonByteReader::Progress push_member(char byte);
  void in_value(char byte);
  bool end_value();

  JsonByteReader reader_;
  std::string name_;
  const bool bare_;
  bool in_value_ = false;    // the reader is after a member's colon, in the call's own object
  std::string key_, value_;  // as written, quotes included
  std::string arguments_;    // not yet taken
  bool arguments_begun_ = false, has_arguments_ = false;
};

}  // namespace seer::serve
