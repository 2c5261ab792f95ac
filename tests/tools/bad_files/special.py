"""Pipes, folders, devices and broken links, in place of every file that a model or gates may have."""
import os

import files
from rows import Run, row, with_gates, with_model

PLACES = {
    "config.json": (files.model, (), with_model),
    "generation_config.json": (files.model, (), with_model),
    "model.safetensors": (files.model, (), with_model),
    "model.safetensors.index.json": (files.model, ("model.safetensors",), with_model),
    "tokenizer.model": (files.model, (), with_model),
    "gates/config.json": (files.gates, (), with_gates),
    "gates/attn_gate_weights.safetensors": (files.gates, (), with_gates),
    "gates/attn_gate_weights.pth": (files.gates, ("attn_gate_weights.safetensors",), with_gates),
}
STRANGERS = {
    "pipe": (lambda path: os.mkfifo(path), "a pipe"),
    "folder": (lambda path: path.mkdir(), "a folder"),
    "/dev/zero": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
    "link to nothing": (lambda path: path.symlink_to("gone"), "not there"),
}


def add(place, stranger):
    make, without, run = PLACES[place]
    put, words = STRANGERS[stranger]
    name = place.split("/")[-1]

    def build():
        folder = make().without(*without)
        put(folder.free(name))
        return run(folder, f"/{name}: ", words)

    row("no file", f"{place}: {stranger}")(build)


for place_name in PLACES:
    for stranger_name in STRANGERS:
        add(place_name, stranger_name)


# Reading the first byte of this file fails, as on a broken disk.
UNREADABLE = "/proc/self/mem"


def add_unreadable(place):
    make, without, run = PLACES[place]
    name = place.split("/")[-1]
    words = ("found 0 bytes",) if name.endswith(".safetensors") else (
        "too short",) if name.endswith(".pth") else ("reading failed: Input/output error",)

    def build():
        folder = make().without(*without).link(name, UNREADABLE)
        return run(folder, f"/{name}: ", *words)

    row("no file", f"{place}: a file that cannot be read")(build)


for place_name in PLACES:
    add_unreadable(place_name)


@row("no file", "model folder: link to itself")
def _():
    folder = files.Folder().link("loop", "loop")
    return Run(["generate", "-m", folder.path / "loop", "-p", "x"], 3, "/loop: ", "symbolic links", folder=folder)
