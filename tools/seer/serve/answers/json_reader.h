// Reads one JSON value a byte at a time, as a model writes it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace seer::serve {

class JsonReader {
 public:
  enum class Step { kMore, kEnd, kBad };
  // Where the next byte falls.
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

  // kEnd: `byte` closed the value. A number ends with the byte after it, so a whole value must be an object,
  // an array or a string. After kEnd and kBad nothing more may be pushed. Nesting beyond 64 is bad.
  Step push(char byte);

  size_t depth() const { return open_.size(); }  // objects and arrays that are open
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
  bool is_key_ = false;  // of the string that is being read
  int escape_ = 0;       // bytes of an escape that are still to come, its letter apart; -1: its letter
  std::string literal_;  // what is left of true, false or null
  std::string number_;
};

}  // namespace seer::serve
