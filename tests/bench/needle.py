#!/usr/bin/env python3
"""How often is a number, planted at a random depth of a long document, answered with and without block-sparse prefill?

    tests/bench/needle.py SEER MODEL_DIR GATES_DIR TEXT [--tokens 15000] [--tries 20] [--sparse dense,threshold=0.01]

TEXT is prose that knows nothing of the numbers (a novel); each try takes another stretch of it, another subject, number
and depth, all from a fixed seed, and asks as the demo model was trained to be asked."""
import argparse
import random
import re
import subprocess

SUBJECTS = ("garden castle river letter captain doctor window forest island village teacher sailor merchant stranger "
            "cottage harbour mountain carriage bridge tower church school market prison palace library kitchen").split()


def seer(args, *arguments, text=""):
    result = subprocess.run([args.seer, *arguments], input=text.encode(), capture_output=True)
    if result.returncode != 0:
        raise SystemExit(f"needle: {result.stderr.decode()}")
    return result.stdout.decode(), result.stderr.decode()


def count_tokens(args, text):
    return len(seer(args, "tokenize", "-m", args.model, text=text)[0].split())


def prompts(args):
    """(prompt, number, depth): each prompt has args.tokens tokens or a few less."""
    with open(args.text, encoding="utf-8") as file:
        lines = file.read().splitlines()
    rng = random.Random(args.seed)
    for _ in range(args.tries):
        subject, number, depth = rng.choice(SUBJECTS), f"{rng.randrange(100000):05d}", rng.random()
        fact = f"The secret number of the {subject} is {number}."
        question = f"What is the secret number of the {subject}? The secret number of the {subject} is"
        first = rng.randrange(len(lines) // 2)
        prose = "\n".join(lines[first:] + lines[:first])[:6 * args.tokens]
        surplus = count_tokens(args, f"{prose}\n{fact}\n{question}") - args.tokens
        while surplus > 0:
            prose = prose[:-2 * surplus - 1]  # a token is 3 to 4 characters: this closes in from above
            surplus = count_tokens(args, f"{prose}\n{fact}\n{question}") - args.tokens
        stretch = prose.split("\n")
        stretch.insert(int(depth * len(stretch)), fact)
        yield "\n".join([*stretch, question]), number, depth


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("seer", "model", "gates", "text"):
        parser.add_argument(name)
    parser.add_argument("--tokens", type=int, default=15000)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sparse", default="dense,threshold=0.01")
    args = parser.parse_args()
    rules = args.sparse.split(",")
    found = dict.fromkeys(rules, 0)
    density = dict.fromkeys(rules, 0.0)
    for index, (prompt, number, depth) in enumerate(prompts(args)):
        answers = []
        for rule in rules:
            out, log = seer(args, "generate", "-m", args.model, "-g", args.gates, "--sparse", rule, "-n", "7", "--temp", "0",
                            text=prompt)
            n_tokens = int(re.search(r"prompt (\d+) tokens", log).group(1))
            density[rule] += float(re.search(r"density ([\d.]+)%", log).group(1)) / args.tries
            found[rule] += out.strip().startswith(number)
            answers.append(f"{rule} {out.strip()[:5]!r}")
        print(f"{index + 1:3d}  {n_tokens} tokens, depth {depth:4.2f}, number {number}: {', '.join(answers)}", flush=True)
    for rule in rules:
        print(f"{rule}: {found[rule]} of {args.tries} found, mean density {density[rule]:.1f}%")


if __name__ == "__main__":
    main()
