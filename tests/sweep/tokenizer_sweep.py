#!/usr/bin/env python3
"""Checks that Seer reads a tokenizer.json as Hugging Face's tokenizers package does.

    tests/sweep/tokenizer_sweep.py DRIVER [--long] [--only WORDS] [--texts N] [--verbose]

Builds tokenizers (built_tokenizers.py), and compares what both make of random texts: the ids, with special tokens parsed or taken
as plain text, and the texts that these and random ids decode to. With --long there are more texts, and every code point in eight contexts.
DRIVER is the program tokenizer_driver. Prints every difference, and exits with 1 if there is one. A tokenizer that Seer
refuses to load counts as none.

The package comes from the Python named by SEER_PYTHON_HF, else from this one; if it is missing the exit code is 77, which
ctest reports as skipped."""
import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
CONTEXTS = ("a{}b", "1{}2", " {} ", "{0}{0}", "\n{}\n", ".{}!", "A{}'s", "tok{}<|{}|>{}tok")


def use_python_with_tokenizers():
    """Restarts the script under SEER_PYTHON_HF. Ends it if the package is missing."""
    wanted = os.environ.get("SEER_PYTHON_HF")
    if wanted and os.environ.get("SEER_SWEEP_STARTED") != wanted:
        os.environ["SEER_SWEEP_STARTED"] = wanted
        os.execv(wanted, [wanted, "-B", *sys.argv])
    try:
        import tokenizers
    except ImportError as error:
        if wanted:
            sys.exit(f"sweep: SEER_PYTHON_HF is {wanted}, which cannot import what is needed: {error}")
        print(f"SKIPPED: {error} (SEER_PYTHON_HF can name a Python that has tokenizers)")
        sys.exit(SKIPPED)
    return tokenizers.__version__


class Driver:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("sweep: the driver ended")
        return json.loads(line)


class Difference(Exception):
    pass


def compare(kind, inputs, ours, theirs, describe):
    if "error" in ours:
        raise Difference(f"{kind}: refused only when used: {ours['error']}")
    for given, found, expected in zip(inputs, next(iter(ours.values())), theirs):
        if found != expected:
            raise Difference(f"{kind} of {given!r}:\n  expected {describe(expected)}\n  found    {describe(found)}")


def compare_texts(driver, hf, texts, draw, brief):
    """Compares ids of texts and texts of ids. Raises Difference, or returns the number of texts."""
    names = lambda ids: " ".join(f"{i}:{hf.id_to_token(i)!r}" for i in ids[:60])  # noqa: E731
    for special in (True,) if brief else (True, False):
        hf.encode_special_tokens = not special
        encoded = [e.ids for e in hf.encode_batch(texts)]
        compare("ids with special tokens" if special else "ids", texts, driver.ask(encode=texts, special=special), encoded, names)
    if brief:
        return len(texts)
    n = hf.get_vocab_size()
    lists = encoded[:400] + [[draw.randrange(n) for _ in range(draw.randint(0, 12))] for _ in range(min(400, len(texts)))]
    for skip in (True, False):
        compare("text without special tokens" if skip else "text", lists, driver.ask(decode=lists, skip=skip),
                hf.decode_batch(lists, skip_special_tokens=skip), repr)
    return len(texts)


def code_point_texts(step):
    """Yields texts with every code point in every context, `step` code points in each text. Private ranges, and those that Unicode 16
    does not assign, are in the first context alone."""
    points = [p for p in range(1, 0x110000) if not 0xD800 <= p <= 0xDFFF]
    assigned = [p for p in points if p < 0xE000 or 0xF900 <= p < 0x32400 or 0xE0000 <= p < 0xE0200]
    for context in CONTEXTS:
        chosen = points if context == CONTEXTS[0] else assigned
        for first in range(0, len(chosen), step):
            yield "|".join(context.replace("{0}", "{}").replace("{}", chr(p)) for p in chosen[first:first + step])


def run(driver, name, file, all_texts, folder, brief):
    import tokenizers
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(file, out)
    loaded = driver.ask(load=folder)
    try:
        hf = tokenizers.Tokenizer.from_str(json.dumps(file))
    except Exception as error:  # any exception of the package is its refusal
        return ("refused by both" if "error" in loaded else "READ, THOUGH THE PACKAGE REFUSES"), f"{error} / {loaded.get('error')}", 0
    if "error" in loaded:
        return "refused", loaded["error"].replace(path, "tokenizer.json"), 0
    draw, n = random.Random(name), 0
    try:
        for first in range(0, len(all_texts), 2000):
            n += compare_texts(driver, hf, all_texts[first:first + 2000], draw, brief)
    except Difference as difference:
        return "DIFFERENT", str(difference), n
    except Exception as error:  # the package failed for a text
        return "READ, THOUGH THE PACKAGE GIVES UP", str(error), n
    return "equal", "", n


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("driver")
    parser.add_argument("--long", action="store_true", help="more texts, and every code point")
    parser.add_argument("--texts", type=int, help="number of texts for each tokenizer")
    parser.add_argument("--only", help="tokenizers whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="what was refused, and each tokenizer's outcome")
    args = parser.parse_args()
    print("tokenizers", use_python_with_tokenizers())
    import built_tokenizers
    begin, outcomes, n_texts = time.monotonic(), [], 0
    driver, cases = Driver(args.driver), built_tokenizers.Cases()
    n_each = args.texts or (500 if args.long else 40)
    texts = lambda name: built_tokenizers.texts(name, n_each)  # noqa: E731
    jobs = [(name, file, texts(name)) for name, file in cases.everything() if not args.only or args.only in name]
    n_random = len(jobs)
    if args.long:
        every = list(code_point_texts(512))
        jobs += [(name, file, every) for name, file in cases.code_points() if not args.only or args.only in name]
    for index, (name, file, inputs) in enumerate(jobs):
        with tempfile.TemporaryDirectory() as folder:
            kind, text, n = run(driver, name, file, inputs, folder, index >= n_random)
        outcomes.append((kind, name, text))
        if index < n_random:
            n_texts += n
        if args.verbose or kind.isupper() or kind.startswith("READ"):
            print(f"{kind}: {name}" + (f"\n    {text[:1500]}" if text else ""), flush=True)
    print(f"{n_random} tokenizers with {n_texts} texts" + (f", {len(jobs) - n_random} with every code point in {len(CONTEXTS)} contexts" if args.long else "") +
          f", in {time.monotonic() - begin:.0f} s")
    for kind, count in collections.Counter(kind for kind, _, _ in outcomes).most_common():
        print(f"{count:5d} {kind}")
    sys.exit(any(kind[1].isupper() for kind, _, _ in outcomes))


if __name__ == "__main__":
    main()
