#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: small valid inputs of every form that the readers know.

    tests/fuzz/make_seeds.py        writes tests/fuzz/seeds/TARGET/*, the same on every run

Inputs that fuzzing found are added to a folder by hand. Their names begin with found-, and this script keeps them."""
import copy
import io
import json
import pathlib
import shutil
import struct
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parents[1] / "examples/demo-model/model"
TEMPLATES = HERE.parents[1] / "tokenizer/templates"
SEPARATOR = "\x1e"  # support.h's kSeparator


def as_bytes(value):
    if isinstance(value, (dict, list)):
        value = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return value.encode() if isinstance(value, str) else value


# ---- weights ----
WIDTHS = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "U8": 1, "BOOL": 1, "F8_E4M3": 1}


def safetensors(tensors, metadata=None, padded=True):
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape in tensors:
        size = WIDTHS[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes((len(data) + i) % 251 for i in range(size))
    text = as_bytes(header)
    if padded:
        text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def safetensors_seeds():
    model = [("model.norm.weight", "BF16", [2, 3]), ("a", "U8", [3]), ("unaligned", "F32", [2, 1, 1]),
             ("none", "F16", [0, 4]), ("scalar", "F16", [])]
    yield "model", safetensors(model, {"format": "pt"})
    yield "empty", safetensors([], padded=False)
    yield "one", safetensors([("w", "F32", [1])])
    yield "foreign", safetensors([("i", "I64", [2]), ("b", "BOOL", [3]), ("five", "F16", [1, 1, 1, 1, 2]), ("q", "F8_E4M3", [4])])


def index_seeds():
    weights = {"model.norm.weight": "model-1.safetensors", "a": "model-2.safetensors", "b": "model-2.safetensors"}
    yield "two", {"metadata": {"total_size": 23}, "weight_map": weights}
    yield "one", {"weight_map": {"a": "model-2.safetensors"}}


# ---- torch.save ----
def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def integer(n):
    return b"K" + bytes([n]) if n < 256 else b"M" + struct.pack("<H", n)


def tensor(storage, key, n, offset, sizes, strides):
    numbers = lambda ns: b"(" + b"".join(map(integer, ns)) + b"t"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key) +
            text("cpu") + integer(n) + b"tQ" + integer(offset) + numbers(sizes) + numbers(strides) +
            b"\x89ccollections\nOrderedDict\n)RtR")


def pth(pickle, storages, **extra):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
        members = {"data.pkl": pickle, "byteorder": b"little", **{f"data/{k}": v for k, v in storages.items()},
                   "version": b"3\n", **extra}
        for name, data in members.items():
            z.writestr(zipfile.ZipInfo("archive/" + name), data)
    return out.getvalue()


def pth_seeds():
    float6, half, brain = (tensor("FloatStorage", "0", 6, 0, [2, 3], [3, 1]), tensor("HalfStorage", "1", 4, 1, [3], [1]),
                           tensor("BFloat16Storage", "2", 3, 0, [3, 1, 1], [1, 1, 1]))
    storages = {"0": b"f" * 24, "1": b"abcdefgh", "2": b"uvwxyz"}
    ordered = b"ccollections\nOrderedDict\n)R"
    body = b"".join(text(name) + t for name, t in (("model.layers.0.weight", float6), ("half", half), ("brain", brain)))
    metadata = b"}" + text("_metadata") + ordered + b"s"
    yield "state_dict", pth(b"\x80\x02" + ordered + b"q\0(" + body + b"u" + metadata + b"b.", storages)
    memo = b"\x80\x02}q\0(" + text("a") + b"q\1" + float6 + b"q\2" + text("b") + b"h\2u."
    yield "memo", pth(memo, {"0": storages["0"]})
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + half + b"\x88" + ordered + b"tR"
    yield "parameter", pth(b"\x80\x02}" + text("p") + parameter + b"s.", {"1": storages["1"]})
    yield "empty", pth(b"\x80\x02}.", {})


# ---- configs ----
CONFIG = json.loads((MODEL / "config.json").read_text())
TINY = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 53, "hidden_size": 24,
        "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "hidden_act": "silu", "max_position_embeddings": 1024, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "float32"}  # the shape of tests/models/tiny_model.h


def config_seeds():
    yield "demo", CONFIG
    yield "tiny", TINY
    for kind in ("default", "linear", "dynamic", "yarn", "llama3"):
        rope = {"rope_type": kind, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64, "mscale": 0.7, "mscale_all_dim": 1.0, "truncate": False}
        yield "rope_" + kind, {**TINY, "rope_parameters" if kind == "yarn" else "rope_scaling": rope, "eos_token_id": [2, 3]}
    for architecture, kind in (("MistralForCausalLM", "mistral"), ("Qwen2ForCausalLM", "qwen2"), ("Qwen3ForCausalLM", "qwen3")):
        yield kind, {**TINY, "architectures": [architecture], "model_type": kind, "sliding_window": 64,
                     "use_sliding_window": True, "max_window_layers": 1,
                     "layer_types": ["full_attention", "sliding_attention"]}


def gates_seeds():
    gates = {**TINY, "base_model": "../model", "seerattn_sparsity_method": "threshold", "seerattn_threshold": 0.002,
             "seerattn_nz_ratio": 1.0, "seerattn_gate_type": "Qavg_Kmaxminavg", "seerattn_gate_block_size": 16,
             "seerattn_gate_hidden_size": 8, "seerattn_last_block_dense": True, "seerattn_gate_force_double": False}
    yield "threshold", gates
    yield "nz_ratio", {**gates, "seerattn_sparsity_method": "nz_ratio", "seerattn_nz_ratio": 0.1}


def generation_seeds():
    yield "demo", (MODEL / "generation_config.json").read_text()
    yield "llama3", {"eos_token_id": [2, 128009], "do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 50,
                     "min_p": 0.05, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3, "max_length": 20}


# ---- tokenizers ----
def byte_pieces():
    """Returns {byte: the character by which GPT-2's vocabulary writes it}."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [b for b in range(256) if b not in shown]
    return {b: chr(b if b in shown else 256 + hidden.index(b)) for b in range(256)}


def added(number, content, special=True, **more):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": special, **more}


def byte_level():
    vocab = {piece: b for b, piece in byte_pieces().items()}
    for piece in ("he", "ll", "hell", "hello", "\u0120hello", "12", "123"):
        vocab[piece] = len(vocab)
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": [added(263, "<|bos|>"), added(264, "<|eos|>")], "normalizer": None,
            "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "vocab": vocab,
                      "merges": ["h e", "l l", "he ll", "hell o", "\u0120 hello", "1 2", "12 3"]}}


def metaspace():
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{b:02X}>": 3 + b for b in range(256)}}
    for piece in ("\u2581", *"abcdefghijklmnopqrstuvwxyz", "he", "ll", "hell", "hello", "\u2581hello", "\u2581\u2581"):
        vocab[piece] = len(vocab)
    replace = lambda a, b: {"type": "Replace", "pattern": {"String": a}, "content": b}
    return {"version": "1.0", "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581")]},
            "pre_tokenizer": None,
            "post_processor": {"type": "TemplateProcessing",
                               "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                               "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                               "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
            "decoder": {"type": "Sequence", "decoders": [replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                                                         {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "vocab": vocab,
                      "merges": [["h", "e"], ["l", "l"], ["he", "ll"], ["hell", "o"], ["\u2581", "hello"], ["\u2581", "\u2581"]]}}


LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
                r"\s*[\r\n]+|\s+(?!\S)|\s+")


def small_byte_level():
    """Returns a tokenizer with so few entries that mutations also reach the file's other parts."""
    file = byte_level()
    file["model"]["vocab"] = {"h": 0, "e": 1, "l": 2, "o": 3, "\u0120": 4, "he": 5, "1": 6}
    file["model"]["merges"] = ["h e"]
    file["added_tokens"] = [added(7, "<|bos|>"), added(8, "<tool>", special=False, lstrip=True)]
    return file


def tokenizer_seeds():
    words = "hello hell 123 h\u00e9 <|bos|><s>\n  <tool>x"
    join = lambda *parts: SEPARATOR.join(p if isinstance(p, str) else json.dumps(p, ensure_ascii=False) for p in parts)
    config = {"bos_token": "<|bos|>", "eos_token": {"content": "<|eos|>"}, "add_bos_token": True, "tokenizer_class":
              "PreTrainedTokenizerFast", "chat_template": "{{ messages[0].content }}",
              "added_tokens_decoder": {"263": added(263, "<|bos|>"), "264": added(264, "<|eos|>")}}
    for entry in config["added_tokens_decoder"].values():
        entry.pop("id")
    yield "byte_level", join(byte_level(), config, "", words)
    yield "metaspace", join(metaspace(), "", {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, words)
    split = small_byte_level()
    split["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA3_SPLIT}, "behavior": "Isolated", "invert": False},
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    split["normalizer"] = {"type": "NFC"}
    split["model"]["ignore_merges"] = True
    yield "split", join(split, "", "", words)
    normal = small_byte_level()
    normal["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": False},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    yield "normalizers", join(normal, "", "", words)
    template = copy.deepcopy(small_byte_level())
    template["post_processor"] = {"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
        "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [7], "tokens": ["<|bos|>"]}}}
    yield "template", join(template, {"bos_token": "<|bos|>", "additional_special_tokens": ["<tool>"]}, "", words)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def fields(message):
    """Yields (number, bytes of the whole field) for a protobuf message whose fields are varints, fixed32 or bytes."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        start = at
        key = number()
        if key & 7 == 0:
            number()
        elif key & 7 == 5:
            at += 4
        else:
            size = number()
            at += size
        yield key >> 3, message[start:at]


def sentencepiece_seeds():
    parts = list(fields((MODEL / "tokenizer.model").read_bytes()))
    pieces = [part for number, part in parts if number == 1]
    rest = b"".join(part for number, part in parts if number != 1)
    few = pieces[:3] + [p for p in pieces[259:] if len(p) < 16][:40]
    yield "bytes", b"".join(pieces[:259] + pieces[-64:]) + rest
    yield "few", b"".join(few) + rest.replace(b"\x98\x02\x01", b"\x98\x02\x00")  # byte_fallback off
    yield "pieces", b"".join(few)


# ---- chats ----
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "enum": ["a", "b"]}}, "required": ["city"]}}}]
CALLS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "caf\u00e9 <s>"},
         {"role": "assistant", "content": None, "tool_calls": [
             {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\": \"a\"}"}}]},
         {"role": "tool", "tool_call_id": "c1", "content": "sunny"}]


def template_seeds():
    chat = json.dumps({"messages": [{"role": "user", "content": "Hi <s>"}, {"role": "assistant", "content": "yes"},
                                    {"role": "user", "content": "more"}]})
    tools = json.dumps({"messages": [{"role": "user", "content": "x"}], "tools": TOOLS, "kwargs": {"n": 3, "deep": [1.5, None]}})
    for path in sorted(TEMPLATES.glob("*.jinja")):
        yield path.stem, path.read_text() + SEPARATOR + chat
    sources = {
        "tools": "{% for t in tools %}{{ t | tojson(indent=2) }}{% endfor %}{{ messages | map(attribute='role') | join(', ') }}",
        "namespace": "{% set ns = namespace(a=0, b=[]) %}{% for m in messages[::-1] %}{% if loop.first or not loop.last and m.role != 'x' %}"
                     "{% set ns.a = ns.a + loop.index0 %}{% else %}{% break %}{% endif %}{% endfor %}{{ ns.a }}",
        "macro": "{% macro f(x, y=2) %}<{{ x }}{{ caller() if caller }}{{ y ** 2 // 3 % 4 - 1.5 }}>{% endmacro %}{{ f(1) }}"
                 "{% call f(n) %}in{% endcall %}{{ deep }}",
        "filters": "{{ messages[0]['content'] | upper | replace('X', '\\n') | trim | default('d', true) | length }}"
                   "{{ [3, 1, 2] | sort(reverse=true) | list | first }}{{ 'a,b'.split(',') | last ~ 'z' * 3 }}"
                   "{{ '%s %05.2f' | format('a', 1.5) }}{{ {'k': 1}.items() | list }}{{ 'x' in messages[0] }}",
        "format": "{{ '{0:>10}|{0!r:^5}'.format(n) }}{{ strftime_now('%d %b %Y') }}{{ messages | selectattr('role', 'equalto', 'user') | list }}"
                  "{%- generation -%}{{ range(3) | sum }}{%- endgeneration -%}{# note #}{% raw %}{{ x }}{% endraw %}",
        "raise": "{% if messages[0].role is defined and messages[0].role is string %}{{ raise_exception('no ' + messages[0].role) }}{% endif %}",
    }
    for name, source in sources.items():
        yield name, source + SEPARATOR + tools


def request_seeds():
    yield "completion", {
        "model": "m", "prompt": ["a", "b"], "max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "n": 2,
        "stop": ["x", "y"], "stream": True, "stream_options": {"include_usage": True}, "echo": True, "seed": -3,
        "stop_token_ids": [7, 8], "min_tokens": 3, "logprobs": 5, "logit_bias": {"9": -100, "4": 1.5}, "repetition_penalty": 1.2,
        "repeat_last_n": -1, "best_of": 2, "skip_special_tokens": False, "add_special_tokens": False, "parse_special": False,
        "presence_penalty": 1, "frequency_penalty": -2, "ignore_eos": True, "sparse": "nz_ratio=0.1",
        "timings": True}
    yield "map", {"prompt": "a", "sparse": "threshold=0.01", "layer": 2, "head": 1, "max_side": 16}
    yield "ids", {"prompt": [[1], [2, 3]], "user": "u", "suffix": ""}
    yield "chat", {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 5, "logprobs": True,
                   "top_logprobs": 3, "tool_choice": "auto", "chat_template_kwargs": {"enable_thinking": False}}
    yield "calls", {"messages": CALLS, "tools": TOOLS, "parallel_tool_calls": False}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    yield "continued", {"messages": [{"role": "developer", "content": parts}, {"role": "user", "content": parts, "name": "n"},
                                     {"role": "assistant", "content": "So"}],
                        "add_generation_prompt": False, "continue_final_message": True, "response_format": {"type": "text"}}


def http_seeds():
    lines = lambda *all: "\x07" + "\r\n".join(all)
    host = "Host: localhost:8080"
    body = '{"prompt": "x"}'
    yield "get", lines("GET /health HTTP/1.1", host, "Accept: */*", "", "") + "GET /v1/models/a%20b?x=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    yield "post", lines("POST /v1/completions HTTP/1.1", host, "Content-Type: application/json", "Authorization: Bearer key",
                        f"Content-Length: {len(body)}", "Expect: 100-continue", "", body)
    yield "chunked", lines("POST /v1/completions HTTP/1.1", host, "Transfer-Encoding: chunked", "", "5;a=b", body[:5],
                           f"{len(body) - 5:x}", body[5:], "0", "Trailer: x", "", "")
    yield "preflight", lines("OPTIONS /v1/completions HTTP/1.1", host, "Origin: http://a.example",
                             "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization", "", "")
    yield "both", lines("POST / HTTP/1.1", host, "Content-Length: 3", "Transfer-Encoding: chunked", "", "0", "", "")
    yield "lengths", lines("POST / HTTP/1.1", host, "Content-Length: 3", "Content-Length: 4", "", "abcd")
    yield "folded", lines("GET / HTTP/1.1", host, "A: b", " c", "", "")
    yield "close", lines("HEAD /health HTTP/1.1", "host: [::1]:80", "connection: close", "", "")


def answer_seeds():
    call = '{"name": "get_weather", "arguments": {"city": "a\\u00e9\\"}", "n": [1, -2.5e3, true, null]}}'
    forms = {"none": 0, "hermes": 1, "llama3": 2, "mistral": 3}
    texts = {
        "hermes": [f"Let me see.\n<tool_call>\n{call}\n</tool_call>\n<tool_call>{call}</tool_call> done",
                   "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}", "<tool_call>{}</tool_call>",
                   "<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"a\": 1}, \"broken</tool_call> x"],
        "llama3": [call.replace("arguments", "parameters") + "; " + call, "<|python_tag|>" + call, '{"name": "other"} text'],
        "mistral": [f"[TOOL_CALLS][{call}, {call}]", '[TOOL_CALLS]get_weather[ARGS]{"city": "a"}[TOOL_CALLS]f{}',
                    '[TOOL_CALLS]f[CALL_ID]123456789[ARGS]{"a": {}} x'],
        "none": ["plain <think> text \u00e9", "<think>\nhm\n</think>\n\nanswer"],
    }
    for form, answers in texts.items():
        for i, answer in enumerate(answers):
            for thinking in range(3):
                thought = ["", "<think>\nhm </thin\n</think>\n\n", "hm\n</think>"][thinking]
                yield f"{form}{i}_{thinking}", bytes([forms[form] + 4 * thinking, 7 * i + 1]) + (thought + answer).encode()


# ---- the rest ----
def flags_seeds():
    lines = {
        "generate": "generate -m DIR -p text -n 8 --temp 0.5 --top-k=4 --seed -1 --sparse threshold=0.1 --ids -q --stop-id 2 --echo",
        "bench": "bench -m DIR -p 512-2048+512,8 --pg 4,5 -r 2 --sparse dense,nz_ratio=0.1",
        "chat": "chat -m DIR -g DIR --chat-template llama3 -c 100 --system s --temp 1e-3",
        "serve": "serve -m DIR --host 0.0.0.0 --port 80 --tool-call-parser hermes",
        "inspect": "inspect --model=DIR --dump file -p x",
        "perplexity": "perplexity -m DIR -f file --window 64 --max-windows 3 --output json --tp 2 --device cpu",
        "tune": "tune -m DIR -g DIR -f file --window 64 --look-ups 3 --target-density 0.1 --sparse threshold=0.1 --write",
        "tokenize": "tokenize -m DIR -p text --decode --no-bos --special",
        "render": "render --help", "man": "man --version", "completion": "completion bash"}
    for name, line in lines.items():
        yield name, line.replace(" ", "\n")


def ids_seeds():
    yield "ids", "1 2 3\n4\t5\r\n2147483647\n"
    yield "bad", "1 -2 99999999999 x"


def session_contents(rule=(0, 0.0), tokens=(1, 2, 3), n_computed=2, note="", items=(("the weights", "12"), ("RoPE", "none"))):
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    return (text("0.2.0") + struct.pack("<q", len(items)) + b"".join(text(name) + text(value) for name, value in items)
            + struct.pack("<qqqdqqqq", 64, 4096, *rule, 0, 3, n_computed, len(tokens))
            + b"".join(struct.pack("<i", id) for id in tokens) + text(note))


def session_seeds():
    yield "dense", session_contents()
    yield "threshold", session_contents((1, 0.25), n_computed=3, note='{"messages":[],"held":null}')
    yield "empty", session_contents((3, 1.0), (), 0, items=())
    yield "rule", session_contents((2, 7.0))
    yield "computed", session_contents(n_computed=4)
    yield "whole", b"SeerSess" + struct.pack("<QQ", 1, 8) + bytes(24)
    yield "newer", b"SeerSess" + struct.pack("<QQ", 2, 8) + bytes(24)


def page_file_seeds():
    def head(version=1, record_bytes=400000, cost=0.25):
        return b"SeerPage" + struct.pack("<Q", version) + bytes(range(32)) + struct.pack("<Qd", record_bytes, cost) + bytes(16)

    yield "page", head()
    yield "newer", head(version=2)
    yield "empty", head(record_bytes=0)
    yield "huge", head(record_bytes=1 << 63)
    yield "cost", head(cost=float("nan"))


def text_seeds():
    yield "ascii", b"\x01hello, world"
    yield "mixed", b"\x02" + "a\u00e9\u20ac\U0001f600\u0301 z".encode()
    yield "broken", b"\x03a\x80\xc3(\xe2\x82 \xed\xa0\x80\xf4\x90\x80\x80\xf0\x9f\x98\xff\xc0\x80 end\xe2\x82"


def round_trip_seeds():
    yield "words", " hello hell 123 helloing  hello\n\n"
    yield "unicode", "caf\u00e9 cafe\u0301 \ufb01 \uff21 \U0001f468\u200d\U0001f469 \u2581x \u3000"
    yield "special", "<s></s><|bos|><unk><0x41>"
    yield "bytes", b"\xff\xfe\x00\xc3 a\xe2\x82"


SEEDS = {"answers": answer_seeds, "api_request": request_seeds, "chat_template": template_seeds, "config": config_seeds,
         "flags": flags_seeds, "gates": gates_seeds, "generation_config": generation_seeds, "http": http_seeds, "ids_file": ids_seeds,
         "page_file": page_file_seeds, "pth": pth_seeds, "round_trip": round_trip_seeds, "safetensors": safetensors_seeds,
         "sentencepiece": sentencepiece_seeds, "session": session_seeds, "shard_index": index_seeds, "text": text_seeds,
         "tokenizer_json": tokenizer_seeds, "weights": config_seeds}


def main():
    for target, seeds in SEEDS.items():
        folder = HERE / "seeds" / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if not old.name.startswith("found-"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        for name, value in seeds():
            (folder / name).write_bytes(as_bytes(value))


if __name__ == "__main__":
    main()
