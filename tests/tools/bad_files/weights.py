"""Bad model.safetensors, and bad indexes of shards."""
import json
import os

import files
from files import safetensors, split, tensor
from rows import row, with_model

NORM = "model.norm.weight"


def weights(name, *words, code=3):
    def add(function):
        def build():
            folder = files.model()
            folder.write("model.safetensors", function(folder.read("model.safetensors")))
            return with_model(folder, "model.safetensors", *words, code=code)

        row("model.safetensors", name)(build)
        return function

    return add


def changed(file, change):
    header, data = split(file)
    change(header)
    return safetensors(header, data)


weights("empty", "found 0 bytes", "download")(lambda file: b"")
weights("7 bytes", "found 7 bytes", "download")(lambda file: file[:7])
weights("cut in the header", "header", "download")(lambda file: file[:300])
weights("cut by a byte", "bytes of tensor data, found", "download")(lambda file: file[:-1])
weights("a byte too many", "bytes of tensor data, found", "download")(lambda file: file + b"x")
weights("a header of 2^63 bytes", "header", "at most 100000000")(lambda file: b"\xff" * 7 + b"\x7f" + file[8:])
weights("a header of 2^64-1 bytes", "header", "at most 100000000")(lambda file: b"\xff" * 8 + file[8:])
weights("a header that is a list", "header", "begin with")(lambda file: safetensors(b"[]"))
weights("a header that is no JSON", "header", "JSON")(lambda file: safetensors(b"{\"a\": }"))
weights("a header nested 500,000 deep", "header", "nested")(lambda file: safetensors(b'{"a":' + b"[" * 500_000))
weights("a header of 1,000,000 numbers", "header", "at most 1000000 values")(
    lambda file: safetensors(b'{"a":[' + b"1," * 1_000_000 + b"1]}"))
weights("a tensor twice", "there twice")(
    lambda file: safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(tensor(0, 4, [1])).encode(),) * 2), b"1234"))
weights("a tensor without shape", "tensor a has no shape")(
    lambda file: safetensors({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234"))
weights("a negative size", "tensor a", "non-negative")(lambda file: safetensors({"a": tensor(0, 4, [-1])}, b"1234"))
weights("a shape beyond 63 bits", "tensor a", "beyond 63 bits")(
    lambda file: safetensors({"a": tensor(0, 4, [2**40, 2**40])}, b"1234"))
weights("a shape of 100,000 axes", "tensor")(
    lambda file: safetensors({"a": tensor(0, 4, [1] * 100_000)}, b"1234"))
weights("offsets reversed", "tensor a", "data_offsets [4, 0]")(
    lambda file: safetensors({"a": tensor(4, 0, [1])}, b"1234"))
weights("offsets beyond 64 bits", "tensor a", "data_offsets")(
    lambda file: safetensors({"a": tensor(0, 2**70, [1])}, b"1234"))
weights("a tensor outside the file", "expected 4000 bytes of tensor data, found 4")(
    lambda file: safetensors({"a": tensor(0, 4000, [1000])}, b"1234"))
weights("tensors that overlap", "tensor b overlaps")(
    lambda file: safetensors({"a": tensor(0, 4, [1]), "b": tensor(2, 6, [1])}, b"123456"))
weights("a hole", "tensor b leaves a hole")(
    lambda file: safetensors({"a": tensor(0, 4, [1]), "b": tensor(8, 12, [1])}, b"1" * 12))
weights("10,000 tensors over the same bytes", "overlaps the one before it")(
    lambda file: safetensors({f"t{i}": tensor(0, 100_000, [25_000]) for i in range(10_000)}, bytes(100_000)))
weights("10,000 tensors without elements", "missing", "unexpected")(
    lambda file: safetensors({f"model.t{i}": tensor(0, 0, [0, 2**40]) for i in range(10_000)}))
weights("100,000 tensors", "missing", "unexpected", "more;")(
    lambda file: safetensors({f"model.t{i}": tensor(4 * i, 4 * i + 4, [1]) for i in range(100_000)}, bytes(400_000)))
weights("a type of 1 MB", "unexpected", "(1000000 bytes)")(
    lambda file: safetensors({"model.a": tensor(0, 4, [1], "x" * 1_000_000)}, b"1234"))
weights("a name of 1 MB", "tensor xxx", "(1000000 bytes)")(
    lambda file: safetensors({"x" * 1_000_000: tensor(0, 8, [1])}, bytes(8)))
weights("Git LFS pointer", "Git LFS pointer", "git lfs pull")(
    lambda file: b"version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 4976698672\n")


@weights("integers for floats", NORM, "expected F32, F16 or BF16, found I", "convert")
def _(file):
    return changed(file, lambda h: h[NORM].update(dtype="I32" if h[NORM]["dtype"] == "F32" else "I16",
                                                  shape=h[NORM]["shape"]))


def model(name, *words, code=3):
    def add(function):
        def build():
            folder = files.model()
            header, data = split(folder.read("model.safetensors"))
            function(folder, header, data)
            return with_model(folder, *words, code=code)

        row("model.safetensors", name)(build)
        return function

    return add


@model("a tensor of another name", "missing: model.norm.weight", "unexpected: model.gnorm.weight", "config.json")
def _(folder, header, data):
    folder.write("model.safetensors",
                 safetensors({key.replace("model.norm", "model.gnorm"): value for key, value in header.items()}, data))


@model("a tensor of another shape", "model.embed_tokens.weight: expected [4096, 256], found [256, 4096]")
def _(folder, header, data):
    header["model.embed_tokens.weight"]["shape"].reverse()
    folder.write("model.safetensors", safetensors(header, data))


@model("NaN in a norm", "model.norm.weight: expected finite numbers, found NaN at [3]", "another copy")
def _(folder, header, data):
    size = (header[NORM]["data_offsets"][1] - header[NORM]["data_offsets"][0]) // header[NORM]["shape"][0]
    at = header[NORM]["data_offsets"][0] + 3 * size
    folder.write("model.safetensors", safetensors(header, data[:at] + b"\xff" * size + data[at + size:]))


@model("none", "expected model.safetensors", "Download the model's weights")
def _(folder, header, data):
    folder.without("model.safetensors")


@model("only .bin weights", "pytorch_model.bin", "save_pretrained")
def _(folder, header, data):
    folder.without("model.safetensors").write("pytorch_model.bin", b"x")


def index(name, *words, code=3):
    """Adds a row. The decorated function gets the folder and the names of all tensors, and returns the index's bytes."""

    def add(function):
        def build():
            folder = files.model()
            header, _ = split(folder.read("model.safetensors"))
            folder.without("model.safetensors")
            folder.write("model.safetensors.index.json", function(folder, [n for n in header if n[0] != "_"]))
            return with_model(folder, *words, code=code)

        row("model.safetensors.index.json", name)(build)
        return function

    return add


def mapping(shard):
    return lambda folder, names: {"weight_map": {name: shard for name in names}}


index("empty", "index.json", "JSON")(lambda folder, names: "")
index("no weight_map", "weight_map is missing")(lambda folder, names: {})
index("weight_map a list", "weight_map", "not an object")(lambda folder, names: {"weight_map": []})
index("a shard above the folder", "a file in the same folder, found", "../x")(mapping("../x.safetensors"))
index("a shard by absolute path", "a file in the same folder, found", "/etc/passwd")(mapping("/etc/passwd"))
index("a shard named '..'", "a file in the same folder")(mapping(".."))
index("a shard that is a number", "a file in the same folder, found 7")(mapping(7))
index("a shard that is missing", "the shard is missing", "and so on")(mapping("model-00001-of-00001.safetensors"))
index("a shard of a name of 1 MB", "the shard is missing")(
    lambda folder, names: {"weight_map": {names[0]: "x" * 1_000_000}})
index("a shard whose name holds NUL", "a file in the same folder")(mapping("a\0b"))


@index("a shard that is a pipe", "/s.safetensors: ", "a pipe")
def _(folder, names):
    os.mkfifo(folder.path / "s.safetensors")
    return mapping("s.safetensors")(folder, names)


@index("a tensor in two shards", "there twice")
def _(folder, names):
    for shard in "ab":
        folder.write(f"{shard}.safetensors", safetensors({"w": tensor(0, 4, [1])}, b"1234"))
    return {"weight_map": {"w": "a.safetensors", "v": "b.safetensors"}}


@index("10,000 shards of one tensor each, the last missing", "the shard is missing")
def _(folder, names):
    for i in range(100):
        folder.write(f"s{i}.safetensors", safetensors({f"w{i}": tensor(0, 4, [1])}, b"1234"))
    return {"weight_map": {f"w{i}": f"s{i}.safetensors" for i in range(10_000)}}

