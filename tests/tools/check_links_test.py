#!/usr/bin/env python3
"""Checks that tools/check_links.py refuses links that lead nowhere, and nothing else."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/check_links.py"


class CheckLinks(unittest.TestCase):
    def check(self, pages):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in pages.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, "-B", SCRIPT, folder], capture_output=True, text=True)
            self.assertEqual(done.stderr, "")
            return done.returncode, done.stdout.splitlines()

    def test_links_to_files_folders_and_chapters_are_accepted(self):
        pages = {"README.md": "[a](a/b.md) [f](a) [c](a/b.md#2-what-it-does) [own](#top)\n# Top\n[w](https://x.org/y#z)\n",
                 "a/b.md": "# One\n## 2. What `it` does\n## One\n[back](../README.md#top) [second](#one-1)\n"}
        self.assertEqual(self.check(pages), (0, []))

    def test_links_that_lead_nowhere_are_named_with_their_line(self):
        pages = {"a/b.md": "# One\n[x](c.md)\n[y](#two)\n[z](../../out.md)\n"}
        self.assertEqual(self.check(pages), (1, ["a/b.md:2: c.md: no such file", "a/b.md:3: #two: no such chapter",
                                                 "a/b.md:4: ../../out.md: leads out of the project"]))

    def test_code_has_no_links_and_no_chapters(self):
        pages = {"a.md": "```sh\n# One\n[x](c.md)\n```\n[y](#one)\n"}
        self.assertEqual(self.check(pages), (1, ["a.md:5: #one: no such chapter"]))

    def test_a_code_block_that_does_not_end_is_refused(self):
        self.assertEqual(self.check({"a.md": "```sh\nls\n"}), (1, ["a.md: a code block does not end"]))

    def test_builds_are_left_out(self):
        self.assertEqual(self.check({"build/release/a.md": "[x](c.md)\n"}), (0, []))


if __name__ == "__main__":
    unittest.main()
