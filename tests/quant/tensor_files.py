"""Reads and writes safetensors files tensor by tensor. Arrays are NumPy's; BF16, F16 and F32 all become float32."""
import json
import pathlib
import struct

import numpy as np

SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "F8_E4M3": 1, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = ("F32", "F16", "BF16")
COPIED_AT_ONCE = 1 << 24


def n_bytes(dtype, shape):
    n = SIZES[dtype]
    for size in shape:
        n *= size
    return n


def to_bf16(x):
    """Returns the bits of the BF16 numbers nearest to finite float32 numbers, halves to even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(x, dtype):
    """Returns x rounded to a type of numbers, as float32."""
    return from_bf16(to_bf16(x)) if dtype == "BF16" else x.astype({"F16": np.float16, "F32": np.float32}[dtype]).astype(
        np.float32)


def encoded(x, dtype):
    """Returns the bytes of x in a file: float32 numbers are converted to dtype, and codes are written as they are."""
    if dtype == "BF16":
        x = to_bf16(x)
    elif dtype in FLOATS:
        x = x.astype({"F16": np.float16, "F32": np.float32}[dtype])
    return np.ascontiguousarray(x).tobytes()


class Reader:
    """Reads one file. `entries` is {name: (dtype, shape, offset)}."""

    def __init__(self, path):
        self.file = open(path, "rb")
        (size,) = struct.unpack("<Q", self.file.read(8))
        header = json.loads(self.file.read(size))
        self.metadata = header.pop("__metadata__", None)
        self.entries = {name: (t["dtype"], t["shape"], 8 + size + t["data_offsets"][0]) for name, t in header.items()}

    def floats(self, name):
        dtype, shape, offset = self.entries[name]
        self.file.seek(offset)
        data = self.file.read(n_bytes(dtype, shape))
        if dtype == "BF16":
            return from_bf16(np.frombuffer(data, np.uint16)).reshape(shape)
        return np.frombuffer(data, {"F16": np.float16, "F32": np.float32}[dtype]).astype(np.float32).reshape(shape)

    def copy(self, name, out):
        dtype, shape, offset = self.entries[name]
        self.file.seek(offset)
        left = n_bytes(dtype, shape)
        while left:
            data = self.file.read(min(left, COPIED_AT_ONCE))
            if not data:
                raise EOFError(f"{name} is cut short")
            out.write(data)
            left -= len(data)


class Writer:
    """Writes the header for the tensors (name, dtype, shape) in `plan`. The caller then writes their data to `file` in this order."""

    def __init__(self, path, plan, metadata):
        header, at = {"__metadata__": metadata or {"format": "pt"}}, 0
        for name, dtype, shape in plan:
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + n_bytes(dtype, shape)]}
            at += n_bytes(dtype, shape)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self.file = open(path, "wb")
        self.file.write(struct.pack("<Q", len(text)) + text)
        self.size, self.end = at, 8 + len(text) + at

    def close(self):
        assert self.file.tell() == self.end, f"{self.file.name}: {self.file.tell()} bytes for {self.end}"
        self.file.close()


def weight_files(folder):
    """Returns the names of a checkpoint's weight files."""
    folder = pathlib.Path(folder)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    if (folder / "model.safetensors").exists():
        return ["model.safetensors"]
    raise SystemExit(f"make_quantised: {folder}: expected model.safetensors or model.safetensors.index.json, found neither")
