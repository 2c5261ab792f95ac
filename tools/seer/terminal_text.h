// Text that others wrote (a model, a folder's name, a template), made safe to show on a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace seer::cli {

// A terminal takes control characters as commands: they set its title, write to the clipboard, or make it
// type. Those are replaced by a text that shows them, and everything else stays as it is:
//
//   ^[ ^G ^M ^?          control characters of ASCII; line breaks and tabs stay
//   \x9b                 those from 0x80 to 0x9f, whether as a byte or in UTF-8, and bytes that are not UTF-8
//   \u202e               characters that reorder the text around them (embeddings, overrides and isolates of
//                        the bidirectional algorithm), and those that end a line or a paragraph
//   \U000e0041           tags, which spell out a text that nobody sees
//
// A character may come in pieces: its first bytes are held back until the rest of it has come.
class TerminalFilter {
 public:
  std::string push(std::string_view bytes);
  // Returns the bytes that are held back. Call it at the end of the text.
  std::string finish();

 private:
  std::string held_;
};

// Does the same for a whole text.
std::string visible(std::string_view text);

// Prepares a text for one line of a log: as visible(), with line breaks and tabs as spaces. Of a text of more
// than kLongestLine bytes the middle is left out, with a note of how much that is.
std::string one_line(std::string_view text);
inline constexpr size_t kLongestLine = 2048;

}  // namespace seer::cli
