#!/usr/bin/env python3
"""Checks that for every bad file the program ends soon, in little memory, with a helpful message and the right exit code.

  tests/tools/bad_files_test.py SEER             checks every row
  tests/tools/bad_files_test.py SEER --table     prints the table too, as Markdown
  tests/tools/bad_files_test.py SEER --only TEXT rows whose group or name has TEXT
  --relaxed: times and memory are shown and not checked, for builds with sanitizers or without optimisation

A row takes at most a second and, beyond the input's size and what the program takes for --version, 200 MB. The memory is
the largest resident size of the process, pages of mapped files included; with CUDA's libraries it begins at 200 MB."""
import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "bad_files"))
import files  # noqa: E402
import rows  # noqa: E402
import special, json_files, weights, quantised, gates, texts, inputs  # noqa: E402,E401,F401  they add their rows

MAX_MS = 1000
MAX_BYTES = 200 * 1_000_000
MAX_MESSAGE = 3000
ATTEMPTS = 3  # a slow row is repeated, because other programs may have taken the processor


def problems(run, outcome, relaxed):
    message = outcome["message"]
    if outcome["code"] is None:
        return ["it did not end"]
    found = []
    if outcome["code"] != run.code:
        found.append(f"exit code {outcome['code']}, expected {run.code}")
    errors = [line for line in message.splitlines() if line.startswith("seer: error: ")]
    if len(errors) != 1 or not message.endswith(errors[0] + "\n"):
        found.append("expected one line 'seer: error: ...' at the end")
    if outcome["out_bytes"] and not run.writes:
        found.append("something was written to stdout")
    if outcome["message_bytes"] > MAX_MESSAGE:
        found.append(f"a message of {outcome['message_bytes']} bytes")
    found += [f"the message lacks '{word}'" for word in run.words if word not in message]
    found += [f"the message has '{word}'" for word in ("Sanitizer", "runtime error:", "std::") if word in message]
    if not relaxed and outcome["ms"] > MAX_MS:
        found.append(f"{outcome['ms']:.0f} ms")
    if not relaxed and outcome["peak_bytes"] - run.input_bytes > MAX_BYTES:
        found.append(f"{outcome['peak_bytes'] / 1e6:.0f} MB for {run.input_bytes / 1e6:.1f} MB of input")
    return found


def measure(runner, run, own_bytes, relaxed):
    for _ in range(ATTEMPTS):
        outcome = runner.execute(run)
        outcome["peak_bytes"] -= min(own_bytes, outcome["peak_bytes"])
        found = problems(run, outcome, relaxed)
        if not found or outcome["code"] is None or outcome["ms"] <= MAX_MS:
            break
    return outcome, found


def shown(message):
    text = message.splitlines()[-1].removeprefix("seer: error: ") if message else ""
    text = text.replace(str(files.Folder.root) + "/", "").replace(str(files.DEMO.parents[1]) + "/", "")
    text = "".join(c if c.isprintable() else "?" for c in text).replace("|", "\\|")
    return text if len(text) <= 240 else text[:237] + "..."


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seer")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--relaxed", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    failed = n = 0
    slowest = largest = 0
    runner = rows.Runner(options.seer)
    own_bytes = runner.execute(rows.Run(["--version"], 0, writes=True))["peak_bytes"]
    with tempfile.TemporaryDirectory(prefix="seer-bad-files-") as root:
        files.Folder.root = root
        if options.table:
            print("| file | what is wrong | exit code | ms | peak MB | of it beyond the input | message |")
            print("|---|---|---:|---:|---:|---:|---|")
        for group, name, build in rows.ROWS:
            if options.only not in f"{group}: {name}":
                continue
            run = build()
            outcome, found = measure(runner, run, own_bytes, options.relaxed)
            n += 1
            beyond = max(0, outcome["peak_bytes"] - run.input_bytes)
            slowest, largest = max(slowest, outcome["ms"]), max(largest, beyond)
            if options.table:
                print(f"| {group} | {name} | {outcome['code']} | {outcome['ms']:.0f} | "
                      f"{outcome['peak_bytes'] / 1e6:.0f} | {beyond / 1e6:.0f} | {shown(outcome['message'])} |")
            if found:
                failed += 1
                print(f"FAILED: {group}: {name}: {'; '.join(found)}\n  {outcome['message'][-600:].strip()}",
                      file=sys.stderr)
    runner.close()
    print(f"{n} rows, {failed} failed; the slowest took {slowest:.0f} ms, the largest {largest / 1e6:.0f} MB beyond its "
          "input", file=sys.stderr if options.table else sys.stdout)
    return 1 if failed or n == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
