#!/usr/bin/env python3
"""Writes document.txt: 15,000 tokens of prose by the demo model, with a number in one planted sentence, and a question about that
number at the end.

    write_document.py SEER MODEL_DIR > document.txt

The model's text becomes incoherent after some thousand tokens, so each chapter is a new sample. Rounding differs between
processors, so on another one the prose is different; the shipped file was made once."""
import subprocess
import sys

N_TOKENS = 15000
CHAPTER_TOKENS = 900
SUBJECT, NUMBER, DEPTH = "library", "58213", 0.37
FACT = f"The secret number of the {SUBJECT} is {NUMBER}."
QUESTION = f"What is the secret number of the {SUBJECT}? The secret number of the {SUBJECT} is"
OPENINGS = [
    "The old house stood by the sea, and", "It was late in the autumn when", "My father was a quiet man, who",
    "Nobody in the village knew why", "The ship had been three weeks at sea when", "On the following morning",
    "There was a long silence in the room, until", "The road to the town led through a wood, where",
    "She opened the letter and", "When the winter came,", "The captain shook his head and", "At the end of the street",
    "I had not slept at all, for", "The old doctor took off his hat and", "Many years later, when",
    "The garden was empty, but", "In the kitchen the fire was burning, and", "They had walked the whole day and",
    "Her brother had gone to London, and", "The rain had stopped, and",
]


def run(arguments, text):
    return subprocess.run(arguments, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode("utf-8", "replace")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    seer, model = sys.argv[1:]

    def count_tokens(text):
        return len(run([seer, "tokenize", "-m", model], text).split())

    def chapter(index):
        opening = f"CHAPTER {index + 1}\n\n{OPENINGS[index % len(OPENINGS)]}"
        text = run([seer, "generate", "-m", model, "--echo", "-q", "-n", str(CHAPTER_TOKENS), "--ignore-eos", "--temp", "0.8",
                    "--top-p", "0.95", "--repeat-penalty", "1.05", "--repeat-last-n", "256", "-s", str(index)], opening)
        # The model writes sentences with numbers of its own, because it was trained with them. They are removed, so that only the
        # planted one is left. So is the last line, which is incomplete.
        lines = [line for line in text.split("\n")[:-1] if "number of" not in line and "pass key" not in line]
        return "\n".join(lines) + "\n\n"

    prose, index = "", 0
    ending = f"\n{QUESTION}"
    while count_tokens(prose + FACT + "\n" + ending) < N_TOKENS:
        prose += chapter(index)
        index += 1
    lines = prose.rstrip("\n").split("\n")
    at = next(i for i in range(len(lines)) if len("\n".join(lines[:i])) >= DEPTH * len(prose))
    lines.insert(at, FACT)
    # Characters are cut from the end until the length is right, and then the rest of the last sentence.
    text = "\n".join(lines)
    while count_tokens(text + "\n" + ending) > N_TOKENS:
        surplus = count_tokens(text + "\n" + ending) - N_TOKENS
        text = text[:-max(1, surplus)]
    text = text[:text.rindex(".") + 1]
    sys.stdout.write(text + "\n" + ending)


if __name__ == "__main__":
    main()
