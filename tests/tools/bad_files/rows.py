"""Defines the rows of the table, and runs them."""
import json
import pathlib
import subprocess
import sys

import files

ROWS = []  # (group, name, function that makes the files and returns a Run)


class Run:
    """A command that must fail with an exit code and a message with these words."""

    def __init__(self, arguments, code, *words, folder=None, stdin=None, writes=False):
        self.arguments = [str(argument) for argument in arguments]
        self.code = code
        self.words = words
        self.stdin = stdin
        self.writes = writes  # whether it writes to stdout before it fails
        self.input_bytes = folder.input_bytes if folder else 0


def row(group, name):
    def add(function):
        ROWS.append((group, name, function))
        return function

    return add


def with_model(folder, *words, code=3):
    """Returns a Run that generates with the folder as the model."""
    return Run(["generate", "-m", folder, "-p", "x", "-n", "1"], code, *words, folder=folder)


def with_gates(folder, *words, code=3):
    return Run(["generate", "-m", files.MODEL, "-g", folder, "-p", "x", "-n", "1"], code, *words, folder=folder)


class Runner:
    """Runs commands of seer through measure.py, whose docstring says why."""

    def __init__(self, seer):
        self.seer = seer
        self.process = subprocess.Popen([sys.executable, "-B", pathlib.Path(__file__).with_name("measure.py")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def execute(self, run):
        command = {"arguments": [self.seer, *run.arguments], "stdin": run.stdin}
        print(json.dumps(command), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
