"""Makes files byte by byte: safetensors, zip and pickle, valid or damaged. Folders are copies of the demo model or its gates."""
import json
import pathlib
import struct
import tempfile
import zlib

DEMO = pathlib.Path(__file__).resolve().parents[3] / "examples/demo-model"
MODEL = DEMO / "model"
GATES = DEMO / "gates"
GATE = "model.layers.{}.self_attn.attn_gate.mask_linear_k.weight"


class Folder:
    """A folder of links to another folder's files, some of which are replaced. All are removed at the end of the run."""

    root = None

    def __init__(self, original=None):
        self.path = pathlib.Path(tempfile.mkdtemp(dir=Folder.root))
        self.input_bytes = 0
        if original:
            for path in original.iterdir():
                (self.path / path.name).symlink_to(path)

    def __str__(self):
        return str(self.path)

    def read(self, name):
        return (self.path / name).read_bytes()

    def json(self, name):
        return json.loads(self.read(name))

    def free(self, name):
        path = self.path / name
        if path.is_symlink() or path.exists():
            path.unlink()
        return path

    def without(self, *names):
        for name in names:
            self.free(name)
        return self

    def write(self, name, data):
        if isinstance(data, (dict, list)):
            data = json.dumps(data)
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        self.free(name).write_bytes(data)
        self.input_bytes += len(data)
        return self

    def change(self, name, **keys):
        """Sets keys of a JSON file. None removes a key."""
        value = {**self.json(name), **keys}
        return self.write(name, {key: v for key, v in value.items() if v is not None})

    def link(self, name, target):
        self.free(name).symlink_to(target)
        return self


def model():
    return Folder(MODEL)


def gates():
    return Folder(GATES)



def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def split(file):
    """Returns the parsed header and the data of a safetensors file."""
    (size,) = struct.unpack_from("<Q", file)
    return json.loads(file[8:8 + size]), file[8 + size:]


def tensor(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def zip_file(members, method=0, flags=0, n_entries=None, wrong_crc=False, offset_of=None, size_of=None,
             directory_offset=None):
    """Makes a zip file of `members`, (name, bytes). offset_of and size_of, {name: number}, are what its directory claims instead."""
    out, directory = b"", b""
    for name, data in members:
        raw = name.encode()
        crc = zlib.crc32(data) ^ (1 if wrong_crc else 0)
        at = (offset_of or {}).get(name, len(out))
        size = (size_of or {}).get(name, len(data))
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, method, 0, 0, crc, len(data), len(data), len(raw),
                           0) + raw + data
        directory += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, flags, method, 0, 0, crc, size, size,
                                 len(raw), 0, 0, 0, 0, 0, at) + raw
    n = len(members) if n_entries is None else n_entries
    where = len(out) if directory_offset is None else directory_offset
    return out + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, n, n, len(directory), where, 0)


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED_DICT = b"ccollections\nOrderedDict\n"


def text(value):
    value = value.encode()
    return b"X" + struct.pack("<I", len(value)) + value


def integer(value):
    return b"J" + struct.pack("<i", value) if -(1 << 31) <= value < 1 << 31 else b"\x8A\x08" + struct.pack("<q", value)


def integers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def stored(n, kind="FloatStorage", key="0"):
    return (b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + integer(n) +
            b"tQ")


def rebuilt(sizes, strides, n, offset=0, kind="FloatStorage", key="0"):
    return (REBUILD + b"(" + stored(n, kind, key) + integer(offset) + integers(sizes) + integers(strides) + b"\x89" +
            ORDERED_DICT + b")RtR")


def state_dict(entries):
    """Pickles an ordered dictionary of `entries`, (name, pickled value)."""
    return b"\x80\x02" + ORDERED_DICT + b")R(" + b"".join(text(name) + value for name, value in entries) + b"u."


def members(pickle, *storages, byteorder=b"little"):
    named = [("archive/data.pkl", pickle), ("archive/byteorder", byteorder)]
    return named + [(f"archive/data/{key}", data) for key, data in storages] + [("archive/version", b"3\n")]


def pth(pickle, *storages, **options):
    return zip_file(members(pickle, *storages), **options)
