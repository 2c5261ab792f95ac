#!/usr/bin/env python3
"""Checks how `seer serve` ends."""
import os
import pathlib
import signal
import subprocess
import time
import unittest

from running_server import DEADLINE, ENDLESS, PROMPT, SEER, Server, environment, eventually, model_arguments


def read_all(connection):
    parts = []
    while True:
        part = connection.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


class Shutdown(unittest.TestCase):
    def test_a_stream_under_way_is_finished(self):
        server = Server()
        with server.send_raw({**ENDLESS, "max_tokens": 600, "stream": True}) as connection:
            beginning = connection.recv(64)
            server.signal(signal.SIGTERM)
            eventually(lambda: self.is_refused(server), "new connections are refused")
            whole = beginning + read_all(connection)
        self.assertEqual(server.wait(), 0)
        self.assertIn(b"data: [DONE]", whole)
        self.assertEqual(whole.count(b'"finish_reason":"length"'), 1)
        self.assertTrue(whole.endswith(b"0\r\n\r\n"))

    @staticmethod
    def is_refused(server):
        try:
            return server.get("/health").status == 503
        except ConnectionError:
            return True

    def test_after_the_timeout_an_answer_under_way_ends_with_an_error(self):
        server = Server("--shutdown-timeout", "0")
        with server.send_raw({**ENDLESS, "stream": True}) as streamed, server.send_raw(ENDLESS) as plain:
            self.assertIn(b"200 OK", streamed.recv(64))
            eventually(lambda: server.metrics()["seer_generations_running"] == 2, "both run")
            server.signal(signal.SIGTERM)
            self.assertEqual(server.wait(), 0)
            end = read_all(streamed)
            self.assertIn(b'"code":"stopping"', end)
            self.assertNotIn(b"[DONE]", end)
            answer = read_all(plain)
            self.assertIn(b"503 Service Unavailable", answer)
            self.assertIn(b'"code":"stopping"', answer)

    def test_an_idle_connection_does_not_delay_the_end(self):
        server = Server()
        connection = server.connect()
        connection.request("GET", "/health")
        connection.getresponse().read()
        server.signal(signal.SIGINT)
        self.assertEqual(server.wait(), 0)
        connection.close()

    def test_an_idle_server_ends_if_a_rank_is_killed(self):
        for option in ("--tp", "--cp"):
            with self.subTest(option):
                server = Server(option, "2")
                children = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
                ranks = [int(pid) for pid in children.read_text().split()]
                self.assertEqual(len(ranks), 1)
                os.kill(ranks[0], signal.SIGKILL)
                killed = time.monotonic()
                eventually(lambda: self.is_refused(server), "/health stops saying 200")
                log, code = self.log_and_code(server)
                self.assertLess(time.monotonic() - killed, 10)
                self.assertEqual(code, 1)
                self.assertIn("seer: error: rank 1 of 2 was killed by signal 9", log)

    @staticmethod
    def log_and_code(server):
        server.process.wait(DEADLINE)
        return server.log(), server.wait()

    def test_a_port_in_use_is_refused(self):
        server = Server()
        try:
            second = subprocess.run([SEER, "serve", *model_arguments(), "--port", str(server.port)], env=environment(),
                                    capture_output=True, text=True, timeout=DEADLINE, check=False)
            self.assertEqual((second.returncode, second.stdout), (2, ""))
            self.assertIn(f"127.0.0.1 port {server.port}", second.stderr)
            self.assertEqual(server.complete(prompt=PROMPT, max_tokens=1).status, 200)
        finally:
            server.stop()

    def test_a_model_that_does_not_exist_is_refused(self):
        missing = subprocess.run([SEER, "serve", "-m", "/nonexistent", "--port", "0"], env=environment(), capture_output=True,
                                 text=True, timeout=DEADLINE, check=False)
        self.assertEqual(missing.returncode, 3)
        self.assertIn("/nonexistent", missing.stderr)


if __name__ == "__main__":
    unittest.main()
