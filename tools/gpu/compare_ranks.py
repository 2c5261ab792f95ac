#!/usr/bin/env python3
"""Compares the logits that one rank and several ranks computed for the same tokens, in two dumps of `seer inspect`.

    compare_ranks.py ONE MANY [--entry NAME] [--reference FILE] [--tolerance X]

Both are bf16 computations that round at different places. So logits differ a little, and if two tokens are almost equally
likely, either may come first. It is wrong if a difference is above the tolerance (0.1 standard deviations of the logits), or if
the likeliest tokens differ although one rank's logits of the two lie further apart than twice the largest difference. With a
dump of float32 logits as reference, it is also wrong if the distance of several ranks from it (root mean square) is more than
1.25 times that of one rank. --entry decode.logits compares the decoded tokens in dumps made with --prompt-tokens.
Prints one line, and exits with 1 if anything is wrong."""
import argparse
import array
import json
import struct
import sys


def read_logits(path, name):
    with open(path, "rb") as file:
        n = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(n))
        entry = header[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + n + begin)
        values = array.array("f")
        values.frombytes(file.read(end - begin))
    n_vocab = entry["shape"][-1]
    return [values[i:i + n_vocab] for i in range(0, len(values), n_vocab)]


def distance(a, b):
    """Returns the root mean square of the differences."""
    return (sum((x - y) ** 2 for p, q in zip(a, b) for x, y in zip(p, q)) / sum(map(len, a))) ** 0.5


def main():
    parser = argparse.ArgumentParser(description="Compares the logits of one rank and of several.")
    parser.add_argument("one")
    parser.add_argument("many")
    parser.add_argument("--entry", default="logits")
    parser.add_argument("--reference")
    parser.add_argument("--tolerance", type=float, default=0.1)
    args = parser.parse_args()
    one, many = read_logits(args.one, args.entry), read_logits(args.many, args.entry)
    reference = read_logits(args.reference, args.entry) if args.reference else one
    if any(list(map(len, one)) != list(map(len, other)) for other in (many, reference)):
        print("FAILED: the dumps have other shapes")
        return 1
    mean = sum(map(sum, one)) / sum(map(len, one))
    deviation = (sum(sum((x - mean) ** 2 for x in row) for row in one) / sum(map(len, one))) ** 0.5
    worst = max(max(abs(x - y) for x, y in zip(a, b)) for a, b in zip(one, many))
    equal, gaps = 0, []
    for a, b in zip(one, many):
        best_a, best_b = max(range(len(a)), key=a.__getitem__), max(range(len(b)), key=b.__getitem__)
        equal += best_a == best_b
        if best_a != best_b:
            gaps.append(a[best_a] - a[best_b])
    wrong = not worst <= args.tolerance * deviation or any(gap > 2 * worst for gap in gaps)
    exactness = ""
    if args.reference:
        of_one, of_many = distance(one, reference) / deviation, distance(many, reference) / deviation
        wrong = wrong or of_many > 1.25 * of_one
        exactness = f"; from float32: one rank {of_one:.5f}, several {of_many:.5f}"
    print(f"{'FAILED' if wrong else 'same'}: {equal} of {len(one)} likeliest tokens, logits within "
          f"{worst / deviation:.4f} deviations" + (f", ties up to {max(gaps):.4g} apart" if gaps else "")
          + exactness)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
