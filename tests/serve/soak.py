#!/usr/bin/env python3
"""Runs a server under mixed, cancelled, malformed and pre-empted requests.

    soak.py [--seconds N] [--clients N] [--seed N] [--device cpu|cuda] [ARGUMENT OF SERVE...]

Before the load, the server answers some requests one at a time. The run fails if

- an answer to one of these differs under load (not checked on a GPU), after it, or from a fresh process;
- pages or files are not given back;
- memory grows by 48 MiB after the first fifth of the time (checked from 60 s on), or the GPU's memory changes in the second half;
- requests wait for a minute while nothing is computed: then the server's threads are listed, and it is killed;
- the server does not end cleanly.

The last line has the figures."""
import argparse
import http.client
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

from running_server import DEADLINE, PROMPT, Server, eventually

WORDS = "It was a bright morning and the whole village came to see little girl who had lost her way in woods".split()
TIMEOUT = 300
GROWTH = 48 << 20  # bytes by which memory may grow after the first fifth: arenas of threads, and the log in a file


def text_of(rng, n):
    return " ".join(rng.choice(WORDS) for _ in range(n))


def references(rng):
    """Returns the requests whose answers are compared. They use many fields."""
    bodies = []
    for i in range(24):
        body = {"model": "demo", "temperature": 0, "prompt": text_of(rng, rng.choice([3, 20, 150, 600])),
                "max_tokens": rng.choice([1, 8, 40])}
        if i % 3 == 0:
            body.update(temperature=1.0, seed=i)
        if i % 4 == 0:
            body["logprobs"] = 2
        if i % 5 == 0:
            body.update(n=2, temperature=0.8, seed=100 + i)
        if i % 6 == 0:
            body["sparse"] = "dense"
        bodies.append(body)
    return bodies


def texts_of(answer):
    return [choice["text"] for choice in answer["choices"]]


class Clients:
    def __init__(self, server, seed, seconds, exact):
        self.server, self.exact = server, exact
        self.until = time.monotonic() + seconds
        self.counts, self.faults = {}, []
        self.lock = threading.Lock()
        rng = random.Random(seed)
        self.bodies = references(rng)
        self.expected = [texts_of(server.post("/v1/completions", body).json) for body in self.bodies]
        self.actions = [(self.whole, 6), (self.streamed, 6), (self.chat, 2), (self.leaves_stream, 5), (self.leaves, 5),
                        (self.malformed, 6), (self.bad_json, 4), (self.too_long, 1), (self.long_prompt, 2),
                        (self.half_head, 3), (self.half_body, 2), (self.other_routes, 4), (self.silent, 2)]

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def run(self, seed):
        rng = random.Random(seed)
        actions, weights = zip(*self.actions)
        while time.monotonic() < self.until and len(self.faults) < 20:
            action = rng.choices(actions, weights)[0]
            try:
                action(rng)
                self.count(action.__name__)
            except (OSError, http.client.HTTPException) as error:
                self.fault(f"{action.__name__}: {error!r}")

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def compare_together(self, index, texts):
        if self.exact:
            self.compare(index, texts)

    def compare(self, index, texts):
        if texts != self.expected[index]:
            self.fault(f"request {self.bodies[index]} gave {texts}, alone {self.expected[index]}")

    def whole(self, rng):
        i = rng.randrange(len(self.bodies))
        status, text = self.ask("POST", "/v1/completions", json.dumps(self.bodies[i]))
        if status == 429:
            return self.count("full")
        if status != 200:
            return self.fault(f"whole: {status} {text[:300]!r}")
        self.compare_together(i, texts_of(json.loads(text)))

    def streamed(self, rng):
        i = rng.randrange(len(self.bodies))
        status, text = self.ask("POST", "/v1/completions", json.dumps({**self.bodies[i], "stream": True}))
        if status == 429:
            return self.count("full")
        events = text.decode().split("\n\n")
        if status != 200 or events[-2] != "data: [DONE]":
            return self.fault(f"streamed: {status} {text[-300:]!r}")
        texts = {}
        for event in events[:-2]:
            for choice in json.loads(event[len("data: "):])["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        self.compare_together(i, [texts[k] for k in sorted(texts)])

    def chat(self, rng):
        messages = [{"role": rng.choice(["user", "assistant"]), "content": text_of(rng, 10)} for _ in range(rng.randrange(1, 5))]
        status, text = self.ask("POST", "/v1/chat/completions", json.dumps({"messages": messages, "max_tokens": 5}))
        if status not in (200, 429):
            self.fault(f"chat: {status} {text[:300]!r}")

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=TIMEOUT)

    @staticmethod
    def request(body, path="/v1/completions"):
        data = json.dumps(body).encode()
        return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data

    def leaves_stream(self, rng):
        with self.raw() as connection:
            connection.sendall(self.request({"prompt": text_of(rng, rng.choice([5, 400])), "max_tokens": 3000, "stream": True,
                                             "ignore_eos": True, "n": rng.choice([1, 1, 3])}))
            for _ in range(rng.randrange(1, 6)):
                piece = connection.recv(4096)
                if piece.startswith(b"HTTP/1.1 429 "):
                    return self.count("full")  # the connection stays open, but nothing more comes on it
                if not piece:
                    break

    def leaves(self, rng):
        with self.raw() as connection:
            connection.sendall(self.request({"prompt": text_of(rng, rng.choice([5, 900])), "max_tokens": 3000, "ignore_eos": True}))
            time.sleep(rng.random() * 0.2)

    def malformed(self, rng):
        data = bytearray(self.request({"prompt": "x", "max_tokens": 1}))
        for _ in range(rng.randrange(1, 8)):
            at = rng.randrange(len(data))
            choice = rng.randrange(4)
            if choice == 0:
                data[at] = rng.randrange(256)
            elif choice == 1:
                del data[at:at + rng.randrange(1, 9)]
            elif choice == 2:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
            else:
                data[at:at] = rng.choice([b"\r\n", b"\r\n\r\n", b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"])
        with self.raw() as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass

    def bad_json(self, rng):
        body = rng.choice(['{"prompt": ', "[]", "[" * 5000, '{"prompt": 5}', '{"prompt": "x", "max_tokens": -9}', '{"prompt": "x", "n": 100000}',
                           '{"prompt": "x", "stop": 7}', '{"messages": [{"role": 1}]}', '{"prompt": "x", "prompt": "y"}', "", "\0"])
        status, text = self.ask("POST", rng.choice(["/v1/completions", "/v1/chat/completions", "/tokenize"]), body)
        if status not in (200, 400):
            self.fault(f"bad_json: {body[:50]} {status} {text[:300]!r}")

    def too_long(self, rng):
        status, text = self.ask("POST", "/v1/completions", json.dumps({"prompt": text_of(rng, 60000)}))
        if status != 400:
            self.fault(f"too_long: {status} {text[:300]!r}")

    def long_prompt(self, rng):
        status, text = self.ask("POST", "/v1/completions",
                                json.dumps({"prompt": text_of(rng, 1800), "max_tokens": 200, "ignore_eos": True}))
        if status not in (200, 429):
            self.fault(f"long_prompt: {status} {text[:300]!r}")

    def half_head(self, rng):
        with self.raw() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: local"[:rng.randrange(1, 34)])
            time.sleep(rng.random() * 0.3)

    def half_body(self, rng):
        with self.raw() as connection:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" +
                               b"x" * rng.randrange(90000))
            time.sleep(rng.random() * 0.3)

    def other_routes(self, rng):
        for path in rng.sample(["/health", "/metrics", "/v1/models", "/v1/models/demo", "/tokenizer_info"], 2):
            status, text = self.ask("GET", path)
            if status != 200:
                self.fault(f"{path}: {status} {text[:300]!r}")

    def silent(self, rng):
        with self.raw():
            time.sleep(rng.random())


def gpu_memory():
    """Returns the bytes of the first GPU's memory that all processes use."""
    out = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"],
                         check=True, capture_output=True, text=True).stdout
    return int(out) << 20


def decode_together(server, rng, at_once=64, rounds=3):
    """Runs steps with every number of decoding requests up to at_once: a GPU records a graph for each number, which takes memory
    once."""
    def one(n_tokens):
        while server.post("/v1/completions", {"prompt": "It was", "max_tokens": n_tokens}).status == 429:
            time.sleep(0.01)

    for _ in range(rounds):
        threads = [threading.Thread(target=one, args=(rng.randrange(10, 60),)) for _ in range(at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Watch:
    """Samples of the server's memory, files and threads."""

    def __init__(self, pid):
        self.process = pathlib.Path(f"/proc/{pid}")
        self.samples = []

    def sample(self):
        fields = dict(line.split(":", 1) for line in (self.process / "status").read_text().splitlines() if ":" in line)
        now = (int(fields["VmRSS"].split()[0]) << 10, len(os.listdir(self.process / "fd")), int(fields["Threads"]))
        self.samples.append(now)
        return now


class Progress:
    """Checks that the server's counters change while requests are under way."""
    LONGEST = 60  # seconds without a change

    def __init__(self, server):
        self.server, self.counts, self.since = server, None, time.monotonic()

    def stuck(self):
        now = self.server.metrics()
        busy = now["seer_generations_running"] + now["seer_generations_waiting"] > 0
        counts = {name: value for name, value in now.items() if name.endswith("_total")}
        if counts != self.counts or not busy:
            self.counts, self.since = counts, time.monotonic()
        return time.monotonic() - self.since > self.LONGEST

    def report(self):
        lines = [f"requests wait, and nothing has been computed for {self.LONGEST} s: {self.server.metrics()}"]
        for task in sorted(pathlib.Path(f"/proc/{self.server.process.pid}/task").iterdir()):
            texts = [(task / name).read_text().strip() for name in ("comm", "wchan", "stat")]
            lines.append(f"thread {task.name} {texts[0]}: {texts[1]}; {texts[2]}")
        return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options, of_serve = parser.parse_known_args()
    # Long prompts do not fit into this pool together, and the queue is short, so that pre-emptions and refusals happen.
    server = Server("--device", options.device, "--pool-size", "4096", "--ctx-size", "4096", "--max-queue", "8",
                    "--max-body-size", "2000000", "-q", *of_serve)
    # On a GPU the rounding depends on the rows that are computed together. So only answers to single requests are compared: before,
    # after, and by a fresh process. Cached pages that were computed under load are first replaced.
    exact = options.device == "cpu"
    if not exact:
        decode_together(server, random.Random(options.seed))
    clients = Clients(server, options.seed, options.seconds, exact)
    watch = Watch(server.process.pid)
    first = watch.sample()
    threads = [threading.Thread(target=clients.run, args=(options.seed + 1 + i,)) for i in range(options.clients)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    settled, on_gpu, progress = None, [], Progress(server)
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(1.0, options.seconds / 20))
        now = watch.sample()
        if settled is None and time.monotonic() - begin > options.seconds / 5:
            settled = now
        # A GPU loads a kernel when it first runs, so its memory may still grow in the first half.
        if not exact:
            on_gpu.append((time.monotonic() - begin, gpu_memory()))
        if progress.stuck():
            clients.fault(progress.report())
            server.process.kill()
            break
    for thread in threads:
        thread.join()
    if server.process.poll() is not None:
        print("\n".join(clients.faults), file=sys.stderr)
        return 1
    eventually(server.is_idle, "pages are given back")
    eventually(lambda: watch.sample()[1] <= first[1], "files are given back")
    metrics = server.metrics()
    for i in range(0 if exact else 3):
        server.post("/v1/completions", {"prompt": text_of(random.Random(-1 - i), 1800), "max_tokens": 1})
    answers = [texts_of(server.post("/v1/completions", body).json) for body in clients.bodies]
    for i, texts in enumerate(answers):
        clients.compare(i, texts)
    last, most = watch.sample(), max(sample[0] for sample in watch.samples)
    if not exact:
        on_gpu.append((time.monotonic() - begin, gpu_memory()))
        changes = [(at, now) for (_, before), (at, now) in zip(on_gpu, on_gpu[1:]) if now != before]
        print(f"the GPU's memory in MiB: {on_gpu[0][1] >> 20}",
              *(f"{now >> 20} after {at:.0f} s" for at, now in changes), sep=", ")
        if max([at for at, now in changes], default=0) > options.seconds / 2:
            clients.fault("the GPU's memory changed in the second half of the time")
    server.stop()
    fresh = Server("--device", options.device, "--pool-size", "4096", "--ctx-size", "4096", "-q", *of_serve)
    for i, body in enumerate(clients.bodies):
        clients.compare(i, texts_of(fresh.post("/v1/completions", body).json))
    fresh.stop()
    grown = last[0] - (settled or last)[0]
    if grown > GROWTH and options.seconds >= 60:
        clients.fault(f"memory grew by {grown >> 20} MiB after the first fifth")
    print("\n".join(clients.faults), file=sys.stderr)
    mib = [f"{bytes_ / 2**20:.0f}" for bytes_ in (first[0], (settled or last)[0], last[0], most)]
    print(f"{options.seconds:.0f} s, {options.clients} clients: {sum(clients.counts.values())} actions {clients.counts}; "
          f"{metrics['seer_generations_total']:.0f} generations, {metrics['seer_generations_cancelled_total']:.0f} cancelled, "
          f"{metrics['seer_preemptions_total']:.0f} pre-empted; memory in MiB at the start {mib[0]}, after a fifth {mib[1]}, "
          f"at the end {mib[2]}, at most {mib[3]}; files {first[1]} -> {last[1]}; threads {first[2]} -> {last[2]}; "
          f"{len(clients.faults)} faults")
    return 1 if clients.faults else 0


if __name__ == "__main__":
    sys.exit(main())
