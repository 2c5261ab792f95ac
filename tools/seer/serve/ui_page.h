// The page that ui/embed.py makes of the files in ui, when the program is built.
#pragma once

#include <string_view>

namespace seer::serve {

struct UiPage {
  std::string_view html;
  std::string_view etag;    // with its quotes; it changes with the page
  std::string_view script;  // its hash, "'sha256-...'", by which a Content-Security-Policy allows it
  std::string_view style;   // likewise the hash of the style
};

UiPage ui_page();

}  // namespace seer::serve
