"""Shows the results of tools/gpu/bench_attention.py: as lines while it runs, as a table, as a JSON file and as a plot."""
import dataclasses
import json
import math
import pathlib

TITLES = {"ours": "this project", "ours_dense": "this project, dense", "fa2": "FlashAttention-2, dense",
          "cudnn": "cuDNN, dense", "vsa": "FastVideo VSA", "triton": "SeerAttention Triton", "flex": "FlexAttention"}
LEGEND = """TFLOP/s count the 64 x 64 blocks that a kernel executes, 4 * 64 * 64 * 128 FLOP each. A dense kernel executes every
causal block. "x" is the kernel's time over ours. Ours reads K and V from pages in random order, all others from contiguous
tensors. fa2 and cudnn (PyTorch's scaled_dot_product_attention) are dense, whatever the mask. vsa masks nothing inside the
diagonal block, which the others do. triton by block_sparse_attn.py reads K and V repeated for each query head. Times are
those of events around back-to-back calls, medians of rounds. Outputs are compared with float64 on sampled
query blocks ("WRONG": beyond bf16's rounding). Regimes: "gates" are masks made like those of trained gates, "independent" are
random masks of each head, and "one" is a random mask for all heads. At sparsity 0 they are the same."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A mask to measure: regime, prompt length, and percent of the causal blocks left out."""
    regime: str
    n_tokens: int
    sparsity: float

    def __str__(self):
        return f"{self.regime} L={self.n_tokens} {self.sparsity:g}%"


class Report:
    """All results. Rows are dicts of regime, n_tokens, sparsity, kernel and status ("ok", "failed", "not run"). If the status is
    "ok", they also have ms, tflops, percent_of_gemm, n_blocks, max_error and error_over_bound, otherwise reason. `kernels` has
    what could not be set up at all."""

    def __init__(self, device, versions):
        self.data = {"device": device, "versions": versions, "gemm_tflops": None, "legend": LEGEND, "masks": [], "rows": [],
                     "kernels": [], "gate": []}

    def add(self, case, kernel, **fields):
        row = {**dataclasses.asdict(case), "kernel": kernel, **fields}
        if "ms" in row and self.data["gemm_tflops"]:
            row["percent_of_gemm"] = 100 * row["tflops"] / self.data["gemm_tflops"]
        self.data["rows"].append(row)
        if row["status"] == "ok":
            wrong = "  WRONG" if row["error_over_bound"] > 1 else ""
            text = (f"{row['ms']:10.3f} ms {row['tflops']:6.0f} TFLOP/s ({row.get('percent_of_gemm', math.nan):3.0f}% of GEMM)"
                    f"  max error {row['max_error']:.1e} ({row['error_over_bound']:.2f} of its bound){wrong}")
        else:
            text = f"{row['status']}: {row['reason']}"
        print(f"{str(case):32s} {kernel:10s} {text}", flush=True)

    def failures(self):
        """Returns the rows of this project's kernels that failed or were wrong. Other kernels' failures are only reported."""
        return [row for row in self.data["rows"] if row["kernel"].startswith("ours") and
                (row["status"] == "failed" or row.get("error_over_bound", 0) > 1)]

    def write(self, path):
        temporary = pathlib.Path(f"{path}.new")
        temporary.write_text(json.dumps(self.data, indent=1), encoding="utf-8")
        temporary.replace(path)


def cases_of(rows):
    order = {"one": 0, "independent": 1, "gates": 2}
    found = {(r["regime"], r["n_tokens"], r["sparsity"]) for r in rows}
    return [Case(*key) for key in sorted(found, key=lambda key: (order.get(key[0], 3), key[1], key[2]))]


def by_case(rows):
    """Returns two dicts of rows: by (regime, n_tokens, sparsity, kernel), and those of dense kernels by (n_tokens, kernel). A
    dense kernel is measured once for all masks of a length."""
    table = {(r["regime"], r["n_tokens"], r["sparsity"], r["kernel"]): r for r in rows}
    dense = {(r["n_tokens"], r["kernel"]): r for r in rows if r["regime"] == "dense"}
    return table, dense


def cell(row, ours):
    if row is None:
        return "-"
    if row["status"] != "ok":
        return row["status"]
    ratio = f" {row['ms'] / ours['ms']:.2f}x" if ours is not None and ours["status"] == "ok" else ""
    return f"{row['tflops']:.0f}{ratio}{' WRONG' if row['error_over_bound'] > 1 else ''}"


def table_rows(data):
    """Returns the table's head and a line for each mask: our kernel in ms, TFLOP/s and percent of the GEMM rate, and each other
    kernel in TFLOP/s with the ratio of the times."""
    rows = data["rows"]
    table, dense = by_case(rows)
    others = [name for name in TITLES if name != "ours" and any(r["kernel"] == name for r in rows)]
    head = ["regime", "L", "sparsity", "ours ms", "TFLOP/s", "% GEMM", *others]
    lines = []
    for case in cases_of(rows):
        if case.regime == "dense":
            continue
        key = dataclasses.astuple(case)
        ours = table.get((*key, "ours"))
        good = ours is not None and ours["status"] == "ok"
        own = ([f"{ours['ms']:.3f}", cell(ours, None), f"{ours.get('percent_of_gemm', math.nan):.0f}"] if good else
               [cell(ours, None), "", ""])
        beside = [cell(table.get((*key, name)) or dense.get((case.n_tokens, name)), ours) for name in others]
        lines.append([case.regime, str(case.n_tokens), f"{case.sparsity:g}%", *own, *beside])
    return head, lines


def format_table(head, lines):
    rows = [head, *lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
                     for row in rows)


def format_gate(gate):
    return (f"gate of one layer, L={gate['n_tokens']} in chunks of {gate['chunk']}, {gate['sparsity']:g}% sparsity: pooling "
            f"{gate['pool']:.3f} + projection {gate['project']:.3f} + scores and selection {gate['select']:.3f} (by threshold "
            f"{gate['select_threshold']:.3f}) = {gate['total']:.3f} ms, {gate['percent_of_attention']:.1f}% of its attention's "
            f"{gate['attention']:.3f} ms")


def summary(data):
    parts = []
    if data["rows"]:
        parts.append(format_table(*table_rows(data)))
    parts += [format_gate(gate) for gate in data["gate"]]
    parts += [f"{k['kernel']}: {k['status']}: {k['reason']}" for k in data["kernels"]]
    rate = f", GEMM (8192 cubed) {data['gemm_tflops']:.0f} TFLOP/s" if data["gemm_tflops"] else ""
    return "\n".join([f"{data['device']}, {data['versions']}{rate}", *parts, "", data["legend"]])


# ---- plot ----


def series(data, regime, n_tokens, baseline="fa2"):
    """Returns for each kernel a list of (sparsity, how many times it is faster than the dense baseline), ascending."""
    table, dense = by_case(data["rows"])
    base = dense.get((n_tokens, baseline))
    if base is None or base["status"] != "ok":
        return {}
    found = {}
    for row in data["rows"]:
        same = row["regime"] == regime or row["sparsity"] == 0
        if row["n_tokens"] == n_tokens and row["regime"] != "dense" and same and row["status"] == "ok":
            found.setdefault(row["kernel"], []).append((row["sparsity"], base["ms"] / row["ms"]))
    cudnn = dense.get((n_tokens, "cudnn"))
    if cudnn is not None and cudnn["status"] == "ok" and found:
        ends = [x for points in found.values() for x, _ in points]
        found["cudnn"] = [(min(ends), base["ms"] / cudnn["ms"]), (max(ends), base["ms"] / cudnn["ms"])]
    return {name: sorted(points) for name, points in found.items()}


def plot(data, path, regime=None):
    """Draws the speed-up over dense FlashAttention-2 by sparsity, with a panel for each length. Raises ImportError without
    matplotlib, and ValueError if there is nothing to draw."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    regimes = [case.regime for case in cases_of(data["rows"]) if case.regime not in ("dense", "all")]
    regime = regime or ("gates" if "gates" in regimes else (regimes or ["all"])[0])
    lengths = sorted({r["n_tokens"] for r in data["rows"]})
    panels = [(n, s) for n, s in ((n, series(data, regime, n)) for n in lengths) if s]
    if not panels:
        raise ValueError("expected times of fa2, the baseline, and of sparse kernels, found none")
    colours = dict(zip(TITLES, ("#d62728", "#d62728", "#7f7f7f", "#7f7f7f", "#1f77b4", "#2ca02c", "#ff7f0e")))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(max(5.5, 4.2 * len(panels)), 4.4), sharey=True, squeeze=False)
    for axis, (n_tokens, lines) in zip(axes[0], panels):
        for name in TITLES:
            if name in lines:
                xs, ys = zip(*lines[name])
                marker = {"linestyle": "--"} if name == "cudnn" else {"marker": "o", "markersize": 4}
                axis.plot(xs, ys, label=TITLES[name], color=colours[name], linewidth=2.5 if name == "ours" else 1.5, **marker)
        axis.axhline(1, color="#7f7f7f", linewidth=1, linestyle=":")
        axis.set_title(f"{n_tokens} tokens", fontsize=11)
        axis.set_xlabel("sparsity, %")
        axis.set_yscale("log", base=2)
        axis.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:g}x"))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("times faster than FlashAttention-2, dense")
    handles = {label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=min(2 * len(panels), len(handles)), frameon=False, fontsize=9)
    figure.suptitle(f"Block-sparse causal prefill, 32 query and 8 KV heads of 128\n{data['device']}, masks: {regime}", fontsize=11)
    figure.tight_layout(rect=(0, 0.12 if len(panels) < 3 else 0.07, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
