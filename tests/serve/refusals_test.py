#!/usr/bin/env python3
"""Checks what `seer serve` refuses, and with which error object."""
import gzip
import json
import socket
import subprocess
import tempfile
import unittest

from running_server import DEADLINE, ENDLESS, PROMPT, SEER, Answer, Server, environment, eventually, model_arguments

KEY = "abc-123"
MAX_BODY = 20000


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", KEY, "--max-body-size", str(MAX_BODY), "--cors-origin", "https://example.org")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def post(self, body, path="/v1/completions", **headers):
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        return self.server.ask("POST", path, text, {"Authorization": "Bearer " + KEY, **headers})

    def refused(self, answer, status, param=None, code=None, *words):
        self.assertEqual(answer.status, status, answer.text)
        self.assertEqual(sorted(answer.json), ["error"])
        self.assertEqual(sorted(answer.error), ["code", "message", "param", "type"])
        self.assertEqual((answer.error["param"], answer.error["code"]), (param, code), answer.text)
        for word in words:
            self.assertIn(word, answer.error["message"])

    def test_a_missing_or_wrong_key_is_refused(self):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}, {"Authorization": "Bearer "},
                        {"Authorization": "Bearer " + KEY + "4"}):
            answer = self.server.ask("POST", "/v1/completions", json.dumps({"prompt": PROMPT}), headers)
            self.refused(answer, 401, None, "invalid_api_key")
            self.assertEqual(answer.headers["WWW-Authenticate"], "Bearer")
        self.assertEqual(self.server.get("/metrics").status, 401)
        self.assertEqual(self.server.get("/health").status, 200)
        self.assertEqual(self.server.get("/v1/models", Authorization="Bearer " + KEY).status, 200)

    def test_invalid_json_is_refused(self):
        for body in ('{"prompt": ', "[1, 2", '{"prompt": "\\ud800"}', b'{"prompt": "\xff"}', "{'prompt': 1}", "nonsense"):
            self.refused(self.post(body), 400, None, "invalid_json", "not valid JSON")
        self.refused(self.post(""), 400, None, None, "empty")
        self.refused(self.post("[]"), 400, None, "invalid_type", "an empty array")

    def test_deep_nesting_is_refused(self):
        for body in ("[" * 15000, '{"prompt":' * 1900 + "1" + "}" * 900, '{"prompt":' + "[" * 100 + "]" * 100 + "}"):
            self.refused(self.post(body), 400, None, "too_deep", "64")

    def test_a_body_that_is_too_large_is_refused(self):
        body = json.dumps({"prompt": "x" * MAX_BODY})
        self.refused(self.post(body), 413, None, "body_too_large", str(MAX_BODY))
        # The second body comes in chunks, so its length is not announced, and is far larger than any buffer.
        chunks = (b"x" * 65536 for _ in range(64))
        self.refused(self.post_chunks(chunks), 413, None, "body_too_large", str(MAX_BODY))

    def test_a_body_that_is_compressed_or_not_sent_as_json_is_refused(self):
        packed = gzip.compress(json.dumps({"prompt": "x" * 5_000_000}).encode())
        self.refused(self.post(packed, **{"Content-Encoding": "gzip"}), 415, None, "unsupported_encoding", "Content-Encoding")
        for kind in ("text/plain", "multipart/form-data; boundary=x"):
            self.refused(self.post({"prompt": PROMPT}, **{"Content-Type": kind}), 415, None, "unsupported_media_type", "application/json")

    def test_pages_of_other_origins_are_refused(self):
        self.refused(self.post({"prompt": PROMPT}, Origin="https://evil.example"), 403, None, "origin_not_allowed", "--cors-origin")
        self.assertEqual(self.post({"prompt": PROMPT, "max_tokens": 1}, Origin="https://example.org").status, 200)

    def post_chunks(self, chunks):
        connection = self.server.connect()
        try:
            try:
                connection.request("POST", "/v1/completions", chunks, {"Authorization": "Bearer " + KEY}, encode_chunked=True)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the server answered and closed before all was sent
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def test_a_wrong_method_or_address_is_refused(self):
        key = {"Authorization": "Bearer " + KEY}
        self.refused(self.server.ask("GET", "/v1/completions", headers=key), 405, None, "method_not_allowed", "POST")
        answer = self.server.ask("DELETE", "/v1/models", headers=key)
        self.refused(answer, 405, None, "method_not_allowed", "GET")
        self.assertEqual(answer.headers["Allow"], "GET")
        self.refused(self.post({}, "/v1/embeddings"), 404, None, "unknown_url", "/v1/embeddings")
        self.refused(self.server.get("/v1"), 404, None, "unknown_url")

    def test_fields_that_are_unknown_or_not_supported_are_refused(self):
        self.refused(self.post({"promt": PROMPT}), 400, "promt", "unknown_parameter", "'prompt'")
        self.refused(self.post({"prompt": PROMPT, "suffix": "end"}), 400, "suffix", "unsupported_parameter", "end")
        neutral = {"prompt": PROMPT, "max_tokens": 1, "logprobs": None, "suffix": None, "user": "me", "best_of": 1}
        self.assertEqual(self.post(neutral).status, 200)

    def test_a_prompt_beyond_the_context_is_refused(self):
        ids = [5] * 4000
        self.refused(self.post({"prompt": ids, "max_tokens": 12385}), 400, "prompt", "context_length_exceeded", "16384", "4000",
                     "12385")
        self.refused(self.post({"prompt": [5, 4096]}), 400, "prompt", "invalid_value", "4095", "4096")

    def test_another_model_is_refused(self):
        self.refused(self.post({"model": "gpt", "prompt": PROMPT}), 404, "model", "model_not_found", "'gpt'", "'demo'")

    def test_invalid_http_is_refused_or_the_connection_closed(self):
        for text in (b"nonsense\r\n\r\n", b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
                     b"GET /" + b"x" * 10000 + b" HTTP/1.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as connection:
                try:
                    connection.sendall(text)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                try:
                    got = connection.recv(4096)
                except ConnectionResetError:
                    got = b""
                self.assertTrue(got == b"" or got.startswith((b"HTTP/1.1 400", b"HTTP/1.1 414", b"HTTP/1.1 431")), got)
        self.assertEqual(self.server.get("/health").status, 200)

    def test_browsers_of_the_named_origin_may_ask(self):
        answer = self.server.ask("OPTIONS", "/v1/completions", headers={"Origin": "https://example.org",
                                                                              "Access-Control-Request-Headers": "authorization,x-stainless-os"})
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], "https://example.org")
        self.assertEqual(answer.headers["Access-Control-Allow-Headers"], "authorization,x-stainless-os")
        forged = self.server.ask("OPTIONS", "/v1/completions", headers={"Access-Control-Request-Headers": "a%0d%0aX-Forged: 1"})
        self.assertIsNone(forged.headers["X-Forged"])


class Stalling(unittest.TestCase):
    def test_a_body_that_does_not_come_gets_408(self):
        server = Server("--body-timeout", "1")
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
                answer = b"".join(iter(lambda: connection.recv(4096), b""))
            self.assertTrue(answer.startswith(b"HTTP/1.1 408 "), answer)
            self.assertIn(b"--body-timeout", answer)
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
                body = json.dumps({"prompt": PROMPT, "max_tokens": 2}).encode()
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                connection.shutdown(socket.SHUT_WR)
                self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 200 "))
        finally:
            server.stop()


class Keys(unittest.TestCase):
    """The key may come from an option, a file or the environment. Anything that is no key is refused before the model is loaded."""

    def refused(self, *arguments, **variables):
        done = subprocess.run([SEER, "serve", *model_arguments(), "--port", "0", *arguments], env={**environment(), **variables},
                              capture_output=True, text=True, timeout=DEADLINE, check=False)
        self.assertEqual(done.stdout, "")
        return done.returncode, done.stderr

    def test_an_empty_key_is_refused(self):
        for arguments, variables in ((("--api-key", ""), {}), ((), {"SEER_API_KEY": ""}), (("--api-key-file", "/dev/null"), {})):
            code, message = self.refused(*arguments, **variables)
            self.assertIn(code, (2, 3), message)
            self.assertRegex(message, "empty|regular file")
        self.assertEqual(self.refused("--api-key", "a b")[0], 2)
        self.assertEqual(self.refused("--api-key-file", "/nonexistent")[0], 3)

    def test_a_key_may_come_from_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".key") as file:
            file.write(KEY + "\nsecond line\n")
            file.flush()
            code, message = self.refused("--api-key-file", file.name, "--api-key", "x")
            self.assertEqual(code, 2)
            self.assertIn("one of them", message)
            server = Server("--api-key-file", file.name)
            try:
                self.assertEqual(server.get("/v1/models").status, 401)
                self.assertEqual(server.get("/v1/models", Authorization="Bearer " + KEY).status, 200)
            finally:
                server.stop()

    def test_the_log_warns_of_a_server_on_the_network_without_a_key(self):
        server = Server("--host", "0.0.0.0")
        server.get("/health")
        server.signal()
        server.process.wait(DEADLINE)
        self.assertIn("no API key", server.log())


class Queue(unittest.TestCase):
    def test_a_full_queue_refuses_requests_and_empties_again(self):
        server = Server("--max-queue", "2")
        try:
            waiting = []
            for i in range(100):
                connection = server.send_raw({**ENDLESS, "stream": True})
                waiting.append(connection)
                connection.setblocking(False)
                refusal = eventually(lambda c=connection, n=i: self.refusal(server, c, n + 1), "it is taken or refused")
                if refusal is not True:
                    break
            self.assertIn(b"429 Too Many Requests", refusal)
            self.assertIn(b"queue_full", refusal)
            self.assertIn(b"Retry-After", refusal)
            for connection in waiting:
                connection.close()
            eventually(server.is_idle, "everything is cancelled")
            self.assertEqual(server.complete(prompt=PROMPT, max_tokens=2, n=3).error["param"], "n")
            self.assertEqual(server.complete(prompt=PROMPT, max_tokens=2, n=2).status, 200)
        finally:
            server.stop()

    @staticmethod
    def refusal(server, connection, n_expected):
        """Returns the answer if the server refused the request, else whether its metrics count all n_expected requests."""
        try:
            got = connection.recv(4096)
            if b" 429 " in got[:20]:
                return got
        except BlockingIOError:
            pass
        now = server.metrics()
        return now["seer_generations_running"] + now["seer_generations_waiting"] >= n_expected


if __name__ == "__main__":
    unittest.main()
