#!/usr/bin/env python3
"""Fails if a file includes from a folder above its own, or CUDA headers outside the places that may.

The direction is: tools, examples -> engine (public headers) -> models -> kernels, and engine -> tokenizer.
Besides, every folder may use seer/error.h, because it has the project's errors, and engine/base, which reads files and JSON and
uses no other folder.

    tools/check_includes.py [ROOT]     prints FILE:LINE: reason, and exits with 1, for each include that may not be
      --stamp FILE      is written if all is well, so that a build repeats the check only after a change
      --depfile FILE    gets what the stamp depends on, in make's form: all sources, and the folders they lie in"""
import argparse
import pathlib
import re
import sys

BASE = "engine/base/"
ALLOWED = {
    "kernels": {"kernels", "seer/error.h"},
    "tokenizer": {"tokenizer", "seer/error.h"},
    "models": {"models", "kernels", "seer/error.h"},
    "engine": {"engine", "models", "kernels", "tokenizer", "seer"},
    "tools": {"tools", "seer"},
    "examples": {"examples", "seer"},
    "tests": {"tests", "engine", "models", "kernels", "tokenizer", "tools", "seer"},
}
SUFFIXES = {".h", ".cc", ".cu", ".cuh", ".inc"}
# Sources in C, which use the C interface.
MAY_BE_C = re.compile(r"(examples|tests)/.*\.c$")
# Files with other suffixes would be neither checked here nor formatted, so they are refused.
FOREIGN_SUFFIXES = {".hpp", ".hh", ".hxx", ".cpp", ".cxx", ".c", ".inl", ".ipp"}
C_STANDARD = {"stddef.h", "stdint.h"}  # the headers of C that public headers for C may include
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CUDA = re.compile(r"^(cuda|cublas|nccl|curand|cutlass|cute/|nvtx|nvml)")
MAY_USE_CUDA = re.compile(r"kernels/(cuda/|comm/nccl)|tests/(bench/[a-z_]*\.cu|engine_cuda/cuda_calls\.cc)$")
PUBLIC = "engine/include/seer/"
JSON = "engine/base/json.h"  # has types of JSON values that are released without allocating; tests may use nlohmann's own


def reason(name, quote, target):
    """Returns why the file `name` may not include `target`, or None if it may."""
    folder = name.split("/")[0]
    allowed = {"seer/error.h"} if name.startswith(BASE) else ALLOWED[folder]
    top = target.split("/")[0]
    if ".." in target.split("/") or target.startswith("/"):
        return f"write {target} from the project's root"
    if name.startswith(PUBLIC):
        standard = quote == "<" and "/" not in target and ("." not in target or target in C_STANDARD)
        if not standard and top != "seer":
            return f"a public header may include only the standard library and seer/ headers, not {target}"
    if CUDA.match(target) and not MAY_USE_CUDA.match(name):
        return f"{target}: CUDA headers belong under kernels/cuda, kernels/comm/nccl.*, tests/bench/*.cu and cuda_calls.cc"
    if target.startswith("nlohmann/") and name != JSON and folder != "tests":
        return f"include {JSON} instead of {target}"
    if target.startswith(BASE):
        return None
    if "/" in target:
        if top in {*ALLOWED, "seer"} and top not in allowed and target not in allowed:
            return f"{folder}/ may not include {target}"
    elif quote == '"':
        return f'write "{target}" from the project\'s root'
    return None


def problems(root, seen):
    """Yields a message for each include that may not be. Adds to `seen` each source and each folder; a folder's time changes if a
    file is added or removed."""
    n_files = 0
    for folder in ALLOWED:
        seen.append(root / folder)
        for path in sorted((root / folder).rglob("*")):
            relative = path.relative_to(root)
            # An example is a project of its own, and may have a build folder. Python makes __pycache__ while tests run.
            folders = relative.parts[1:] if path.is_dir() else relative.parts[1:-1]
            if any(part.startswith("build") or part == "__pycache__" for part in folders):
                continue
            if path.is_dir():
                seen.append(path)
            if not path.is_file():
                continue
            name = relative.as_posix()
            in_c = MAY_BE_C.match(name)
            if path.suffix in FOREIGN_SUFFIXES and not in_c:
                yield f"{name}:1: sources end in {' '.join(sorted(SUFFIXES))}, not {path.suffix}"
            if path.suffix not in SUFFIXES and not in_c:
                continue
            n_files += 1
            seen.append(path)
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                match = INCLUDE.match(line)
                why = match and reason(name, *match.groups())
                if why:
                    yield f"{name}:{number}: {why}"
    if n_files == 0:
        yield f"{root}: no sources here: not the project's root?"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=".", metavar="ROOT")
    parser.add_argument("--stamp", type=pathlib.Path)
    parser.add_argument("--depfile", type=pathlib.Path)
    options = parser.parse_args()
    if options.depfile and not options.stamp:
        parser.error("--depfile takes --stamp")
    seen = []
    found = list(problems(options.root, seen))
    print("\n".join(found), end="\n" if found else "")
    if found:
        return 1
    if options.depfile:
        names = [str(path.absolute()).replace("$", "$$").replace("#", r"\#").replace(" ", r"\ ") for path in seen]
        options.depfile.write_text(f"{options.stamp.name}: " + " \\\n ".join(names) + "\n", encoding="utf-8")
    if options.stamp:
        options.stamp.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
