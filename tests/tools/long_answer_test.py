#!/usr/bin/env python3
"""Runs examples/long-answer/compare.sh with short answers: each rule has a row, and a smaller budget reads fewer blocks."""
import os
import pathlib
import re
import subprocess
import unittest

SEER = os.environ["SEER_BINARY"]
SCRIPT = pathlib.Path(os.environ["SEER_DEMO_MODEL"]).parent / "long-answer/compare.sh"


def run(*arguments):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=200, env={**env, "SEER_DEVICE": "cpu"})


class LongAnswer(unittest.TestCase):
    def test_each_rule_has_a_row_and_smaller_budgets_read_less(self):
        done = run(SEER, "5")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        title, _, *rows = done.stdout.splitlines()
        self.assertRegex(title, "^5 tokens after 149[0-9][0-9] tokens of prose")
        found = [re.fullmatch(r"(\S+) +([\d.]+) tokens/s +([\d.]+)% +\.\.\. .+", row) for row in rows]
        self.assertNotIn(None, found, rows)
        self.assertEqual([f[1] for f in found], ["dense", "budget=2048", "budget=1024", "budget=512"])
        densities = [float(f[3]) for f in found]
        self.assertEqual(densities[0], 100.0)
        for larger, smaller in zip(densities, densities[1:]):
            self.assertGreater(larger, 1.5 * smaller)
        # A budget of 512 tokens keeps 8 of some 235 blocks, and the first and the last block besides.
        self.assertAlmostEqual(densities[3], 100 * 10 / 235, delta=0.5)

    def test_a_program_that_is_not_there_is_named(self):
        done = run("/none/seer")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/none/seer was not found", done.stderr)


if __name__ == "__main__":
    unittest.main()
