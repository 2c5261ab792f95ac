#!/usr/bin/env python3
"""Makes a quantised form of a plain Hugging Face checkpoint, with the tensors and the config of the usual tools.

    make_quantised.py CHECKPOINT OUT --form int4 --group 64
    make_quantised.py examples/demo-model/model /tmp/fp8 --form fp8

fp8: compressed-tensors float-quantized, a scale for each output; fp8-block: fp8 with blocks of 128 x 128; int8:
compressed-tensors int-quantized; int4 and int4-asym: compressed-tensors pack-quantized, without zeros and with; gptq
(version 1 of its zeros), gptq-v2, gptq-act (desc_act); awq. Codes are rounded to nearest, without calibration, so with
4 bits more is lost than in the files of these tools. One matrix is in memory at a time. Needs numpy."""
import argparse
import json
import pathlib
import re
import shutil
import sys

import numpy as np

import forms
from tensor_files import FLOATS, Reader, Writer, encoded, n_bytes, weight_files

LINEAR = tuple(f"{name}_proj.weight" for name in ("q", "k", "v", "o", "gate", "up", "down")) + ("lm_head.weight",)
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".pth", ".gguf")
GROUPS = (128, 64, 32, -1)


def fail(message):
    print(f"make_quantised: {message}", file=sys.stderr)
    raise SystemExit(2)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--form", required=True, choices=forms.FORMS)
    parser.add_argument("--group", type=int, choices=GROUPS, help="inputs that share a scale, of 4 bits alone; default 128")
    parser.add_argument("--ignore", nargs="*", default=["lm_head"], metavar="MODULE",
                        help="modules that stay plain, by name or its last parts; compressed-tensors' own forms take "
                        "patterns too, such as re:.*down_proj")
    parser.add_argument("--plain", action="store_true",
                        help="write the numbers that the form stands for as a plain checkpoint of F32, to compare with")
    return parser.parse_args()


def leaves_plain(entry, module):
    if entry.startswith("re:"):
        return re.match(entry[3:], module) is not None
    return module == entry or module.endswith("." + entry) or f".{entry}." in f".{module}."


class Sums:
    """Sums for the line that is printed at the end."""

    def __init__(self):
        self.matrices = self.weights = self.bytes = 0
        self.error = self.square = 0.0

    def add(self, w, value, size):
        self.matrices += 1
        self.weights += w.size
        self.bytes += size
        self.error += float(np.square(w - value, dtype=np.float64).sum())
        self.square += float(np.square(w, dtype=np.float64).sum())

    def text(self, name, form):
        return (f"{name}: {form.text}: {self.matrices} matrices, {8 * self.bytes / self.weights:.2f} bits a weight, "
                f"rms error {100 * (self.error / (self.square or 1)) ** 0.5:.2f}% of the weights' rms")


class Maker:
    def __init__(self, options, form):
        self.options, self.form, self.sums = options, form, Sums()

    def quantised(self, name, shape):
        module = name.removesuffix(".weight")
        return name.endswith(LINEAR) and len(shape) == 2 and not any(leaves_plain(i, module) for i in self.options.ignore)

    def check(self, reader):
        """Ends the program if a matrix cannot have the form, before anything is written."""
        for name, (dtype, shape, _) in reader.entries.items():
            if not self.quantised(name, shape):
                continue
            module = name.removesuffix(".weight")
            if dtype not in FLOATS:
                fail(f"{module}: expected F32, F16 or BF16 weights, found {dtype}: start from a plain checkpoint")
            refusal = self.form.refusal(module, *shape) if isinstance(self.form, forms.Groups) else None
            if refusal:
                fail(refusal)

    def plan(self, reader):
        """Yields (source, [(name, dtype, shape)], whether it is quantised) for each tensor of the checkpoint."""
        for name, (dtype, shape, _) in reader.entries.items():
            if not self.quantised(name, shape):
                yield name, [(name, dtype, shape)], False
            elif self.options.plain:
                yield name, [(name, "F32", shape)], True
            else:
                module = name.removesuffix(".weight")
                yield name, [(f"{module}.{suffix}", *rest) for suffix, *rest in self.form.plan(*shape)], True

    def write(self, reader, path):
        """Writes a file. Returns the names of its tensors, and the size of its data."""
        plan = list(self.plan(reader))
        writer = Writer(path, [entry for _, entries, _ in plan for entry in entries], reader.metadata)
        for name, entries, quantised in plan:
            if not quantised:
                reader.copy(name, writer.file)
                continue
            w = reader.floats(name)
            parts, value = forms.layer_bytes(self.form, w)
            for part in [encoded(value, "F32")] if self.options.plain else parts:
                writer.file.write(part)
            self.sums.add(w, value, sum(n_bytes(dtype, shape) for _, dtype, shape in entries
                                        if (dtype, shape) != ("I64", (2,))))
        writer.close()
        return [name for _, entries, _ in plan for name, _, _ in entries], writer.size


def main():
    options = parse()
    grouped = isinstance(forms.FORMS[options.form](128), forms.Groups)
    if options.group is not None and not grouped:
        fail(f"--group: the form {options.form} has no groups of inputs; leave it out")
    own = options.form in ("fp8", "int8", "int4", "int4-asym")
    if any(entry.startswith("re:") for entry in options.ignore) and not own:
        fail(f"--ignore: the config of the form {options.form} has no patterns; name the modules")
    if options.form.startswith("gptq") and options.ignore != ["lm_head"]:
        fail(f"--ignore: the config of the form {options.form} has no list of plain modules; leave it out")
    config_path = options.checkpoint / "config.json"
    if not config_path.is_file():
        fail(f"{options.checkpoint}: expected a checkpoint's folder with config.json")
    config = json.loads(config_path.read_text())
    if config.get("quantization_config") or config.get("compression_config"):
        fail(f"{config_path}: expected a plain checkpoint, found quantization_config")
    if options.out.exists() and any(options.out.iterdir()):
        fail(f"{options.out}: expected a new or empty folder")
    maker = Maker(options, forms.FORMS[options.form](options.group or 128))
    readers = {name: Reader(options.checkpoint / name) for name in weight_files(options.checkpoint)}
    for reader in readers.values():
        maker.check(reader)

    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.checkpoint.iterdir():
        if path.is_file() and path.name != "config.json" and not path.name.endswith(WEIGHTS):
            shutil.copyfile(path, options.out / path.name)
    files, size = {}, 0
    for name, reader in readers.items():
        names, n = maker.write(reader, options.out / name)
        files.update(dict.fromkeys(names, name))
        size += n
    if maker.sums.matrices == 0:
        fail(f"{options.checkpoint}: no matrix is left to quantise; see --ignore")
    if list(readers) != ["model.safetensors"]:
        index = {"metadata": {"total_size": size}, "weight_map": files}
        (options.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    if not options.plain:
        config["quantization_config"] = maker.form.config(options.ignore)
    (options.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(maker.sums.text(options.form, maker.form))


if __name__ == "__main__":
    main()
