"""Makes a folder in which the pages' commands run as in the project's root, without writing into the source tree."""
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

DEADLINE = 120  # seconds after which a test fails if something has not happened
USUAL_PORT = "8080"


class Failed(Exception):
    pass


class Workplace:
    def __init__(self, root, seer, library):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        for name in ("examples", "tools"):
            shutil.copytree(root / name, self.folder / name, ignore=shutil.ignore_patterns("build*"))
        (self.folder / "build/release").mkdir(parents=True)
        (self.folder / "build/release/bin").symlink_to(seer.parent)
        (self.folder / "build/release/engine").symlink_to(library.parent)
        # Pages use files of the reader's own: a text, and a chat model with its gates. Links to these stand for models that pages
        # download.
        document = (root / "examples/long-document/document.txt").read_text(encoding="utf-8")
        (self.folder / "report.txt").write_text(document[:2000], encoding="utf-8")
        (self.folder / "path/to/model").mkdir(parents=True)
        for file in (self.folder / "examples/demo-model/model").iterdir():
            if file.name != "config.json":
                (self.folder / "path/to/model" / file.name).symlink_to(file)
        config = json.loads((root / "examples/demo-model/model/config.json").read_text(encoding="utf-8"))
        config["max_position_embeddings"] = 256  # ends an answer without -n early
        (self.folder / "path/to/model/config.json").write_text(json.dumps(config), encoding="utf-8")
        (self.folder / "path/to/model/chat_template.jinja").write_text(
            "{% for message in messages %}{{ message.content }}\n{% endfor %}", encoding="utf-8")
        (self.folder / "path/to/gates").symlink_to(self.folder / "examples/demo-model/gates")
        (self.folder / "models").mkdir()
        (self.folder / "models/llama").symlink_to(self.folder / "path/to/model")
        (self.folder / "models/llama-gates").symlink_to(self.folder / "path/to/gates")
        self.environment = {name: value for name, value in os.environ.items()
                            if not name.startswith("SEER_") and name != "PYTHONPATH"}
        # Pages show what a terminal without colours shows.
        self.environment |= {"HOME": str(self.folder), "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8",
                             "SEER_DEVICE": "cpu", "PYTHONDONTWRITEBYTECODE": "1", "no_proxy": "localhost"}
        if "SEER_REAL_MODELS" in os.environ:
            (self.folder / "build/real-models").symlink_to(os.environ["SEER_REAL_MODELS"])
        self.server = None

    def close(self):
        self.stop_server()
        shutil.rmtree(self.folder)

    def export(self, text):
        """Runs an `export ...`, whose variables later commands have. Fails unless the paths in them exist."""
        script = f"{text}\nenv -0"
        done = subprocess.run(["bash", "-euc", script], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, check=True)
        self.environment = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
        for name in re.findall(r"(\w+)=", text):
            path = self.environment[name].split(":")[0]
            if not (self.folder / path).exists():
                raise Failed(f"{name} is {path}, which does not exist")

    def run(self, text):
        """Runs a command whose output the page does not show. Fails unless it ends with 0."""
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", self.here(text)], cwd=self.folder, env=self.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE)
        if done.returncode != 0:
            raise Failed(f"exit code {done.returncode}:\n{done.stdout.decode('utf-8', 'replace')}")

    def show(self, text, typed=()):
        """Runs a command, and returns the lines that a terminal shows. The lines of `typed` are entered at its prompts `> `,
        and Ctrl-D at the prompt after them."""
        control, terminal = pty.openpty()
        process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", self.here(text)], cwd=self.folder,
                                   env=self.environment, stdin=terminal, stdout=terminal, stderr=terminal,
                                   start_new_session=True)
        os.close(terminal)
        shown, left, until = b"", [f"{line}\n" for line in typed], time.monotonic() + DEADLINE
        if typed:
            left.append("\x04")
        try:
            while time.monotonic() < until:
                if not select.select([control], [], [], 0.1)[0]:
                    continue
                try:
                    part = os.read(control, 65536)
                except OSError:  # all processes on the terminal have ended
                    break
                shown += part
                if left and (shown.endswith(b"\n> ") or shown == b"> "):
                    os.write(control, left.pop(0).encode())
            else:
                raise Failed(f"it did not end within {DEADLINE} s; a terminal showed:\n{shown.decode('utf-8', 'replace')}")
            code = process.wait(DEADLINE)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            os.close(control)
        output = self._there(shown.decode("utf-8")).replace("\r\n", "\n")
        # A status line is overwritten in the end, so a terminal no longer shows it.
        output = re.sub(r"^.*\r", "", output, flags=re.MULTILINE)
        if code != 0 or left not in ([], ["\x04"]):
            raise Failed(f"exit code {code}, and {len(left)} lines were not asked for:\n{output}")
        if typed and not left:
            output = output.removesuffix("\n").removesuffix("> ")  # the prompt that Ctrl-D answered
        return output.split("\n")

    def serve(self, text):
        """Starts `seer serve` in the background, waits until it serves, and returns what it has written by then."""
        self.stop_server()
        log = open(self.folder / "server.log", "wb+")
        # The page's port may be in use, so the system chooses one, and texts are translated by here() and _there().
        self.server = subprocess.Popen(["bash", "-c", f"exec {text.rstrip(' &')} --port 0"], cwd=self.folder,
                                       env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        log.close()
        until = time.monotonic() + DEADLINE
        while True:
            said = (self.folder / "server.log").read_text(encoding="utf-8")
            if "seer: serving " in said and said.endswith("\n"):
                break
            if self.server.poll() is not None or time.monotonic() > until:
                raise Failed(f"the server did not start:\n{said}")
            time.sleep(0.02)
        self.port = re.search(r"http://127\.0\.0\.1:(\d+)", said)[1]
        return self._there(said).splitlines()

    def stop_server(self):
        """Ends the server if there is one. Fails unless it ends with 0."""
        if self.server is None:
            return
        server, self.server = self.server, None
        server.terminate()
        try:
            code = server.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise Failed("the server did not end") from None
        if code != 0:
            raise Failed(f"the server ended with {code}:\n{(self.folder / 'server.log').read_text(encoding='utf-8')}")

    def here(self, text):
        return text.replace(f":{USUAL_PORT}", f":{self.port}") if self.server else text

    def _there(self, text):
        return text.replace(f":{self.port}", f":{USUAL_PORT}") if self.server else text


def perform(workplace, command, text):
    """Runs `text`, the form in which a page's command is run. Returns its output, or None if the page shows none."""
    if re.match(r"export \w+=", text):
        workplace.export(text)
    elif text.startswith("seer serve"):
        came = workplace.serve(re.sub(r"\s+#.*", "", text))
        if command.shown is not None:
            return came
        workplace.stop_server()
    elif command.shown is None:
        workplace.run(text)
    else:
        typed = [line[2:] for line in command.shown if line.startswith("> ")] if text.startswith("seer chat") else []
        return workplace.show(text, typed)
    return None

