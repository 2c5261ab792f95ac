"""Makes tiny checkpoints whose answers a test chooses: a fixed table gives the next token for each current token."""
import json
import pathlib
import struct

END = "<|end|>"
HEAD = 64


def byte_names():
    """Returns the characters by which byte-level vocabularies name the 256 bytes, in the order of the bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(others)) for byte in range(256)]


def unique_pieces(text, taken):
    """Cuts `text` into pieces that are all different and not in `taken`, and adds them to `taken`."""
    pieces = []
    while text:
        size = 3
        while size < len(text) and text[:size] in taken:
            size += 1
        if text[:size] in taken:  # the rest of the text is taken, so it is joined to the piece before it
            taken.remove(pieces[-1])
            text = pieces.pop() + text
            size = len(text)
        assert text[:size] not in taken, text
        taken.add(text[:size])
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def write_tensors(path, tensors):
    """Writes a safetensors file. `tensors` is {name: (shape, values)}; values are {flat index: value}, with zeros elsewhere, or one
    value for all elements."""
    header, at, parts = {}, 0, []
    for name, (shape, values) in tensors.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        data = bytearray(4 * count)
        for index, value in (values.items() if isinstance(values, dict) else ((i, values) for i in range(count))):
            struct.pack_into("<f", data, 4 * index, value)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
        parts.append(bytes(data))
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def write_weights(folder, n_vocab, following):
    width = -(-n_vocab // HEAD) * HEAD
    square = ((width, width), {})
    layer = "model.layers.0."
    tensors = {"model.embed_tokens.weight": ((n_vocab, width), {i * width + i: 1.0 for i in range(n_vocab)}),
               "lm_head.weight": ((n_vocab, width), {after * width + i: 1.0 for i, after in following.items()}),
               "model.norm.weight": ((width,), 1.0),
               layer + "input_layernorm.weight": ((width,), 1.0),
               layer + "post_attention_layernorm.weight": ((width,), 1.0),
               layer + "mlp.gate_proj.weight": ((16, width), {}),
               layer + "mlp.up_proj.weight": ((16, width), {}),
               layer + "mlp.down_proj.weight": ((width, 16), {})}
    for name in "qkvo":
        tensors[f"{layer}self_attn.{name}_proj.weight"] = square
    write_tensors(folder / "model.safetensors", tensors)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": 16,
              "num_hidden_layers": 1, "num_attention_heads": width // HEAD, "num_key_value_heads": width // HEAD,
              "vocab_size": n_vocab, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "hidden_act": "silu", "tie_word_embeddings": False, "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))


def write_model(folder, answers, chat_template, marks=()):
    """Writes a model that gives `answers`, {"NAME": text}: after the special token <|NAME|>, with which the template ends a prompt,
    it generates the text and ends. A name of one character, such as "\\n", is no special token: the text comes after that
    character. `marks` are special tokens, each of which occurs at one place of one answer."""
    folder = pathlib.Path(folder)
    tokens = list(byte_names())
    special = [END, *(f"<|{name}|>" for name in answers if len(name) > 1), *marks]
    ids = {text: len(tokens) + i for i, text in enumerate(special)}
    pieces, taken, following = [], set(ids) | {chr(byte) for byte in range(256)}, {}
    first_piece = len(tokens) + len(special)
    for name, text in answers.items():
        path = [ids[f"<|{name}|>"] if len(name) > 1 else ord(name)]
        for mark in marks:
            text = text.replace(mark, f"\0{mark}\0")
        for part in filter(None, text.split("\0")):
            if part in marks:
                path.append(ids[part])
                continue
            fresh = unique_pieces(part, taken)
            path += range(first_piece + len(pieces), first_piece + len(pieces) + len(fresh))
            pieces += fresh
        path.append(ids[END])
        following.update(zip(path, path[1:]))
    n_vocab = first_piece + len(pieces)
    write_weights(folder, n_vocab, {i: following.get(i, ids[END]) for i in range(n_vocab)})
    added = [{"id": len(tokens) + i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": i < len(special)} for i, text in enumerate(special + pieces)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    (folder / "tokenizer.json").write_text(json.dumps(
        {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
         "pre_tokenizer": level, "post_processor": None, "decoder": level,
         "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                   "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                   "vocab": {name: i for i, name in enumerate(tokens)}, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": END, "chat_template": chat_template}))


# A model that writes as Qwen does. It thinks, calls the tool for the weather, and then repeats what the tool said.
WEATHER_ANSWERS = {
    "call": "<think>\nThe user wants the weather.\n</think>\n\n<tool_call>\n"
            '{"name": "get_weather", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>',
    "told": "<think>\nCold, it says.\n</think>\n\nIt is cold in Oslo.",
    "quick": "Hello there."}
WEATHER_TEMPLATE = """\
{%- if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}
{%- for message in messages %}
[{{ message.role }}] {{ message.content.split('</think>')[-1] }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}
{%- if messages[-1].role == 'tool' %}<|told|>{% elif tools %}<|call|>{% else %}<|quick|>{% endif %}
{%- endif %}"""


def write_weather_model(folder):
    write_model(folder, WEATHER_ANSWERS, WEATHER_TEMPLATE)
