"""Damaged attn_gate_weights.{pth,safetensors}, and bad config.json of gates."""
import struct

import files
from files import (GATE, ORDERED_DICT, integer, members, pth, rebuilt, safetensors, split, state_dict, stored, text,
                   zip_file)
from rows import Run, row, with_gates

SIX = ("0", bytes(24))


def in_pth(name, *words, code=3):
    """Adds a row. The decorated function returns the bytes of attn_gate_weights.pth."""

    def add(function):
        def build():
            folder = files.gates().without("attn_gate_weights.safetensors")
            folder.write("attn_gate_weights.pth", function())
            return with_gates(folder, "attn_gate_weights.pth", *words, code=code)

        row("attn_gate_weights.pth", name)(build)
        return function

    return add


def pickled(name, *words, code=3):
    return lambda body: in_pth(name, "the pickle", *words, code=code)(lambda: pth(b"\x80\x02" + body + b".", SIX))


def one_tensor(name, *words, **arguments):
    n = arguments.pop("n", 6)
    value = rebuilt(arguments.pop("sizes", [2, 3]), arguments.pop("strides", [3, 1]), n, **arguments)
    in_pth(name, "w: expected a contiguous", *words)(lambda: pth(state_dict([("w", value)]), SIX))


def demo():
    return (files.GATES / "attn_gate_weights.pth").read_bytes()


in_pth("empty", "too short", "torch.save")(lambda: b"")
in_pth("no zip", "no zip directory", "torch.save")(lambda: b"x" * 100_000)
in_pth("a bare pickle", "no zip directory")(lambda: state_dict([]) + b" " * 100)
in_pth("cut short", "no zip directory", "cut short")(lambda: demo()[:-30])
in_pth("a byte too many", "no zip directory")(lambda: demo() + b"x")
in_pth("compressed members", "compressed or encrypted", "expected it stored")(
    lambda: zip_file(members(state_dict([]), SIX), method=8))
in_pth("encrypted members", "compressed or encrypted", "expected it stored")(
    lambda: zip_file(members(state_dict([]), SIX), flags=1))
in_pth("a wrong checksum", "a wrong checksum")(lambda: pth(state_dict([]), SIX, wrong_crc=True))
in_pth("a directory outside the file", "outside the file")(
    lambda: pth(state_dict([]), SIX, directory_offset=0xFFFFFFF0))
in_pth("a directory of 65,534 entries, four of them there", "directory")(
    lambda: pth(state_dict([]), SIX, n_entries=65_534))
in_pth("a member that claims 4 GB", "outside the file")(
    lambda: pth(state_dict([]), SIX, size_of={"archive/data/0": 0xFFFFFFF0}))
in_pth("a zip64 size that is not there", "outside the file")(
    lambda: pth(state_dict([]), SIX, size_of={"archive/data/0": 0xFFFFFFFF}))
in_pth("a member twice", "there twice")(lambda: zip_file(members(state_dict([]), SIX, SIX)))
in_pth("20,000 members over the same megabyte", "lies over the member")(
    lambda: zip_file([("archive/data.pkl", state_dict([])), ("archive/data/0", bytes(1_000_000))] +
                     [(f"archive/data/{i}", b"") for i in range(1, 20_000)],
                     offset_of={f"archive/data/{i}": 30 + len("archive/data.pkl") + len(state_dict([]))
                                for i in range(1, 20_000)}))
in_pth("big-endian tensors", "byte order 'big'")(
    lambda: zip_file(members(state_dict([]), SIX, byteorder=b"big")))
in_pth("a byte order of 1 MB", "byte order 'xxx", "(1000000 bytes)")(
    lambda: zip_file(members(state_dict([]), SIX, byteorder=b"x" * 1_000_000)))
in_pth("no data.pkl", "data.pkl is missing")(lambda: zip_file([("archive/version", b"3")]))

pickled("os.system", "asks for os.system", "nothing was executed")(b"cos\nsystem\n" + text("true") + b"\x85R")
pickled("builtins.eval by the stack", "asks for builtins.eval", "nothing was executed")(
    text("builtins") + text("eval") + b"\x93" + text("1") + b"\x85R")
pickled("a global of 1 MB", "asks for os.xxx", "(1000000 bytes)")(b"cos\n" + b"x" * 1_000_000 + b"\n")
pickled("an object built by NEWOBJ", "the opcode 0x81", "nothing was executed")(ORDERED_DICT + b")\x81")
pickled("a call of what is no function", "no function")(b"N)R")
pickled("an empty stack", "takes from an empty stack")(b"R")
pickled("a memo that was never stored", "recalls what it never stored")(b"h\x07")
pickled("text of 4 GB", "ends in the middle")(b"X\xff\xff\xff\xff")
pickled("a long integer", "more than 64 bits")(b"\x8a\x09" + b"\x01" * 9)
pickled("2,000,000 operations", "more than 1000000 operations")(b"N" * 2_000_000)
pickled("1,500,000 tuples in each other", "more than 1000000 operations")(b")" + b"\x85" * 1_500_000)
pickled("1,500,000 open groups", "more than 1000000 operations")(b"(" * 1_500_000)
pickled("1,500,000 memo entries", "more than 1000000 operations")(b"N" + b"\x94" * 1_500_000)
in_pth("protocol 5", "protocol 5, expected 2 to 4")(lambda: pth(b"\x80\x05}.", SIX))
in_pth("cut in the pickle", "ends in the middle")(lambda: pth(state_dict([])[:-1], SIX))


def reduce_bomb(n):
    return (b"\x80\x02" + files.REBUILD + b"q\x01(" + b"N" * (n // 2) + b"tq\x00" + b"h\x01h\x00R" * (n // 10) + b".")


# Seer once took 647 MB and 2.5 GB for these.
in_pth("40 kB of calls that share their arguments", "expected a dictionary of tensors")(
    lambda: pth(reduce_bomb(40_000)))
in_pth("80 kB of calls that share their arguments", "expected a dictionary of tensors")(
    lambda: pth(reduce_bomb(80_000)))


# Seer once took 5 s for this, and 1.2 GB if the storage was not aligned.
@in_pth("1,200 tensors of one storage of 1 MB", "no such tensor", "trained for this model")
def _():
    n = 250_000
    first = (f"t{0}", files.REBUILD + b"q\x06(" + stored(n) + b"q\x05" + integer(0) + integer(n) + b"\x85" + integer(1) +
             b"\x85\x89)tR")
    others = [(f"t{i}", b"h\x06(h\x05" + integer(0) + integer(n) + b"\x85" + integer(1) + b"\x85\x89)tR")
              for i in range(1, 1200)]
    return pth(state_dict([first, *others]), ("0", bytes(4 * n)))


in_pth("no dictionary", "expected a dictionary of tensors")(lambda: pth(b"\x80\x02].", SIX))
in_pth("names that are numbers", "expected tensor names as keys")(
    lambda: pth(b"\x80\x02}" + integer(1) + rebuilt([2, 3], [3, 1], 6) + b"s.", SIX))
in_pth("a tensor twice", "the tensor w is there twice")(
    lambda: pth(state_dict([("w", rebuilt([2, 3], [3, 1], 6))] * 2), SIX))
in_pth("a storage that is missing", "archive/data/9 is missing")(
    lambda: pth(state_dict([("w", rebuilt([2, 3], [3, 1], 6, key="9"))]), SIX))
one_tensor("a storage of another size", "size differs", n=7)
one_tensor("a tensor that is not contiguous", "not contiguous", ".contiguous()", strides=[1, 2])
one_tensor("a tensor outside its storage", "larger than its storage", offset=1)
one_tensor("an offset of 2^63-1", "larger than its storage", offset=2**63 - 1)
one_tensor("sizes beyond 63 bits", "beyond 63 bits", sizes=[2**40, 2**40], strides=[1, 1])
one_tensor("a negative size", "non-negative integer", sizes=[-2, -3])
one_tensor("five axes", "5 dimensions", sizes=[1] * 5, strides=[1] * 5)
in_pth("integers for floats", "asks for torch.LongStorage")(
    lambda: pth(state_dict([("w", rebuilt([3], [1], 3, kind="LongStorage"))]), SIX))


def gates(name, *words, code=3):
    """Adds a row. The decorated function gets the folder and its weights' header and data. It changes the folder, or returns the
    bytes of new weights."""

    def add(function):
        def build():
            folder = files.gates()
            header, data = split(folder.read("attn_gate_weights.safetensors"))
            result = function(folder, header, data)
            if result is not None:
                folder.write("attn_gate_weights.safetensors", result)
            return with_gates(folder, *words, code=code)

        row("gates", name)(build)
        return function

    return add


def broken(value):
    """Returns a function that sets the last element of layer 1's weight to `value`."""

    def change(folder, header, data):
        entry = header[GATE.format(1)]
        form = {"F32": "<f", "F16": "<e"}.get(entry["dtype"])
        raw = struct.pack(form, value) if form else struct.pack("<f", value)[2:]
        end = entry["data_offsets"][1]
        return safetensors(header, data[:end - len(raw)] + raw + data[end:])

    return change


gates("NaN", GATE.format(1) + ": expected finite numbers, found NaN at [", "another copy")(broken(float("nan")))
gates("infinity", GATE.format(1) + ": expected finite numbers, found infinity at [")(broken(float("-inf")))


@gates("a tensor is missing", GATE.format(2), "no such tensor", "trained for this model")
def _(folder, header, data):
    return safetensors({key.replace("layers.2.", "layers.9."): value for key, value in header.items()}, data)


@gates("cut short", "attn_gate_weights.safetensors", "bytes of tensor data, found", "download")
def _(folder, header, data):
    return safetensors(header, data[:-2])


@gates("no weights", "attn_gate_weights.safetensors or attn_gate_weights.pth", "found neither")
def _(folder, header, data):
    folder.without("attn_gate_weights.safetensors", "attn_gate_weights.pth")


@gates("no config.json", "/config.json: ", "no such file")
def _(folder, header, data):
    folder.without("config.json")


def config(name, *words, text=None, **keys):
    def change(folder, header, data):
        if text is None:
            folder.change("config.json", **keys)
        else:
            folder.write("config.json", text)

    gates(name, "/config.json: ", *words)(change)


config("config.json cut short", "JSON", text='{"seerattn_gate_type": ')
config("of another model", "belong to another model", "expected num_hidden_layers", "found 8", num_hidden_layers=8)
config("no type", "seerattn_gate_type is missing", seerattn_gate_type=None)
config("an unknown type", "Q<pools>_K<pools>", "found", "Qavg_Ksum", seerattn_gate_type="Qavg_Ksum")
config("a block of 1", "seerattn_gate_block_size", "from 16 to 128", "found 1", seerattn_gate_block_size=1)
config("a gate that is too small", "seerattn_gate_hidden_size", "at least", seerattn_gate_hidden_size=1)
config("a threshold of 1", "seerattn_threshold", "below 1", seerattn_threshold=1.0)
config("an unknown method", "seerattn_sparsity_method", "threshold, nz_ratio", seerattn_sparsity_method="best")


@row("gates", "no folder")
def _():
    return Run(["generate", "-m", files.MODEL, "-g", "/no/such/gates", "-p", "x"], 3, "/no/such/gates",
               "expected a folder")


@row("gates", "a file for the folder")
def _():
    return Run(["generate", "-m", files.MODEL, "-g", files.GATES / "config.json", "-p", "x"], 3, "expected a folder")
