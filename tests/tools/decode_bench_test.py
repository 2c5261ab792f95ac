#!/usr/bin/env python3
"""Tests tools/gpu/bench_decode.py without a GPU: how it reads the output of bench_gpu_ops, its table and its refusals, and with PyTorch
also how it compares outputs."""
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gpu"))

import bench_decode  # noqa: E402
from decode import report  # noqa: E402

try:
    import torch
    from decode import data
except ImportError:
    torch = data = None

BENCH = """a GPU, 32/8 heads of 128
roofs: copy 4.00 TB/s, product of 8192 cubed 800 TFLOP/s
paged_decode B=16 L=32768                                   0.5000 ms    4.29 TB/s (107% of copy)
decode_gate_select B=16 L=32768                             0.0100 ms    3.36 TB/s ( 84% of copy)
paged_decode of a tenth B=16 L=32768                        0.0500 ms    4.29 TB/s (107% of copy)
decode_gate_select, paged_decode of a tenth B=16 L=32768    0.0625 ms    4.00 TB/s (100% of copy)
decode_gate_keys L=8192                                     0.0100 ms    3.36 TB/s ( 84% of copy)
"""
SHAPE = report.Shape(16, 32768)


class Ours(unittest.TestCase):
    def test_the_lines_of_the_bench_are_rows(self):
        rows = report.parse_ours(BENCH)
        self.assertEqual([row["kernel"] for row in rows],
                         ["paged_decode", "decode_gate_select", "paged_decode of a tenth",
                          "decode_gate_select, paged_decode of a tenth"])
        self.assertEqual({(row["n_sequences"], row["n_tokens"]) for row in rows}, {(16, 32768)})
        self.assertEqual([row["ms"] for row in rows], [0.5, 0.01, 0.05, 0.0625])

    def test_the_bench_has_every_shape_of_the_script(self):
        source = (ROOT / "tests/bench/gpu_decode_gate.cc").read_text(encoding="utf-8")
        for shape in bench_decode.SHAPES:
            self.assertIn(f"{{{shape.n_sequences}, {shape.n_tokens}}}", source)
        for name in report.OURS:
            self.assertIn(f'measure("{name}"', source)


class Table(unittest.TestCase):
    def report(self):
        made = report.Report("a GPU", "torch")
        made.data["rows"] += report.parse_ours(BENCH)
        ok = {"status": "ok", "max_error": 0.0}
        with contextlib.redirect_stdout(io.StringIO()):
            made.add(SHAPE, "fa3", ms=0.6, error_over_bound=0.5, **ok)
            made.add(SHAPE, "flashinfer fa2 NHD", ms=0.55, error_over_bound=0.5, **ok)
            made.add(SHAPE, "flashinfer fa2 HND", ms=0.1, error_over_bound=2.0, **ok)
            made.add(SHAPE, "flashinfer xqa HND", status="failed", reason="no")
        return made

    def test_ours_are_compared_with_the_fastest_rival_that_is_right(self):
        head, lines = report.table_rows(self.report().data)
        self.assertEqual(head, ["microseconds", "16 x 32768"])
        self.assertEqual(dict(lines), {
            "fa3": "600.0", "flashinfer fa2 NHD": "550.0", "flashinfer fa2 HND": "100.0 WRONG", "flashinfer xqa HND": "failed",
            "this project, dense": "500.0", "the gate and the choice": "10.0", "this project, a tenth kept": "50.0",
            "gate, choice and a tenth": "62.5", "the fastest rival": "flashinfer fa2 NHD",
            "fastest / this project, dense": "1.10x", "fastest / this project, a tenth kept": "11.00x",
            "fastest / gate, choice and a tenth": "8.80x", "fa3 / this project, dense": "1.20x",
            "fa3 / this project, a tenth kept": "12.00x", "fa3 / gate, choice and a tenth": "9.60x"})

    def test_without_rivals_ours_are_shown(self):
        head, lines = report.table_rows({"rows": report.parse_ours(BENCH)})
        self.assertEqual(head, ["microseconds", "16 x 32768"])
        self.assertEqual(dict(lines)["this project, dense"], "500.0")
        self.assertEqual(dict(lines)["fa3 / this project, dense"], "-")

    def test_the_file_is_what_the_table_is_made_of(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.json"
            made = self.report()
            made.write(path)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(bench_decode.main(["--from-json", str(path)]), 0)
            self.assertIn(report.summary(made.data), out.getvalue())


@unittest.skipIf(torch is None, "PyTorch and numpy are not installed")
class Check(unittest.TestCase):
    """data.check must notice wrong outputs. PyTorch's scaled_dot_product_attention takes the place of a kernel."""

    def output(self, inputs, layout, table):
        group = inputs.q.shape[1] // 8
        for s in range(inputs.shape.n_sequences):
            pages = inputs.rows(0) if layout == "rows" else inputs.pages(0, layout)
            taken = [x[s].transpose(0, 1) if layout == "rows" else
                     x[table[s].long()].permute(*((2, 0, 1, 3) if layout == "NHD" else (1, 0, 2, 3))).reshape(8, -1, 128)
                     for x in pages]
            k, v = (x.repeat_interleave(group, dim=0) for x in taken)
            q = inputs.q[s].unsqueeze(1)
            inputs.out[s] = torch.nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1)
        return inputs.out

    def test_a_right_output_is_within_the_bound_and_one_without_a_page_is_not(self):
        inputs = data.Inputs(report.Shape(2, 2048), "cpu", n_layers=1)
        for layout in ("NHD", "HND", "rows"):
            with self.subTest(layout=layout):
                self.assertLess(data.check(inputs, self.output(inputs, layout, inputs.table), layout)[1], 1.0)
        without = inputs.table[:, :-1]
        self.assertGreater(data.check(inputs, self.output(inputs, "NHD", without), "NHD")[1], 1.0)
        self.assertGreater(data.check(inputs, self.output(inputs, "HND", inputs.table), "NHD")[1], 1.0)
        inputs.out[1, 0, 0] = float("nan")
        self.assertEqual(data.check(inputs, inputs.out, "NHD")[1], float("inf"))


class Refusals(unittest.TestCase):
    def refused(self, *arguments):
        with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as stopped:
            bench_decode.main(list(arguments))
        self.assertEqual(stopped.exception.code, 2)
        return err.getvalue()

    def test_bad_options_are_named(self):
        here = str(pathlib.Path(__file__))
        self.assertIn("expected --bench FILE", self.refused())
        self.assertIn("--bench: expected a file, found none at", self.refused("--bench", "no-such-file"))
        self.assertIn("--fa3: expected a file", self.refused("--bench", here, "--fa3", "no-such-file"))
        self.assertIn("expected names among fa3,flashinfer,xqa, found 'vsa'", self.refused("--bench", here, "--rivals", "vsa"))
        for text in ("2x8192", "16x32768x1", "16", "x", ""):
            with self.subTest(text=text):
                self.assertIn("expected shapes among 16x32768", self.refused("--bench", here, "--shapes", text))


if __name__ == "__main__":
    unittest.main()
