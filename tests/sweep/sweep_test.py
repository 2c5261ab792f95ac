#!/usr/bin/env python3
"""Checks that Seer reads checkpoints as Hugging Face transformers 5 does.

    tests/sweep/sweep_test.py SEER [--long] [--draws N] [--only WORDS] [--keep DIR] [--verbose]

Writes small random checkpoints with many forms of config.json and of tensors' names (cases.py), lets both compute the logits of a
random prompt, and compares them at every position. Prints the cases that differ, and exits with 1 if there is one that cases.py
does not list as refused on purpose. Without --long some twenty cases run, which is what ctest does.

transformers, torch and safetensors come from the Python named by SEER_PYTHON_HF, else from this one; if they are missing the exit
code is 77, which ctest reports as skipped. With transformers 4 the sweep shows where the two versions differ."""
import argparse
import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
# The largest difference of logits, as a share of their standard deviation. Both compute in float32, and differed by 5.3e-5 at most.
TOLERANCE = 5e-4
# Changing the kind of rope to the default must change the logits by more than this, else the case would not test the kind.
VISIBLE = 20 * TOLERANCE
REFUSAL_CODES = (2, 3)  # bad usage; a file that is missing, malformed or unsupported


def use_python_with_transformers():
    """Restarts the script under SEER_PYTHON_HF. Ends it if transformers, torch or safetensors are missing."""
    wanted = os.environ.get("SEER_PYTHON_HF")
    if wanted and os.environ.get("SEER_SWEEP_STARTED") != wanted:
        os.environ["SEER_SWEEP_STARTED"] = wanted
        os.execv(wanted, [wanted, "-B", *sys.argv])
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        import safetensors.torch  # noqa: F401
        import torch
        import transformers
    except ImportError as error:
        if wanted:
            sys.exit(f"sweep: SEER_PYTHON_HF is {wanted}, which cannot import what is needed: {error}")
        print(f"SKIPPED: {error} (SEER_PYTHON_HF can name a Python that has transformers, torch and safetensors)")
        sys.exit(SKIPPED)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    return transformers.__version__, torch.__version__


class Outcome:
    """The result of one case. `kind` is "equal", "refused on purpose", or the kind of failure in capitals."""

    def __init__(self, case, kind, text="", worst=0.0, relative=0.0):
        self.case, self.kind, self.text, self.worst, self.relative = case, kind, text, worst, relative

    @property
    def good(self):
        return self.kind in ("equal", "refused on purpose")


def write_checkpoint(case, folder):
    import shapes
    tensors = shapes.Weights(case.shape, case.files.seed).all()
    if case.edit:
        case.edit(tensors)
    shapes.write_tensors(folder, tensors, case.files)
    shapes.write_config(folder, case.config)
    if case.beside:
        case.beside(folder)


def prompt_of(case):
    import torch
    random = torch.Generator().manual_seed(case.files.seed + 7)
    return torch.randint(0, min(case.shape.n_vocab, 30000), (1, case.n_tokens), generator=random)


def logits_by_transformers(case, folder, ids):
    """Returns the logits, and those with the default kind of rope (None if the case has no other kind)."""
    import shapes
    import torch
    from transformers import AutoModelForCausalLM
    if case.reference is not None:
        shapes.write_config(folder, case.reference)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    finally:
        shapes.write_config(folder, case.config)
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0]
        if not case.moves:
            return logits, None
        rope, d_head = model.model.rotary_emb, case.shape.d_head
        rope.rope_type, rope.attention_scaling = "default", 1.0
        rope.inv_freq = case.shape.theta ** (-torch.arange(0, d_head, 2).double() / d_head).float()
        return logits, model(ids, use_cache=False).logits[0]


def logits_by_seer(seer, case, folder, ids):
    """Returns (logits, None), or (None, (exit code, message)) if Seer refuses the checkpoint."""
    from safetensors.torch import load_file
    out = folder / "dump.safetensors"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SEER_")}
    command = [seer, "inspect", "-m", str(folder), "--device", "cpu", "-t", "2", "-c", str(case.n_tokens), "--tokens-file", "-",
               "--logits-last", "0", "--dump", str(out)]
    run = subprocess.run(command, input=" ".join(map(str, ids[0].tolist())), capture_output=True, text=True, env=environment, timeout=300)
    if run.returncode != 0:
        return None, (run.returncode, run.stderr.replace(f"{folder}/", "").replace(str(folder), "FOLDER").strip())
    return load_file(out)["logits"], None


def check_refusal(case, refusal):
    if refusal is None:
        return Outcome(case, "READ, TO BE REFUSED", case.why)
    code, text = refusal
    if code not in REFUSAL_CODES:
        return Outcome(case, "WRONG EXIT", f"exit code {code}: {text}")
    if case.refused not in text:
        return Outcome(case, "UNNAMED", f"expected '{case.refused}' in: {text}")
    return Outcome(case, "refused on purpose", text)


def compare(case, expected, without_rope, found):
    if found.shape != expected.shape:
        return Outcome(case, "DIFFERENT", f"expected logits {tuple(expected.shape)}, found {tuple(found.shape)}")
    scale = float(expected.double().std())
    worst = float((found.double() - expected.double()).abs().max())
    relative = worst / scale
    if not relative <= TOLERANCE:
        return Outcome(case, "DIFFERENT", f"logits off by {worst:.3g}, {relative:.3g} of their deviation", worst, relative)
    if without_rope is not None and float((without_rope - expected).abs().max()) <= VISIBLE * scale:
        return Outcome(case, "BLIND", "the logits do not show this kind of rope")
    return Outcome(case, "equal", "", worst, relative)


def run_case(seer, case, folder):
    ids = prompt_of(case)
    write_checkpoint(case, folder)
    found, refusal = logits_by_seer(seer, case, folder, ids)
    if case.refused is not None:
        return check_refusal(case, refusal)
    try:
        expected, without_rope = logits_by_transformers(case, folder, ids)
    except Exception as error:  # any exception of transformers is its refusal
        text = f"transformers: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return Outcome(case, "REFUSED BY TRANSFORMERS" if refusal is None else "REFUSED BY BOTH", text)
    if refusal is not None:
        return Outcome(case, "REFUSED BY SEER", f"exit code {refusal[0]}: {refusal[1]}")
    return compare(case, expected, without_rope, found)


def report(outcomes, seconds, verbose):
    print(f"{len(outcomes)} checkpoints in {seconds:.0f} s")
    for kind, n in collections.Counter(o.kind for o in outcomes).most_common():
        print(f"{n:5d} {kind}")
    equal = [o for o in outcomes if o.kind == "equal"]
    if equal:
        by_size, by_deviation = max(equal, key=lambda o: o.worst), max(equal, key=lambda o: o.relative)
        print(f"worst logit error: {by_size.worst:.3g} ({by_size.case.name}); "
              f"{by_deviation.relative:.3g} of the logits' deviation ({by_deviation.case.name})")
    troubles = collections.defaultdict(list)  # cases with the same message are printed together
    for o in outcomes:
        if not o.good:
            troubles[o.kind, re.sub(r"\d+", "#", o.text) if o.kind != "DIFFERENT" else o.case.name].append(o)
    for (kind, _), like in sorted(troubles.items()):
        print(f"\n{kind}: {'; '.join(o.case.name for o in like)}\n    {like[0].text[:700].replace(chr(10), chr(10) + '    ')}")
    if verbose:
        for o in outcomes:
            if o.kind == "refused on purpose":
                print(f"\n{o.kind}: {o.case.name}, for {o.case.why}\n    {o.text[:300]}")
            elif o.good:
                print(f"{o.relative:9.2g} {o.case.name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seer", nargs="?", default=os.environ.get("SEER_BINARY"))
    parser.add_argument("--long", action="store_true", help="every case")
    parser.add_argument("--draws", type=int, default=128, help="random ones, with --long")
    parser.add_argument("--only", help="cases whose name contains this, long or not")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the checkpoints in this folder")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if not args.seer:
        parser.error("SEER, the program, is missing")
    print("transformers {}, torch {}".format(*use_python_with_transformers()))
    import cases
    chosen = [c for c in cases.all_cases(args.draws) if (args.only in c.name if args.only else args.long or c.brief)]
    if not chosen:
        parser.error("no case has that name")
    begin, outcomes = time.monotonic(), []
    for i, case in enumerate(chosen):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            if args.keep:
                folder = args.keep / f"{i:03d}"
                folder.mkdir(parents=True, exist_ok=True)
            outcomes.append(run_case(args.seer, case, folder))
    report(outcomes, time.monotonic() - begin, args.verbose)
    sys.exit(not all(o.good for o in outcomes))


if __name__ == "__main__":
    main()
