#!/usr/bin/env python3
"""Asks for /health and a completion while thousands of other clients are idle, send their heads byte by byte, or stop in the middle
of a body.

Prints how long the answers took; SECURITY.md has these figures. There are fewer clients if this process may not open as many files."""
import resource
import selectors
import socket
import threading
import time
import unittest

from running_server import PROMPT, Server

IDLE, DRIBBLING, STALLED = 5000, 1000, 500
KEY = "abc-123"


def raise_limit(wanted):
    """Raises the limit of open files up to `wanted`, and returns the new limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


class Crowd:
    """Clients that keep connections open. A thread sends a byte every second over each connection that dribbles."""

    def __init__(self, port, n_idle, n_dribbling, n_stalled, key):
        self.port = port
        self.idle = [self.connect() for _ in range(n_idle)]
        self.dribbling = [self.connect(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX: ") for _ in range(n_dribbling)]
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: 1000\r\n\r\n{"
        self.stalled = [self.connect(head % key) for _ in range(n_stalled)]
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.dribble)
        self.thread.start()

    def connect(self, begin=b""):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        if begin:
            connection.sendall(begin)
        return connection

    def dribble(self):
        while not self.done.wait(1):
            for connection in self.dribbling:
                try:
                    connection.send(b"x")
                except OSError:
                    pass

    def close(self):
        self.done.set()
        self.thread.join()
        for connection in self.idle + self.dribbling + self.stalled:
            connection.close()


class CrowdTest(unittest.TestCase):
    def test_a_crowd_does_not_keep_others_from_being_answered(self):
        files = raise_limit(IDLE + DRIBBLING + STALLED + 100) - 100
        scale = min(1.0, files / (IDLE + DRIBBLING + STALLED))
        counts = [int(scale * n) for n in (IDLE, DRIBBLING, STALLED)]
        server = Server()
        crowd = None
        try:
            crowd = Crowd(server.port, *counts, b"")
            times = []
            for _ in range(50):
                begin = time.monotonic()
                self.assertEqual(server.get("/health").status, 200)
                times.append(time.monotonic() - begin)
            begin = time.monotonic()
            self.assertEqual(server.complete(prompt=PROMPT, max_tokens=4).status, 200)
            completion = time.monotonic() - begin
            print(f"{counts[0]} idle, {counts[1]} dribbling, {counts[2]} stalled: /health {1e3 * max(times):.1f} ms at most, "
                  f"{1e3 * sorted(times)[25]:.1f} ms at the median; a completion {1e3 * completion:.0f} ms")
            # The server has closed no idle connection to make room.
            self.assertEqual(self.n_closed(crowd.idle), 0)
        finally:
            if crowd is not None:
                crowd.close()
            server.stop()

    def test_clients_without_a_key_are_refused_before_their_bodies_come(self):
        server = Server("--api-key", KEY)
        crowd = None
        try:
            crowd = Crowd(server.port, 0, 0, 50, b"")
            for connection in crowd.stalled:
                self.assertTrue(connection.recv(100).startswith(b"HTTP/1.1 401 "))
        finally:
            if crowd is not None:
                crowd.close()
            server.stop()

    @staticmethod
    def n_closed(connections):
        selector = selectors.DefaultSelector()
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        n = len(selector.select(0))
        selector.close()
        return n


if __name__ == "__main__":
    unittest.main()
