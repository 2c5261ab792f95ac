#!/usr/bin/env python3
"""Times this project's prefill attention and other people's on one GPU, in one run, on the same random data and masks. Also
times the gate that makes such masks. Checks every output of attention.

    tools/gpu/bench_attention.py --lib build/gpu/lib/libseer_attention_bench.so [OPTION...]

Besides PyTorch's own kernels (scaled_dot_product_attention by FlashAttention-2 and cuDNN, FlexAttention) it runs two whose
sources are not part of this project; fetch those that you want:

    --triton   https://github.com/microsoft/SeerAttention, seer_attn/kernels/block_sparse_attn.py
    --vsa      https://github.com/hao-ai-lab/FastVideo, the folder with fastvideo-kernel/csrc/attention/block_sparse_h100.cu
    --thunderkittens  https://github.com/HazyResearch/ThunderKittens at the commit of FastVideo's fastvideo-kernel/include/tk

tools/gpu/attention/masks.py says how the masks are made. Exits with 1 if a kernel of this project failed or its output is
wrong, and with 2 for a bad option. Failures of others' kernels are only reported."""
import argparse
import contextlib
import sys

import bench_frame
from attention import report as reports

REGIMES = ("gates", "independent", "one")
# The order of measurements. The most telling ones come first, because the time may run out.
SPARSITY_ORDER, LENGTH_ORDER = (90, 50, 95, 0, 80, 70), (32768, 131072, 8192)
RIVALS = ("fa2", "cudnn", "vsa", "triton", "flex")


def numbers(kind, low, high, what):
    def parse(text):
        try:
            values = [kind(part) for part in text.split(",")]
        except ValueError:
            values = []
        if not values or not all(low <= value <= high for value in values):
            raise argparse.ArgumentTypeError(f"expected {what}, found '{text}'")
        return list(dict.fromkeys(values))

    return parse


def lengths_of(text):
    values = numbers(int, 64, 1 << 20, "multiples of 64 from 64 to 1048576")(text)
    if any(value % 64 for value in values):
        raise argparse.ArgumentTypeError(f"expected multiples of 64, the block, found '{text}'")
    return values


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", help="libseer_attention_bench.so of a build with SEER_CUDA=ON and SEER_BUILD_TESTS=ON")
    parser.add_argument("--lengths", type=lengths_of, default=[8192, 32768, 131072], help="default: 8192,32768,131072")
    parser.add_argument("--sparsity", type=numbers(float, 0, 99.9, "percent from 0 to 99.9"),
                        default=[0.0, 50.0, 70.0, 80.0, 90.0, 95.0], help="percent; default: 0,50,70,80,90,95")
    parser.add_argument("--regimes", type=bench_frame.names(REGIMES), default=list(REGIMES), help=f"default: {','.join(REGIMES)}")
    parser.add_argument("--rivals", type=bench_frame.names(RIVALS), default=list(RIVALS), help=f"default: {','.join(RIVALS)}")
    parser.add_argument("--triton", metavar="FILE", help="SeerAttention's kernel (default: not run)")
    parser.add_argument("--vsa", metavar="DIR", help="FastVideo's kernel (default: not run)")
    parser.add_argument("--thunderkittens", metavar="DIR", help="headers that the VSA kernel includes")
    parser.add_argument("--build", metavar="DIR", default="build/attention-rivals", help="for the VSA kernel (default: "
                        "%(default)s)")
    parser.add_argument("--output", metavar="FILE.json", help="results, written anew after every mask")
    parser.add_argument("--plot", metavar="FILE.png", help="speed-up by sparsity; needs matplotlib")
    parser.add_argument("--from-json", metavar="FILE.json", help="measure nothing: print (and --plot) an earlier --output")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start nothing after so many seconds; what is "
                        "left is reported as not run; the most telling cases come first (default: no limit)")
    parser.add_argument("--quick", action="store_true", help="32768 tokens, 50 and 90 percent, gates and independent masks")
    parser.add_argument("--no-gate", action="store_true", help="leave out the gate's own time")
    args = parser.parse_args(arguments)
    if args.quick:
        args.lengths, args.sparsity, args.regimes = [32768], [0.0, 50.0, 90.0], ["gates", "independent"]
    if args.lib is None and args.from_json is None:
        parser.error("expected --lib FILE (build the target seer_attention_bench) or --from-json FILE")
    bench_frame.check_paths(parser, args, files=("lib", "triton", "from_json"), folders=("vsa", "thunderkittens"))
    return args


def rank(order, value):
    return order.index(value) if value in order else len(order)


def ordered_cases(lengths, sparsities, regimes):
    """Returns the cases, the most telling ones first. At sparsity 0 the masks of all regimes are the same, so there is one case,
    whose regime is "all"."""
    cases = [reports.Case(regime if sparsity else "all", n, sparsity) for sparsity in sparsities for n in lengths
             for regime in (regimes if sparsity else regimes[:1])]
    return sorted(cases, key=lambda c: (rank(SPARSITY_ORDER, c.sparsity), rank(LENGTH_ORDER, c.n_tokens),
                                        rank(REGIMES, c.regime)))


class Bench(bench_frame.Bench):
    def __init__(self, args):
        super().__init__(args, reports.Report)
        from attention import data, masks, ours, rivals
        self.data, self.masks = data, masks
        self.torch.cuda.init()
        try:
            self.bridge = ours.Bridge(args.lib)
        except (OSError, RuntimeError) as error:
            sys.exit(f"bench_attention: {args.lib}: {error}")
        self.rivals = rivals.prepare(args.rivals, args.triton, args.vsa, args.thunderkittens, args.build, self.not_ready)
        self.inputs, self.gates, self.measured_dense = {}, {}, set()

    def inputs_of(self, n_tokens):
        if n_tokens not in self.inputs:
            self.inputs[n_tokens] = self.data.Inputs(n_tokens, self.device)
        return self.inputs[n_tokens]

    def host_mask(self, case):
        n, heads, group = case.n_tokens // self.data.BLOCK, self.data.HEADS, self.data.GROUP
        density = 1 - case.sparsity / 100
        if case.regime == "gates":
            if n not in self.gates:
                self.gates[n] = self.masks.GateMasks(n, heads, group)
            mask = self.gates[n].mask(density)
        elif case.regime == "independent":
            mask = self.masks.random_mask(n, heads, density)
        else:
            mask = self.masks.one_mask(n, heads, density)
        about = self.masks.describe(mask, group)
        self.report.data["masks"].append({"regime": case.regime, "n_tokens": case.n_tokens, "sparsity": case.sparsity, **about})
        print(f"{str(case):32s} mask       {self.masks.format_description(about)}", flush=True)
        return mask

    def measure(self, case, kernel, prepare, n_blocks, host_mask, causal_diagonal=True):
        """Measures one kernel; prepare() returns elapsed and output as Bridge.attention() does. If the kernel fails, the others
        are measured all the same."""
        if self.time_is_up():
            self.report.add(case, kernel, status="not run", reason="time was up")
            return
        try:
            elapsed, output = prepare()
            ms = self.data.median_ms(elapsed)
            worst, ratio = self.data.check(self.inputs_of(case.n_tokens), output(), host_mask, causal_diagonal)
            self.report.add(case, kernel, status="ok", ms=ms, tflops=self.data.FLOP_PER_BLOCK * n_blocks / ms * 1e-9,
                            n_blocks=n_blocks, max_error=worst, error_over_bound=ratio)
        except Exception as error:
            self.report.add(case, kernel, status="failed", reason=f"{type(error).__name__}: {str(error).strip()[:400]}")
        with contextlib.suppress(Exception):  # after a fault every call fails, which the next kernel reports
            self.torch.cuda.empty_cache()

    def rival(self, rival, inputs, mask):
        def prepare():
            call = rival.make(inputs, mask)
            return lambda n: self.data.event_ms(call, n), call

        return prepare

    def dense(self, n_tokens):
        """Measures the dense kernels, once for each length."""
        if n_tokens in self.measured_dense:
            return
        self.measured_dense.add(n_tokens)
        inputs, case = self.inputs_of(n_tokens), reports.Case("dense", n_tokens, 0.0)
        n_blocks = self.masks.causal_blocks(inputs.n_blocks) * self.data.HEADS
        self.measure(case, "ours_dense", lambda: self.bridge.attention(inputs, None), n_blocks, None)
        for rival in self.rivals:
            if rival.dense:
                self.measure(case, rival.name, self.rival(rival, inputs, None), n_blocks, None)

    def sparse(self, case):
        kernels = ["ours", *(rival.name for rival in self.rivals if not rival.dense)]
        if self.time_is_up():
            for kernel in kernels:
                self.report.add(case, kernel, status="not run", reason="time was up")
            return
        inputs, host = self.inputs_of(case.n_tokens), self.host_mask(case)
        mask = self.data.DeviceMask(host, self.device)
        self.measure(case, "ours", lambda: self.bridge.attention(inputs, mask), mask.n_kept, host)
        for rival in self.rivals:
            if not rival.dense:
                self.measure(case, rival.name, self.rival(rival, inputs, mask), mask.n_kept, host, rival.causal_diagonal)

    def gate(self, n_tokens, chunk=8192, sparsity=90.0):
        """Measures pooling, projection, scores and selection of one layer over a whole prompt, as the engine runs them. The time
        of pooling is what it adds to the append; the engine's gate_ns has the whole append instead."""
        if self.time_is_up():
            return self.not_ready(f"gate L={n_tokens}", "not run", "time was up")
        try:
            t = self.bridge.gate(n_tokens, chunk, nz_ratio=1 - sparsity / 100)
            by_threshold = self.bridge.gate(n_tokens, chunk, nz_ratio=0.0, threshold=2e-3)
        except RuntimeError as error:
            return self.not_ready(f"gate L={n_tokens}", "failed", str(error))
        pool = t["append_pooled"] - t["append"]  # one kernel appends and pools
        total = pool + t["project"] + t["select"]
        gate = {**t, "n_tokens": n_tokens, "chunk": chunk, "sparsity": sparsity, "pool": pool, "total": total,
                "select_threshold": by_threshold["select"], "density_threshold": by_threshold["density"],
                "percent_of_attention": 100 * total / t["attention"]}
        self.report.data["gate"].append(gate)
        print(reports.format_gate(gate), flush=True)
        return None

    def run(self):
        self.report.data["gemm_tflops"] = self.data.gemm_tflops(self.device)
        print(f"{self.report.data['device']}, {self.report.data['versions']}, GEMM (8192 cubed) "
              f"{self.report.data['gemm_tflops']:.0f} TFLOP/s", flush=True)
        if not self.args.no_gate:
            for n_tokens in (n for n in self.args.lengths if n >= 32768):
                self.gate(n_tokens)
        for case in ordered_cases(self.args.lengths, self.args.sparsity, self.args.regimes):
            self.dense(case.n_tokens)
            self.sparse(case)
            self.save()
        self.save()
        gate_failed = any(k["kernel"].startswith("gate") and k["status"] == "failed" for k in self.report.data["kernels"])
        return not self.report.failures() and not gate_failed


def finish(data, plot_file):
    print(f"\n{reports.summary(data)}")
    if not plot_file:
        return
    try:
        reports.plot(data, plot_file)
    except ImportError:
        print("bench_attention: --plot needs matplotlib (python3 -m pip install matplotlib); draw it elsewhere from the JSON "
              "file with --from-json", file=sys.stderr)
    except ValueError as error:
        print(f"bench_attention: nothing was drawn: {error}", file=sys.stderr)


def main(arguments=None):
    args = parse_arguments(arguments)
    return bench_frame.main("bench_attention", args, Bench, lambda data: finish(data, args.plot))


if __name__ == "__main__":
    sys.exit(main())
