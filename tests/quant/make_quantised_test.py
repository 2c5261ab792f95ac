#!/usr/bin/env python3
"""Checks that seer reads the demo model's quantised forms, which make_quantised.py makes, as the numbers that they stand for.

    make_quantised_test.py SEER

numpy comes from the Python named by SEER_PYTHON_HF, else from this one; without it the exit code is 77, which ctest reports
as skipped."""
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEMO = ROOT / "examples/demo-model/model"
SKIPPED = 77
# The relative difference of perplexities between a quantised checkpoint and a plain one of the numbers that it stands for. The
# engine multiplies codes by scales in float32, as the script does, so only the order of inputs may differ (desc_act). The largest
# difference that was seen is 1.4e-8.
SAME = 1e-6
# An rms error e of the weights may raise the loss by RISE e^2 + NOISE. Rounding errors have no direction, so the rise grows with
# e^2; it was 3 to 10 e^2. NOISE is how much the loss of 1024 tokens varies if e is small.
RISE, NOISE = 20, 0.002
CODES = {"fp8": "F8_E4M3", "fp8-block": "F8_E4M3", "int8": "I8"}  # the others have 4 bits
FORMS = [  # options, the largest error in percent that the script may report, words that `seer inspect` prints
    (["fp8"], 2.7, "compressed-tensors, float-quantized: 42 of 42 linear layers, 8.05 bits a weight"),
    (["fp8-block"], 2.7, "fp8, blocks of 128 x 128: 42 of 42 linear layers, 8.00 bits a weight"),
    (["int8"], 0.8, "compressed-tensors, int-quantized: 42 of 42 linear layers, 8.05 bits a weight"),
    (["int4"], 11.3, "compressed-tensors, pack-quantized: 42 of 42 linear layers, 4.12 bits a weight"),
    (["int4", "--group", "32"], 9.7, "4.50 bits a weight"),
    (["int4", "--group", "-1"], 12.7, "4.05 bits a weight"),
    (["int4-asym", "--group", "64"], 9.4, "4.31 bits a weight"),
    (["int4-asym", "--group", "-1"], 12.0, "4.07 bits a weight"),
    (["gptq", "--group", "64"], 10.5, "gptq: 42 of 42 linear layers, 4.41 bits a weight"),
    (["gptq-v2"], 11.3, "gptq_v2: 42 of 42 linear layers, 4.25 bits a weight"),
    (["gptq-act"], 10.2, "gptq: 42 of 42 linear layers, 4.25 bits a weight"),
    (["gptq-act", "--group", "-1"], 11.6, "4.16 bits a weight"),
    (["awq"], 10.3, "awq: 42 of 42 linear layers, 4.16 bits a weight"),
    (["awq", "--group", "-1"], 12.0, "awq: 42 of 42 linear layers, 4.07 bits a weight"),
]


def use_python_with_numpy():
    wanted = os.environ.get("SEER_PYTHON_HF")
    if wanted and os.environ.get("SEER_QUANT_STARTED") != wanted:
        os.environ["SEER_QUANT_STARTED"] = wanted
        os.execv(wanted, [wanted, "-B", *sys.argv])
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        if wanted:
            sys.exit(f"quant: SEER_PYTHON_HF is {wanted}, which cannot import numpy: {error}")
        print(f"SKIPPED: {error} (SEER_PYTHON_HF can name a Python that has numpy)")
        sys.exit(SKIPPED)


def make(*arguments):
    return subprocess.run([sys.executable, "-B", HERE / "make_quantised.py", *map(str, arguments)], capture_output=True,
                          text=True)


def seer(*arguments, code=0):
    result = subprocess.run([SEER, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != code:
        raise AssertionError(f"{arguments}: exit code {result.returncode}\n{result.stderr}")
    return result.stdout if code == 0 else result.stderr


def generate(model, *arguments, code=0):
    return seer("generate", "-m", model, "-p", "The secret number of", "-n", 24, "--temp", 0, "--ignore-eos", "-q",
                "--device", "cpu", *arguments, code=code)


def perplexity(model, text):
    rows = json.loads(seer("perplexity", "-m", model, "-f", text, "--window", 1024, "--max-windows", 1, "-q", "--output",
                           "json", "--device", "cpu"))
    return rows[0]["perplexity"]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="seer-quant-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def made(self, name, *arguments, source=DEMO):
        out = self.folder / name
        result = make(source, out, "--form", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return out, result.stdout

    def refused(self, *arguments, source=DEMO):
        out = self.folder / "refused"
        result = make(source, out, *arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        self.assertFalse(out.exists())
        return result.stderr


class Forms(Case):
    def test_every_form_is_read_as_the_numbers_that_it_stands_for(self):
        text = self.folder / "text.txt"
        text.write_bytes((ROOT / "examples/long-document/document.txt").read_bytes()[:5000])
        plain = perplexity(DEMO, text)
        for i, (options, worst, words) in enumerate(FORMS):
            with self.subTest(" ".join(options)):
                codes, said = self.made(f"codes{i}", *options)
                numbers, _ = self.made(f"numbers{i}", *options, "--plain")
                error = float(re.search(r"rms error ([\d.]+)%", said)[1])
                self.assertTrue(worst / 2 < error < worst, said)
                of_codes = perplexity(codes, text)
                self.assertLess(abs(of_codes / perplexity(numbers, text) - 1), SAME)
                self.assertNotEqual(of_codes, plain)
                self.assertLess(abs(math.log(of_codes / plain)), RISE * (error / 100) ** 2 + NOISE, said)
                self.assertEqual(generate(codes), generate(numbers))
                model = json.loads(seer("inspect", "-m", codes, "--output", "json"))["model"]
                self.assertIn(words, model["quantisation"])
                kind, group = CODES.get(options[0], "int4"), options[2] if "--group" in options else "128"
                self.assertEqual(model["dtype"], kind)
                self.assertIn({"fp8-block": "F8_E4M3 in blocks of 128 x 128"}.get(
                    options[0], f"{kind} with a scale for each output" if options[0] in CODES or group == "-1" else
                    f"int4 in groups of {group} inputs, in words of I32"), model["quantisation"])
                with_plain = 8 * model["n_bytes"] / model["n_params"]
                self.assertIn(f", {with_plain:.2f} with embeddings", model["quantisation"])
                self.assertEqual(model["n_params"], 5770496)
                bits = re.search(r"[\d.]+ bits a weight", said)[0]
                self.assertIn(bits, model["quantisation"])

    def test_files_next_to_the_weights_are_copied_and_shards_stay_shards(self):
        sys.path.insert(0, str(HERE))
        from tensor_files import Reader, Writer
        sharded = self.folder / "sharded"
        sharded.mkdir()
        for path in DEMO.iterdir():
            if path.suffix != ".safetensors":
                (sharded / path.name).symlink_to(path)
        reader, weight_map = Reader(DEMO / "model.safetensors"), {}
        names = list(reader.entries)
        for shard, part in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
            writer = Writer(sharded / shard, [(name, *reader.entries[name][:2]) for name in part], None)
            for name in part:
                reader.copy(name, writer.file)
                weight_map[name] = shard
            writer.close()
        reader.file.close()
        (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        whole, _ = self.made("whole", "int4")
        parts, _ = self.made("parts", "int4", source=sharded)
        self.assertEqual(sorted(path.name for path in parts.iterdir()),
                         sorted([path.name for path in sharded.iterdir()]))
        self.assertEqual((parts / "tokenizer.model").read_bytes(), (DEMO / "tokenizer.model").read_bytes())
        self.assertEqual(generate(parts), generate(whole))

    def test_ignored_modules_stay_plain_by_name_and_by_pattern(self):
        for i, (form, entry) in enumerate((("fp8", "down_proj"), ("int4", "re:.*down_proj$"), ("awq", "down_proj"))):
            with self.subTest(form):
                out, said = self.made(f"codes{i}", form, "--ignore", "lm_head", entry)
                numbers, _ = self.made(f"numbers{i}", form, "--ignore", "lm_head", entry, "--plain")
                self.assertIn("36 matrices", said)
                model = json.loads(seer("inspect", "-m", out, "--output", "json"))["model"]
                self.assertIn("36 of 42 linear layers", model["quantisation"])
                self.assertIn("plain: model.layers.0.mlp.down_proj", model["quantisation"])
                self.assertEqual(generate(out), generate(numbers))
                config = json.loads((out / "config.json").read_text())
                for key in ("ignore", "modules_to_not_convert"):
                    if key in config["quantization_config"]:
                        config["quantization_config"][key] = ["lm_head"]
                (out / "config.json").write_text(json.dumps(config))
                self.assertIn("missing: the codes of model.layers.0.mlp.down_proj, which quantization_config does not leave",
                              generate(out, code=3))


class Ranks(Case):
    def test_ranks_divide_whole_groups_and_give_one_ranks_text(self):
        for i, (options, ranks) in enumerate(((["fp8"], (2, 4)), (["fp8-block"], (2,)), (["int8"], (2, 4)),
                                              (["int4"], (2,)), (["int4", "--group", "64"], (2, 4)),
                                              (["int4-asym", "--group", "32"], (2, 4)), (["gptq", "--group", "-1"], (2, 4)),
                                              (["awq", "--group", "64"], (2, 4)))):
            out, _ = self.made(str(i), *options)
            for n in ranks:
                with self.subTest(" ".join(options), ranks=n):
                    self.assertEqual(generate(out, "--tp", n), generate(out))

    def test_a_cut_within_a_group_or_of_ordered_inputs_is_refused_by_name(self):
        within = ("o_proj: ranks would divide its inputs within a group of 128: expected parts of whole groups, "
                  "found inputs ", "Use fewer ranks, or divide prompts instead of the model")
        for options, n, words in ((["int4"], 4, within), (["fp8-block"], 4, within), (["awq"], 4, within),
                                  (["gptq-act"], 2, ("o_proj: ranks cannot divide inputs that are ordered by activation "
                                                     "(desc_act). Use one rank, or divide prompts instead",))):
            with self.subTest(" ".join(options)):
                out, _ = self.made(options[0], *options)
                message = generate(out, "--tp", n, code=3)
                for word in words:
                    self.assertIn(word, message)
                self.assertEqual(generate(out, "--cp", 2), generate(out))  # what the message recommends


class Refusals(Case):
    def test_groups_that_do_not_divide_are_refused_with_those_that_do(self):
        narrow = self.folder / "narrow"
        narrow.mkdir()
        (narrow / "config.json").write_text((DEMO / "config.json").read_text())
        sys.path.insert(0, str(HERE))
        from tensor_files import Writer
        name = "model.layers.0.mlp.down_proj"
        writer = Writer(narrow / "model.safetensors", [(name + ".weight", "F32", (8, 576))], None)
        writer.file.write(bytes(4 * 8 * 576))
        writer.close()
        self.assertIn(f"--group 128: {name} has 576 inputs: expected a multiple of 128; use --group 64 or 32 or -1",
                      self.refused("--form", "int4", source=narrow))
        self.made("narrow64", "int4", "--group", "64", source=narrow)

    def test_unknown_forms_and_options_are_refused_by_name(self):
        self.assertIn("invalid choice: 'int3'", self.refused("--form", "int3"))
        self.assertIn("invalid choice: 48", self.refused("--form", "int4", "--group", "48"))
        self.assertIn("the form fp8 has no groups", self.refused("--form", "fp8", "--group", "64"))
        self.assertIn("awq has no patterns", self.refused("--form", "awq", "--ignore", "re:.*"))
        self.assertIn("gptq has no list", self.refused("--form", "gptq", "--ignore", "down_proj"))
        self.assertIn("expected a checkpoint's folder with config.json",
                      self.refused("--form", "fp8", source=self.folder / "none"))
        codes, _ = self.made("codes", "fp8")
        self.assertIn("expected a plain checkpoint, found quantization_config",
                      self.refused("--form", "int4", source=codes))
        again = make(DEMO, codes, "--form", "fp8")
        self.assertEqual(again.returncode, 2)
        self.assertIn("expected a new or empty folder", again.stderr)


class Codes(unittest.TestCase):
    def test_e4m3_codes_are_the_nearest(self):
        import numpy as np
        sys.path.insert(0, str(HERE))
        from forms import e4m3
        codes = np.arange(256, dtype=np.uint8)
        codes = codes[(codes & 127) != 127]
        exponent, mantissa = (codes >> 3 & 15).astype(int), (codes & 7).astype(int)
        value = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0**(exponent - 10.0))
        value = np.where(codes > 127, -value, value).astype(np.float32)
        self.assertTrue((e4m3(value)[0] == codes).all() and (e4m3(value)[1] == value).all())
        low, high = codes[:126], codes[1:127]  # halves go to the even code
        middle = (value[:126] + value[1:127]) / np.float32(2)
        self.assertTrue((e4m3(middle)[0] == np.where(low % 2 == 0, low, high)).all())
        self.assertTrue((e4m3(np.nextafter(middle, np.float32(1e9)))[0] == high).all())
        self.assertTrue((e4m3(np.nextafter(middle, np.float32(0)))[0] == low).all())
        self.assertEqual(e4m3(np.float32([1e9, -1e9]))[0].tolist(), [0x7E, 0xFE])


if __name__ == "__main__":
    use_python_with_numpy()
    SEER = sys.argv.pop(1)
    unittest.main()
