#!/usr/bin/env python3
"""Times this project's decode attention and other people's on one GPU, in one run, on the same shapes. Checks the others'
outputs. For this project's kernels it runs `bench_gpu_ops decode_gate`: dense, and with a gate that keeps a tenth of the pages.

    tools/gpu/bench_decode.py --bench build/gpu/bin/bench_gpu_ops [OPTION...]

The rivals are not part of this project; fetch those that you want:

    fa3         FlashAttention-3: --fa3 names vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so, out of a wheel of vLLM that was built
                for the PyTorch here (`pip download --no-deps vllm==0.23.0` for PyTorch 2.11)
    flashinfer  FlashInfer: it must be importable (`pip install flashinfer-python`), and compiles its kernels when it is first
                used, unless it finds them in its cache
    xqa         the XQA kernel of FlashInfer

Exits with 1 if this project's bench failed, and with 2 for a bad option. Failures of others' kernels are only reported."""
import argparse
import contextlib
import subprocess
import sys

import bench_frame
from decode import report as reports

FAMILIES = ("fa3", "flashinfer", "xqa")
# The shapes of bench_gpu_ops decode_gate, in the order of measurements. The most telling ones come first, because the time may
# run out.
SHAPES = [reports.Shape(*shape) for shape in
          ((16, 32768), (1, 32768), (1, 131072), (8, 65536), (1, 8192), (32, 8192))]


def shapes_of(text):
    try:
        shapes = [reports.Shape(*(int(part) for part in shape.split("x"))) for shape in text.split(",")]
    except (TypeError, ValueError):
        shapes = []
    if not shapes or any(shape not in SHAPES for shape in shapes):
        known = ",".join(f"{shape.n_sequences}x{shape.n_tokens}" for shape in SHAPES)
        raise argparse.ArgumentTypeError(f"expected shapes among {known}, found '{text}'")
    return list(dict.fromkeys(shapes))


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", metavar="FILE", help="bench_gpu_ops of a build with SEER_CUDA=ON and SEER_BUILD_TESTS=ON")
    parser.add_argument("--shapes", type=shapes_of, default=SHAPES, help="of the rivals, SEQUENCESxTOKENS,... (default: all of "
                        "bench_gpu_ops)")
    parser.add_argument("--rivals", type=bench_frame.names(FAMILIES), default=list(FAMILIES), help=f"default: {','.join(FAMILIES)}")
    parser.add_argument("--fa3", metavar="FILE", help="FlashAttention-3's library (default: not run)")
    parser.add_argument("--output", metavar="FILE.json", help="results, written anew after each shape of a family")
    parser.add_argument("--from-json", metavar="FILE.json", help="measure nothing: print an earlier --output")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no rival after so many seconds; what is "
                        "left is reported as not run (default: no limit)")
    args = parser.parse_args(arguments)
    if args.bench is None and args.from_json is None:
        parser.error("expected --bench FILE (build the target bench_gpu_ops) or --from-json FILE")
    bench_frame.check_paths(parser, args, files=("bench", "fa3", "from_json"))
    return args


class Bench(bench_frame.Bench):
    def __init__(self, args):
        super().__init__(args, reports.Report)
        from decode import data, rivals
        self.data = data
        self.families = rivals.prepare(args.rivals, args.fa3, self.not_ready)

    def ours(self):
        """Measures this project's kernels. Returns False if the bench failed."""
        done = subprocess.run([self.args.bench, "decode_gate"], stdout=subprocess.PIPE, text=True, check=False)
        print(done.stdout, flush=True)
        rows = reports.parse_ours(done.stdout)
        self.report.data["rows"] += rows
        if done.returncode or not rows:
            self.not_ready("this project", "failed", f"{self.args.bench} ended with {done.returncode} and {len(rows)} figures")
            return False
        return True

    def measure(self, inputs, rival):
        """Measures one rival. If it fails, the others are measured all the same."""
        if self.time_is_up():
            self.report.add(inputs.shape, rival.name, status="not run", reason="time was up")
            return
        try:
            call = rival.make(inputs)
            ms = self.data.graph_ms(call, inputs.n_layers)
            inputs.out.fill_(float("nan"))  # the check comes after many calls, because these may have left a wrong state
            call(0)
            worst, worst_ratio = self.data.check(inputs, inputs.out, rival.layout)
            self.report.add(inputs.shape, rival.name, inputs.bytes(), status="ok", ms=ms, max_error=worst,
                            error_over_bound=worst_ratio)
        except Exception as error:
            self.report.add(inputs.shape, rival.name, status="failed",
                            reason=f"{type(error).__name__}: {str(error).strip()[:400]}")

    def family(self, rivals):
        for shape in self.args.shapes:
            try:
                inputs = self.data.Inputs(shape, self.device, self.data.n_layers_of(shape))
            except RuntimeError as error:  # there is no memory, or a kernel has faulted, after which every call fails
                self.not_ready(f"{rivals[0].name} and the rest, {shape}", "not run", str(error).strip()[:400])
                return
            for rival in rivals:
                self.measure(inputs, rival)
            del inputs
            with contextlib.suppress(RuntimeError):  # after a fault, this call fails too
                self.torch.cuda.empty_cache()
            self.save()

    def run(self):
        good = self.ours()  # before the rivals take the GPU's memory
        self.save()
        for rivals in self.families:
            self.family(rivals)
        self.save()
        return good


def main(arguments=None):
    return bench_frame.main("bench_decode", parse_arguments(arguments), Bench, lambda data: print(f"\n{reports.summary(data)}"))


if __name__ == "__main__":
    sys.exit(main())
