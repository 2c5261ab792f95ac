"""The inputs on which every kernel of tools/gpu/bench_decode.py is timed, the timing, and the check of outputs."""
import statistics

import torch

from attention.data import BLOCK, GROUP, HEAD, HEADS, KV_HEADS

CALLS = 64  # in a graph


def n_layers_of(shape):
    """Returns the number of layers, the same as in bench_gpu_ops. With so many layers, none finds its keys and values in L2."""
    return 4 if shape.n_sequences * shape.n_tokens > 262144 else 16


class Inputs:
    """The inputs of one step of n_sequences sequences with n_tokens each, the new token included: random queries, and for each
    layer random keys and values in pages of 64 tokens. A page's numbers may be read as [64, n_kv_heads, d_head] ("NHD") or as
    [n_kv_heads, 64, d_head] ("HND"), because they are random."""

    def __init__(self, shape, device, n_layers, seed=0):
        generator = torch.Generator(device).manual_seed(seed)
        self.shape, self.device, self.n_layers = shape, device, n_layers
        self.n_sequence_pages = shape.n_tokens // BLOCK
        self.n_pages = shape.n_sequences * self.n_sequence_pages

        def random(*size):
            return torch.randn(*size, device=device, dtype=torch.bfloat16, generator=generator)

        # Scores have a standard deviation of 3. With less, each of 32768 tokens would count so little that a kernel could
        # leave out a page unnoticed.
        self.q = random(shape.n_sequences, HEADS, HEAD) * 3
        self.keys, self.values = ([random(self.n_pages, BLOCK * KV_HEADS * HEAD) for _ in range(self.n_layers)]
                                  for _ in range(2))
        self.lengths = torch.full((shape.n_sequences,), shape.n_tokens, device=device, dtype=torch.int32)
        # Block b of sequence s lies in page table[s, b]. The order is random, as in a pool that has served other sequences.
        self.table = torch.randperm(self.n_pages, device=device, generator=generator).to(torch.int32).view(
            shape.n_sequences, self.n_sequence_pages)
        self.out = torch.empty_like(self.q)

    def pages(self, layer, layout):
        size = (self.n_pages, BLOCK, KV_HEADS, HEAD) if layout == "NHD" else (self.n_pages, KV_HEADS, BLOCK, HEAD)
        return self.keys[layer].view(size), self.values[layer].view(size)

    def rows(self, layer):
        """Returns keys and values [n_sequences, n_tokens, n_kv_heads, d_head] for a kernel that does not support pages: the
        numbers of the pages in the order in which they lie in memory."""
        size = (self.shape.n_sequences, self.shape.n_tokens, KV_HEADS, HEAD)
        return self.keys[layer].view(size), self.values[layer].view(size)

    def bytes(self):
        return 2 * 2 * self.shape.n_sequences * self.shape.n_tokens * KV_HEADS * HEAD


def graph_ms(call, n_layers):
    """Returns the milliseconds of call(layer), the median of five replays of a CUDA graph that calls every layer in turn."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for layer in range(n_layers):
            call(layer)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    n_rounds = CALLS // n_layers
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(n_rounds):
            for layer in range(n_layers):
                call(layer)

    def elapsed():
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / (n_rounds * n_layers)

    elapsed()
    return statistics.median(elapsed() for _ in range(5))


def reference(inputs, sequence, layout):
    """Returns the float32 output [n_heads, d_head] of layer 0 for one sequence, and how far a bf16 kernel may be from it.
    Rounding the output and the probabilities to bf16's 8 bits costs up to 2^-8 of each; the bound is twice that."""
    def of_heads(pages):  # [n_kv_heads, n_tokens, d_head]
        if layout == "rows":
            return pages[sequence].transpose(0, 1).float()
        taken = pages[inputs.table[sequence].long()]
        by_head = taken.permute(2, 0, 1, 3) if layout == "NHD" else taken.transpose(0, 1)
        return by_head.reshape(KV_HEADS, -1, HEAD).float()

    k, v = (of_heads(x) for x in (inputs.rows(0) if layout == "rows" else inputs.pages(0, layout)))
    q = inputs.q[sequence].float().view(KV_HEADS, GROUP, HEAD)
    probabilities = (q @ k.transpose(1, 2) / HEAD**0.5).softmax(dim=-1)
    out = probabilities @ v
    bound = 2.0**-7 * (out.abs() + probabilities @ v.abs())
    return out.view(HEADS, HEAD), bound.view(HEADS, HEAD)


def check(inputs, output, layout):
    """Compares the first and the last sequence of layer 0 with the reference. Returns the largest error, and the largest error
    over its bound: above 1 the kernel is wrong."""
    worst, worst_ratio = 0.0, 0.0
    for sequence in sorted({0, inputs.shape.n_sequences - 1}):
        expected, bound = reference(inputs, sequence, layout)
        found = output[sequence].float()
        if not bool(torch.isfinite(found).all()):
            return float("inf"), float("inf")
        error = (found - expected).abs()
        worst = max(worst, float(error.max()))
        worst_ratio = max(worst_ratio, float((error / bound).max()))
    return worst, worst_ratio
