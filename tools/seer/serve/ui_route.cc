#include "tools/seer/serve/ui_route.h"

#include <string>

#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/ui_page.h"

namespace seer::serve {
namespace {

// The page needs its own script, its own style, and the server that it came from: nothing else is allowed. A
// text cannot become a script by mistake either (trusted types).
std::string policy(const UiPage& page) {
  return "default-src 'none'; script-src " + std::string(page.script) + "; style-src " +
         std::string(page.style) +
         "; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
         "require-trusted-types-for 'script'; trusted-types 'none'";
}

// Returns whether the client says, by If-None-Match, that its copy is this page. A list of tags or a weak tag
// does not count; the page is then sent again.
bool has_page(const RequestHead& head, const UiPage& page) {
  const std::string* tag = head.find("if-none-match");
  return tag != nullptr && trimmed(*tag) == page.etag;
}

}  // namespace

void show_ui(Exchange& exchange) {
  const UiPage page = ui_page();
  Response response;
  response.fields = {// A browser keeps the page, and asks each time whether it has changed.
                     {"Cache-Control", "no-cache"},
                     {"ETag", std::string(page.etag)},
                     {"Content-Security-Policy", policy(page)},
                     {"X-Content-Type-Options", "nosniff"},
                     {"X-Frame-Options", "DENY"},
                     {"Referrer-Policy", "no-referrer"},
                     {"Cross-Origin-Resource-Policy", "same-origin"},
                     {"Permissions-Policy", "camera=(), geolocation=(), microphone=()"}};
  if (has_page(exchange.head(), page)) {
    response.status = kNotModified;
  } else {
    response.content_type = "text/html; charset=utf-8";
    response.body = page.html;
  }
  exchange.answer(std::move(response));
}

}  // namespace seer::serve
