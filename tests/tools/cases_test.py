#!/usr/bin/env python3
"""Checks small checkpoints and tokenizers that Seer once read wrongly.

    tests/tools/cases_test.py SEER [unittest's options]

The inputs are cases/cases.tar.xz of the test data (SEER_TEST_DATA). The answers are those of transformers 5.24, jinja2 and
sentencepiece, or follow from how the input was made: a checkpoint under auto/ generates a fixed token after each token. If the data
are missing the exit code is 77, which ctest reports as skipped."""
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import tempfile
import unittest

SKIPPED = 77
DEADLINE = 120  # seconds
SEER = ""
CASES = pathlib.Path()
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
ENVIRONMENT["SEER_DEVICE"] = "cpu"


def ids_of(text):
    return [int(word) for word in text.split()]


def utf8(text):
    """Returns the ids of strings, under a tokenizer whose first 256 entries are the bytes, and of special tokens, given as (ID,)."""
    return [i for part in text for i in (part if isinstance(part, tuple) else part.encode())]


class Case(unittest.TestCase):
    maxDiff = None

    def run_seer(self, *arguments, code=0, **options):
        done = subprocess.run([SEER, *arguments], env=ENVIRONMENT, capture_output=True, timeout=DEADLINE, **options)
        err = done.stderr.decode()
        self.assertEqual(done.returncode, code, err)
        return done.stdout, err

    def generate(self, case, *arguments):
        return self.run_seer("generate", "-m", str(CASES / case), "--temp", "0", "-q", *arguments)[0]

    def refused(self, *arguments):
        out, err = self.run_seer(*arguments, code=3)
        self.assertEqual(out, b"")
        return err

    def tokenize(self, case, text, *arguments):
        out = self.run_seer("tokenize", "-m", str(CASES / case), "-p", text, *arguments)[0]
        return ids_of(out.decode())


class Automata(Case):
    def test_an_id_beyond_the_tokenizer_decodes_to_nothing(self):
        self.assertEqual(self.generate("auto/padded-vocab", "-p", "A", "-n", "6", "--ids").split()[:3], [b"66", b"300", b"67"])
        self.assertTrue(self.generate("auto/padded-vocab", "-p", "A", "-n", "6").startswith(b"BC"))

    def test_a_prompt_of_ids_may_hold_one_beyond_the_tokenizer(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("66 300")
            file.flush()
            self.assertEqual(self.generate("auto/padded-vocab", "--tokens-file", file.name, "-n", "1"), b"C")
        out, err = self.run_seer("tokenize", "-m", str(CASES / "auto/padded-vocab"), "--decode", "-p", "66 300 67")
        self.assertEqual(out, b"BC")
        self.assertIn("300", err)

    def test_the_tokenizers_end_of_turn_stops_a_generation(self):
        for case, answer in (("auto/chatml-eos", b"OK"), ("auto/llama3-eos", b"Yo!")):
            with self.subTest(case):
                self.assertEqual(self.generate(case, "-p", "hi", "--chat-template", "auto", "-n", "20"), answer)

    def test_a_repetition_penalty_looks_at_all_tokens(self):
        # Without a penalty the 94th token after "!" is "!" again. The prompt's "!" counts however far back it is, so " " comes instead.
        self.assertEqual(self.generate("auto/rep-penalty", "-p", "!", "-n", "94")[-2:], b"~ ")
        self.assertEqual(self.generate("auto/rep-penalty", "-p", "!", "-n", "95")[-2:], b" !")

    def test_tokenizer_json_says_whether_an_added_token_is_special(self):
        plain = [256] if self.tokenize("auto/added-json", "x")[0] == 256 else []
        self.assertEqual(self.tokenize("auto/added-json", "x<|im_start|>y"), plain + utf8(["x<|im_start|>y"]))
        self.assertEqual(self.tokenize("auto/added-json", "x<|im_start|>y", "--parse-special"),
                         plain + utf8(["x", (258,), "y"]))

    def test_the_prompt_of_a_completion_has_special_tokens(self):
        with Server("auto/chatml-eos") as server:
            answer = server.post("/v1/completions", {
                "prompt": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "max_tokens": 4, "temperature": 0})
        self.assertEqual(answer["usage"]["prompt_tokens"], 21)


class Server:
    """Runs `seer serve` with the model of a case, at a port that the system chooses."""

    def __init__(self, case):
        self.process = subprocess.Popen([SEER, "serve", "-m", str(CASES / case), "--port", "0"], env=ENVIRONMENT,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stderr:
            if "http://" in line:
                self.port = int(line.split("http://")[1].split(":")[1].split("/")[0].split()[0])
                break

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE)

    def post(self, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())


LLAMA31_HEADER = "\n\nCutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
SMOLLM2_SYSTEM = "system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"


class ChatTemplates(Case):
    def prompt_ids(self, case, text):
        out = ids_of(self.generate(case, "-p", text, "--chat-template", "auto", "--echo", "--ids", "-n", "1").decode())
        return out

    def check(self, case, text, expected):
        found = self.prompt_ids(case, text)
        self.assertEqual(found[:len(expected)], expected)
        self.assertLessEqual(len(found), len(expected) + 1)  # one token is generated

    def test_smollm2_has_a_system_prompt_of_its_own(self):
        self.check("chat/smollm2", "Hello", utf8([(257,), SMOLLM2_SYSTEM, (258,), "\n", (257,), "user\nHello", (258,), "\n",
                                                  (257,), "assistant\n"]))

    def test_llama31_has_a_header_with_dates(self):
        self.check("chat/llama31", "Hello", utf8([(256, 258), "system", (259,), LLAMA31_HEADER, (260, 258), "user", (259,),
                                                  "\n\nHello", (260, 258), "assistant", (259,), "\n\n"]))

    def test_nemo_has_no_space_after_its_marks(self):
        self.check("chat/nemo", "Hello", utf8([(257, 259), "Hello", (260,)]))

    def test_a_template_without_bos_gets_none(self):
        self.check("chat/chatml-nobos-tmpl", "Hello", utf8([(258,), "user\nHello", (259,), "\n", (258,), "assistant\n"]))

    def test_a_prefix_space_only_where_the_text_begins(self):
        self.check("chat/chatml-sp-metafirst", "Hello there",
                   [1, 512, 425, 419, 285, 13, 440, 411, 306, 414, 383, 513, 13, 512, 412, 419, 419, 293, 413, 303, 413, 13])

    def test_special_tokens_may_be_in_the_vocabulary_alone(self):
        self.assertEqual(self.tokenize("chat/empty-added", "Hi"), [1, 320, 417])

    def test_an_added_token_that_is_not_special_can_open_a_turn(self):
        # These are the ids of the tokenizers package: the file's normalizer puts a prefix space before every part of a text between
        # added tokens. transformers 5 gives others, because it replaces the file's pipeline by LlamaTokenizer's own.
        self.check("chat/im-start-not-special", "Hi",
                   [1, 513, 318, 419, 285, 13, 440, 417, 512, 410, 13, 513, 261, 419, 419, 293, 413, 303, 413, 13])


class Tokenizers(Case):
    def test_a_normalized_added_token_is_found_in_normalized_text_only(self):
        self.assertEqual(self.tokenize("tok/sp-normalized", "a<|im_start|>b", "--parse-special"),
                         [1, 261, 504, 506, 288, 98, 356, 295, 413, 506, 505, 430])

    def test_lstrip_takes_every_unicode_white_space(self):
        for space in (" ", "\u00a0", "\u2003", "\u3000"):
            with self.subTest(space):
                self.assertEqual(self.tokenize("tok/bytes-lstrip", f"a{space}tokb", "--parse-special"), [97, 258, 98])

    def test_an_em_dash_is_no_word_character(self):
        for text, expected in (("tok\u2014", [258, 226, 128, 148]), ("\u2014tok", [226, 128, 148, 258]), ("atok", utf8(["atok"]))):
            with self.subTest(text):
                self.assertEqual(self.tokenize("tok/bytes-single_word", text, "--parse-special"), expected)

    def test_with_legacy_false_there_is_no_prefix_space_after_a_special_token(self):
        self.assertEqual(self.tokenize("sp/legacy-false", "<s>Y", "--parse-special"), [1, 1, 452])

    def test_add_prefix_space_false_counts_next_to_a_tokenizer_model(self):
        self.assertEqual(self.tokenize("sp/no-prefix-space", "Hi"), [1, 440, 417])


ONCE = [1, 403, 407, 261, 378]
UNCHANGED = [-10.1366, -5.3295, -10.1381, -10.1369]  # transformers' logits of ids 0 to 3 after ONCE
YARN = [-9.3983, -5.4990, -9.3997, -9.3985]


class Checkpoints(Case):
    def loads(self, case, logits=None, note=None):
        out, err = self.run_seer("inspect", "-m", str(CASES / case), "-v")
        if note:
            self.assertIn(note, out.decode() + err)
        if logits:
            self.assertTrue(all(abs(a - b) < 2e-3 for a, b in zip(self.logits(case), logits)), self.logits(case))

    def logits(self, case):
        """Returns the logits of ids 0 to 3 after the tokens ONCE."""
        with tempfile.TemporaryDirectory() as folder:
            dump = pathlib.Path(folder) / "dump.safetensors"
            self.run_seer("inspect", "-m", str(CASES / case), "--tokens-file", "-", "--logits-last", "1", "--dump", str(dump),
                          input=" ".join(map(str, ONCE)).encode())
            data = dump.read_bytes()
        size = int.from_bytes(data[:8], "little")
        entry = json.loads(data[8:8 + size])["logits"]
        self.assertEqual(entry["dtype"], "F32")
        begin = 8 + size + entry["data_offsets"][0]
        return list(memoryview(data[begin:begin + 16]).cast("f"))

    def test_keys_that_are_spelt_in_an_old_way_absent_or_null_are_read_as_transformers_does(self):
        for case, logits in (("arch-LLaMA", UNCHANGED), ("no-maxpos", UNCHANGED), ("pretraining_tp", UNCHANGED),
                             ("rope-yarn-null", YARN), ("no-prefix", UNCHANGED)):
            with self.subTest(case):
                self.loads("load/" + case, logits)

    def test_without_vocab_size_it_is_that_of_the_embedding(self):
        # transformers assumes its default, 32000, and refuses the weights.
        self.loads("load/no-vocab", UNCHANGED, "vocab_size is absent: it is 512")

    def test_tensors_that_change_nothing_are_skipped_and_named(self):
        for case, tensor in (("trl-vhead", "v_head.summary.weight"), ("kvscale", "k_scale"),
                             ("invfreq-model", "model.rotary_emb.inv_freq"), ("int64-buffer", "rotary_emb.pos")):
            with self.subTest(case):
                self.loads("load/" + case, UNCHANGED, tensor)

    def test_a_window_that_the_context_does_not_reach_changes_nothing(self):
        self.assertEqual(self.generate("load/sliding-big", "-p", "Once", "-n", "3", "-c", "64"), b" upon a time")

    def test_unusual_values_of_top_k_and_top_p_are_read_as_intended(self):
        for case, top_k, top_p in (("gen-topp0", None, True), ("gen-topk-1", 0, False), ("gen-topk-float", 50, False)):
            with self.subTest(case):
                sampling = json.loads(self.run_seer("inspect", "-m", str(CASES / "load" / case), "--output", "json")[0])["sampling"]
                if top_k is not None:
                    self.assertEqual(sampling["top_k"], top_k)
                self.run_seer("generate", "-m", str(CASES / "load" / case), "-p", "x", "-n", "1")
        likeliest = self.generate("load/gen-topp0", "-p", "Once", "-n", "8")
        for seed in ("1", "2", "3"):
            out = self.run_seer("generate", "-m", str(CASES / "load/gen-topp0"), "-p", "Once", "-n", "8", "-q", "-s", seed)[0]
            self.assertEqual(out, likeliest)

    def test_an_original_length_next_to_rope_scaling_counts(self):
        self.loads("load/orig-toplevel", YARN)

    def test_both_names_of_the_rope_type(self):
        # transformers 4 writes both keys. A file in which they agree is read; if they differ, the message names both.
        self.loads("load/rope-both-keys", UNCHANGED)
        with tempfile.TemporaryDirectory() as folder:
            for path in (CASES / "load/rope-both-keys").iterdir():
                os.symlink(path, pathlib.Path(folder) / path.name)
            config = json.loads((CASES / "load/rope-both-keys/config.json").read_text())
            config["rope_scaling"]["type"] = "dynamic"
            os.unlink(pathlib.Path(folder) / "config.json")
            (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
            err = self.refused("inspect", "-m", folder)
            self.assertIn("rope_type is 'linear' and type is 'dynamic'", err)

    def test_a_saved_head_next_to_a_tied_embedding(self):
        self.loads("load/tied-and-head", UNCHANGED)  # this head equals the embedding
        with tempfile.TemporaryDirectory() as folder:
            for path in (CASES / "load/tied-and-head").iterdir():
                os.symlink(path, pathlib.Path(folder) / path.name)
            weights = bytearray((CASES / "load/tied-and-head/model.safetensors").read_bytes())
            size = int.from_bytes(weights[:8], "little")
            begin, end = json.loads(weights[8:8 + size])["lm_head.weight"]["data_offsets"]
            weights[8 + size + begin:8 + size + end] = bytes(end - begin)
            os.unlink(pathlib.Path(folder) / "model.safetensors")
            (pathlib.Path(folder) / "model.safetensors").write_bytes(weights)
            self.assertEqual(self.logits(folder), [0.0] * 4)
            self.assertIn("another lm_head.weight is saved, which is used", self.run_seer("inspect", "-m", folder)[1])

    def test_git_lfs_pointers_and_gguf_files_are_named_with_the_remedy(self):
        err = self.refused("generate", "-m", str(CASES / "load/lfs"), "-p", "x")
        self.assertIn("Git LFS pointer", err)
        self.assertIn("git lfs pull", err)
        err = self.refused("generate", "-m", str(CASES / "load/gguf-only"), "-p", "x")
        self.assertIn("GGUF is not read", err)
        self.assertIn("safetensors", err)


def main():
    global SEER, CASES
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    SEER = os.path.abspath(sys.argv.pop(1))
    data = os.environ.get("SEER_TEST_DATA") or pathlib.Path(__file__).resolve().parents[3] / "shared"
    archive = pathlib.Path(data) / "cases" / "cases.tar.xz"
    if not archive.exists():
        print(f"SKIPPED: no test data at {archive} (set SEER_TEST_DATA)")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as files:
            files.extractall(folder)
        CASES = pathlib.Path(folder)
        unittest.main()


if __name__ == "__main__":
    main()
