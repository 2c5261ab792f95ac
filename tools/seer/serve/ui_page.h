// The page that ui/embed.py makes of the files in ui, when the program is built.
#pragma once

#include <string_view>

namespace seer::serve {

struct UiPage {
  std::string_view html;
  std::string_view etag;    // with its quotes; it changes with the page
  std::string_view script;  // "'sha256-...'", as a Content-Security-Policy names what it allows
  std::string_view style;
};

UiPage ui_page();

}  // namespace seer::serve
