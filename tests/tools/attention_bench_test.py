#!/usr/bin/env python3
"""Tests tools/gpu/bench_attention.py without a GPU: its masks (with numpy), its order of work, its table and its refusals."""
import contextlib
import io
import json
import pathlib
import struct
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/gpu"))

import bench_attention  # noqa: E402
from attention import report  # noqa: E402

try:
    import numpy as np
    from attention import masks
except ImportError:
    np = masks = None


@unittest.skipIf(np is None, "numpy is not installed")
class Masks(unittest.TestCase):
    N, HEADS, GROUP = 256, 32, 4

    @classmethod
    def setUpClass(cls):
        cls.gates = masks.GateMasks(cls.N, cls.HEADS, cls.GROUP)

    def check_invariants(self, mask, density):
        n_heads, n = mask.shape[:2]
        self.assertFalse(mask[:, ~np.tri(n, dtype=bool)].any(), "a block after its query")
        self.assertTrue(mask[:, np.arange(n), np.arange(n)].all(), "a row without its diagonal")
        self.assertEqual(int(mask.sum()), n_heads * masks.kept_blocks(n, density))

    def test_every_regime_is_causal_and_has_the_density(self):
        for density in (1.0, 0.5, 0.3, 0.1, 0.05):
            with self.subTest(density=density):
                self.check_invariants(self.gates.mask(density), density)
                self.check_invariants(masks.random_mask(64, 4, density), density)
                self.check_invariants(masks.one_mask(64, 4, density), density)

    def test_a_density_below_the_diagonal_keeps_the_diagonal(self):
        self.check_invariants(masks.GateMasks(16, 4, 2).mask(0.01), 0.01)
        self.assertEqual(masks.kept_blocks(1, 0.5), 1)

    def test_lists_hold_the_kept_blocks_in_ascending_order(self):
        mask = masks.GateMasks(65, 8, 4).mask(0.2)
        counts, blocks = masks.lists(mask)
        self.assertEqual((counts.dtype, blocks.dtype), (np.int32, np.int32))
        for h in range(mask.shape[0]):
            for r in range(mask.shape[1]):
                row = blocks[h, r, :counts[h, r]]
                self.assertEqual(row.tolist(), np.flatnonzero(mask[h, r]).tolist())
                self.assertEqual(row[-1], r)

    def test_gate_masks_overlap_as_trained_gates_do(self):
        for density in (0.05, 0.1, 0.3):
            about = masks.describe(self.gates.mask(density), self.GROUP)
            with self.subTest(**about):
                self.assertAlmostEqual(about["rows"], 1.68, delta=0.08)
                self.assertAlmostEqual(about["heads"], 1.60, delta=0.06)
                self.assertAlmostEqual(about["both"], 2.72, delta=0.15)
                self.assertGreater(about["p99_over_median"], 2.4)
                self.assertLess(about["p99_over_median"], 4.2)

    def test_independent_masks_share_what_chance_gives(self):
        about = masks.describe(masks.random_mask(256, 8, 0.1), 4)
        self.assertAlmostEqual(about["rows"], 2 / 1.9, delta=0.03)
        self.assertEqual(masks.describe(masks.one_mask(64, 4, 0.2), 4)["heads"], 2.0)

    def test_masks_depend_on_the_seed_alone(self):
        again = masks.GateMasks(32, 4, 2, seed=3).mask(0.3)
        self.assertTrue((again == masks.GateMasks(32, 4, 2, seed=3).mask(0.3)).all())
        self.assertFalse((again == masks.GateMasks(32, 4, 2, seed=4).mask(0.3)).all())

    def test_sharing_by_hand(self):
        mask = np.zeros((2, 2, 4), dtype=bool)
        mask[0, 0, [0, 1]] = mask[0, 1, [1, 2]] = True
        mask[1, 0, [0]] = mask[1, 1, [1]] = True
        found = masks.sharing(mask, 2)
        self.assertAlmostEqual(found["rows"], 6 / 5)
        self.assertAlmostEqual(found["heads"], 6 / 4)
        self.assertAlmostEqual(found["both"], 6 / 3)

    def test_a_dump_is_read_and_a_file_without_masks_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "dump.safetensors"
            mask = np.tri(4, dtype=np.uint8)[None]
            header = json.dumps({"mask.0": {"dtype": "U8", "shape": [1, 4, 4], "data_offsets": [0, 16]}}).encode()
            path.write_bytes(struct.pack("<Q", len(header)) + header + mask.tobytes())
            self.assertTrue((masks.read_dump(path) == (mask != 0)).all())
            path.write_bytes(struct.pack("<Q", 2) + b"{}")
            with self.assertRaisesRegex(ValueError, "expected mask.0"):
                masks.read_dump(path)
            path.write_bytes(b"text")
            with self.assertRaisesRegex(ValueError, "expected a safetensors file"):
                masks.read_dump(path)


class Order(unittest.TestCase):
    def test_the_most_telling_cases_come_first_and_none_twice(self):
        cases = bench_attention.ordered_cases([8192, 32768, 131072], [0.0, 50.0, 90.0], ["one", "gates"])
        self.assertEqual(cases[0], report.Case("gates", 32768, 90.0))
        self.assertEqual(len(cases), 2 * 3 * 2 + 3)
        self.assertEqual(len(set(cases)), len(cases))
        self.assertEqual([c.regime for c in cases if c.sparsity == 0], ["all"] * 3)


class Table(unittest.TestCase):
    def report(self):
        made = report.Report("a GPU", "torch")
        made.data["gemm_tflops"] = 800.0
        ok = {"status": "ok", "n_blocks": 10, "max_error": 0.0, "error_over_bound": 0.5}
        with contextlib.redirect_stdout(io.StringIO()):
            made.add(report.Case("dense", 8192, 0.0), "fa2", ms=10.0, tflops=320.0, **ok)
            made.add(report.Case("gates", 8192, 90.0), "ours", ms=2.0, tflops=400.0, **ok)
            made.add(report.Case("gates", 8192, 90.0), "vsa", ms=3.0, tflops=266.0, **{**ok, "error_over_bound": 2.0})
            made.add(report.Case("gates", 8192, 90.0), "flex", status="failed", reason="no")
            made.add(report.Case("gates", 8192, 95.0), "ours", status="not run", reason="time was up")
        return made

    def test_a_line_has_our_rate_and_each_rival_next_to_it(self):
        head, lines = report.table_rows(self.report().data)
        self.assertEqual(dict(zip(head, lines[0])),
                         {"regime": "gates", "L": "8192", "sparsity": "90%", "ours ms": "2.000", "TFLOP/s": "400",
                          "% GEMM": "50", "fa2": "320 5.00x", "vsa": "266 1.50x WRONG", "flex": "failed"})
        self.assertEqual(dict(zip(head, lines[1]))["ours ms"], "not run")

    def test_only_our_kernels_fail_a_run(self):
        made = self.report()
        self.assertEqual(made.failures(), [])
        with contextlib.redirect_stdout(io.StringIO()):
            made.add(report.Case("one", 8192, 90.0), "ours", status="failed", reason="no")
        self.assertEqual(len(made.failures()), 1)

    def test_the_file_is_what_the_table_is_made_of(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.json"
            made = self.report()
            made.write(path)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                self.assertEqual(bench_attention.main(["--from-json", str(path)]), 0)
            self.assertIn(report.summary(made.data), out.getvalue())

    def test_the_plot_is_relative_to_dense_flash_attention(self):
        self.assertEqual(report.series(self.report().data, "gates", 8192), {"ours": [(90.0, 5.0)], "vsa": [(90.0, 10 / 3)]})
        self.assertEqual(report.series({"rows": []}, "gates", 8192), {})


class Refusals(unittest.TestCase):
    def refused(self, *arguments):
        with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as stopped:
            bench_attention.main(list(arguments))
        self.assertEqual(stopped.exception.code, 2)
        return err.getvalue()

    def test_bad_options_are_named(self):
        here = str(pathlib.Path(__file__))
        self.assertIn("expected --lib FILE", self.refused())
        self.assertIn("expected a file, found none at", self.refused("--lib", "no-such-file"))
        self.assertIn("expected multiples of 64", self.refused("--lib", here, "--lengths", "100"))
        self.assertIn("expected percent from 0 to 99.9", self.refused("--lib", here, "--sparsity", "100"))
        self.assertIn("expected names among", self.refused("--lib", here, "--rivals", "fa9"))
        self.assertIn("expected a folder", self.refused("--lib", here, "--vsa", here))


if __name__ == "__main__":
    unittest.main()
