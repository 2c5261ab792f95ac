#!/usr/bin/env python3
"""Checks that seer::jinja renders what Hugging Face transformers' jinja2 renders.

    tests/tokenizer/jinja_fuzz.py DRIVER [--renders N] [--seed S] [--templates DIR] [--verbose]

Templates are made at random over the grammar (jinja_grammar.py). If DIR has chat templates and their cases.json, every other render
is of one of those, with tokens deleted, repeated or exchanged. Texts must be equal, and where jinja2 fails Seer must fail. What Seer
refuses as "not supported" or not allowed is counted by its message, and is no difference. Exits with 1 if anything differs or takes
Seer more than 10 seconds.

transformers and jinja2 come from the Python named by SEER_PYTHON_HF, else from this one; if they are missing the exit code is 77,
which ctest reports as skipped."""
import argparse
import collections
import copy
import datetime
import json
import os
import pathlib
import random
import re
import select
import signal
import subprocess
import sys

SKIPPED = 77
TIMEOUT = 10
# jinja2 writes addresses of some objects, which differ from run to run; Seer refuses to write such objects.
ADDRESS = re.compile(r"(?:object|function|method .*|\S+) at 0x[0-9a-f]+")


def use_python_with_transformers():
    wanted = os.environ.get("SEER_PYTHON_HF")
    if wanted and os.environ.get("SEER_FUZZ_STARTED") != wanted:
        os.environ["SEER_FUZZ_STARTED"] = wanted
        os.execv(wanted, [wanted, "-B", *sys.argv])
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
    try:
        from transformers.utils import chat_template_utils
    except ImportError as error:
        if wanted:
            sys.exit(f"jinja_fuzz: SEER_PYTHON_HF is {wanted}, which cannot import what is needed: {error}")
        print(f"SKIPPED: {error} (SEER_PYTHON_HF can name a Python that has transformers and jinja2)")
        sys.exit(SKIPPED)
    return chat_template_utils


class TooSlow(Exception):
    pass


def alarm(*_):
    raise TooSlow


class Reference:
    def __init__(self, module):
        self.compile = module._cached_compile_jinja_template
        now = datetime.datetime(2026, 11, 28, 9, 5, 3)
        self.strftime_now = lambda format: now.strftime(format)

    def render(self, template, variables):
        """Returns ("text", text), ("raised", message) for raise_exception, ("error", message) or ("slow", "")."""
        signal.signal(signal.SIGALRM, alarm)
        signal.alarm(TIMEOUT)
        try:
            compiled = self.compile(template)
            compiled.globals["strftime_now"] = self.strftime_now
            return "text", compiled.render(**copy.deepcopy(variables))
        except TooSlow:
            return "slow", ""
        except MemoryError:
            return "slow", ""
        except Exception as error:  # a template can raise anything
            kind = "raised" if type(error).__name__ == "TemplateError" else "error"
            return kind, f"{type(error).__name__}: {error}" if kind == "error" else str(error)
        finally:
            signal.alarm(0)


class Seer:
    def __init__(self, path):
        self.path = path
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "TZ": "UTC"})

    def render(self, template, variables):
        request = json.dumps({"template": template, "messages": variables})
        try:
            self.process.stdin.write(request.encode() + b"\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
            line = self.process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = b""
        if not line:
            self.process.kill()
            self.process.wait()
            self.start()
            return ("crash" if line == b"" else "hang"), ""
        answer = json.loads(line)
        if "text" in answer:
            return "text", answer["text"]
        return ("raised" if answer["kind"] == "raised" else "error"), answer["error"]


def refusal(message):
    return re.sub(r"^t(:\d+)?: ", "", re.sub(r"'[^']*'|\d+", "_", message)) if "not supported" in message or "allowed" in message else None


def judge(reference, ours):
    """Returns None if both agree, "refused: ..." or "skipped" for differences that do not count, else what is wrong."""
    if ours[0] in ("crash", "hang"):
        return ours[0]
    if reference[0] == "slow":
        return "skipped"
    if reference[0] == "text":
        if ours == reference:
            return None
        if ours[0] == "error" and refusal(ours[1]):
            return "refused: " + refusal(ours[1])
        return "text differs" if ours[0] == "text" else "seer fails"
    if ours[0] == "text":
        return "seer does not fail"
    if reference[0] == "raised" and ours != reference and not refusal(ours[1]):
        return "raise_exception's message differs"
    return None


class Made:
    """Makes random templates over the grammar."""

    def __init__(self, rng):
        from jinja_grammar import Grammar
        self.grammar = Grammar(rng)

    def next(self):
        return self.grammar.template(), self.grammar.variables()


class Mutated:
    """Puts small mistakes into real templates."""

    def __init__(self, rng, folder, module):
        self.rng = rng
        self.cases = json.loads((folder / "cases.json").read_text())
        environment = module._cached_compile_jinja_template("").environment
        self.tokens = {}
        for path in sorted(folder.glob("*.jinja")):
            self.tokens[path.stem] = [value for _, _, value in environment.lexer.tokeniter(path.read_text(), None)]

    def next(self):
        case = self.rng.choice(self.cases)
        tokens = list(self.tokens[case["template"]])
        for _ in range(self.rng.choice([1, 1, 1, 2, 3])):
            i = self.rng.randrange(len(tokens))
            j = self.rng.randrange(len(tokens))
            change = self.rng.randrange(4)
            if change == 0:
                del tokens[i]
            elif change == 1:
                tokens.insert(i, tokens[i])
            elif change == 2:
                tokens[i], tokens[j] = tokens[j], tokens[i]
            else:
                tokens[i] = tokens[j]
        variables = {"messages": case["messages"], "tools": case.get("tools"), "documents": None, "add_generation_prompt": False,
                     **case["kwargs"], "eos_token": case["eos_token"]}
        if case.get("bos_token") is not None:
            variables["bos_token"] = case["bos_token"]
        return "".join(tokens), variables


def main():
    module = use_python_with_transformers()
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--renders", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--templates", type=pathlib.Path)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--show", type=int, default=10, help="how many differences to print")
    options = parser.parse_args()
    if options.templates is None and os.environ.get("SEER_TEST_DATA"):
        options.templates = pathlib.Path(os.environ["SEER_TEST_DATA"]) / "templates"
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    rng = random.Random(options.seed)
    sources = [Made(rng)]
    if options.templates and (options.templates / "cases.json").exists():
        sources.append(Mutated(rng, options.templates, module))
    reference, seer = Reference(module), Seer(options.driver)
    counts, wrong = collections.Counter(), 0
    for i in range(options.renders):
        template, variables = sources[i % len(sources)].next()
        expected, ours = reference.render(template, variables), seer.render(template, variables)
        verdict = judge(expected, ours)
        counts[verdict or f"equal: {expected[0]}"] += 1
        if verdict is None or verdict == "skipped" or verdict.startswith("refused"):
            continue
        if expected[0] == "text" and ADDRESS.search(expected[1]) and ours[0] == "error":
            continue
        wrong += 1
        if wrong <= options.show:
            print(f"--- render {i}: {verdict}\ntemplate:  {template!r}\nvariables: {variables!r}\nexpected:  {expected}\nseer:      {ours}")
    for verdict, n in sorted(counts.items()):
        print(f"{n:8} {verdict}")
    print(f"{options.renders} renders, {wrong} different")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
