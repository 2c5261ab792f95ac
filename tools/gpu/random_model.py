#!/usr/bin/env python3
"""Writes a checkpoint of random bf16 weights in the shape of a config.json, and a prompt of random ids next to it.

    random_model.py CONFIG OUT [--layers N] [--prompt N]

Weights of norms are 1. The absolute values of the embedding lie between 0.5 and 1, and those of all other weights between 0.25
and 1 over sqrt(d_in), so that activations neither grow nor vanish. Only the standard library is used, because a machine with a
GPU may have nothing else."""
import argparse
import json
import pathlib
import random
import struct

EXPONENT_BYTES = 1 << 24  # values written at a time


def bf16_bits(value):
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


def write_values(out, n, scale, rng):
    """Writes n values of random sign. They have random mantissas and one exponent, that of `scale`, so their absolute values lie
    between the power of two at or below `scale` and the next one."""
    exponent = bf16_bits(scale) & 0x7F80
    high = bytes(((exponent >> 8) | (b & 0x80)) for b in range(256))
    while n > 0:
        count = min(n, EXPONENT_BYTES)
        low = rng.randbytes(count)
        mantissa = bytes((b & 0x7F) | (exponent & 0x80) for b in range(256))
        block = bytearray(2 * count)
        block[0::2] = low.translate(mantissa)
        block[1::2] = rng.randbytes(count).translate(high)
        out.write(block)
        n -= count


def tensors(config):
    d, ff = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or d // config["num_attention_heads"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", [config["vocab_size"], d]
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", [d]
        for part, rows, columns in (("q", q, d), ("k", kv, d), ("v", kv, d), ("o", d, q)):
            yield f"{name}self_attn.{part}_proj.weight", [rows, columns]
        yield name + "post_attention_layernorm.weight", [d]
        for part, rows, columns in (("gate", ff, d), ("up", ff, d), ("down", d, ff)):
            yield f"{name}mlp.{part}_proj.weight", [rows, columns]
    yield "model.norm.weight", [d]
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", [config["vocab_size"], d]


def main():
    parser = argparse.ArgumentParser(description="Writes a checkpoint of random weights.")
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--prompt", type=int, default=1500, help="ids of the prompt")
    args = parser.parse_args()
    config = json.loads(args.config.read_text(encoding="utf-8"))
    config = {k: v for k, v in config.items() if not k.startswith("seerattn_")}
    if args.layers:
        config["num_hidden_layers"] = args.layers
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    header, end = {}, 0
    for name, shape in tensors(config):
        n_bytes = 2
        for size in shape:
            n_bytes *= size
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + n_bytes]}
        end += n_bytes
    rng = random.Random(1)
    text = json.dumps(header).encode()
    with open(args.out / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, entry in header.items():
            n = (entry["data_offsets"][1] - entry["data_offsets"][0]) // 2
            if len(entry["shape"]) == 1:
                out.write(struct.pack("<H", bf16_bits(1.0)) * n)
            elif name == "model.embed_tokens.weight":
                write_values(out, n, 0.5, rng)
            else:
                write_values(out, n, 0.5 / entry["shape"][1] ** 0.5, rng)
    ids = [rng.randrange(config["vocab_size"]) for _ in range(args.prompt)]
    (args.out / "prompt.ids").write_text(" ".join(map(str, ids)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
