#!/usr/bin/env python3
"""Plants a number at a random depth of a long document and asks the model for it. Counts the right answers with and without
block-sparse attention.

    tests/bench/needle.py SEER MODEL_DIR GATES_DIR TEXT [--tokens 15000] [--tries 20] [--sparse dense,threshold=0.01]
    tests/bench/needle.py SEER MODEL_DIR GATES_DIR TEXT --sparse-decode dense,budget=1024 [--tokens 15000] [--tries 20]

TEXT is prose without such numbers (a novel). Each try takes another stretch of it, another subject, number and depth, all
from a fixed seed. The question has the wording that the demo model was trained with. With --sparse the document and its
question are the prompt. With --sparse-decode only the document is: the question and the answer are decoded token by token
under each rule, and an answer is right if each of its digits is the most likely one after those before it."""
import argparse
import array
import json
import os
import random
import re
import struct
import subprocess
import tempfile

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
    """Yields (prompt, number, depth) for each try. A prompt has args.tokens tokens or a few less."""
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
            prose = prose[:-2 * surplus - 1]  # a token has 3 to 4 characters, so this does not cut too much
            surplus = count_tokens(args, f"{prose}\n{fact}\n{question}") - args.tokens
        stretch = prose.split("\n")
        stretch.insert(int(depth * len(stretch)), fact)
        yield "\n".join([*stretch, question]), number, depth


def generated(args, rule, prompt, number):
    """Asks with the question in the prompt. Returns whether the answer is right, the density in %, and the answer."""
    out, log = seer(args, "generate", *args.files, "--sparse", rule, "-n", "7", "--temp", "0", text=prompt)
    return out.strip().startswith(number), float(re.search(r"density ([\d.]+)%", log).group(1)), out.strip()[:5]


def decoded(args, rule, prompt, number):
    """Decodes the question and the answer after the document. Returns what generated() returns."""
    def ids_of(text):
        return seer(args, "tokenize", "-m", args.model, text=text)[0].split()
    document, question = prompt[:prompt.rindex("\n") + 1], ids_of(prompt)
    ids, n_prompt = ids_of(f"{prompt} {number}"), len(ids_of(document))
    n_digits = len(number)
    if ids[:n_prompt] != ids_of(document) or ids[:len(question)] != question or len(ids) < len(question) + n_digits:
        raise SystemExit("needle: the tokenizer joins the document, the question and the digits of the answer")
    with tempfile.TemporaryDirectory() as folder:
        tokens, dump = os.path.join(folder, "ids"), os.path.join(folder, "dump")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write(" ".join(ids))
        out, log = seer(args, "inspect", *args.files, "--tokens-file", tokens, "--prompt-tokens", str(n_prompt), "--sparse", "dense",
                      "--sparse-decode", rule, "--dump", dump)
        logits = read_rows(dump, "decode.logits")
    likeliest = [max(range(len(row)), key=row.__getitem__) for row in logits[-n_digits - 1:-1]]
    density = re.search(r"tokens decoded, density ([\d.]+)%", out + log)
    answer, _ = seer(args, "tokenize", "-m", args.model, "--decode", text=" ".join(map(str, likeliest)))
    return likeliest == [int(x) for x in ids[-n_digits:]], float(density.group(1)) if density else 100.0, answer.strip()


def read_rows(path, name):
    """Returns the rows of a two-dimensional F32 tensor of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        begin, end = header[name]["data_offsets"]
        file.seek(begin, os.SEEK_CUR)
        values = array.array("f", file.read(end - begin))
    width = header[name]["shape"][1]
    return [values[i:i + width] for i in range(0, len(values), width)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("seer", "model", "gates", "text"):
        parser.add_argument(name)
    parser.add_argument("--tokens", type=int, default=15000)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sparse", default="dense,threshold=0.01")
    parser.add_argument("--sparse-decode", help="decode the question and the answer under these rules")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    args.files = ["-m", args.model, "-g", args.gates, "--device", args.device]
    rules, ask = (args.sparse_decode.split(","), decoded) if args.sparse_decode else (args.sparse.split(","), generated)
    found = dict.fromkeys(rules, 0)
    density = dict.fromkeys(rules, 0.0)
    for index, (prompt, number, depth) in enumerate(prompts(args)):
        answers = []
        for rule in rules:
            right, share, answer = ask(args, rule, prompt, number)
            density[rule] += share / args.tries
            found[rule] += right
            answers.append(f"{rule} {answer!r}")
        print(f"{index + 1:3d}  depth {depth:4.2f}, number {number}: {', '.join(answers)}", flush=True)
    for rule in rules:
        print(f"{rule}: {found[rule]} of {args.tries} found, mean density {density[rule]:.1f}%")


if __name__ == "__main__":
    main()
