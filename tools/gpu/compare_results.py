#!/usr/bin/env python3
"""Compares what tools/gpu/check.sh measured with earlier figures of the same card, and says what moved by more than 3%.

    tools/gpu/compare_results.py DIR [--results FOLDER] [--card NAME] [--driver VERSION] [--commit HASH]

DIR is check.sh's output folder. FOLDER (tests/bench/results) has a file for each card; README.md there says what a line
means. The new line is written to DIR/results.jsonl, so that it can be appended to the card's file. nvidia-smi is asked
for card and driver, and git for the commit, unless they are given. The exit code is 0 even if figures moved, because two cards
of one kind differ too; it is 1 if the results cannot be read."""
import argparse
import datetime
import json
import pathlib
import re
import subprocess
import sys

from table import print_table, read_json, read_json_lines, read_lines

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPE = "llama-3.1-8b"  # what check.sh measures
MOVED = 0.03
FIELDS = {"commit": (str, type(None)), "date": str, "card": str, "driver": (str, type(None)), "shape": str, "source": str,
          "figures": dict}
OPERATION = re.compile(r"^(\S.*?)\s+([\d.]+) ms\b")
SERVE = re.compile(r"^\| (.{40}) \|\s+([\d.]+) \|")


class BadResults(Exception):
    pass


def more_is_better(name):
    """Returns whether a larger value of this figure is better, by the unit with which its name ends."""
    unit = name.rsplit(", ", 1)[-1]
    if unit in ("tokens/s", "t/s", "TFLOP/s"):
        return True
    if unit in ("s", "ms") or unit.endswith(" ms"):
        return False
    raise BadResults(f"figure '{name}': expected a name that ends in ', s', ', ms', ', tokens/s' or ', TFLOP/s'")


def model_figures(out):
    for name in ("bench-model.log", "bench-long.log"):
        for row in read_json_lines(out / name):
            if row["n_prompt"] > 0:
                yield f"prefill {row['n_prompt']} {row['sparse']}, s", row["avg_ns"] * 1e-9
            else:  # decoding is dense, whatever the rule of the row
                yield f"decode after {row['n_depth']}, tokens/s", row["avg_ts"]


def serve_figures(out):
    last = ""
    for line in read_lines(out / "bench-serve.log"):
        match = SERVE.match(line)
        if not match or match[1].strip() in ("p95", "max"):
            continue
        label = match[1].rstrip()
        if label.startswith("  "):  # belongs to the line above, whose unit it repeats
            label = f"{last}, {label.strip()}"
        else:
            last = label.removesuffix(", cold, ms")
        yield f"serve: {label}", float(match[2])


def attention_figures(out):
    for row in (read_json(out / "attention.json") or {"rows": []})["rows"]:
        if row["kernel"].startswith("ours") and row["status"] == "ok":
            yield f"attention {row['regime']} {row['n_tokens']} {row['sparsity']:g}%, TFLOP/s", row["tflops"]


def operation_figures(out):
    for line in read_lines(out / "bench-ops.log"):
        if match := OPERATION.match(line):
            yield f"{match[1]}, ms", float(match[2])


def figures_of(out):
    """Returns all figures by name. If a name comes twice, the first value counts."""
    figures = {}
    for measured in (model_figures, serve_figures, attention_figures, operation_figures):
        for name, value in measured(out):
            figures.setdefault(name, float(f"{value:.4g}"))
    return figures


def check_record(record, where):
    if not isinstance(record, dict) or record.keys() != FIELDS.keys():
        raise BadResults(f"{where}: expected an object with {', '.join(FIELDS)}")
    for name, kind in FIELDS.items():
        if not isinstance(record[name], kind):
            raise BadResults(f"{where}: {name}: found {json.dumps(record[name])}")
    for name, value in record["figures"].items():
        more_is_better(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise BadResults(f"{where}: {name}: expected a number above 0, found {json.dumps(value)}")


def read_results(folder):
    """Returns all records of a folder; those of a file are in the order of its lines."""
    records = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{path}:{number}"
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise BadResults(f"{where}: {error}") from None
            check_record(record, where)
            records.append(record)
    return records


def compare(new, records):
    """Returns rows of the figures that moved, the number of those that moved by MOVED at most, and the number of those without
    an earlier figure."""
    moved, same, unknown = [], 0, 0
    for name, value in new["figures"].items():
        earlier = [record for record in records if record["card"] == new["card"] and record["shape"] == new["shape"] and
                   name in record["figures"]]
        if not earlier:
            unknown += 1
            continue
        before = earlier[-1]["figures"][name]
        change = value / before - 1
        if abs(change) <= MOVED:
            same += 1
            continue
        better = (change > 0) == more_is_better(name)
        since = f"{earlier[-1]['commit'] or 'no commit'}, {earlier[-1]['date']}"
        moved.append([name, f"{before:g}", f"{value:g}", f"{100 * change:+.1f}%", "better" if better else "WORSE", since])
    return moved, same, unknown


def asked(*command):
    """Returns the first line that a program prints, or None if there is no such program or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else None


def commit():
    head = asked("git", "rev-parse", "--short", "HEAD")
    return f"{head}+" if head and asked("git", "status", "--porcelain", "--untracked-files=no") else head


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--results", type=pathlib.Path, default=ROOT / "tests/bench/results", metavar="FOLDER")
    parser.add_argument("--card", default=asked("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"))
    parser.add_argument("--driver", default=asked("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"))
    parser.add_argument("--commit", default=commit())
    options = parser.parse_args()
    figures = figures_of(options.out)
    if not figures:
        print("\nNothing was measured, so nothing is compared with earlier figures.")
        return
    if not options.card:
        sys.exit("compare_results: nvidia-smi names no card: name it by --card")
    new = {"commit": options.commit, "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(), "card": options.card,
           "driver": options.driver, "shape": SHAPE, "source": "tools/gpu/check.sh", "figures": figures}
    try:
        moved, same, unknown = compare(new, read_results(options.results))
    except (BadResults, OSError) as error:
        sys.exit(f"compare_results: {error}")
    (options.out / "results.jsonl").write_text(json.dumps(new) + "\n", encoding="utf-8")
    print_table(f"Moved by more than {100 * MOVED:g}% since the last figures of {options.card}",
                ["figure", "before", "now", "change", "", "since"], moved)
    print(f"\nEarlier figures of {options.card}: {len(moved)} moved by more than {100 * MOVED:g}%, {same} did not, {unknown} have "
          f"none. The new ones are in {options.out / 'results.jsonl'}: append them to the card's file in {options.results}.")


if __name__ == "__main__":
    main()
