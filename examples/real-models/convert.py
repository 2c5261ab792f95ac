#!/usr/bin/env python3
"""Turns a GGUF file of a Llama or Qwen2 model with a byte-level BPE tokenizer into a folder in Hugging Face's format.

    convert.py FILE.gguf FOLDER    needs the packages gguf and numpy, which make.py installs

The weights are widened to bf16. In the GGUF file they have 4 to 8 bits, so the model is a little worse than the original. A GGUF
file does not say how text is split into words, nor whether the embedding is lm_head too. FAMILIES has this for two tokenizers;
files with other ones are refused."""
import dataclasses
import json
import pathlib
import sys

CONTROL, USER_DEFINED, UNUSED = 3, 4, 5  # values in tokenizer.ggml.token_type
# Qwen2's tokenizers split a text into these words: contractions, letters, single digits, signs, line breaks, spaces.
QWEN2_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")


@dataclasses.dataclass(frozen=True)
class Family:
    model_type: str
    architecture: str
    splits: tuple  # pre-tokenizers before the byte-level one
    byte_level_splits: bool  # whether the byte-level pre-tokenizer splits words as GPT-2's does
    normalizer: dict | None
    tokenizer_class: str
    tied: bool  # whether lm_head is the embedding, even if the file repeats it
    ends_with_bos: bool  # whether BOS ends an answer too
    extra: dict  # further keys of config.json


FAMILIES = {  # by general.architecture and tokenizer.ggml.pre
    ("llama", "smollm"): Family(
        "llama", "LlamaForCausalLM", ({"type": "Digits", "individual_digits": True},), True, None, "GPT2Tokenizer", True, False,
        {"attention_bias": False, "mlp_bias": False}),
    ("qwen2", "qwen2"): Family(
        "qwen2", "Qwen2ForCausalLM",
        ({"type": "Split", "pattern": {"Regex": QWEN2_WORDS}, "behavior": "Isolated", "invert": False},), False, {"type": "NFC"},
        "Qwen2Tokenizer", True, True, {"use_sliding_window": False}),
}
LAYER = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
         "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def family_of(fields):
    kind = (fields.get("general.architecture"), fields.get("tokenizer.ggml.pre"))
    if kind not in FAMILIES:
        known = ", ".join(" with ".join(pair) for pair in FAMILIES)
        raise ValueError(f"expected an architecture and a tokenizer that are known here ({known}), found {kind[0]} with {kind[1]}")
    return FAMILIES[kind]


def tensor_name(name):
    """Returns Hugging Face's name of a tensor. blk.3.attn_q.weight becomes model.layers.3.self_attn.q_proj.weight."""
    stem, _, kind = name.rpartition(".")
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    block, _, rest = stem.partition(".")
    layer, _, part = rest.partition(".")
    if block != "blk" or not layer.isdigit() or part not in LAYER:
        raise ValueError(f"expected the tensors of a Llama or Qwen2 model, found {name}")
    return f"model.layers.{layer}.{LAYER[part]}.{kind}"


def config_of(fields, family):
    of = lambda key: fields[f"{family.model_type}.{key}"]  # noqa: E731
    return {
        "architectures": [family.architecture], "model_type": family.model_type, "hidden_act": "silu",
        "hidden_size": of("embedding_length"), "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"), "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"), "max_position_embeddings": of("context_length"),
        "rms_norm_eps": float(f"{of('attention.layer_norm_rms_epsilon'):.6g}"),  # the float32 of 1e-05 is 9.99999975e-06
        "rope_theta": of("rope.freq_base"), "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": family.tied, "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"], "torch_dtype": "bfloat16", **family.extra}


def tokenizer_of(fields, family):
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    # `special` tokens are found in a text before it is split. `padding` ids have names, but no tokens; Qwen2's vocabulary has some.
    special = {i for i, kind in enumerate(types) if kind in (CONTROL, USER_DEFINED)}
    padding = {i for i, token in enumerate(tokens) if types[i] == UNUSED or token.startswith("[PAD")}
    added = sorted(special - padding)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": types[i] == CONTROL} for i in added],
        "normalizer": family.normalizer,
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [*family.splits, {**byte_level, "use_regex": family.byte_level_splits}]},
        "post_processor": None, "decoder": {**byte_level, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False,
                  "vocab": {token: i for i, token in enumerate(tokens) if i not in padding},
                  "merges": fields["tokenizer.ggml.merges"]}}


def texts_of(fields, family):
    """Returns {name: content} of the folder's JSON files."""
    tokens, bos, eos = (fields[f"tokenizer.ggml.{key}"] for key in ("tokens", "bos_token_id", "eos_token_id"))
    return {
        "config.json": config_of(fields, family),
        "generation_config.json": {"bos_token_id": bos, "eos_token_id": [eos, bos] if family.ends_with_bos else eos},
        "tokenizer.json": tokenizer_of(fields, family),
        "tokenizer_config.json": {
            "bos_token": None if family.ends_with_bos else tokens[bos], "eos_token": tokens[eos], "add_bos_token": False,
            "chat_template": fields["tokenizer.chat_template"], "model_max_length": fields[f"{family.model_type}.context_length"],
            "tokenizer_class": family.tokenizer_class}}


def write_safetensors(path, tensors):
    """Writes tensors, {name: (shape, bytes of bf16)}."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in sorted(tensors.items()):
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, (_, data) in sorted(tensors.items()):
            file.write(data)


def read_weights(reader, fields, family):
    import gguf
    import numpy

    heads = {"attn_q": fields[f"{family.model_type}.attention.head_count"],
             "attn_k": fields[f"{family.model_type}.attention.head_count_kv"]}
    tensors = {}
    for tensor in reader.tensors:
        part = tensor.name.split(".")[-2]
        if part == "output" and family.tied:
            continue
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32, copy=False)
        if family.model_type == "llama" and part in heads:
            # GGUF files of Llama interleave the rows of a head's two halves, for the form of RoPE that rotates adjacent rows.
            by_turns = values.reshape(heads[part], -1, 2, *values.shape[1:])
            values = numpy.swapaxes(by_turns, 1, 2).reshape(values.shape)
        bits = numpy.ascontiguousarray(values).view(numpy.uint32)
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16  # rounded to nearest, ties to even
        tensors[tensor_name(tensor.name)] = (values.shape, rounded.astype("<u2").tobytes())
    return tensors


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        import gguf
    except ImportError as error:
        sys.exit(f"convert: {error}: install the packages gguf and numpy, or use make.py, which does")
    source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    try:
        reader = gguf.GGUFReader(source)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        family = family_of(fields)
        folder.mkdir(parents=True)
        for name, content in texts_of(fields, family).items():
            (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        write_safetensors(folder / "model.safetensors", read_weights(reader, fields, family))
    except KeyError as error:
        sys.exit(f"convert: {source} has no {error.args[0]}")
    except (OSError, ValueError) as error:
        sys.exit(f"convert: {source}: {error}")


if __name__ == "__main__":
    main()
