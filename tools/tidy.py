#!/usr/bin/env python3
"""Runs clang-tidy over the project's sources and fails on any finding.

    tools/tidy.py BUILD_DIR [-j N] [--without FOLDER]

Most of clang-tidy's time goes into the headers, which it walks through again for every source. So sources with the same
compile options are put one after the other into a file in BUILD_DIR/tidy, and are checked together. A batch with
findings, or that does not compile because two sources use the same name, is checked source by source, which decides.
The sources are those of BUILD_DIR/compile_commands.json that lie in this tree. A source is checked again only if
it, a project header it includes, its compile command, .clang-tidy or the tool has changed since it last passed; what
passed is kept in BUILD_DIR/tidy-passed.json."""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)
# The limit of the static analyzer's exploration of a function, 1/38 of its default. With 1/9, the analyzer took half as long as
# all other checks together.
ANALYZER = ["-Xclang", "-analyzer-config", "-Xclang", "max-nodes=6000"]
# The compile commands are those of another compiler, some of whose warnings clang does not know.
EXTRA = ["-Wno-unknown-warning-option", "-Wreserved-identifier", *ANALYZER]
BATCH = 12  # sources that are checked together; larger batches take more memory and save little more
VERSION = "14"  # later ones bring new findings; the sources follow this one (Debian 12's)


def find_tool():
    for name in (f"clang-tidy-{VERSION}", "clang-tidy"):
        path = shutil.which(name)
        if path:
            text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            if re.search(rf"version {VERSION}\.", text):
                return path, text
    return None, None


def project_files(source):
    """Returns the source and every project header that it includes, directly or not."""
    seen, todo = set(), [source]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            for base in (ROOT, ROOT / "engine/include", path.parent):
                if (base / name).is_file():
                    todo.append((base / name).resolve())
                    break
    return sorted(seen)


def fingerprint(entry, tool_text):
    digest = hashlib.sha256("\0".join([tool_text, *EXTRA]).encode())
    digest.update(entry["command"].encode())
    for path in [*sorted(ROOT.glob("**/.clang-tidy")), *project_files(pathlib.Path(entry["file"]))]:
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def batches(names, entries):
    """Returns lists of at most BATCH sources that can be checked together. Sources of tests/ are checked one by one, because that
    folder has a configuration of its own."""
    groups = {}
    for name in names:
        command = re.sub(r" -o \S+ -c \S+$", "", entries[name]["command"])
        alone = name if name.startswith("tests/") else ""
        groups.setdefault((command, entries[name]["directory"], alone), []).append(name)
    return [group[i:i + BATCH] for group in groups.values() for i in range(0, len(group), BATCH)]


def write_batch(folder, number, names, entries):
    """Writes one file with the text of all sources. It does not include them, because clang-tidy would check them less, as
    headers. Returns the file's path and its entry for compile_commands.json."""
    path = folder / f"batch_{number}.cc"
    texts = (f'#line 1 "{entries[name]["file"]}"\n{(ROOT / name).read_text(encoding="utf-8")}' for name in names)
    path.write_text("\n".join(texts), encoding="utf-8")
    first = entries[names[0]]
    command = re.sub(r" -o \S+ -c \S+$", lambda _: f" -c {path}", first["command"])
    return path, {"directory": first["directory"], "command": command, "file": str(path)}


def main():
    parser = argparse.ArgumentParser(description="Runs clang-tidy over the project's sources.")
    parser.add_argument("build_dir", type=pathlib.Path)
    parser.add_argument("-j", dest="jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--without", metavar="FOLDER", help="leave out the sources of a top-level folder")
    args = parser.parse_args()

    tool, tool_text = find_tool()
    if not tool:
        print(f"tidy: SKIPPED: clang-tidy {VERSION} is not installed")
        return 0
    entries = {}
    for entry in json.loads((args.build_dir / "compile_commands.json").read_text(encoding="utf-8")):
        path = pathlib.Path(entry["file"]).resolve()
        if path.is_relative_to(ROOT) and not path.is_relative_to(args.build_dir.resolve()) and path.suffix == ".cc":
            name = path.relative_to(ROOT).as_posix()
            if name.split("/")[0] != args.without:
                entries[name] = entry
    if not entries:
        print(f"tidy: no sources of {ROOT} in {args.build_dir}/compile_commands.json")
        return 1

    passed_file = args.build_dir / "tidy-passed.json"
    passed = json.loads(passed_file.read_text(encoding="utf-8")) if passed_file.exists() else {}
    prints = {name: fingerprint(entry, tool_text) for name, entry in entries.items()}
    todo = [name for name in sorted(entries) if passed.get(name) != prints[name]]
    print(f"tidy: {len(todo)} of {len(entries)} sources to check", flush=True)

    folder = args.build_dir.resolve() / "tidy"
    folder.mkdir(exist_ok=True)
    work, commands = [], []
    for number, names in enumerate(batches(todo, entries)):
        path = None
        if len(names) > 1:
            path, command = write_batch(folder, number, names, entries)
            commands.append(command)
        work.append((path, names))
    (folder / "compile_commands.json").write_text(json.dumps(commands, indent=1), encoding="utf-8")
    # The batches that take longest begin first, so that none of them runs alone at the end.
    work.sort(key=lambda batch: -len(batch[1]))

    def run(folder, path, *options):
        command = [tool, "--quiet", "-p", str(folder), *(f"--extra-arg={arg}" for arg in EXTRA), *options, str(path)]
        return subprocess.run(command, capture_output=True, text=True)

    def check(path, names):
        """Returns the result of each source; it is None if the source passed with its batch."""
        if path and run(folder, path, f"--config-file={ROOT / '.clang-tidy'}").returncode == 0:
            return [(name, None) for name in names]
        return [(name, run(args.build_dir, entries[name]["file"])) for name in names]

    failed = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for job in concurrent.futures.as_completed([pool.submit(check, *batch) for batch in work]):
            for name, result in job.result():
                if result is None or result.returncode == 0:
                    passed[name] = prints[name]
                    continue
                failed.append(name)
                print(f"tidy: {name}\n{result.stdout}", flush=True)
                if not result.stdout.strip():
                    print(result.stderr, flush=True)
    known = {n: p for n, p in passed.items() if n in entries or n.split("/")[0] == args.without}
    passed_file.write_text(json.dumps(known, indent=1), encoding="utf-8")
    if failed:
        print(f"tidy: findings in {len(failed)} sources: {', '.join(sorted(failed))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
