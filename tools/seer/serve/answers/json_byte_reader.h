// Reads one JSON value, as a model writes it, a byte at a time.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace seer::serve {

class JsonByteReader {
 public:
  enum class Progress { kMore, kEnd, kBad };
  // The part of a value to which the next byte belongs.
  enum class Place {
    kValue,
    kFirstValue,
    kKey,
    kFirstKey,
    kColon,
    kAfter,
    kString,
    kNumber,
    kLiteral,
    kDone
  };

  // Returns kEnd if `byte` closed the value. A number ends with the byte after it, so a whole value must be
  // an object, an array or a string. Push nothing more after kEnd or kBad. Nesting beyond 64 levels is bad.
  Progress push(char byte);

  size_t depth() const { return open_.size(); }  // the number of open objects and arrays
  Place place() const { return place_; }

 private:
  bool begin_value(char byte);
  bool open(char byte, Place first);
  bool close(char byte);
  bool in_string(char byte);
  bool in_number(char byte);
  bool in_literal(char byte);
  bool in_structure(char byte);
  void value_ended();

  std::vector<char> open_;  // '{' and '['
  Place place_ = Place::kValue;
  bool is_key_ = false;  // the string that is being read is a key
  int escape_ = 0;       // bytes of an escape still to come after its letter; -1: its letter is still to come
  std::string literal_;  // the rest of true, false or null
  std::string number_;
};

}  // namespace seer::serve
