"""Block masks to measure attention with: bool [n_heads, n_rows, n_blocks], causal, the diagonal always kept (a row without
any block would be 0 / 0), with exactly the density asked for.

Three regimes: one random mask for all heads, a random mask a head, and masks like those of trained gates. What decides
how much a kernel can gain by loading a tile once for several rows is how much their lists overlap, so sharing() measures
that, of the masks made here as of masks dumped from a model (`seer inspect --dump`)."""
import concurrent.futures
import dataclasses
import json
import os
import pathlib

import numpy as np

REGIMES = ("one", "independent", "gates")


@dataclasses.dataclass(frozen=True)
class GateModel:
    """How gates score key block j for query block i of head h, and which scores are kept.

        score = sink where j < n_sinks
              - local * log(1 + (i - j) / width)
              + columns * (sqrt(common) * drift_group[i, j] + sqrt(1 - common) * drift_head[i, j])
              + noise * (sqrt(common_noise) * white_group[i, j] + sqrt(1 - common_noise) * white_head[i, j])

    Drifts are vertical columns: unit normal numbers for every column at every `period`-th row, interpolated between, so
    that a column matters for a stretch of rows and adjacent rows agree. Those of a group are common to the query heads of
    one KV head. As gates do, a head keeps what has softmax over j <= i above a threshold, here the one that gives the
    head its density; densities of heads are log-normal with `spread`."""
    sink: float = 1.5
    n_sinks: int = 1
    local: float = 1.0
    width: float = 2.0
    columns: float = 1.0
    common: float = 0.8
    period: int = 32
    noise: float = 0.6
    common_noise: float = 0.5
    spread: float = 0.4


def sharing(mask, group):
    """How many tiles one load can serve, (|A| + |B|) / |A or B| summed over the masks' pairs: two adjacent query blocks of
    a head, two heads of a KV group, and both together (four tiles). `group` is query heads a KV head."""
    mask = np.asarray(mask, dtype=bool)
    rows = mask.shape[1] // 2 * 2
    upper, lower = mask[:, 0:rows:2], mask[:, 1:rows:2]
    pairs = [h for h in range(0, mask.shape[0] - 1) if h % group % 2 == 0 and h % group + 1 < group]
    others = [h + 1 for h in pairs]

    def factor(*tiles):
        union = np.logical_or.reduce(tiles).sum()
        return float(sum(int(tile.sum()) for tile in tiles) / union) if union else float("nan")

    return {"rows": factor(upper, lower), "heads": factor(mask[pairs], mask[others]),
            "both": factor(upper[pairs], upper[others], lower[pairs], lower[others])}
