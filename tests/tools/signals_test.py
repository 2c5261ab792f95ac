#!/usr/bin/env python3
"""Sends signals at every stage of `seer`: each ends it soon, with the exit code that tools/seer/README.md names, or is ignored."""
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

SEER = os.environ["SEER_BINARY"]
DEMO = pathlib.Path(os.environ["SEER_DEMO_MODEL"])
DEADLINE = 60  # seconds after which a test fails if something has not happened
MODEL = ["-m", str(DEMO / "model"), "-g", str(DEMO / "gates")]
ENDLESS = ["generate", *MODEL, "-p", "It was", "-n", "12000", "--ignore-eos", "--temp", "0"]
INTERRUPTED = 130

# {stage: (command, how wait_for() knows that the command has reached the stage)}
STAGES = {
    "prefill": (["generate", *MODEL, "-f", "{long}", "-c", "1048576", "--sparse", "dense"], "config"),
    "decode": (ENDLESS, "out"),
    "decode on two ranks": ([*ENDLESS, "--tp", "2"], "out"),
    "decode on two ranks that divide prompts": ([*ENDLESS, "--cp", "2"], "out"),
    "a benchmark": (["bench", *MODEL, "-p", "16384", "-n", "0", "-r", "50", "--no-warmup", "-v"], "config"),
    "chat at its prompt": (["chat", *MODEL, "--chat-template", "none", "-n", "2"], "out"),
    "the server": (["serve", *MODEL, "--chat-template", "none", "--port", "0"], "serving"),
}


def environment():
    env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
    return {**env, "SEER_DEVICE": "cpu"}


class Run:
    def __init__(self, arguments, folder):
        long = pathlib.Path(folder, "long.txt")
        if not long.exists():
            text = (DEMO.parent / "long-document/document.txt").read_text()
            long.write_text(text * 12)
        self.error = open(pathlib.Path(folder, "stderr"), "w+b")
        self.process = subprocess.Popen([SEER, *(a.format(long=long) for a in arguments)], env=environment(),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.error)
        os.set_blocking(self.process.stdout.fileno(), False)

    def log(self):
        self.error.seek(0)
        return self.error.read().decode("utf-8", "replace")

    def wait_for(self, stage):
        if stage == "config":  # the command computes, and writes nothing yet
            time.sleep(0.5)
            return
        until = time.monotonic() + DEADLINE
        while not (self.process.stdout.read() if stage == "out" else stage in self.log()):
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"never came to it; its log: {self.log()}")
            time.sleep(0.01)

    def end(self):
        """Waits for the end, and returns the exit code, or minus the number of the signal that killed the process."""
        until = time.monotonic() + DEADLINE
        while self.process.poll() is None:
            self.process.stdout.read()  # stdin stays open, because its end would end a chat
            if time.monotonic() > until:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"did not end; its log: {self.log()}")
            time.sleep(0.005)
        for file in (self.process.stdin, self.process.stdout, self.error):
            file.close()
        return self.process.returncode


class Signals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def each_stage(self, number, expected):
        for name, (arguments, stage) in STAGES.items():
            with self.subTest(name):
                run = Run(arguments, self.folder)
                if name == "chat at its prompt":
                    run.process.stdin.write(b"Hello\n")
                    run.process.stdin.flush()
                run.wait_for(stage)
                sent = time.monotonic()
                run.process.send_signal(number)
                # After a signal that is ignored, the program goes on, and SIGTERM ends it.
                if expected is None:
                    time.sleep(0.2)
                    self.assertIsNone(run.process.poll())
                    run.process.send_signal(signal.SIGTERM)
                code = run.end()
                self.assertLess(time.monotonic() - sent, 20)
                clean = 0 if name == "the server" else INTERRUPTED
                self.assertEqual(code, clean if expected in (None, INTERRUPTED) else expected)

    def test_an_interrupt_ends_each_stage(self):
        self.each_stage(signal.SIGINT, INTERRUPTED)

    def test_a_request_to_terminate_ends_each_stage(self):
        self.each_stage(signal.SIGTERM, INTERRUPTED)

    def test_a_terminal_that_hangs_up_kills_each_stage(self):
        self.each_stage(signal.SIGHUP, -signal.SIGHUP)

    def test_sigpipe_is_ignored_at_each_stage(self):
        self.each_stage(signal.SIGPIPE, None)

    def test_a_signal_at_any_moment_of_the_start_ends_it(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            for milliseconds in (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64):
                with self.subTest(f"{number.name} after {milliseconds} ms"):
                    run = Run([*ENDLESS, "--tp", "2"] if milliseconds % 3 == 0 else ENDLESS, self.folder)
                    time.sleep(milliseconds / 1000)
                    run.process.send_signal(number)
                    self.assertIn(run.end(), (INTERRUPTED, -number))  # killed if the handler was not installed yet

    def test_a_reader_that_leaves_ends_it_with_1(self):
        for name in ("decode", "decode on two ranks"):
            with self.subTest(name):
                run = Run(STAGES[name][0], self.folder)
                run.wait_for("out")
                run.process.stdout.close()
                self.assertEqual(run.process.wait(DEADLINE), 1)
                self.assertIn("Broken pipe", run.log())
                run.process.stdin.close()
                run.error.close()


if __name__ == "__main__":
    unittest.main()
