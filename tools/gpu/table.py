#!/usr/bin/env python3
"""Prints what tools/gpu/check.sh left in its output folder: steps, whole-model rates, attention beside its rivals.

    tools/gpu/table.py DIR"""
import json
import pathlib
import re
import sys

OPERATION = re.compile(r"^((?:dense_prefill|sparse_prefill|paged_decode) .*?)\s+([\d.]+) ms\b(.*)$")


def print_table(title, head, rows):
    if not rows:
        return
    rows = [head, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    print(f"\n{title}")
    for row in rows:
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def read_lines(path):
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def read_json_lines(path):
    """Rows of a bench that was stopped may end in half a line."""
    for line in read_lines(path):
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def ratio(theirs, ours):
    return f"{theirs / ours:.2f}x" if theirs else ""


def model_rows(out, rivals):
    for name in ("bench-model.log", "bench-long.log"):
        for row in read_json_lines(out / name):
            prefill = row["n_prompt"] > 0
            test = f"pp{row['n_prompt']}" if prefill else f"tg{row['n_gen']} @ {row['n_depth']}"
            ms = row["avg_ns"] * 1e-6 / (1 if prefill else row["n_gen"])
            theirs = rivals.get(("hf_prefill", row["n_prompt"]) if prefill else ("hf_decode", row["n_depth"]))
            yield [test, row["sparse"], f"{ms:.2f}", f"{row['avg_ts']:.1f}", f"{100 * row['density']:.1f}%" if prefill else "",
                   f"{row['attn_ns'] * 1e-6:.1f}" if prefill else "", f"{theirs:.2f}" if theirs else "", ratio(theirs, ms)]


def operation_rows(out, rivals):
    for line in read_lines(out / "bench-ops.log"):
        match = OPERATION.match(line)
        if not match:
            continue
        name, ms, rest = match.group(1), float(match.group(2)), match.group(3)
        length = int(re.search(r"L=(\d+)", name).group(1))
        theirs = {}
        if name.startswith("dense_prefill"):
            theirs = {"flash": rivals.get(("sdpa_flash", length)), "cuDNN": rivals.get(("sdpa_cudnn", length))}
        elif name.startswith("sparse_prefill") and "one mask" in name:
            sparsity = round(100 * (1 - float(re.search(r"d=([\d.]+)", name).group(1))))
            theirs = {"triton": rivals.get((f"triton_{sparsity}", length))}
        beside = ", ".join(f"{who} {t:.3f} ms ({ratio(t, ms)})" for who, t in theirs.items() if t)
        yield [name, f"{ms:.3f}", " ".join(rest.split()), beside]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    steps = [line.split("\t") for line in read_lines(out / "steps.tsv")]
    found = out / "rivals.json"
    rows = json.loads(found.read_text(encoding="utf-8"))["rows"] if found.exists() else []
    rivals = {(row["what"], row["n_tokens"]): row["ms"] for row in rows}
    skipped = {path.stem: sum(line.startswith("SKIPPED") for line in read_lines(path)) for path in out.glob("test-*.log")}
    print_table("Operations, Llama-3.1-8B's shapes", ["operation", "ms", "rate", "rivals of this run"],
                list(operation_rows(out, rivals)))
    print_table("Whole model, Llama-3.1-8B's shape, random weights (tg: ms of a token)",
                ["test", "sparse", "ms", "tokens/s", "density", "attn ms", "HF ms", "HF/ours"], list(model_rows(out, rivals)))
    print_table("Rivals", ["rival", "tokens", "ms"], [[r["what"], r["n_tokens"], f"{r['ms']:.3f}"] for r in rows])
    print_table("Steps", ["step", "seconds", "result"],
                [[name, seconds, result + (f", {skipped[name]} skipped" if skipped.get(name) else "")]
                 for name, result, seconds in steps])


if __name__ == "__main__":
    main()
