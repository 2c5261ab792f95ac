#!/usr/bin/env python3
"""Checks that `seer perplexity` gives the same perplexities as the PyTorch code that wrote the demo model's report.json.

    tests/bench/report_check.py SEER DEMO_MODEL_DIR TEXT [--reference-device cuda] [--limit 0.5] [SEER OPTION...]

The novels that report.json was made with are not part of this project. So DEMO_MODEL_DIR/train.py, which wrote it, evaluates TEXT
(any novel) in the same way: up to 8 windows of 4096, 8192 and 16384 tokens, with dense attention and under every rule. Then the
program does the same. Options that are not this script's go to the program, for instance --device cpu. Exits with 1 if a perplexity
differs by more than --limit percent. train.py always keeps the diagonal block of a row, but published gates may drop it; this script
removes that line from its copy of train.py."""
import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

DIAGONAL = " i = torch.arange(n, device=dev); m[:, :, i, i] = True"
LOOK_UPS = "    rng = random.Random(5)\n"  # begins what train.py does after the perplexities
RATIOS = "nz_rule(r)) for r in (0.5, 0.2, 0.1, 0.05)]"  # ends train.py's list of rules, which lacks nz_ratio_row
ROW_RATIOS = ' + [(f"nz_ratio_row {r}", nz_row_rule(r)) for r in (0.5, 0.2, 0.1, 0.05)]'


def seer(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()


def nz_row_rule(ratio):
    """Returns the rule nz_ratio_row in the form of train.py's rules: a function from causal scores [B, H, n, n] to the blocks kept."""
    def keep(scores):
        import torch
        most = torch.tensor([max(1, int(ratio * (row + 1))) for row in range(scores.shape[-1])], device=scores.device)
        rank = scores.argsort(-1, descending=True, stable=True).argsort(-1)
        return rank < most[:, None]
    return keep


def load_train(folder, data, device):
    """Loads train.py as a module that uses `device`, without the diagonal and the look-ups, and with the rule nz_ratio_row."""
    source = (folder / "train.py").read_text(encoding="utf-8")
    for part, instead in (DIAGONAL, ""), (LOOK_UPS, "    return rep\n" + LOOK_UPS), (RATIOS, RATIOS + ROW_RATIOS):
        if source.count(part) != 1:
            raise SystemExit(f"report_check: expected '{part.strip()}' once in {folder / 'train.py'}")
        source = source.replace(part, instead)
    copy = data / "train.py"
    copy.write_text(source, encoding="utf-8")
    os.environ["DATA"] = os.environ["OUT"] = str(data)
    (data / "demo.model").write_bytes((folder / "model" / "tokenizer.model").read_bytes())
    spec = importlib.util.spec_from_file_location("train", copy)
    train = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(train)
    train.dev = device
    train.nz_row_rule = nz_row_rule
    return train


def reference(train, folder, lengths):
    """Evaluates the demo model by train.py. Returns {(length, rule): (perplexity, density)}."""
    import torch
    from safetensors.torch import load_file
    model = train.Model()
    model.load_state_dict({name.removeprefix("model."): t for name, t in load_file(folder / "model" / "model.safetensors").items()})
    gates = torch.nn.ModuleList(train.Gate() for _ in range(train.NL))
    for name, tensor in load_file(folder / "gates" / "attn_gate_weights.safetensors").items():
        gates[int(name.split(".")[2])].mask_linear_k.weight.data.copy_(tensor)
    report = train.evaluate(model.to(torch.bfloat16).to(train.dev), gates.to(train.dev))
    found = {}
    for name, figures in report.items():
        kind, length, rule = name.split(" ", 2)
        if kind == "ppl" and int(length[2:]) in lengths:
            found[int(length[2:]), rule.replace(" ", "=")] = (figures["ppl"], figures["density"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seer")
    parser.add_argument("demo_model", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--reference-device", default="cuda")
    parser.add_argument("--limit", type=float, default=0.5, help="percent")
    args, options = parser.parse_known_args()
    lengths = (4096, 8192, 16384)
    model = ["-m", str(args.demo_model / "model")]
    ids = seer(args.seer, "tokenize", *model, "--no-bos", "-f", str(args.text)).split()
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder)
        train = load_train(args.demo_model, data, args.reference_device)
        train.np.array(ids, train.np.uint16).tofile(data / "val.bin")
        expected = reference(train, args.demo_model, lengths)
    worst = 0.0
    print(f"{'tokens':>7} {'rule':16} {'train.py':>9} {'seer':>9} {'apart':>8} {'density':>9} {'seer':>7}")
    for length in lengths:
        rules = [rule for n, rule in expected if n == length]
        rows = json.loads(seer(args.seer, "perplexity", *model, "-g", str(args.demo_model / "gates"), "-f", str(args.text), "-q",
                               "--window", str(length), "--max-windows", "8", "--sparse", ",".join(rules), "--output", "json", *options))
        for rule, row in zip(rules, rows):
            ppl, density = expected[length, rule]
            apart = 100 * (row["perplexity"] / ppl - 1)
            worst = max(worst, abs(apart))
            print(f"{length:7d} {rule:16} {ppl:9.4f} {row['perplexity']:9.4f} {apart:+7.3f}% {density:8.2%} {row['density']:7.2%}")
    print(f"at most {worst:.3f}% apart")
    sys.exit(worst > args.limit)


if __name__ == "__main__":
    main()
