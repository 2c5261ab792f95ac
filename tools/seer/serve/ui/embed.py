#!/usr/bin/env python3
"""Makes one page out of the files in this folder, and a C++ source that holds it.

    embed.py OUT.cc PAGE.html STYLE.css SCRIPT.js...    the scripts are joined in this order

The page loads nothing else, and its Content-Security-Policy allows only this script and this style, by their hashes. The build
fails if a file has what the policy would forbid in a browser: handlers or styles in attributes, or addresses."""
import base64
import hashlib
import pathlib
import re
import sys

STYLE, SCRIPT = "<!-- style -->", "<!-- script -->"
FORBIDDEN = [
    (re.compile(r"<[^>]*\son\w+\s*=", re.IGNORECASE), "a handler in an attribute"),
    (re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE), "a style in an attribute"),
    (re.compile(r"""\b(?:src|href|action)\s*=\s*(?!["']?(?:data:|#))""", re.IGNORECASE), "an address"),
]


def allowed(text):
    """Returns the source expression that allows `text` in a Content-Security-Policy."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") + "'"


def compose(html, style, scripts):
    """Returns (page, style, script). Raises ValueError if something cannot be in one page."""
    for pattern, what in FORBIDDEN:
        if match := pattern.search(html):
            raise ValueError(f"the page has {what}: {match[0]}")
    script = "\n'use strict';\n(() => {\n" + "".join(scripts) + "})();\n"
    for text, end in ((style, "</style"), (script, "</script"), (script, "<!--")):
        if end in text.lower():
            raise ValueError(f"{end} would end the part of the page that it is in")
    for mark in (STYLE, SCRIPT):
        if html.count(mark) != 1:
            raise ValueError(f"the page needs {mark} once")
    page = html.replace(STYLE, f"<style>{style}</style>").replace(SCRIPT, f"<script>{script}</script>")
    return page, style, script


def source(page, style, script):
    """Returns the C++ source. The page's bytes are numbers in it, because compilers need not accept such a long string literal."""
    data = page.encode("utf-8")
    numbers = ",\n".join(",".join(str(byte) for byte in data[i:i + 40]) for i in range(0, len(data), 40))
    etag = f'"\\"{hashlib.sha256(data).hexdigest()[:32]}\\""'
    return f"""// Written by tools/seer/serve/ui/embed.py.
#include "tools/seer/serve/ui_page.h"

namespace seer::serve {{
namespace {{

constexpr unsigned char kPage[] = {{
{numbers}}};

}}  // namespace

UiPage ui_page() {{
  return {{{{reinterpret_cast<const char*>(kPage), sizeof kPage}}, {etag},
          "{allowed(script)}", "{allowed(style)}"}};
}}

}}  // namespace seer::serve
"""


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    out, *names = sys.argv[1:]
    try:
        html, style, *scripts = (pathlib.Path(name).read_text(encoding="utf-8") for name in names)
        text = source(*compose(html, style, scripts))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        sys.exit(f"embed.py: {error}")
    pathlib.Path(out).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
