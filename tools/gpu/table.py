#!/usr/bin/env python3
"""Prints tables of the results that tools/gpu/check.sh left in its output folder: operations, attention next to its rivals,
rates of whole models, and the steps of the check.

    tools/gpu/table.py DIR"""
import json
import pathlib
import re
import sys

from attention import report

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
    """Yields the rows of a log. Lines that are not JSON are left out, because a bench that was stopped may leave half a line."""
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


def operation_rows(out):
    for line in read_lines(out / "bench-ops.log"):
        match = OPERATION.match(line)
        if not match:
            continue
        yield [match.group(1), f"{float(match.group(2)):.3f}", " ".join(match.group(3).split())]


def read_json(path):
    """Returns the file's contents, or None if no program wrote the file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    steps = [line.split("\t") for line in read_lines(out / "steps.tsv")]
    rows = (read_json(out / "rivals.json") or {"rows": []})["rows"]
    attention = read_json(out / "attention.json")
    rivals = {(row["what"], row["n_tokens"]): row["ms"] for row in rows}
    skipped = {path.stem: sum(line.startswith("SKIPPED") for line in read_lines(path)) for path in out.glob("test-*.log")}
    print_table("Operations, Llama-3.1-8B's shapes", ["operation", "ms", "rate"], list(operation_rows(out)))
    if attention:
        print(f"\nPrefill attention\n{report.summary(attention)}")
    print_table("Whole model, Llama-3.1-8B's shape, random weights (tg: ms of a token)",
                ["test", "sparse", "ms", "tokens/s", "density", "attn ms", "HF ms", "HF/ours"], list(model_rows(out, rivals)))
    print_table("Rivals", ["rival", "tokens", "ms"], [[r["what"], r["n_tokens"], f"{r['ms']:.3f}"] for r in rows])
    print_table("Steps", ["step", "seconds", "result"],
                [[name, seconds, result + (f", {skipped[name]} skipped" if skipped.get(name) else "")]
                 for name, result, seconds in steps])


if __name__ == "__main__":
    main()
