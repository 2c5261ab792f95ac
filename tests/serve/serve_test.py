#!/usr/bin/env python3
"""Checks the answers of `seer serve`, letter by letter, over connections."""
import json
import shutil
import subprocess
import threading
import unittest

from running_server import DEADLINE, ENDLESS, PROMPT, SEER, Server, environment, eventually, generate, model_arguments


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def shell(self, command, **variables):
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], env={**self.path(), "URL": self.server.url, **variables},
                              capture_output=True, text=True, timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    @staticmethod
    def path():
        return {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Answers(Serve):
    def test_greedy_text_is_what_generate_writes(self):
        expected = generate(PROMPT, "-n", "24", "--temp", "0")
        answer = self.server.complete(prompt=PROMPT, max_tokens=24).json
        self.assertEqual(answer["choices"][0]["text"], expected)
        self.assertEqual(answer["object"], "text_completion")
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")
        usage = answer["usage"]
        self.assertEqual(usage["completion_tokens"], 24)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + 24)
        self.assertLess(usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"])
        streamed = self.server.complete(prompt=PROMPT, max_tokens=24, stream=True)
        self.assertEqual(streamed.headers["Content-Type"], "text/event-stream; charset=utf-8")
        self.assertEqual(streamed.streamed_texts(), [expected])

    @unittest.skipUnless(shutil.which("curl") and shutil.which("jq"), "curl and jq are not installed")
    def test_curl_and_jq_read_both_kinds_of_answers(self):
        body = json.dumps({"prompt": PROMPT, "max_tokens": 8, "temperature": 0})
        expected = self.server.complete(prompt=PROMPT, max_tokens=8).json["choices"][0]["text"]
        # Without -H, curl sends the content type of a form, which the server must accept.
        self.assertEqual(self.shell('curl -sSf "$URL/v1/completions" -d "$BODY" | jq -j ".choices[0].text"', BODY=body), expected)
        body = json.dumps({"messages": [{"role": "user", "content": PROMPT}], "max_tokens": 8, "temperature": 0, "stream": True})
        lines = self.shell('curl -sSfN "$URL/v1/chat/completions" -H "Content-Type: application/json" -d "$BODY" | '
                           'sed -n "s/^data: //p" | grep -v "^\\[DONE\\]$" | jq -j ".choices[0].delta.content // empty"', BODY=body)
        self.assertEqual(lines, expected)

    def test_a_chat_in_plain_text_is_the_completion_of_its_messages(self):
        expected = self.server.complete(prompt="One.\nTwo", max_tokens=6).json["choices"][0]["text"]
        messages = [{"role": "system", "content": "One."},
                    {"role": "user", "content": [{"type": "text", "text": "Two"}]}]
        answer = self.server.chat(messages=messages, max_completion_tokens=6).json
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["choices"][0]["message"], {"role": "assistant", "content": expected, "refusal": None})

    def test_a_streamed_chat_has_a_role_first_a_reason_last_and_usage_after_that(self):
        answer = self.server.chat(messages=[{"role": "user", "content": PROMPT}], max_tokens=4, stream=True,
                                  stream_options={"include_usage": True})
        first, *pieces, last, usage = answer.events
        self.assertEqual(first["object"], "chat.completion.chunk")
        self.assertEqual(first["choices"][0]["delta"], {"role": "assistant", "content": ""})
        for event in (first, *pieces):
            self.assertIsNone(event["choices"][0]["finish_reason"])
            self.assertIsNone(event["usage"])
        self.assertEqual((last["choices"][0]["delta"], last["choices"][0]["finish_reason"]), ({}, "length"))
        self.assertEqual(usage["choices"], [])
        self.assertEqual(usage["usage"]["completion_tokens"], 4)
        self.assertEqual(len({event["id"] for event in answer.events}), 1)

    def test_prompts_times_n_choices_come_in_order(self):
        ask = {"prompt": [PROMPT, "The captain"], "max_tokens": 6, "temperature": 1, "seed": 11, "n": 2}
        alone = [self.server.complete(**{**ask, "prompt": prompt, "seed": seed, "n": 1}).json["choices"][0]["text"]
                 for prompt in ask["prompt"] for seed in (11, 12)]
        whole = self.server.complete(**ask).json
        self.assertEqual([choice["text"] for choice in whole["choices"]], alone)
        self.assertEqual([choice["index"] for choice in whole["choices"]], [0, 1, 2, 3])
        self.assertEqual(whole["usage"]["completion_tokens"], 24)
        self.assertEqual(self.server.complete(**ask, stream=True).streamed_texts(), alone)

    def test_token_ids_are_prompts_too(self):
        ids = [1, 512, 700, 3, 90]
        one = self.server.complete(prompt=ids, max_tokens=5).json["choices"][0]["text"]
        both = self.server.complete(prompt=[ids, ids[:3]], max_tokens=5).json
        self.assertEqual(both["choices"][0]["text"], one)
        self.assertEqual(both["usage"]["prompt_tokens"], 8)

    def test_echo_puts_the_prompt_before_the_text(self):
        plain = self.server.complete(prompt=PROMPT, max_tokens=5).json["choices"][0]["text"]
        self.assertEqual(self.server.complete(prompt=PROMPT, max_tokens=5, echo=True).json["choices"][0]["text"], PROMPT + plain)
        self.assertEqual(self.server.complete(prompt=PROMPT, max_tokens=5, echo=True, stream=True).streamed_texts(), [PROMPT + plain])
        self.assertEqual(self.server.complete(prompt=PROMPT, max_tokens=0, echo=True).json["choices"][0]["text"], PROMPT)

    def test_a_stop_string_is_never_shown(self):
        text = self.server.complete(prompt=PROMPT, max_tokens=24).json["choices"][0]["text"]
        stop = text[20:27]  # across several tokens
        expected = text[:text.index(stop)]
        for stops in (stop, ["never said", stop, "nor this"]):
            answer = self.server.complete(prompt=PROMPT, max_tokens=24, stop=stops).json["choices"][0]
            self.assertEqual((answer["text"], answer["finish_reason"]), (expected, "stop"))
            streamed = self.server.complete(prompt=PROMPT, max_tokens=24, stop=stops, stream=True)
            self.assertEqual(streamed.streamed_texts(), [expected])
            self.assertEqual(streamed.events[-1]["choices"][0]["finish_reason"], "stop")
        # The beginning of a stop string is held back, and sent once the text no longer matches it.
        almost = self.server.complete(prompt=PROMPT, max_tokens=24, stop=stop + "?", stream=True)
        self.assertEqual(almost.streamed_texts(), [text])

    def test_characters_of_several_bytes_are_not_cut(self):
        prompt = "\u65e5\u672c\u8a9e\U0001f600 " * 30  # the model continues with byte tokens, some of which form no character
        expected = generate(prompt, "-n", "30", "--temp", "0")
        self.assertGreater(len(set(expected) - set(map(chr, range(128)))), 2, expected)
        self.assertEqual(self.server.complete(prompt=prompt, max_tokens=30).json["choices"][0]["text"], expected)
        self.assertEqual(self.server.complete(prompt=prompt, max_tokens=30, stream=True).streamed_texts(), [expected])

    def test_the_sparse_rule_is_taken_by_each_request(self):
        prompt = "The old man sat by the fire and told of the sea. " * 40
        for rule in ("dense", "threshold=0.05", "nz_ratio=0.1", "nz_ratio_row=0.1"):
            expected = generate(prompt, "-n", "12", "--temp", "0", "--sparse", rule)
            self.assertEqual(self.server.complete(prompt=prompt, max_tokens=12, sparse=rule).json["choices"][0]["text"], expected, rule)

    def test_a_prompt_asked_again_comes_from_the_cache(self):
        ask = {"prompt": "The captain looked at the grey water and said nothing. " * 30, "max_tokens": 8}
        first, second = (self.server.complete(**ask).json for _ in range(2))
        self.assertEqual(first["choices"], second["choices"])
        self.assertEqual(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertGreaterEqual(second["usage"]["prompt_tokens_details"]["cached_tokens"], 64)

    def test_many_requests_go_over_one_connection(self):
        connection = self.server.connect()
        for _ in range(3):
            connection.request("POST", "/v1/completions", json.dumps({"prompt": PROMPT, "max_tokens": 1}))
            self.assertEqual(len(json.load(connection.getresponse())["choices"]), 1)
        connection.close()

    def test_models_are_listed(self):
        models = self.server.get("/v1/models").json["data"]
        self.assertEqual([model["id"] for model in models], ["demo"])
        for path in ("/v1/models/demo", "/v1/models/demo/"):
            self.assertEqual(self.server.get(path).json["max_model_len"], 16384)
        self.assertEqual(self.server.get("/v1/models/").json["data"], models)
        self.assertEqual(self.server.get("/v1/models/other").error["code"], "model_not_found")


class Blocks(Serve):
    PROMPT = "The captain looked at the grey water and said nothing. " * 60

    def inspected(self, rule):
        done = subprocess.run([SEER, "inspect", *model_arguments(), "-p", self.PROMPT, "--sparse", rule, "--output", "json"],
                              env=environment(), capture_output=True, timeout=DEADLINE, check=True)
        return json.loads(done.stdout)

    def test_a_block_map_shows_what_inspect_counts(self):
        for rule in ("threshold=0.01", "nz_ratio=0.2"):
            expected = self.inspected(rule)
            for layer, head in ((0, None), (5, 3)):
                answer = self.server.post("/block_map", {"prompt": self.PROMPT, "sparse": rule, "layer": layer,
                                                         **({} if head is None else {"head": head})}).json
                self.assertEqual(answer["n_tokens"], expected["n_tokens"])
                self.assertEqual(answer["side"], answer["n_blocks"])
                self.assertEqual([len(row) for row in answer["kept"]], list(range(1, answer["n_blocks"] + 1)))
                self.assertAlmostEqual(answer["density"], expected["density"], delta=1e-4)
                of_layer = expected["layers"][layer]
                wanted = of_layer["density"] if head is None else of_layer["head_density"][head]
                self.assertAlmostEqual(answer["layer_density"], of_layer["density"], delta=1e-4)
                cells = [cell for row in answer["kept"] for cell in row]
                self.assertAlmostEqual(sum(cells) / len(cells), wanted, delta=1e-3)
                self.assertTrue(all(0 <= score <= 1 for row in answer["score"] for score in row))

    def test_a_block_map_does_not_take_pages_from_generations(self):
        prompt = self.PROMPT * 10
        self.assertEqual(self.server.post("/block_map", {"prompt": prompt, "max_side": 16}).status, 200)
        eventually(self.server.is_idle, "the map's pages are given back")
        with self.server.send_raw({**ENDLESS, "stream": True}) as endless:
            self.assertIn(b"200 OK", endless.recv(100))
            self.assertEqual(self.server.post("/block_map", {"prompt": prompt}).error["code"], "block_map_busy")
        eventually(self.server.is_idle, "the generation is cancelled")

    def test_timings_say_how_an_answer_was_computed(self):
        ask = {"prompt": self.PROMPT + "He", "max_tokens": 8, "timings": True}
        first, second, dense = (self.server.complete(**ask, sparse=rule).json for rule in ("threshold=0.05", "threshold=0.05", "dense"))
        timings = first["choices"][0]["timings"]
        self.assertEqual(timings["sparse"], "threshold=0.05")
        self.assertEqual(timings["computed_tokens"] + timings["cached_tokens"], first["usage"]["prompt_tokens"])
        self.assertLess(timings["density"], 1)
        self.assertGreater(timings["first_token_ms"], 0)
        self.assertAlmostEqual(timings["tokens_per_second"], 7e3 / timings["decode_ms"], delta=0.01 * timings["tokens_per_second"])
        self.assertGreaterEqual(second["choices"][0]["timings"]["cached_tokens"], 64)
        self.assertEqual(dense["choices"][0]["timings"]["density"], 1)


class Crowd(Serve):
    def test_two_hundred_connections_at_once_are_all_answered(self):
        n = 200
        expected = self.server.complete(prompt=PROMPT, max_tokens=8).json["choices"][0]["text"]
        start = threading.Barrier(n)
        texts = [None] * n

        def ask(i):
            connection = self.server.connect()
            start.wait(DEADLINE)
            connection.request("POST", "/v1/completions", json.dumps(
                {"prompt": PROMPT, "max_tokens": 8, "temperature": 0, "stream": i % 2 == 0}))
            response = connection.getresponse()
            text = response.read().decode()
            if i % 2 == 0:
                pieces = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
                texts[i] = "".join(piece["choices"][0]["text"] for piece in pieces) if "[DONE]" in text else text
            else:
                texts[i] = json.loads(text)["choices"][0]["text"]
            connection.close()

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        self.assertEqual(texts, [expected] * n)

    def test_a_client_that_leaves_gives_its_pages_back(self):
        for streamed in (True, False):
            before = self.server.metrics()["seer_generations_cancelled_total"]
            connection = self.server.send_raw({**ENDLESS, "stream": streamed})
            if streamed:
                self.assertIn(b"200 OK", connection.recv(64))
            eventually(lambda: self.server.metrics()["seer_generations_running"] == 1, "it runs")
            self.assertGreater(self.server.metrics()["seer_kv_pages_used"], 0)
            connection.close()
            eventually(self.server.is_idle, "its pages are free")
            self.assertEqual(self.server.metrics()["seer_generations_cancelled_total"], before + 1)
        log = self.server.log()
        self.assertIn("POST /v1/completions 499", log)
        # The log counts the tokens that were generated before the client left.
        self.assertRegex(log, r"POST /v1/completions 499 \d+\+[1-9]\d* tokens")

    def test_metrics_count_what_was_answered(self):
        before = self.server.metrics()
        self.server.complete(prompt=PROMPT, max_tokens=3)
        self.server.complete(prompt=5)
        after = self.server.metrics()
        grown = {name for name in after if after[name] > before.get(name, 0)}
        for name in ('seer_http_requests_total{route="/v1/completions",code="200"}',
                     'seer_http_requests_total{route="/v1/completions",code="400"}',
                     "seer_time_to_first_token_seconds_count", "seer_time_per_output_token_seconds_count",
                     "seer_queue_depth_count", "seer_generated_tokens_total"):
            self.assertIn(name, grown)
        self.assertEqual(after["seer_kv_pages_used"], 0)


if __name__ == "__main__":
    unittest.main()
