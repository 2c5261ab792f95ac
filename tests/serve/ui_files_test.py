#!/usr/bin/env python3
"""Checks that the server's page consists of its files, unchanged, and has nothing that its policy forbids."""
import base64
import hashlib
import pathlib
import re
import sys
import unittest

from running_server import Server

UI = pathlib.Path(__file__).resolve().parents[2] / "tools/seer/serve/ui"
sys.path.insert(0, str(UI))
import embed  # noqa: E402


def policy_hash(text):
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


class Embedding(unittest.TestCase):
    """The build makes one page of the page's files."""

    PAGE = "<!doctype html><!-- style --><p>x</p><!-- script -->"

    def test_the_served_page_has_the_files_unchanged_and_its_policy_has_their_hashes(self):
        server = Server()
        self.addCleanup(server.stop)
        answer = server.get("/")
        policy = answer.headers["Content-Security-Policy"]
        for tag in ("script", "style"):
            [text] = re.findall(f"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
            self.assertIn(f"{tag}-src {policy_hash(text)};", policy)
        for path in sorted(UI.glob("*.js")) + sorted(UI.glob("*.css")):
            self.assertIn(path.read_text(encoding="utf-8"), answer.text, f"{path.name}: the page was made of an older one")
        for line in (UI / "page.html").read_text(encoding="utf-8").splitlines():
            if line not in (embed.STYLE, embed.SCRIPT):
                self.assertIn(line, answer.text)
        self.assertNotRegex(answer.text, r"(?i)https?://")

    def test_the_page_can_be_left_out(self):
        server = Server("--no-ui")
        self.addCleanup(server.stop)
        answer = server.get("/")
        self.assertEqual((answer.status, answer.error["code"]), (404, "unknown_url"))

    def test_what_the_policy_would_forbid_is_refused(self):
        for text, reason in (("<p onclick='x()'>", "handler"), ("<p STYLE='x'>", "style"), ("<img src=x.png>", "address"),
                             ('<a href="https://a.example">', "address")):
            with self.assertRaisesRegex(ValueError, reason):
                embed.compose(self.PAGE + text, "", ["x"])
        for style, script in (("</style>", ""), ("", "'</SCRIPT>'"), ("", "'<!--'")):
            with self.assertRaisesRegex(ValueError, "would end"):
                embed.compose(self.PAGE, style, [script])
        with self.assertRaisesRegex(ValueError, "once"):
            embed.compose("<p>x</p><!-- style -->", "", ["x"])

    def test_the_source_holds_the_bytes_of_the_page(self):
        page, style, script = embed.compose(self.PAGE, "p {}", ["const x = '\u00e9\\n\"';\n"])
        source = embed.source(page, style, script)
        numbers = re.search(r"kPage\[\] = \{([\d,\s]*)\}", source)[1]
        self.assertEqual(bytes(int(n) for n in numbers.split(",")).decode(), page)
        self.assertIn(policy_hash(script), source)
        self.assertIn(f"<script>{script}</script>", page)


if __name__ == "__main__":
    unittest.main()
