"""Shows the results of tools/gpu/bench_decode.py: as lines while it runs, as a table and as a JSON file."""
import dataclasses
import json
import pathlib
import re

from attention.report import format_table

LINE = re.compile(r"^(.+?) B=(\d+) L=(\d+) +([0-9.]+) ms")
# The names that bench_gpu_ops decode_gate gives this project's kernels, and those that the table gives them.
OURS = {"paged_decode": "this project, dense", "paged_decode of a tenth": "this project, a tenth kept",
        "decode_gate_select": "the gate and the choice",
        "decode_gate_select, paged_decode of a tenth": "gate, choice and a tenth"}
LEGEND = """Microseconds of one layer's attention in a step that decodes, bf16, 32 query and 8 KV heads of 128, pages of 64 tokens
in random order. Each is the median of five replays of a CUDA graph. Its calls take turns on the pages of 16 layers (of 4 if a
layer has more than 262144 tokens), so that none finds its keys and values in L2. The rivals' plans are made before, once for
all layers. "fa3 rows" reads contiguous rows instead of pages, "fa3 splits=N" divides a sequence into N parts instead of a number
of its own choice, and "fa3 unplanned" plans in each call. Rivals' outputs are compared with float32 ("WRONG": beyond bf16's
rounding). "x" is a rival's time over ours."""


@dataclasses.dataclass(frozen=True)
class Shape:
    n_sequences: int
    n_tokens: int

    def __str__(self):
        return f"{self.n_sequences} x {self.n_tokens}"


def parse_ours(text):
    """Returns the lines of `bench_gpu_ops decode_gate` as rows."""
    rows = []
    for line in text.splitlines():
        found = LINE.match(line)
        if found and found[1] in OURS:
            rows.append({"n_sequences": int(found[2]), "n_tokens": int(found[3]), "kernel": found[1], "ours": True,
                         "status": "ok", "ms": float(found[4])})
    return rows


class Report:
    """All results. Rows are dicts of n_sequences, n_tokens, kernel, ours and status ("ok", "failed", "not run"). If the status is
    "ok", they also have ms, and rivals' rows max_error and error_over_bound; otherwise they have reason. `kernels` has what
    could not be set up at all."""

    def __init__(self, device, versions):
        self.data = {"device": device, "versions": versions, "legend": LEGEND, "rows": [], "kernels": []}

    def add(self, shape, kernel, n_bytes=0, **fields):
        row = {**dataclasses.asdict(shape), "kernel": kernel, "ours": False, **fields}
        self.data["rows"].append(row)
        if row["status"] == "ok":
            wrong = "  WRONG" if row["error_over_bound"] > 1 else ""
            text = (f"{row['ms'] * 1e3:10.1f} us  {n_bytes / row['ms'] * 1e-9:5.2f} TB/s  max error {row['max_error']:.1e} "
                    f"({row['error_over_bound']:.2f} of its bound){wrong}")
        else:
            text = f"{row['status']}: {row['reason']}"
        print(f"{str(shape):12s} {kernel:22s} {text}", flush=True)

    def write(self, path):
        temporary = pathlib.Path(f"{path}.new")
        temporary.write_text(json.dumps(self.data, indent=1), encoding="utf-8")
        temporary.replace(path)


def cell(row):
    if row is None:
        return "-"
    if row["status"] != "ok":
        return row["status"]
    return f"{row['ms'] * 1e3:.1f}{' WRONG' if row.get('error_over_bound', 0) > 1 else ''}"


def good(row):
    return row is not None and row["status"] == "ok" and row.get("error_over_bound", 0) <= 1


def ratio(rival, ours):
    return f"{rival['ms'] / ours['ms']:.2f}x" if good(rival) and good(ours) else "-"


def table_rows(data):
    """Returns the table's head, with a column for each shape, and a line for each kernel. The last lines are our speeds as
    multiples of the fastest rival's whose output is right, and of FlashAttention-3's."""
    rows, found = data["rows"], {}
    for row in rows:
        found.setdefault(row["kernel"], {})[Shape(row["n_sequences"], row["n_tokens"])] = row
    rivals = [name for name in found if name not in OURS]
    shapes = list(dict.fromkeys(shape for name in rivals or found for shape in found[name]))
    fastest = {}
    for shape in shapes:
        right = [found[name][shape] for name in rivals if good(found[name].get(shape))]
        if right:
            fastest[shape] = min(right, key=lambda row: row["ms"])

    titles = {name: name for name in rivals} | {name: title for name, title in OURS.items() if name in found}
    lines = [[title, *(cell(found[name].get(shape)) for shape in shapes)] for name, title in titles.items()]
    lines.append(["the fastest rival", *(fastest[s]["kernel"] if s in fastest else "-" for s in shapes)])
    for base, of_shape in (("fastest", fastest), ("fa3", found.get("fa3", {}))):
        lines += [[f"{base} / {title}", *(ratio(of_shape.get(s), found.get(name, {}).get(s)) for s in shapes)]
                  for name, title in OURS.items() if name != "decode_gate_select"]
    return ["microseconds", *map(str, shapes)], lines


def summary(data):
    parts = [format_table(*table_rows(data))] if data["rows"] else []
    parts += [f"{k['kernel']}: {k['status']}: {k['reason']}" for k in data["kernels"]]
    return "\n".join([f"{data['device']}, {data['versions']}", *parts, "", data["legend"]])
