#!/usr/bin/env python3
"""Checks that the fuzz driver reports each fault of the target `faulty`, which makes them on purpose, and nothing else.

    driver_test.py SEER_FUZZ TARGET..."""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM, *TARGETS = sys.argv[1:]
HERE = pathlib.Path(__file__).resolve().parent


def run(target, *arguments):
    done = subprocess.run([PROGRAM, *arguments], env={**os.environ, "SEER_FUZZ_TARGET": target}, capture_output=True,
                          text=True, errors="replace", timeout=100)
    return done.returncode, done.stdout, done.stderr


class Driver(unittest.TestCase):
    def check(self, text, expected):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "input")
            path.write_text(text)
            code, _, messages = run("faulty", "-artifact_prefix=" + folder + "/", "-timeout=2", str(path))
        self.assertNotEqual(code, 0)
        self.assertIn(expected, messages)

    def test_a_failed_check_is_reported(self):
        self.check("check", "== broken: on purpose")

    def test_too_much_heap_is_reported(self):
        self.check("heap", "bytes of heap, expected 16777216 at most")

    def test_a_run_that_does_not_end_is_reported(self):
        self.check("time", "timeout")

    def test_an_exception_that_is_no_seer_error_is_reported(self):
        self.check("exception", "no seer::Error: on purpose")

    def test_a_refusal_without_a_message_is_reported(self):
        self.check("silence", "a refusal without a message")

    def test_a_refusal_longer_than_a_page_is_reported(self):
        self.check("long message", "a refusal of 10000 bytes")

    def test_a_read_out_of_bounds_is_reported(self):
        self.check("overflow", "stack-buffer-overflow")

    def test_an_ordinary_refusal_is_not_reported(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "input")
            path.write_text("refusal")
            self.assertEqual(run("faulty", str(path))[0], 0)

    def test_an_unknown_target_is_refused_with_the_names_of_all(self):
        code, names, messages = run("none")
        self.assertEqual(code, 2)
        self.assertIn("'none'", messages)
        self.assertEqual(sorted([*TARGETS, "faulty"]), names.split())

    def test_every_source_is_a_target_that_runs_and_has_seeds(self):
        self.assertEqual(sorted(TARGETS), sorted(path.stem for path in (HERE / "targets").glob("*.cc")))
        for target in TARGETS:
            self.assertTrue(any((HERE / "seeds" / target).iterdir()), target)

    def test_the_seeds_are_those_that_the_script_makes(self):
        with tempfile.TemporaryDirectory() as folder:
            tree = pathlib.Path(folder)
            (tree / "tests/fuzz").mkdir(parents=True)
            (tree / "tests/fuzz/make_seeds.py").write_text((HERE / "make_seeds.py").read_text())
            (tree / "examples").symlink_to(HERE.parents[1] / "examples")
            (tree / "tokenizer").symlink_to(HERE.parents[1] / "tokenizer")
            subprocess.run([sys.executable, "-B", tree / "tests/fuzz/make_seeds.py"], check=True)
            for target in TARGETS:
                made, kept = ({p.name: p.read_bytes() for p in (root / "seeds" / target).iterdir() if not p.name.startswith("found-")}
                              for root in (tree / "tests/fuzz", HERE))
                self.assertEqual(made, kept, target)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
