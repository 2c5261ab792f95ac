#!/usr/bin/env python3
"""Runs the built examples on the demo model: examples_test.py SETTINGS [Examples.test_NAME...]"""
import pathlib
import re
import sys
import tempfile
import unittest

import installed_tree

PROMPT = "It was a bright morning, and the whole village"


class Examples(unittest.TestCase):
    def run_example(self, name, *args, **kwargs):
        program = TREE.build / "examples" / name
        done = TREE.try_run([program, *args], **kwargs)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        # Without arguments the example prints its usage, and with a wrong model it names that.
        self.assertIn(f"usage: {name}", TREE.try_run([program]).stderr)
        failed = TREE.try_run([program, "/no/such/model", *args[1:]], **kwargs)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("/no/such/model", failed.stderr)
        return done

    def test_01_generate(self):
        out = self.run_example("01_generate", TREE.model, PROMPT).stdout
        self.assertTrue(out.startswith(PROMPT))
        self.assertGreater(len(out), len(PROMPT) + 20)

    def test_02_streaming_chat(self):
        done = self.run_example("02_streaming_chat", TREE.model, "llama2", input="Who are you?\n\nWhere do you live?\n")
        turns = re.findall(r"\[(\d+) tokens computed, (\d+) cached\]", done.stderr)
        self.assertEqual(len(turns), 2)
        self.assertGreater(int(turns[1][0]) + int(turns[1][1]), int(turns[0][0]))
        self.assertGreater(len(done.stdout), 20)
        self.assertNotIn("> ", done.stdout)

    def test_03_batch(self):
        prompts = [PROMPT, "The captain said", "In the evening she"]
        out = self.run_example("03_batch", TREE.model, *prompts).stdout
        self.assertEqual(re.findall(r"^--- (.*)", out, re.MULTILINE)[0][:len(PROMPT)], PROMPT)
        for prompt in prompts:  # each gives the same text alone
            alone = self.run_example("03_batch", TREE.model, prompt).stdout
            self.assertIn(alone, out)

    def test_04_dense_vs_sparse(self):
        document = (TREE.source / "examples/long-document/document.txt").read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder, "text.txt")
            text.write_text(document[:12000], encoding="utf-8")
            out = self.run_example("04_dense_vs_sparse", TREE.model, TREE.gates, text).stdout
        rows = re.findall(r"^(dense|threshold=0.01) +([\d.]+) +([\d.]+)x +([\d.]+)%  \S", out, re.MULTILINE)
        self.assertEqual([row[0] for row in rows], ["dense", "threshold=0.01"], out)
        self.assertEqual(float(rows[0][3]), 100.0)
        self.assertLess(float(rows[1][3]), 60.0)

    def test_05_c_interface(self):
        done = self.run_example("05_c_interface", TREE.model, TREE.gates, PROMPT)
        self.assertGreater(len(done.stdout), 20)
        self.assertIn(f"seer {TREE.version}: 48 tokens", done.stderr)


if __name__ == "__main__":
    TREE = installed_tree.Tree(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
