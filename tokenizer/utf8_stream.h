// Turns a stream of byte pieces into whole UTF-8 characters.
#pragma once

#include <string>
#include <string_view>

namespace seer {

class Utf8Stream {
 public:
  // The longest prefix of what has been given so far, and not returned yet, that ends on a character
  // boundary. Bytes that can begin no character become U+FFFD.
  std::string push(std::string_view bytes);
  // What is left, an unfinished character as U+FFFD; the stream is empty afterwards.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace seer
