#!/usr/bin/env python3
"""Checks which sources tools/tidy.py gives clang-tidy together, and what it says of findings. A stub takes the place of clang-tidy."""
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "tidy.py"

# The stub has a finding for every line with "bad", and refuses sources that together have two definitions of main.
STUB = """#!/bin/sh
if [ "$1" = --version ]; then echo 'LLVM version 14.0.6'; exit; fi
for file; do :; done
basename "$file" >> "{log}"
if [ "$(grep -c 'int main' "$file")" -gt 1 ]; then echo "$file: redefinition of main"; exit 1; fi
if grep -n bad "$file"; then exit 1; fi
"""


class Tidy(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        self.build = self.root / "build"
        for name in ("bin", "build", "models", "tests"):
            (self.root / name).mkdir()
        self.log = self.root / "log"
        stub = self.root / "bin" / "clang-tidy-14"
        stub.write_text(STUB.format(log=self.log), encoding="utf-8")
        stub.chmod(0o755)
        spec = importlib.util.spec_from_file_location("tidy", TOOL)
        self.tidy = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.tidy)
        self.entries = []

    def source(self, name, text="", options="-O1"):
        path = self.root / name
        path.write_text(text + "\n", encoding="utf-8")
        self.entries.append({"directory": str(self.build), "file": str(path),
                             "command": f"c++ {options} -o {path.name}.o -c {path}"})

    def run_tidy(self):
        """Returns the exit status, the output, and the files that the stub was called with."""
        (self.build / "compile_commands.json").write_text(json.dumps(self.entries), encoding="utf-8")
        self.log.write_text("", encoding="utf-8")
        out = io.StringIO()
        with mock.patch.object(self.tidy, "ROOT", self.root), contextlib.redirect_stdout(out), \
                mock.patch.dict(os.environ, {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"}), \
                mock.patch.object(sys, "argv", ["tidy.py", str(self.build), "-j", "1"]):
            status = self.tidy.main()
        return status, out.getvalue(), sorted(self.log.read_text(encoding="utf-8").split())

    def test_sources_with_the_same_options_are_checked_together_and_once(self):
        for name in ("a", "b", "c"):
            self.source(f"models/{name}.cc", f"int {name};")
        self.assertEqual(self.run_tidy(), (0, "tidy: 3 of 3 sources to check\n", ["batch_0.cc"]))
        text = (self.build / "tidy" / "batch_0.cc").read_text(encoding="utf-8")
        for name in ("a", "b", "c"):
            self.assertIn(f'#line 1 "{self.root}/models/{name}.cc"\nint {name};', text)
        self.assertEqual(self.run_tidy(), (0, "tidy: 0 of 3 sources to check\n", []))

    def test_a_source_with_other_options_and_tests_are_checked_alone(self):
        self.source("models/a.cc")
        self.source("models/b.cc", options="-mavx2")
        self.source("tests/c.cc")
        self.source("tests/d.cc")
        self.assertEqual(self.run_tidy()[2], ["a.cc", "b.cc", "c.cc", "d.cc"])

    def test_a_batch_is_no_larger_than_its_limit(self):
        for i in range(2 * self.tidy.BATCH + 1):
            self.source(f"models/{i}.cc")
        files = self.run_tidy()[2]
        self.assertEqual(len(files), 3)
        self.assertEqual([name for name in files if name.startswith("batch")], ["batch_0.cc", "batch_1.cc"])

    def test_a_finding_is_shown_with_its_source_and_the_others_pass(self):
        self.source("models/a.cc", "int fine;")
        self.source("models/b.cc", "\nint bad;")
        status, out, files = self.run_tidy()
        self.assertEqual((status, files), (1, ["a.cc", "b.cc", "batch_0.cc"]))
        self.assertIn("tidy: models/b.cc\n2:int bad;", out)
        self.assertIn("tidy: findings in 1 sources: models/b.cc", out)
        self.assertEqual(self.run_tidy()[2], ["b.cc"])  # a.cc has passed before

    def test_sources_that_do_not_compile_together_are_checked_one_by_one(self):
        self.source("models/a.cc", "int main() {}")
        self.source("models/b.cc", "int main() {}")
        status, _, files = self.run_tidy()
        self.assertEqual((status, files), (0, ["a.cc", "b.cc", "batch_0.cc"]))


if __name__ == "__main__":
    unittest.main()
