#!/usr/bin/env python3
"""Fails where a file includes from a folder above its own, or CUDA headers outside the two places that may.

Direction: tools, examples -> engine (public headers) -> models -> kernels, and engine -> tokenizer.
seer/error.h is the one public header that every folder may use: it is the project's error vocabulary."""
import pathlib
import re
import sys

ALLOWED = {
    "kernels": {"kernels", "seer/error.h"},
    "tokenizer": {"tokenizer", "seer/error.h"},
    "models": {"models", "kernels", "seer/error.h"},
    "engine": {"engine", "models", "kernels", "tokenizer", "seer"},
    "tools": {"tools", "seer"},
    "examples": {"examples", "seer"},
    "tests": {"tests", "engine", "models", "kernels", "tokenizer", "tools", "seer"},
}
PROJECT = set(ALLOWED) | {"seer"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
CUDA = re.compile(r"^(cuda|cublas|nccl|curand|cutlass)")


def problems(root: pathlib.Path):
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in {".h", ".cc", ".cu", ".cuh", ".inc"} or "build" in path.parts:
                continue
            name = path.relative_to(root).as_posix()
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(1)
                top = target.split("/")[0]
                if CUDA.match(target) and not re.match(r"kernels/(cuda/|comm/nccl)", name):
                    yield f"{name}:{number}: {target}: CUDA headers belong under kernels/cuda and kernels/comm/nccl.*"
                if top in PROJECT and "/" in target and top not in allowed and target not in allowed:
                    yield f"{name}:{number}: {folder}/ may not include {target}"
                if folder == "engine" and "include/seer" in name and top in PROJECT - {"seer"} and "/" in target:
                    yield f"{name}:{number}: a public header may include only std and seer/ headers, not {target}"


def main():
    found = list(problems(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
