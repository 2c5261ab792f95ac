#!/usr/bin/env python3
"""How much memory models take, computed from their config.json; nothing is loaded.

    tools/memory.py CONFIG.json... [--device gpu|cpu] [--weights TYPE,...] [-c N,...] [--chunk-size N] [--kv-cache-dtype TYPE]
                    [--activations TYPE]

prints a row for each model and type of weights: GiB of the weights with the gates, of the memory that steps work in, and of all
of this together with the KV pages of one context of N tokens. models/README.md has the same arithmetic. What an engine takes once it is
loaded is printed by `seer inspect` and by `seer bench -v`."""
import argparse
import json
import pathlib
import re
import sys

ALIGNMENT = 256  # of every buffer of a step
LOGIT_ROWS = 256  # rows of logits that are computed at once
CHUNK = {"gpu": 8192, "cpu": 1024}  # tokens
MIXED_CHUNK = {"gpu": 256, "cpu": 64}
BATCH = {"gpu": 64, "cpu": 16}  # requests
USUAL_PAGE = 64  # tokens of a page, if there are no gates
RESERVE = {"gpu": 512 << 20, "cpu": 0}  # for the GPU's modules and libraries
SIZE = {"bf16": 2, "f32": 4}
SPREAD_GROUP = 128  # inputs that share a scale in steps of few rows, for FP8 weights on a GPU
SPREAD_ROWS = 64  # steps of up to so many rows use these scales
CHUNK_CODES = 128  # 4-bit codes of a row that a GPU multiplies at a time
BATCH_ROWS = 64  # steps of up to so many rows multiply 4-bit codes in place
TYPES = ("bf16", "fp8", "int4")


class Shape:
    """The values of a config.json that decide sizes."""

    def __init__(self, path):
        config = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        family = config["architectures"][0]
        self.name = pathlib.Path(path).stem
        self.d_model, self.d_ff = config["hidden_size"], config["intermediate_size"]
        self.n_layers, self.n_heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.n_kv_heads = config.get("num_key_value_heads", self.n_heads)
        self.d_head = config.get("head_dim") or self.d_model // self.n_heads
        self.n_vocab, self.max_positions = config["vocab_size"], config["max_position_embeddings"]
        self.tied = config.get("tie_word_embeddings", False)
        self.head_norms = family == "Qwen3ForCausalLM"
        self.qkv_bias = family == "Qwen2ForCausalLM" or (family != "MistralForCausalLM" and config.get("attention_bias", False))
        self.output_bias = family in {"LlamaForCausalLM", "Qwen3ForCausalLM"} and config.get("attention_bias", False)
        self.mlp_bias = family == "LlamaForCausalLM" and config.get("mlp_bias", False)
        self.read_gates(config)

    def read_gates(self, config):
        self.gates = "seerattn_gate_type" in config
        self.page = config.get("seerattn_gate_block_size", USUAL_PAGE)
        self.d_gate = config.get("seerattn_gate_hidden_size", self.d_head)
        if self.gates:
            pools = re.fullmatch(r"Q((?:max|min|avg)+)_K((?:max|min|avg)+)", config["seerattn_gate_type"])
            self.q_pools, self.k_pools = (len(pools[i]) // 3 for i in (1, 2))
            self.double = self.q_pools > 1 or self.d_gate != self.d_head or config.get("seerattn_gate_force_double", False)
            self.n_gate_heads = self.n_kv_heads if self.double else self.n_heads
        self.decode_gates = "seerattn_k_seq_pooling_type" in config or "seerattn_q_head_pooling_type" in config
        if self.decode_gates:
            self.d_decode_gate = config.get("seerattn_gate_hidden_size", 128)
            self.k_decode_pools = len(config.get("seerattn_k_seq_pooling_type", "Kmaxminavg")[1:]) // 3
            heads = {"Qproj": self.n_heads, "Qavgproj": self.n_kv_heads, "Qavg": 0}
            self.q_decode_heads = heads[config.get("seerattn_q_head_pooling_type", "Qproj")]
            self.decode_norms = config.get("seerattn_use_qk_norm", False)

    def products(self):
        """Returns (outputs, inputs) of each product of a layer: queries, keys and values together, the output, gate and up
        together, and down."""
        d_q, d_kv = self.n_heads * self.d_head, self.n_kv_heads * self.d_head
        return [(d_q + 2 * d_kv, self.d_model), (self.d_model, d_q), (2 * self.d_ff, self.d_model), (self.d_model, self.d_ff)]

    def vectors(self):
        """Returns how many numbers of a layer are not converted: those of norms and biases."""
        d_qkv = (self.n_heads + 2 * self.n_kv_heads) * self.d_head
        return (2 * self.d_model + 2 * self.d_head * self.head_norms + d_qkv * self.qkv_bias + self.d_model * self.output_bias
                + (2 * self.d_ff + self.d_model) * self.mlp_bias)


def int4_group(d_in):
    return next(group for group in (128, 64, 32) if d_in % group == 0)


def rounds_inputs(kind, device, activations):
    """Returns whether inputs of products of many rows are rounded to FP8, as on a Hopper GPU."""
    return device == "gpu" and kind == "fp8" and activations == "auto"


def matrix_bytes(d_out, d_in, kind, device, activations):
    """Returns the bytes of a matrix: its codes and their float32 scales, for FP8 one for each output (and further ones), for int4
    one for each group of inputs."""
    if kind == "fp8":
        further = d_in // SPREAD_GROUP if rounds_inputs(kind, device, activations) and d_in % SPREAD_GROUP == 0 else 0
        return d_out * (d_in + 4 + 4 * further)
    if kind == "int4":
        return d_out * (d_in // 2 + d_in // int4_group(d_in) * 4)
    return d_out * d_in * 2


def weight_bytes(shape, kind, device, activations="auto"):
    """Returns the bytes of all weights but the gates'. The embedding, the matrix of logits, norms and biases are bf16 whatever the
    type of the layers' matrices is."""
    layer = sum(matrix_bytes(d_out, d_in, kind, device, activations) for d_out, d_in in shape.products()) + 2 * shape.vectors()
    ends = (1 if shape.tied else 2) * shape.n_vocab * shape.d_model + shape.d_model
    return shape.n_layers * layer + 2 * ends


def gate_bytes(shape):
    layer = 0
    if shape.gates:
        layer += shape.n_gate_heads * shape.k_pools * shape.d_head * shape.d_gate
        layer += shape.n_heads * shape.q_pools * shape.d_head * shape.d_gate if shape.double else 0
    if shape.decode_gates:
        heads = shape.q_decode_heads + shape.n_kv_heads * shape.k_decode_pools
        layer += (heads * shape.d_head + 2 * shape.decode_norms) * shape.d_decode_gate
    return 2 * shape.n_layers * layer


def page_bytes(shape, kv_size, size):
    """Returns the bytes of a page: keys and values of its tokens, and one gate key for each head of each kind of gates."""
    keys_and_values = 2 * shape.n_kv_heads * shape.page * shape.d_head
    gate_keys = shape.n_gate_heads * shape.d_gate if shape.gates else 0
    gate_keys += shape.n_kv_heads * shape.d_decode_gate if shape.decode_gates else 0
    return shape.n_layers * (keys_and_values * kv_size + gate_keys * size)


def step_bytes(shape, kind, device, context, chunk, activations="auto"):
    """Returns the bytes that a step works in: rows of n tokens, some rows of logits, and the lists of blocks of sparse attention."""
    blocks = -(-context // shape.page)
    chunk = min(chunk or CHUNK[device] // shape.page * shape.page, blocks * shape.page)
    n = max(chunk, min(MIXED_CHUNK[device], chunk) + BATCH[device])
    size = SIZE["bf16" if device == "gpu" else "f32"]
    d_q, d_kv, half = shape.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head, shape.d_head // 2
    buffers = [size * n * width for width in
               (shape.d_model, shape.d_model, d_q + 2 * d_kv, d_q, d_q, 2 * shape.d_ff, shape.d_ff, d_q)]
    buffers += [4 * min(max(LOGIT_ROWS, BATCH[device]), n) * shape.n_vocab, 4 * n * half, 4 * n * half]
    rows = n // shape.page + BATCH[device]  # of blocks
    if shape.gates or shape.decode_gates:
        buffers += [4 * rows * half, 4 * rows * half]
    if shape.decode_gates:
        lists = shape.n_kv_heads * BATCH[device]
        buffers += [4 * shape.page * half, 4 * shape.page * half, 4 * shape.n_layers * lists, 4 * lists * blocks]
    if shape.gates:
        buffers += [size * rows * shape.n_heads * shape.q_pools * shape.d_head,
                    size * rows * shape.n_kv_heads * shape.k_pools * shape.d_head,
                    4 * rows * max(shape.n_heads, shape.n_gate_heads) * shape.d_gate, size * rows * shape.n_heads * shape.d_gate,
                    4 * shape.n_layers * shape.n_heads * rows, 4 * shape.n_heads * rows * blocks]
    total = sum(-(-buffer // ALIGNMENT) * ALIGNMENT for buffer in buffers)
    if rounds_inputs(kind, device, activations):  # their codes, with the scales
        widest = max(d_in for _, d_in in shape.products())
        total += n * widest + 4 * max(n, SPREAD_ROWS * (widest // SPREAD_GROUP))
        total += 4 * SPREAD_ROWS * max(d_out for d_out, _ in shape.products())
    elif device == "gpu" and kind != "bf16":  # one matrix at a time, widened to bf16
        total += 2 * max(d_out * d_in for d_out, d_in in shape.products())
    if device == "gpu" and kind == "int4":
        widest = max((d_in for _, d_in in shape.products() if int4_group(d_in) == CHUNK_CODES), default=0)
        total += BATCH_ROWS * (2 * widest + 4) if widest else 0  # inputs of a few rows, on a Hopper GPU
    return total


def gib(n_bytes):
    return f"{n_bytes / 2**30:.2f}"


def rows(shape, options):
    kv_size, size = SIZE[options.kv_cache_dtype], SIZE["bf16" if options.device == "gpu" else "f32"]
    contexts = [context for context in options.contexts if context <= shape.max_positions]
    for kind in options.weights:
        weights = weight_bytes(shape, kind, options.device, options.activations) + gate_bytes(shape)
        steps = [step_bytes(shape, kind, options.device, context, options.chunk_size, options.activations) for context in contexts]
        pages = [-(-context // shape.page) * page_bytes(shape, kv_size, size) for context in contexts]
        totals = [gib(weights + step + cache + RESERVE[options.device]) for step, cache in zip(steps, pages)]
        totals += [""] * (len(options.contexts) - len(contexts))
        yield [shape.name, kind, gib(weights), gib(steps[-1] + RESERVE[options.device]) if steps else "", *totals]


def print_table(lines, stream):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    cells = [[cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
             for line in lines]
    ruler = ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    for line in [cells[0], ruler, *cells[1:]]:
        print("| " + " | ".join(line) + " |", file=stream)


def numbers(text):
    values = [int(value) for value in text.split(",")]
    if min(values) < 1:
        raise ValueError
    return values


def types(text):
    values = text.split(",")
    if not set(values) <= set(TYPES):
        raise ValueError
    return values


def main():
    parser = argparse.ArgumentParser(description="How much memory models take, computed from their config.json.")
    parser.add_argument("configs", nargs="+", metavar="CONFIG.json")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="the device whose sizes of steps and types are used")
    parser.add_argument("--weights", type=types, default=list(TYPES), help="bf16,fp8,int4: what the layers' matrices are (all)")
    parser.add_argument("-c", "--ctx-size", dest="contexts", type=numbers, default=[8192, 32768, 131072], metavar="N,...",
                        help="contexts (8192,32768,131072)")
    parser.add_argument("--chunk-size", type=int, metavar="N", help="prompt tokens of a step (8192 on a GPU, 1024 on a CPU)")
    parser.add_argument("--kv-cache-dtype", choices=("bf16", "f32"), help="of keys and values (bf16 on a GPU, f32 on a CPU)")
    parser.add_argument("--activations", choices=("auto", "bf16"), default="auto",
                        help="bf16: inputs of FP8 weights are not rounded on a GPU (auto)")
    options = parser.parse_args()
    options.kv_cache_dtype = options.kv_cache_dtype or ("bf16" if options.device == "gpu" else "f32")
    lines = [["GiB", "type", "weights", "steps", *(f"all, {context}" for context in options.contexts)]]
    for path in options.configs:
        lines += rows(Shape(path), options)
    print_table(lines, sys.stdout)


if __name__ == "__main__":
    main()
