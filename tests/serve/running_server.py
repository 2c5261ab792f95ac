"""Starts the built `seer serve` with the demo model, and sends it requests as clients do."""
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

SEER = os.environ["SEER_BINARY"]
DEMO = pathlib.Path(os.environ["SEER_DEMO_MODEL"])
DEADLINE = 120  # seconds after which a test fails if something has not happened
PROMPT = "It was a bright morning, and the whole village"
ENDLESS = {"prompt": PROMPT, "max_tokens": 16000, "temperature": 0, "ignore_eos": True}


def environment():
    env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
    return {**env, "SEER_DEVICE": "cpu"}


def model_arguments():
    return ["-m", str(DEMO / "model"), "-g", str(DEMO / "gates")]


def generate(prompt, *arguments):
    """Returns what `seer generate` writes to stdout."""
    done = subprocess.run([SEER, "generate", *model_arguments(), "-q", "-p", prompt, *arguments], env=environment(),
                          capture_output=True, timeout=DEADLINE, check=True)
    return done.stdout.decode("utf-8")


def eventually(condition, what):
    """Waits until `condition` returns something true, and returns that."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {DEADLINE} s: {what}")


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode("utf-8")

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def error(self):
        return self.json["error"]

    @property
    def events(self):
        """The JSON of each event of a streamed answer. Fails unless [DONE] ends the stream."""
        parts = self.text.split("\n\n")
        assert parts[-2:] == ["data: [DONE]", ""], parts[-3:]
        assert all(part.startswith("data: {") for part in parts[:-2]), parts
        return [json.loads(part[len("data: "):]) for part in parts[:-2]]

    def streamed_texts(self):
        """Returns the text of each choice of a streamed answer."""
        texts = {}
        for event in self.events:
            for choice in event["choices"]:
                piece = choice["text"] if "text" in choice else choice["delta"].get("content", "")
                texts[choice["index"]] = texts.get(choice["index"], "") + piece
        return [texts[i] for i in sorted(texts)]


class Server:
    def __init__(self, *arguments, model=None):
        """`model` are arguments that name another model than the demo model, which is served without a chat template."""
        self.stderr = tempfile.TemporaryFile()
        model = model or [*model_arguments(), "--chat-template", "none"]
        self.process = subprocess.Popen([SEER, "serve", *model, "--port", "0", "--served-model-name", "demo",
                                         *arguments], env=environment(),
                                        stdout=subprocess.PIPE, stderr=self.stderr)
        self.url = self.process.stdout.readline().decode().strip()
        self.port = urllib.parse.urlsplit(self.url).port
        if self.port is None:
            raise AssertionError("seer serve did not start: " + self.log())
        eventually(lambda: self.get("/health").status == 200, "the model is loaded")

    def log(self):
        self.stderr.seek(0)
        return self.stderr.read().decode("utf-8", "replace")

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(self, method, path, body=None, headers=None):
        connection = self.connect()
        try:
            connection.request(method, path, body, headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.ask("GET", path, headers=headers)

    def post(self, path, fields, **headers):
        return self.ask("POST", path, json.dumps(fields), {"Content-Type": "application/json", **headers})

    def complete(self, **fields):
        return self.post("/v1/completions", {"model": "demo", "temperature": 0, **fields})

    def chat(self, **fields):
        return self.post("/v1/chat/completions", {"model": "demo", "temperature": 0, **fields})

    def metrics(self):
        text = self.get("/metrics").text
        return {name: float(value) for name, value in
                (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}

    def send_raw(self, fields, path="/v1/completions"):
        """Sends a request on a new connection, and returns that before anything is read."""
        body = json.dumps(fields).encode()
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def is_idle(self):
        now = self.metrics()
        return now["seer_generations_running"] == now["seer_generations_waiting"] == now["seer_kv_pages_used"] == 0

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        """Waits until the server has ended, and returns its exit code."""
        try:
            code = self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("seer serve did not end; its log: " + self.log()) from None
        finally:
            self.process.stdout.close()
        log = self.log()
        self.stderr.close()
        assert "Sanitizer" not in log and "runtime error" not in log, log
        return code

    def stop(self):
        if self.process.poll() is None:
            self.signal()
        code = self.wait()
        assert code == 0, code
