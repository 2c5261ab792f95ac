#!/usr/bin/env python3
"""Runs tools/gpu/compare_results.py on logs of tools/gpu/check.sh, and checks which figures it reads and which changes it reports."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gpu"))
import compare_results  # noqa: E402

SCRIPT = ROOT / "tools/gpu/compare_results.py"
MODEL = [{"n_prompt": 8192, "n_gen": 0, "n_depth": 0, "sparse": "dense", "avg_ns": 200000000, "avg_ts": 40960.0},
         {"n_prompt": 0, "n_gen": 128, "n_depth": 0, "sparse": "dense", "avg_ns": 512000000, "avg_ts": 250.0},
         {"n_prompt": 0, "n_gen": 128, "n_depth": 0, "sparse": "nz_ratio=0.1", "avg_ns": 512000000, "avg_ts": 251.0}]
OPERATIONS = """NVIDIA H200, 32/8 heads of 128
roofs: copy 4.03 TB/s, product of 8192 cubed 780 TFLOP/s
fp8 qkv n=1                                                 0.0096 ms    2.66 TB/s ( 66% of copy)
gate path per layer, whole prompt, nz_ratio L=32768         0.0840 ms
"""
SERVE = """cuda:0 (NVIDIA H200), mixed chunks of 256 tokens

| test                                     |     value |  ratio |
| ---------------------------------------- | --------: | -----: |
| decode, 1 request, t/s                   |    241.00 |        |
| gap, 65536 tokens prefilled, median ms   |     10.60 |   2.6x |
|   p95                                    |     11.00 |   2.7x |
| first token of 32768 tokens, cold, ms    |    753.00 |        |
|   with its prefix cached, ms             |     23.00 |  32.7x |
"""
ATTENTION = {"rows": [{"regime": "gates", "n_tokens": 32768, "sparsity": 90.0, "kernel": "ours", "status": "ok", "tflops": 558.4},
                      {"regime": "gates", "n_tokens": 32768, "sparsity": 90.0, "kernel": "vsa", "status": "ok", "tflops": 535.0},
                      {"regime": "gates", "n_tokens": 8192, "sparsity": 90.0, "kernel": "ours", "status": "not run"}]}
FIGURES = {"prefill 8192 dense, s": 0.2, "decode after 0, tokens/s": 250.0, "serve: decode, 1 request, t/s": 241.0,
           "serve: gap, 65536 tokens prefilled, median ms": 10.6, "serve: first token of 32768 tokens, cold, ms": 753.0,
           "serve: first token of 32768 tokens, with its prefix cached, ms": 23.0, "attention gates 32768 90%, TFLOP/s": 558.4,
           "fp8 qkv n=1, ms": 0.0096, "gate path per layer, whole prompt, nz_ratio L=32768, ms": 0.084}


def record(figures, **fields):
    return {"commit": "abc1234", "date": "2026-11-29", "card": "NVIDIA H200", "driver": None, "shape": "llama-3.1-8b",
            "source": "a page", "figures": figures, **fields}


class CompareResults(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.out, self.results = pathlib.Path(temporary.name, "out"), pathlib.Path(temporary.name, "results")
        self.out.mkdir()
        self.results.mkdir()

    def write_logs(self):
        rows = "".join(json.dumps(row) + "\n" for row in MODEL)
        # The bench was stopped while it wrote a row.
        self.out.joinpath("bench-model.log").write_text(rows + '{"n_prompt": 32', encoding="utf-8")
        self.out.joinpath("bench-ops.log").write_text(OPERATIONS, encoding="utf-8")
        self.out.joinpath("bench-serve.log").write_text(SERVE, encoding="utf-8")
        self.out.joinpath("attention.json").write_text(json.dumps(ATTENTION), encoding="utf-8")

    def keep(self, *records):
        self.results.joinpath("card.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")

    def run_script(self, *arguments):
        return subprocess.run([sys.executable, "-B", SCRIPT, self.out, "--results", self.results, "--card", "NVIDIA H200",
                               *arguments], capture_output=True, text=True)

    def test_every_log_gives_its_figures(self):
        self.write_logs()
        self.assertEqual(compare_results.figures_of(self.out), FIGURES)

    def test_what_moved_by_more_than_three_percent_is_said_with_its_direction(self):
        before = {"slower, ms": 100, "faster, ms": 100, "same, ms": 100, "more, tokens/s": 100, "less, tokens/s": 100}
        now = {"slower, ms": 103.1, "faster, ms": 96.9, "same, ms": 102.9, "more, tokens/s": 104, "less, tokens/s": 96, "new, ms": 1}
        moved, same, unknown = compare_results.compare(record(now), [record(before)])
        self.assertEqual([(row[0], row[3], row[4]) for row in moved],
                         [("slower, ms", "+3.1%", "WORSE"), ("faster, ms", "-3.1%", "better"), ("more, tokens/s", "+4.0%", "better"),
                          ("less, tokens/s", "-4.0%", "WORSE")])
        self.assertEqual((same, unknown), (1, 1))

    def test_the_last_figure_of_the_same_card_and_shape_counts(self):
        earlier = [record({"a, ms": 50}), record({"a, ms": 100}, commit="def5678"), record({"b, ms": 1}),
                   record({"a, ms": 10}, card="NVIDIA H100"), record({"a, ms": 10}, shape="qwen2.5-7b")]
        moved, _, _ = compare_results.compare(record({"a, ms": 110}), earlier)
        self.assertEqual(moved, [["a, ms", "100", "110", "+10.0%", "WORSE", "def5678, 2026-11-29"]])

    def test_the_script_prints_what_moved_and_keeps_the_new_line(self):
        self.write_logs()
        self.keep(record({**FIGURES, "decode after 0, tokens/s": 200.0}))
        done = self.run_script("--driver", "580.1", "--commit", "fedcba9")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"decode after 0, tokens/s +200 +250 +\+25.0% +better +abc1234, 2026-11-29")
        self.assertIn("1 moved by more than 3%, 8 did not, 0 have none", done.stdout)
        kept = json.loads(self.out.joinpath("results.jsonl").read_text(encoding="utf-8"))
        self.assertEqual((kept["figures"], kept["card"], kept["driver"], kept["commit"]), (FIGURES, "NVIDIA H200", "580.1", "fedcba9"))
        compare_results.check_record(kept, "the new line")

    def test_without_measurements_nothing_is_compared(self):
        done = self.run_script()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Nothing was measured", done.stdout)
        self.assertFalse(self.out.joinpath("results.jsonl").exists())

    def test_results_that_cannot_be_read_are_named_with_their_line(self):
        self.write_logs()
        cases = [({"a": 1}, "expected an object with commit"), (record({"a, ms": "1"}), 'a, ms: expected a number above 0, found "1"'),
                 (record({"a, ms": 0}), "found 0"), (record({"a": 1}), "figure 'a': expected a name that ends in"),
                 (record({}, card=None), "card: found null")]
        for broken, message in cases:
            with self.subTest(message):
                self.keep(record({"a, ms": 1}), broken)
                done = self.run_script()
                self.assertEqual(done.returncode, 1)
                self.assertIn(message, done.stderr)
                self.assertNotIn("Traceback", done.stderr)
        self.results.joinpath("card.jsonl").write_text("{\n", encoding="utf-8")
        self.assertIn("card.jsonl:1", self.run_script().stderr)

    def test_the_results_of_this_project_can_be_read(self):
        records = compare_results.read_results(ROOT / "tests/bench/results")
        self.assertGreater(len(records), 0)
        for card in {each["card"] for each in records}:
            dates = [each["date"] for each in records if each["card"] == card]
            self.assertEqual(dates, sorted(dates), "the newest is the last")


if __name__ == "__main__":
    unittest.main()
