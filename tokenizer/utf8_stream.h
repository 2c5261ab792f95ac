// Turns a stream of byte pieces into whole UTF-8 characters.
#pragma once

#include <string>
#include <string_view>

namespace seer {

class Utf8Stream {
 public:
  // Returns the longest part of the bytes given so far, and not returned yet, that ends on a character
  // boundary. Bytes that cannot begin a character become U+FFFD.
  std::string push(std::string_view bytes);
  // Returns the rest, an unfinished character as U+FFFD. The stream is empty afterwards.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace seer
