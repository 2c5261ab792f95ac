#!/usr/bin/env python3
"""Tests examples/python/seer.py on the demo model: python_test.py LIBRARY [TEST...]

SEER_SANITIZER_RUN_TIME names the run time that a library with sanitizers needs before it in the process."""
import ctypes
import gc
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples/python"))
import seer  # noqa: E402

LIBRARY = sys.argv.pop(1)
MODEL, GATES = ROOT / "examples/demo-model/model", ROOT / "examples/demo-model/gates"
PROMPT = "It was a bright morning, and the whole village"
LONG = (ROOT / "examples/long-document/document.txt").read_text(encoding="utf-8")
HEADER = (ROOT / "engine/include/seer/seer.h").read_text(encoding="utf-8")
DEADLINE = 60  # seconds


def load(**options):
    return seer.Engine(MODEL, GATES, library=LIBRARY, device="cpu", **options)


def program(text, **environment):
    """Runs a Python program that can import seer, and returns the finished process."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
    env |= {"PYTHONPATH": str(ROOT / "examples/python"), "SEER_LIBRARY": LIBRARY, **environment}
    return subprocess.run([sys.executable, "-B", "-c", text], capture_output=True, text=True, cwd=ROOT, env=env, timeout=DEADLINE)


class Interface(unittest.TestCase):
    """These tests need no model. What seer.py repeats from the header must be the same there."""

    def test_the_structs_are_those_of_the_header(self):
        text = re.sub(r"/\*.*?\*/", " ", HEADER, flags=re.DOTALL)
        declared = {}
        for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, re.DOTALL):
            fields = []
            for declaration in filter(None, (" ".join(part.split()) for part in body.split(";"))):
                if callback := re.match(r"\w+ \(\*(\w+)\)", declaration):
                    fields.append((callback.group(1), "pointer"))
                    continue
                kind, names = re.match(r"(const char\* const\*|(?:const )?\w+\*?) (.*)", declaration).groups()
                fields += [(field, kind) for field in names.split(", ")]
            declared[name] = fields
        types = {kind: ctype for kind, ctype in seer._TYPES.items() if kind not in ("text", "pointer")}
        types |= {"seer_finish": ctypes.c_int32, "seer_logprob": seer._Logprob}
        checked = set()
        for struct in (value for value in vars(seer).values() if isinstance(value, type) and issubclass(value, ctypes.Structure)):
            if struct is ctypes.Structure:
                continue
            checked.add(struct.__name__)
            self.assertEqual([name for name, _ in struct._fields_], [name for name, _ in declared[struct.__name__]], struct)
            for (name, ctype), (_, kind) in zip(struct._fields_, declared[struct.__name__]):
                pointer = "*" in kind or kind == "pointer"
                expected = (ctypes.c_char_p, ctypes.c_void_p) if pointer else (types[kind],)
                self.assertIn(ctype, expected, f"{struct.__name__}.{name}: {kind}")
        self.assertEqual(checked, declared.keys() - {"seer_chat_message"})

    def test_the_ends_of_requests_are_those_of_the_header(self):
        names = re.findall(r"SEER_FINISH_(\w+) = (\d+)", HEADER)
        self.assertEqual([(name.lower(), int(number)) for name, number in names], [(n, i) for i, n in enumerate(seer._FINISH)])

    def test_every_field_of_a_request_has_an_option(self):
        said = set(seer.RequestOptions.__annotations__)
        fields = {name for struct in (seer._Request, seer._Sampling) for name, _ in struct._fields_}
        own = {"size", "prompt", "n_prompt", "sampling", "n_stop", "user", "on_end", "n_stop_token_ids", "has_logprobs",
               "has_prompt_logprobs", "has_seed", "bias_ids", "bias_values", "n_biases"}
        self.assertEqual(fields - own, said - {"logit_bias"})

    def test_a_library_that_is_not_there_is_named(self):
        for how in ({"library": "/no/such/lib.so"}, {}):
            with self.subTest(how), tempfile.NamedTemporaryFile(suffix=".so") as no_library:
                with unittest.mock.patch.dict(os.environ, {"SEER_LIBRARY": no_library.name}):
                    with self.assertRaises(seer.Error) as caught:
                        seer.Engine(MODEL, **how)
                self.assertEqual(caught.exception.kind, "library")
                self.assertIn(how.get("library", no_library.name), str(caught.exception))
                self.assertIn("SEER_LIBRARY", str(caught.exception))

    def test_a_library_without_these_functions_is_refused(self):
        with self.assertRaisesRegex(seer.Error, "seer_version.*Expected the shared library of Seer"):
            seer.version("libc.so.6")

    def test_without_a_name_the_loader_finds_the_library(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "libseer_engine.so.0").symlink_to(pathlib.Path(LIBRARY).resolve())
            found = program("import seer; print(seer.version())", SEER_LIBRARY="", LD_LIBRARY_PATH=folder)
        self.assertEqual((found.stdout.strip(), found.stderr), (seer.version(LIBRARY), ""))
        missing = program("import seer; seer.version()", SEER_LIBRARY="", LD_LIBRARY_PATH="/no/such")
        self.assertIn("libseer_engine.so.0", missing.stderr)

    def test_the_examples_of_the_page_run(self):
        page = (ROOT / "examples/python/README.md").read_text(encoding="utf-8")
        blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        self.assertEqual(len(blocks), 1)
        done = program(blocks[0])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("58213", done.stdout)
        self.assertTrue(done.stdout.splitlines()[-1].startswith("file no/such/model"), done.stdout)


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = load()

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def setUp(self):
        self.addCleanup(self.assert_idle)

    def assert_idle(self):
        gc.collect()
        until = time.monotonic() + DEADLINE
        while self.engine.statistics.n_running + len(seer._tasks) > 1 and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(self.engine.statistics.n_running + self.engine.statistics.n_waiting, 0)
        self.assertEqual(len(seer._tasks), 1, "callbacks of requests that have ended are kept")

    def test_pieces_are_the_text_of_the_result(self):
        with self.engine.stream(PROMPT, max_new_tokens=40, temperature=0) as stream:
            pieces = list(stream)
            result = stream.result
        self.assertGreater(len(pieces), 20)
        self.assertEqual("".join(pieces), result.text)
        self.assertEqual(self.engine.decode(result.tokens), result.text.lstrip())
        self.assertEqual((result.finish, len(result.tokens), result.stop_id), ("length", 40, -1))
        again = self.engine.generate(self.engine.encode(PROMPT), max_new_tokens=40, temperature=0)
        self.assertEqual(again.tokens, result.tokens)
        with self.engine.session() as session:
            self.assertEqual(session.generate(PROMPT, max_new_tokens=40, temperature=0).tokens, result.tokens)

    def test_streams_run_together(self):
        streams = [self.engine.stream(PROMPT, max_new_tokens=n, temperature=0) for n in (3, 9, 30)]
        firsts = [next(stream) for stream in streams]
        self.assertEqual(len(set(firsts)), 1)
        results = [stream.result for stream in streams]
        self.assertEqual([len(result.tokens) for result in results], [3, 9, 30])
        self.assertEqual(results[2].tokens[:9], results[1].tokens)

    def test_statistics_say_what_the_prompt_took(self):
        tokens = self.engine.encode(LONG)[:4100]
        with self.engine.session() as session:
            dense = session.generate(tokens, max_new_tokens=3, sparse="dense").statistics
        with self.engine.session() as session:
            sparse = session.generate(tokens, max_new_tokens=3, sparse="nz_ratio=0.1").statistics
        self.assertEqual(dense.density, 1.0)
        self.assertTrue(0.05 < sparse.density < 0.3, sparse)
        self.assertEqual((sparse.n_prompt + sparse.n_cached, sparse.n_generated), (4100, 3))
        for times in (dense, sparse):
            self.assertTrue(0 < times.attention < times.prefill < DEADLINE and 0 < times.decode < DEADLINE, times)
        self.assertEqual(dense.gate, 0)
        self.assertGreater(sparse.gate, 0)

    def test_the_engine_describes_itself(self):
        info = self.engine.info
        self.assertEqual((info.architecture, info.n_layers, info.has_gates, info.has_tokenizer, info.stop_ids),
                         ("LlamaForCausalLM", 6, True, True, [2]))
        self.assertIn("cpu", info.device)
        self.assertEqual((info.kv_cache_dtype, info.activations), ("f32", "f32"))
        before = self.engine.statistics
        self.engine.generate(PROMPT, max_new_tokens=2)
        self.assertEqual(self.engine.statistics.n_finished, before.n_finished + 1)
        self.engine.check()

    def test_gates_for_decoding_choose_by_their_own_rule_or_the_requests(self):
        shape = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", hidden_size=128,
                     intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=32,
                     vocab_size=256, max_position_embeddings=1024, rms_norm_eps=1e-5, rope_theta=10000.0, torch_dtype="bfloat16",
                     seerattn_k_seq_pooling_type="Kmaxminavg", seerattn_q_head_pooling_type="Qproj",
                     seerattn_gate_block_size=16, seerattn_gate_hidden_size=32, seerattn_sparsity_method="token_budget",
                     seerattn_token_budget=64)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
            json.dump(shape, config)
            config.flush()
            engine = seer.Engine(None, random_config=config.name, library=LIBRARY, device="cpu")
        with engine:
            info = engine.info
            self.assertEqual((info.has_gates, info.has_decode_gates, info.default_decode_rule, info.decode_start_layer),
                             (False, True, "budget=64", 0))
            prompt = [i * 37 % 256 for i in range(300)]
            own, dense, few = (engine.generate(prompt, max_new_tokens=8, ignore_eos=True, **rule).statistics.decode_density
                               for rule in ({}, {"sparse_decode": "dense"}, {"sparse_decode": "ratio=0.1"}))
            self.assertEqual(dense, 1.0)
            self.assertTrue(0 < few < own < 0.4, (few, own))
        with self.assertRaisesRegex(seer.Error, "found a second one"):
            load(more_gates_dir=GATES)

    def test_a_disk_cache_serves_the_next_engine(self):
        tokens = self.engine.encode(LONG)[:500]
        with tempfile.TemporaryDirectory() as folder:
            first, second = [], []
            for results in (first, second):
                with load(ctx_size=1024, disk_cache_dir=folder, disk_cache_bytes=1 << 30) as engine:
                    results.append(engine.generate(tokens, max_new_tokens=8, temperature=0, sparse="dense"))
                    results.append(engine.statistics)
            self.assertEqual(first[0].tokens, second[0].tokens)
            self.assertEqual((first[0].statistics.n_from_disk, first[0].statistics.n_cached), (0, 0))
            self.assertEqual((second[0].statistics.n_from_disk, second[0].statistics.n_cached), (448, 448))
            self.assertEqual((second[0].statistics.n_from_host, second[0].statistics.n_prompt), (0, 52))
            self.assertTrue(0 < second[0].statistics.restore < second[0].statistics.prefill)
            tier = second[1].disk_cache
            self.assertEqual((tier.restored_tokens, tier.restored_pages, tier.failed_pages), (448, 7, 0))
            self.assertTrue(tier.n_pages >= 7 and tier.n_bytes >= tier.restored_bytes > 0 < tier.restore, tier)
            self.assertEqual((second[1].host_cache.n_pages, second[1].refused_tokens, second[1].restore_saved), (0, 0, 0))
            with self.assertRaisesRegex(seer.Error, "GPU"):
                load(host_cache_bytes=1 << 30)

    def test_a_chat_is_rendered_by_the_template_and_reuses_earlier_turns(self):
        messages = [{"role": "user", "content": LONG[:3000]}]
        text = self.engine.render_chat(messages, template="llama2")
        self.assertTrue(text.rstrip().endswith("[/INST]"), text[-20:])
        ids = self.engine.encode_chat(messages, template="llama2")
        self.assertEqual(self.engine.generate(ids, max_new_tokens=8, temperature=0).tokens,
                         self.engine.chat(messages, template="llama2", max_new_tokens=8, temperature=0).tokens)
        with self.engine.stream_chat(messages, template="llama2", max_new_tokens=8, temperature=0) as stream:
            answer = stream.result
        messages += [{"role": "assistant", "content": answer.text}, {"role": "user", "content": "And then?"}]
        second = self.engine.chat(messages, template="llama2", max_new_tokens=4)
        self.assertGreater(second.statistics.n_cached, 500)
        self.assertIn("Once", self.engine.render_chat([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Once"}],
                                                      template="chatml", continue_final_message=True)[-4:])
        with self.assertRaisesRegex(seer.Error, "template") as caught:
            self.engine.chat(messages)  # fails, because the demo model has no template
        self.assertEqual(caught.exception.kind, "usage")

    def test_variables_and_tools_reach_a_template(self):
        with tempfile.NamedTemporaryFile("w", suffix=".jinja") as template:
            template.write("{{ messages[0].content }}|{{ tone }}|{{ tools[0].function.name if tools }}")
            template.flush()
            text = self.engine.render_chat([{"role": "user", "content": "Grüße\0"}], template=template.name,
                                           template_arguments={"tone": "calm"},
                                           tools=[{"type": "function", "function": {"name": "look"}}])
        self.assertEqual(text, "Grüße\0|calm|look")

    def test_text_is_encoded_and_tokens_are_decoded(self):
        for text in ("", "a", "the village\nGrüße", "a\0b"):
            ids = self.engine.encode(text, add_special=False)
            self.assertEqual(self.engine.decode(ids), text)
        self.assertEqual(self.engine.encode("a")[0], 1)
        self.assertEqual(self.engine.encode("<s>", add_special=False, parse_special=True), [1])
        self.assertEqual(self.engine.decode([1], keep_special=True), "<s>")

    def test_a_session_holds_its_tokens(self):
        with self.engine.session() as session:
            first = session.generate(PROMPT, max_new_tokens=5, temperature=0)
            self.assertEqual(session.tokens, self.engine.encode(PROMPT) + first.tokens)
            more = session.generate(" and", max_new_tokens=5, temperature=0)
            self.assertEqual(session.tokens[-5:], more.tokens)
            self.assertEqual(session.tokens.count(1), 1)  # BOS is at the beginning only
            session.reset()
            self.assertEqual(session.tokens, [])

    def test_a_loaded_session_gives_the_same_tokens_as_the_saved_one(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "saved")
            with self.engine.session() as session:
                session.generate(PROMPT, max_new_tokens=5, temperature=0)
                session.save(file)
                tokens, expected = session.tokens, session.generate(" and", max_new_tokens=5, temperature=0).tokens
            with self.engine.load_session(file) as session:
                self.assertEqual(session.tokens, tokens)
                self.assertEqual(session.generate(" and", max_new_tokens=5, temperature=0).tokens, expected)
            file.write_bytes(file.read_bytes()[:-1])
            with self.assertRaisesRegex(seer.Error, "cut short"):
                self.engine.load_session(file)

    def test_options_reach_the_request(self):
        greedy = self.engine.generate(PROMPT, max_new_tokens=12, temperature=0)
        self.assertEqual(self.engine.generate(PROMPT, max_new_tokens=12, seed=7).tokens,
                         self.engine.generate(PROMPT, max_new_tokens=12, seed=7).tokens)
        word = greedy.text.split()[3]
        stopped = self.engine.generate(PROMPT, temperature=0, max_new_tokens=12, stop=[word])
        self.assertEqual((stopped.finish, stopped.stop), ("stop_string", word))
        by_token = self.engine.generate(PROMPT, temperature=0, max_new_tokens=12, stop_token_ids=[greedy.tokens[4]])
        self.assertEqual((by_token.finish, by_token.stop_id), ("stop_token", greedy.tokens[4]))
        biased = self.engine.generate(PROMPT, temperature=0, max_new_tokens=3, logit_bias={greedy.tokens[0]: float("-inf"), 300: 1e9})
        self.assertEqual(biased.tokens, [300, 300, 300])

    def test_log_probabilities_are_reported(self):
        result = self.engine.generate(PROMPT, max_new_tokens=4, temperature=0, n_logprobs=3, n_prompt_logprobs=1)
        self.assertEqual([at.token for at in result.logprobs], result.tokens)
        for at in result.logprobs:
            self.assertEqual((at.top[0], len(at.top)), ((at.token, at.logprob), 3))
        self.assertEqual([at.token for at in result.prompt_logprobs], self.engine.encode(PROMPT)[1:])

    def test_callbacks_see_and_stop_a_request(self):
        seen, progress = [], []
        result = self.engine.generate(PROMPT, max_new_tokens=20, temperature=0, on_progress=lambda *at: progress.append(at),
                                      on_token=lambda token, text: (seen.append((token, text)), len(seen) < 4)[1])
        self.assertEqual((result.finish, [token for token, _ in seen]), ("cancelled", result.tokens))
        self.assertEqual(progress[-1][:2], (len(self.engine.encode(PROMPT)),) * 2)
        with self.engine.session() as session:
            stopped = session.generate(PROMPT, max_new_tokens=20, on_progress=lambda *at: False)
            self.assertEqual((stopped.finish, stopped.tokens), ("cancelled", []))

    def test_logits_may_be_changed(self):
        def only(tokens, logits):
            for i in range(len(logits)):
                logits[i] = 0 if i == 300 + len(tokens) else float("-inf")
        n_prompt = len(self.engine.encode(PROMPT))
        result = self.engine.generate(PROMPT, max_new_tokens=3, on_logits=only)
        self.assertEqual(result.tokens, [300 + n_prompt + i for i in range(3)])

    def test_an_exception_in_a_callback_ends_its_request_alone(self):
        def fail(*_):
            raise KeyError("mine")
        for name in ("on_token", "on_progress", "on_logits"):
            for make in (self.engine.stream, None):
                with self.subTest(name, session=make is None), self.engine.session() as session:
                    other = self.engine.stream(PROMPT, max_new_tokens=30)
                    with self.assertRaisesRegex(KeyError, "mine"):
                        (make or session.stream)(PROMPT, max_new_tokens=30, **{name: fail}).result
                    self.assertEqual(other.result.finish, "length")
                    self.assertGreater(len(session.generate(PROMPT, max_new_tokens=2).tokens), 0)

    def test_errors_are_exceptions_with_the_engines_message(self):
        cases = [("sparse", "half", "usage", "half"), ("sparse_decode", "budget=1024", "usage", "only gates for prompts"),
                 ("stop_token_ids", [999999], "usage", "999999"),
                 ("temperature", -1.0, "usage", "temperature"), ("stop", ["a\0b"], "usage", "zero bytes")]
        for name, value, kind, found in cases:
            for owner in (self.engine, self.engine.session()):
                with self.subTest(name), self.assertRaises(seer.Error) as caught:
                    owner.generate(PROMPT, **{name: value})
                self.assertEqual(caught.exception.kind, kind)
                self.assertIn(found, str(caught.exception))
        with self.assertRaises(seer.Error) as caught:
            self.engine.generate([])
        self.assertEqual(caught.exception.kind, "usage")

    def test_numbers_that_ctypes_would_truncate_are_refused(self):
        for name, value in (("max_new_tokens", 2**64 + 3), ("seed", -1), ("top_k", 2**63), ("stop_token_ids", [2**32 + 5])):
            with self.subTest(name), self.assertRaises(OverflowError):
                self.engine.generate(PROMPT, **{name: value})
        with self.assertRaises(OverflowError):
            self.engine.generate([2**32 + 5])
        with self.assertRaisesRegex(TypeError, "'temprature'.*temperature"):
            self.engine.generate(PROMPT, temprature=1)
        with self.assertRaisesRegex(TypeError, "one text"):
            self.engine.generate(PROMPT, stop="abc")

    def test_a_stream_that_is_closed_or_forgotten_is_cancelled(self):
        with self.engine.stream(PROMPT, ignore_eos=True) as stream:
            next(stream)
        self.assertEqual((stream.result.finish, len(seer._tasks)), ("cancelled", 1))
        forgotten = self.engine.stream(PROMPT, ignore_eos=True)
        next(forgotten)
        del forgotten
        self.assert_idle()
        with self.engine.session() as session:
            next(session.stream(PROMPT, ignore_eos=True))  # forgotten at once
            self.assertEqual(session.generate(PROMPT, max_new_tokens=2).finish, "length")
            running = session.stream(PROMPT, ignore_eos=True)
            with self.assertRaisesRegex(seer.Error, "still runs"):
                session.tokens
            running.cancel()
            self.assertEqual(running.result.finish, "cancelled")
            left = session.stream(PROMPT, ignore_eos=True)  # closing the session cancels it
        self.assertEqual(left.result.finish, "cancelled")

    def test_ctrl_c_ends_a_request(self):
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            self.engine.generate(PROMPT, ignore_eos=True)
        timer.join()


class Lifetimes(unittest.TestCase):
    def test_a_model_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(seer.Error, "/no/such/model") as caught:
            seer.Engine("/no/such/model", library=LIBRARY)
        self.assertEqual(caught.exception.kind, "file")
        with self.assertRaisesRegex(seer.Error, "context of 1 to .* found -1"):
            load(ctx_size=-1)
        with self.assertRaisesRegex(seer.Error, "activations of auto, f32 or bf16, found 'fp8'"):
            load(activations="fp8")
        self.assertEqual(seer._tasks, {})

    def test_loading_can_be_watched_and_stopped(self):
        seen = []
        load(on_load=lambda *at: seen.append(at)).close()
        self.assertEqual(seen[-1][0], seen[-1][1])
        with self.assertRaises(seer.Error) as caught:
            load(on_load=lambda *at: False)
        self.assertEqual(caught.exception.kind, "cancelled")
        with self.assertRaises(ZeroDivisionError):
            load(on_load=lambda *at: 1 // 0)

    def test_calls_of_a_closed_engine_or_session_fail_with_that_reason(self):
        engine = load()
        session = engine.session()
        engine.close()
        engine.close()
        for call in (engine.generate, engine.encode, session.generate):
            with self.assertRaisesRegex(seer.Error, "engine is closed"):
                call(PROMPT)
        session.close()
        with self.assertRaisesRegex(seer.Error, "session is closed"):
            session.tokens

    def test_a_session_outlives_its_engines_handle(self):
        engine = load()
        ids, session = engine.encode(PROMPT), engine.session()
        engine.close()
        raw = session._library  # the session keeps the model, so its tokens can still be read
        self.assertEqual(session.tokens, [])
        self.assertIsNotNone(raw)
        session.close()
        self.assertGreater(len(ids), 3)

    def test_an_engine_that_is_forgotten_in_a_callback_is_freed(self):
        kept, ended = [load()], threading.Event()

        def forget(*_):
            kept.clear()
            gc.collect()
            ended.set()
            return False
        stream = kept[0].stream(PROMPT, on_token=forget)
        self.assertTrue(ended.wait(DEADLINE))
        self.assertEqual(stream.result.finish, "cancelled")
        del stream
        until = time.monotonic() + DEADLINE
        while (gc.collect(), seer._tasks)[1] and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(seer._tasks, {})

    def test_a_program_may_end_while_requests_run(self):
        text = f"""
import seer
engine = seer.Engine({str(MODEL)!r}, device="cpu")
session = engine.session()
running = [engine.stream("It was", ignore_eos=True), session.stream("It was", ignore_eos=True)]
print([next(stream) != "" for stream in running])
"""
        done = program(text)
        self.assertEqual((done.returncode, done.stdout.strip(), done.stderr), (0, "[True, True]", ""))


if __name__ == "__main__":
    import unittest.mock
    if not pathlib.Path(LIBRARY).exists():
        print(f"SKIPPED: no shared library at {LIBRARY}")
        sys.exit(77)
    run_time = os.environ.pop("SEER_SANITIZER_RUN_TIME", "")
    if run_time and "LD_PRELOAD" not in os.environ:
        if not pathlib.Path(run_time).is_absolute():
            print(f"SKIPPED: the library needs the sanitizer's run time, and the compiler has no {run_time}")
            sys.exit(77)
        os.environ |= {"LD_PRELOAD": run_time, "ASAN_OPTIONS": "detect_leaks=0"}  # else Python's own leaks would be reported
        os.execv(sys.executable, [sys.executable, "-B", __file__, LIBRARY, *sys.argv[1:]])
    unittest.main()
