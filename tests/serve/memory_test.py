#!/usr/bin/env python3
"""Checks `seer serve` while memory is short: a request that needs more than there is gets an error, and the server goes on."""
import http.client
import json
import pathlib
import resource
import tempfile
import unittest

from running_server import DEMO, SEER, Server

STEPS, STEP = 24, 6 << 20  # how many limits are tried, and the bytes from one to the next


def byte_characters():
    """Returns the characters by which GPT-2's vocabularies name the 256 bytes."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) if byte in shown else chr(256 + hidden.index(byte)) for byte in range(256)]


def model_with_json_tokenizer(folder):
    """Writes the demo model with a tokenizer.json, because libsentencepiece ends the process if memory is short."""
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        pathlib.Path(folder, name).symlink_to((DEMO / "model" / name).resolve())
    vocabulary = {character: i for i, character in enumerate(byte_characters())}
    tokenizer = {"model": {"type": "BPE", "vocab": vocabulary, "merges": []},
                 "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
                 "decoder": {"type": "ByteLevel"}}
    pathlib.Path(folder, "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def large_chat():
    """Returns a body near the limit of 300,000 JSON values, few of which become text of the prompt."""
    values = [{"name": f"value {i}", "list": [i, [0.5]]} for i in range(40_000)]
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1,
                       "chat_template_kwargs": {"values": values}})


class Memory(unittest.TestCase):
    def data(self):
        """Returns the bytes of memory that the server has for data, which RLIMIT_DATA limits."""
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:"))

    def limit(self, size):
        """Limits the server's memory for data to `size` bytes."""
        resource.prlimit(self.server.process.pid, resource.RLIMIT_DATA, (size, resource.RLIM_INFINITY))

    def status_of(self, body):
        """Returns the status of the answer, or 0 if the server closes the connection without one."""
        try:
            return self.server.ask("POST", "/v1/chat/completions", body).status
        except (ConnectionError, http.client.HTTPException):
            return 0

    def test_a_large_chat_is_answered_or_refused_and_the_server_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            model_with_json_tokenizer(folder)
            self.server = Server(model=["-m", folder, "--chat-template", "none", "-c", "256"])
            body, used = large_chat(), self.data()
            statuses = []
            for step in range(STEPS):
                self.limit(used + step * STEP)
                statuses.append(self.status_of(body))
                self.limit(resource.RLIM_INFINITY)
                self.assertIsNone(self.server.process.poll(), f"it ended at step {step}: {self.server.log()}")
                self.assertEqual(self.server.get("/health").status, 200)
            self.assertLessEqual(set(statuses), {0, 200, 503}, statuses)
            self.assertIn(503, statuses)
            self.assertEqual(self.status_of(body), 200)
            self.server.stop()


if __name__ == "__main__":
    program = pathlib.Path(SEER).read_bytes()
    if b"__asan_init" in program or b"__tsan_init" in program:
        print("SKIPPED: a sanitizer ends the program when memory is short")
    else:
        unittest.main()
