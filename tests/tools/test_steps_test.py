#!/usr/bin/env python3
"""Runs tools/test.sh in a made-up tree. Its last lines must say what was skipped, which tools/skipped.py finds in ctest's log."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
import skipped  # noqa: E402

LOG = """1/4 Testing: a
Output:
SKIPPED: no test data at /data/goldens/a (set SEER_TEST_DATA)
All tests passed (1 assertion in 1 test case)
2/4 Testing: b
SKIPPED: no test data at /data/texts (set SEER_TEST_DATA)
SKIPPED: no GPU
not SKIPPED: this
3/4 Testing: c
OK (skipped=3)
4/4 Testing: d
OK
"""
HELP = """usage: seer COMMAND

Results go to stdout, everything else to stderr.

Left out of this build, and what brings it when Seer is configured and built again:
  GPUs           the CUDA Toolkit
"""
PROGRAMS = ("bash", "env", "dirname", "sed", "find", "xargs", "grep", "cat", "rm", "tee", "printf")
FOLDERS = ("engine", "kernels", "models", "tokenizer", "tools/gpu", "tests/tools", "examples", ".ci")


class TestSteps(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name, "tree")
        self.bin = pathlib.Path(temporary.name, "bin")
        self.bin.mkdir()
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True)
        for name in ("test.sh", "lib.sh", "skipped.py"):
            shutil.copy(TOOLS / name, self.root / "tools")
        for name in ("check_includes.py", "check_links.py"):
            (self.root / "tools" / name).touch()
        for name in PROGRAMS:
            (self.bin / name).symlink_to(shutil.which(name))
        (self.bin / "python3").symlink_to(sys.executable)
        self.stub("tools/install_deps.sh", "")
        self.stub("nproc", "echo 1")
        self.stub("awk", "echo 4")

    def stub(self, name, text):
        path = self.root / name if "/" in name else self.bin / name
        path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
        path.chmod(0o755)

    def run_steps(self, *steps):
        done = subprocess.run([shutil.which("bash"), self.root / "tools/test.sh", *steps], capture_output=True, text=True, timeout=60,
                              env={"PATH": str(self.bin)}, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout[done.stdout.find("== summary"):].splitlines()[1:], done.stdout + done.stderr

    def test_style_checks_without_their_programs_are_named(self):
        code, summary, out = self.run_steps("style")
        self.assertEqual(code, 0, out)
        self.assertRegex(summary[0], r"^style +passed")
        self.assertEqual(summary[1:], ["", "== skipped",
                                       "style: the layout of sources was not checked: clang-format 14 is not installed",
                                       "style: shell scripts were not checked: shellcheck is not installed"])

    def test_a_complete_run_says_that_nothing_was_skipped(self):
        self.stub("clang-format", "echo 'clang-format version 14.0.6'")
        self.stub("shellcheck", "")
        code, summary, out = self.run_steps("style")
        self.assertEqual((code, summary[1:]), (0, ["nothing was skipped"]), out)

    def test_tests_that_were_skipped_and_parts_that_were_not_built_are_named(self):
        self.stub("cmake", "true")
        log = "build/release/Testing/Temporary/LastTest.log"
        (self.root / log).parent.mkdir(parents=True)
        (self.root / "build/release/bin").mkdir(parents=True)
        self.stub("build/release/bin/seer", f"cat <<'END'\n{HELP}END")
        for failed in (False, True):
            with self.subTest(failed=failed):
                self.stub("ctest", f"cat >{self.root / log} <<'END'\n{LOG}END\nexit {int(failed)}")
                code, summary, out = self.run_steps("release")
                self.assertEqual(code, int(failed), out)
                self.assertRegex(summary[0], r"^release +FAILED" if failed else r"^release +passed")
                self.assertEqual(summary[1:], [
                    "", "== skipped",
                    "release: 3 cases: Python tests that name their reasons when they are run with -v",
                    "release: 2 cases: no test data at /data/goldens/a (set SEER_TEST_DATA)", "release: 1 case: no GPU",
                    "release: neither built nor tested: GPUs           the CUDA Toolkit"])

    def test_a_build_that_fails_names_no_tests_of_an_earlier_run(self):
        self.stub("cmake", "exit 1")
        log = self.root / "build/release/Testing/Temporary/LastTest.log"
        log.parent.mkdir(parents=True)
        log.write_text(LOG)
        code, summary, out = self.run_steps("release")
        self.assertEqual((code, summary[1:]), (1, ["nothing was skipped"]), out)

    def test_clang_tidy_that_is_not_there_is_named(self):
        self.stub("cmake", "mkdir -p build/release")
        (self.bin / "mkdir").symlink_to(shutil.which("mkdir"))
        self.stub("tools/tidy.py", "echo 'tidy: SKIPPED: clang-tidy 14 is not installed'")
        code, summary, out = self.run_steps("tidy")
        self.assertEqual((code, summary[-1]), (0, "tidy: sources were not checked: clang-tidy 14 is not installed"), out)

    def test_reasons_that_differ_in_a_path_are_one(self):
        self.assertEqual(skipped.skipped("SKIPPED: no x at a/b\nSKIPPED: no x at /c\nSKIPPED: no y at /c\n"),
                         [(2, "no x at a/b"), (1, "no y at /c")])
        self.assertEqual(skipped.skipped(""), [])


if __name__ == "__main__":
    unittest.main()
