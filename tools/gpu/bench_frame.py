"""The parts that bench_attention.py and bench_decode.py share: checks of options, results that are written while they come, and
the main function."""
import argparse
import json
import pathlib
import sys
import time


def names(allowed):
    def parse(text):
        values = [part for part in text.split(",") if part]
        unknown = [value for value in values if value not in allowed]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected names among {','.join(allowed)}, found '{unknown[0]}'")
        return list(dict.fromkeys(values))

    return parse


def check_paths(parser, args, files, folders=()):
    """Refuses options that name a file or folder that is not there."""
    for kind, options, is_there in (("file", files, pathlib.Path.is_file), ("folder", folders, pathlib.Path.is_dir)):
        for name in options:
            path = getattr(args, name)
            if path is not None and not is_there(pathlib.Path(path)):
                parser.error(f"--{name.replace('_', '-')}: expected a {kind}, found none at {path}")


class Bench:
    """A run on one GPU. save() writes its report, whenever there is more in it."""

    def __init__(self, args, make_report):
        import torch
        self.torch, self.args = torch, args
        self.deadline = time.monotonic() + args.seconds
        self.device = torch.device("cuda:0")
        self.report = make_report(torch.cuda.get_device_name(), f"torch {torch.__version__}, CUDA {torch.version.cuda}")

    def time_is_up(self):
        return time.monotonic() > self.deadline

    def not_ready(self, kernel, status, reason):
        self.report.data["kernels"].append({"kernel": kernel, "status": status, "reason": reason})
        print(f"{kernel}: {status}: {reason}", flush=True)

    def save(self):
        if self.args.output:
            self.report.write(self.args.output)


def main(program, args, bench_class, finish):
    """Prints an earlier result (--from-json), or measures a new one. bench_class(args).run() returns whether this project's
    kernels ran and were right; finish(data) prints a report. Returns the exit code."""
    if args.from_json:
        try:
            finish(json.loads(pathlib.Path(args.from_json).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            sys.exit(f"{program}: {args.from_json}: expected a file that --output wrote ({error!r})")
        return 0
    try:
        import torch
    except ImportError as error:
        sys.exit(f"{program}: needs PyTorch and numpy: {error}")
    if not torch.cuda.is_available():
        sys.exit(f"{program}: torch finds no GPU")
    with torch.no_grad():
        bench = bench_class(args)
        good = bench.run()
    finish(bench.report.data)
    return 0 if good else 1
