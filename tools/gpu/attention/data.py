"""The inputs on which every kernel of tools/gpu/bench_attention.py is timed, the timing, and the check of outputs."""
import statistics

import numpy as np
import torch

HEADS, KV_HEADS, HEAD, BLOCK = 32, 8, 128, 64
GROUP = HEADS // KV_HEADS
FLOP_PER_BLOCK = 4 * BLOCK * BLOCK * HEAD  # two products of 64 x 64 x 128; the softmax is not counted


class Inputs:
    """Queries, keys and values of one prompt of n_tokens, in the forms that the kernels take."""

    def __init__(self, n_tokens, device, seed=0):
        if n_tokens < BLOCK or n_tokens % BLOCK:
            raise ValueError(f"expected a length that is a multiple of {BLOCK}, found {n_tokens}")
        generator = torch.Generator(device).manual_seed(seed)

        def random(n_heads):
            return torch.randn(1, n_heads, n_tokens, HEAD, device=device, dtype=torch.bfloat16, generator=generator)

        self.n_tokens, self.n_blocks = n_tokens, n_tokens // BLOCK
        self.q = random(HEADS)  # [1, n_heads, n_tokens, d_head]
        self.k, self.v = random(KV_HEADS), random(KV_HEADS)  # [1, n_kv_heads, n_tokens, d_head]
        self.q_rows = self.q[0].transpose(0, 1).contiguous()  # [n_tokens, n_heads, d_head]
        # Block b lies in page page_table[b]. The order is random, as in a pool that has served other prompts.
        self.page_table = np.random.default_rng(seed).permutation(self.n_blocks).astype(np.int32)
        self.k_pages, self.v_pages = self._pages(self.k), self._pages(self.v)
        self._expanded = None

    def _pages(self, x):
        """Returns x in pages: [n_pages, n_kv_heads, 64, d_head]."""
        blocks = x[0].view(KV_HEADS, self.n_blocks, BLOCK, HEAD).transpose(0, 1)
        pages = torch.empty_like(blocks, memory_format=torch.contiguous_format)
        pages[torch.from_numpy(self.page_table.astype(np.int64)).to(x.device)] = blocks
        return pages

    def expanded(self):
        """Returns k and v with a KV head for each query head, for kernels that do not support grouped heads."""
        if self._expanded is None:
            self._expanded = tuple(t.repeat_interleave(GROUP, dim=1) for t in (self.k, self.v))
        return self._expanded


class DeviceMask:
    """A mask of masks.py on the device. Kernels may reorder the lists, so each call returns a copy."""

    def __init__(self, mask, device):
        from attention import masks
        self.host, self.device = mask, device  # bool [n_heads, n_blocks, n_blocks]
        self.n_kept = int(mask.sum())
        counts, blocks = masks.lists(mask)
        self._counts, self._blocks = torch.from_numpy(counts).to(device), torch.from_numpy(blocks).to(device)

    def counts(self):
        return self._counts.clone()  # i32 [n_heads, n_blocks]

    def blocks(self):
        return self._blocks.clone()  # i32 [n_heads, n_blocks, n_blocks]

    def dense(self):
        return torch.from_numpy(self.host).to(self.device)[None]  # bool [1, n_heads, n_blocks, n_blocks]


# ---- time ----


def event_ms(call, n):
    """Returns the mean milliseconds of n calls back to back. One call is launched while another runs."""
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(n):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / n


def median_ms(elapsed):
    """Returns the median of some rounds of about 10 ms each, or of one call if that takes longer, after a warm-up.
    elapsed(n) returns the milliseconds of one of n calls."""
    elapsed(1)
    once = elapsed(1)
    n = max(1, min(200, int(10 / max(once, 1e-3))))
    return statistics.median(elapsed(n) for _ in range(5 if once < 100 else 3))


def gemm_tflops(device):
    """Returns the rate of a product of 8192 x 8192 random bf16 matrices, with which attention is compared."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * 8192**3 / median_ms(lambda n: event_ms(lambda: torch.matmul(a, b, out=out), n)) * 1e-9


# ---- correctness ----


def reference_tile(inputs, head, row, columns, causal_diagonal):
    """Returns the float64 output [64, d_head] of one query block over the given key blocks, and how far a bf16 kernel may be
    from it. Rounding the output and the probabilities to bf16's 8 bits costs up to 2^-8 of each; the bound is twice that."""
    k, v = (t[0, head // GROUP].view(-1, BLOCK, HEAD)[columns].reshape(-1, HEAD).double() for t in (inputs.k, inputs.v))
    q = inputs.q[0, head, row * BLOCK:(row + 1) * BLOCK].double()
    scores = q @ k.T / HEAD**0.5
    if causal_diagonal:
        positions = columns.repeat_interleave(BLOCK) * BLOCK + torch.arange(BLOCK, device=k.device).repeat(columns.numel())
        queries = row * BLOCK + torch.arange(BLOCK, device=k.device)
        scores = scores.masked_fill(positions[None, :] > queries[:, None], float("-inf"))
    probabilities = scores.softmax(dim=-1)
    out = probabilities @ v
    return out, 2.0**-7 * (out.abs() + probabilities @ v.abs())


def check(inputs, output, mask, causal_diagonal=True):
    """Compares tiles of output [1, n_heads, n_tokens, d_head] with the reference; mask is None for dense. Returns the largest
    error, and the largest error over its bound: above 1 the kernel is wrong."""
    n = inputs.n_blocks
    worst, worst_ratio = 0.0, 0.0
    for head in (0, 13, HEADS - 1):
        for row in sorted({0, 1, n // 3, n - 1} & set(range(n))):
            kept = np.arange(row + 1) if mask is None else np.flatnonzero(mask[head, row])
            columns = torch.from_numpy(kept).to(output.device)
            expected, bound = reference_tile(inputs, head, row, columns, causal_diagonal)
            found = output[0, head, row * BLOCK:(row + 1) * BLOCK].double()
            if not bool(torch.isfinite(found).all()):
                return float("inf"), float("inf")
            error = (found - expected).abs()
            worst = max(worst, float(error.max()))
            worst_ratio = max(worst_ratio, float((error / bound).max()))
    return worst, worst_ratio
