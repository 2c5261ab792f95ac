#!/usr/bin/env python3
"""Block masks for measurements of attention: bool [n_heads, n_blocks, n_blocks], causal, with as many blocks as the density
asks for. The diagonal is always kept, because the softmax of a row without any block would be 0 / 0.

    tools/gpu/attention/masks.py [--group N] FILE.safetensors...
        prints how much the masks of a dump (`seer inspect --dump`) overlap, and the same of masks made here of that density

There are three regimes: "one" random mask for all heads, "independent" random masks, and "gates", which are masks like those of
trained gates.
How much a kernel can gain from loading a tile once for several rows depends on how much their lists overlap; sharing()
measures that for masks made here and for masks dumped from a model.

This was measured on the demo model (6 layers of 4 heads in groups of 2; 16384 tokens of two novels it was not trained on),
without the two dense rows at the end. The columns are: how many tiles one load serves if two adjacent query blocks of a head,
two heads of a group, or both share it; the 99th percentile of kept blocks in a row over their median; and the share of rows
that keep the block 1, 2, 4 and 8 before the diagonal, and the first block:

    threshold  density   rows heads both   p99/median    -1   -2   -4   -8  first
    0.02          4.4%   1.60  1.63 2.66      2.8       1.00 0.84 0.43 0.14  0.05
    0.01          8.5%   1.69  1.59 2.71      2.6       1.00 1.00 0.82 0.41  0.09
    0.005        14.5%   1.71  1.56 2.70      2.5       1.00 1.00 0.99 0.75  0.15
    0.002        28.1%   1.72  1.57 2.74      4.0       1.00 1.00 1.00 0.99  0.30

GateModel's parameters are fitted to this table. Longer prompts, which the demo model cannot read, are to have the same factors."""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import statistics
import struct
import sys

import numpy as np

REGIMES = ("gates", "independent", "one")


@dataclasses.dataclass(frozen=True)
class GateModel:
    """A model of the scores that gates give key block j for query block i of a head:

        score = sink if j = 0
              - local * log(1 + min(i - j, reach) / width)
              + columns * drift[i, j]
              + noise * (sqrt(common) * white_of_group[i, j] + sqrt(1 - common) * white_of_head[i, j])

    drift stands for vertical columns, which the heads of a KV group share: every column has a standard normal number at every
    `period`-th row, and is interpolated between these rows. So a column matters for a stretch of rows and then fades. white is
    noise without structure. As gates do, a head keeps the blocks whose softmax over j <= i is above a threshold. Each head has
    the threshold that gives it its density. The densities of heads are log-normal with `spread`."""
    sink: float = 0.35
    local: float = 1.62
    reach: float = 40.0
    width: float = 1.6
    columns: float = 0.9
    period: int = 32
    noise: float = 0.235
    common: float = 0.75
    spread: float = 0.39


def causal_blocks(n_blocks):
    return n_blocks * (n_blocks + 1) // 2


def kept_blocks(n_blocks, density):
    """Returns how many blocks a head keeps: the density's share of the causal blocks, but at least the diagonal."""
    if not 0 < density <= 1:
        raise ValueError(f"expected a density above 0 and at most 1, found {density}")
    return max(n_blocks, round(density * causal_blocks(n_blocks)))


def _keep_largest(scores, n_kept):
    """Returns a mask of the n_kept causal blocks with the largest scores [n_blocks, n_blocks]; the diagonal goes first."""
    n = scores.shape[0]
    scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
    np.fill_diagonal(scores, np.inf)
    if n_kept >= causal_blocks(n):
        return np.tri(n, dtype=bool)
    flat = scores.reshape(-1)
    mask = np.zeros(flat.size, dtype=bool)
    mask[np.argpartition(flat, flat.size - n_kept)[flat.size - n_kept:]] = True
    return mask.reshape(n, n)


def _drift(rng, n, period):
    """Returns GateModel's drift [n, n]: rows interpolated between random rows `period` apart, with unit variance everywhere."""
    at = np.arange(n) / period + rng.random()
    knot, t = at.astype(np.int64), at - np.floor(at)
    weights = np.zeros((n, int(knot[-1]) + 2), dtype=np.float32)
    scale = np.sqrt((1 - t)**2 + t**2)
    weights[np.arange(n), knot] = (1 - t) / scale
    weights[np.arange(n), knot + 1] = t / scale
    return weights @ rng.standard_normal((weights.shape[1], n), dtype=np.float32)


def _group_scores(seed, n, group, model):
    """Returns the log-softmax of the scores of the heads of one KV group, f32 [group, n, n]."""
    rng = np.random.default_rng(seed)
    distance = np.maximum(np.arange(n)[:, None] - np.arange(n)[None, :], 0)
    common = (-model.local * np.log1p(np.minimum(distance, model.reach) / model.width)).astype(np.float32)
    common[:, 0] += model.sink
    common += model.columns * _drift(rng, n, model.period)
    common += model.noise * model.common**0.5 * rng.standard_normal((n, n), dtype=np.float32)
    future = ~np.tri(n, dtype=bool)
    scores = np.empty((group, n, n), dtype=np.float32)
    for head in scores:
        rng.standard_normal(out=head, dtype=np.float32)
        head *= model.noise * (1 - model.common)**0.5
        head += common
        head[future] = -np.inf
        head -= head.max(axis=1, keepdims=True)
        head -= np.log(np.exp(head).sum(axis=1, keepdims=True))
    return scores


def _in_threads(function, *arguments):
    # numpy releases Python's lock while it draws and partitions millions of numbers, so threads use all cores.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, *arguments))


class GateMasks:
    """Makes masks of one prompt length at any density, all from scores that are drawn once."""

    def __init__(self, n_blocks, n_heads, group, seed=0, model=GateModel()):
        if n_heads % group:
            raise ValueError(f"expected heads in groups of {group}, found {n_heads}")
        self.model, self.seed = model, seed
        groups = range(n_heads // group)
        parts = _in_threads(lambda g: _group_scores((seed, 1, g), n_blocks, group, model), groups)
        self.scores = np.concatenate(parts)

    def budgets(self, density):
        """Returns how many blocks each head keeps: log-normal around the density, with the sum that the density asks for."""
        n_heads, n = self.scores.shape[:2]
        rng = np.random.default_rng((self.seed, 2))
        quantiles = [statistics.NormalDist().inv_cdf((h + 0.5) / n_heads) for h in range(n_heads)]
        factors = np.exp(self.model.spread * rng.permutation(quantiles))
        total, most = kept_blocks(n, density) * n_heads, causal_blocks(n)
        low, high = 0.0, 1.0
        budget = lambda scale: np.clip(scale * factors * most, n, most).astype(np.int64)
        while budget(high).sum() < total:
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if budget(middle).sum() <= total else (low, middle)
        result = budget(low)
        left = int(total - result.sum())  # blocks that are left because of rounding down
        for h in np.argsort(result):
            more = min(left, int(most - result[h]))
            result[h] += more
            left -= more
        return result

    def mask(self, density):
        return np.stack(_in_threads(_keep_largest, self.scores, self.budgets(density)))


def random_mask(n_blocks, n_heads, density, seed=0):
    """Returns a mask of independent heads, in each of which every causal block is as likely as any other."""
    n_kept = kept_blocks(n_blocks, density)

    def head(h):
        rng = np.random.default_rng((seed, 3, h))
        return _keep_largest(rng.random((n_blocks, n_blocks), dtype=np.float32), n_kept)

    return np.stack(_in_threads(head, range(n_heads)))


def one_mask(n_blocks, n_heads, density, seed=0):
    return np.repeat(random_mask(n_blocks, 1, density, seed), n_heads, axis=0)


def lists(mask):
    """Returns the mask in the kernels' form: counts i32 [n_heads, n_rows] and blocks i32 [n_heads, n_rows, n_blocks]. The first
    counts[h, r] blocks of a row are valid and ascend; the rest are 0."""
    counts = mask.sum(axis=2, dtype=np.int32)
    blocks = np.zeros(mask.shape, dtype=np.int32)

    def fill(h):
        rows, columns = np.nonzero(mask[h])
        first = np.cumsum(counts[h], dtype=np.int64) - counts[h]
        blocks[h, rows, np.arange(rows.size) - first[rows]] = columns

    _in_threads(fill, range(mask.shape[0]))
    return counts, blocks


# ---- properties of masks ----


def sharing(mask, group):
    """Returns how many tiles one load can serve, (|A| + |B|) / |A or B| with sums over all pairs A, B. The pairs are two
    adjacent query blocks of a head ("rows"), and two heads of a KV group, which has `group` heads ("heads"). For "both", two
    adjacent query blocks of two such heads share a load, which are four tiles."""
    n_rows = mask.shape[1] // 2 * 2
    upper, lower = mask[:, 0:n_rows:2], mask[:, 1:n_rows:2]
    first = [h for h in range(mask.shape[0] - 1) if h % group % 2 == 0 and h % group + 1 < group]
    second = [h + 1 for h in first]

    def factor(*tiles):
        union = int(np.logical_or.reduce(tiles).sum())
        return sum(int(t.sum()) for t in tiles) / union if union else float("nan")

    return {"rows": factor(upper, lower), "heads": factor(mask[first], mask[second]),
            "both": factor(upper[first], upper[second], lower[first], lower[second])}


def describe(mask, group):
    """Returns the density, sharing(), and how uneven rows are."""
    counts = mask.sum(axis=2)
    n = mask.shape[2]
    causal = sum(min(r + 1, n) for r in range(mask.shape[1])) * mask.shape[0]
    median = float(np.median(counts))
    return {"density": float(counts.sum() / causal), **sharing(mask, group), "median": median,
            "p99": float(np.percentile(counts, 99)), "p99_over_median": float(np.percentile(counts, 99) / median)}


def format_description(d):
    return (f"density {100 * d['density']:5.1f}%  sharing: rows {d['rows']:.2f} heads {d['heads']:.2f} both {d['both']:.2f}  "
            f"kept in a row: median {d['median']:.0f}, 99th percentile {d['p99']:.0f} ({d['p99_over_median']:.1f}x)")


def read_dump(path):
    """Returns the masks of all layers of a dump, bool [n_layers * n_heads, n_rows, n_blocks]."""
    data = pathlib.Path(path).read_bytes()
    try:
        size = struct.unpack_from("<Q", data)[0]
        header = json.loads(data[8:8 + size])
    except (struct.error, ValueError) as error:
        raise ValueError(f"{path}: expected a safetensors file, as `seer inspect --dump` writes it ({error})") from error
    layers = sorted((int(name.split(".")[1]), entry) for name, entry in header.items() if name.startswith("mask."))
    if not layers:
        raise ValueError(f"{path}: expected mask.0, mask.1, ..., found none: dump a model with gates under a sparse rule")
    found = []
    for _, entry in layers:
        begin, end = entry["data_offsets"]
        found.append(np.frombuffer(data[8 + size + begin:8 + size + end], dtype=np.uint8).reshape(entry["shape"]) != 0)
    return np.concatenate(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", nargs="+", metavar="FILE.safetensors")
    parser.add_argument("--group", type=int, default=2, help="query heads of a KV head (default: 2, the demo model's)")
    args = parser.parse_args()
    for path in args.dumps:
        try:
            mask = read_dump(path)
        except (OSError, ValueError) as error:
            sys.exit(f"masks: {error}")
        n_heads, n = mask.shape[0], mask.shape[2]
        found = describe(mask[:, :-2], args.group)  # gates keep the last two rows dense
        made = GateMasks(n, n_heads, args.group).mask(found["density"])
        print(f"{path}\n  dumped  {format_description(found)}\n  made    {format_description(describe(made, args.group))}")


if __name__ == "__main__":
    main()
