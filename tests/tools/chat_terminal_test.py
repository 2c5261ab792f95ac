#!/usr/bin/env python3
"""Types into `seer chat` on a terminal: edits lines, pastes, uses the history, changes the window, sends signals."""
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest

SEER = os.environ["SEER_BINARY"]
DEMO = pathlib.Path(os.environ["SEER_DEMO_MODEL"])
DEADLINE = 60  # seconds after which a test fails if something has not happened
UP, LEFT, HOME, DELETE = "\x1b[A", "\x1b[D", "\x1b[H", "\x1b[3~"


def pasted(text):
    """Returns what a terminal that marks pastes sends for a pasted text. A line break is sent as the Enter key."""
    return "\x1b[200~" + text.replace("\n", "\r") + "\x1b[201~"


class Chat:
    """A chat whose answers have one token. `messages()` returns the messages that it has received."""

    def __init__(self, *arguments, term="xterm", home=None):
        self.folder = tempfile.TemporaryDirectory()
        self.saved = pathlib.Path(self.folder.name, "saved.json")
        env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
        env |= {"SEER_DEVICE": "cpu", "TERM": term, "HOME": home or self.folder.name, "LC_ALL": "C"}
        self.control, terminal = pty.openpty()
        self.resize(24, 80)
        self.process = subprocess.Popen(
            [SEER, "chat", "-m", str(DEMO / "model"), "--chat-template", "none", "-n", "1", "--temp", "0", "-c", "262144",
             *arguments], env=env, stdin=terminal, stdout=subprocess.DEVNULL, stderr=terminal, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(terminal)
        self.shown = b""
        self.wait_for("> ")

    def resize(self, rows, columns):
        fcntl.ioctl(self.control, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        """Reads what the terminal shows. Returns False if the program has closed it."""
        if not select.select([self.control], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self.control, 65536)
        except OSError:
            return False
        self.shown += part
        return bool(part)

    def wait_for(self, text):
        until = time.monotonic() + DEADLINE
        while text.encode() not in self.shown:
            if time.monotonic() > until or not self.read(0.1):
                self.process.kill()
                raise AssertionError(f"never shown: {text!r}; shown: {self.shown[-2000:]!r}")
        at = self.shown.index(text.encode()) + len(text.encode())
        self.shown = self.shown[at:]

    def type(self, text):
        left = text.encode()
        os.set_blocking(self.control, False)
        while left and self.process.poll() is None:  # the program stops reading while its output is not read
            try:
                left = left[os.write(self.control, left):]
            except BlockingIOError:
                pass
            self.read(0.001)
        os.set_blocking(self.control, True)

    def ask(self, text):
        """Types the text and Enter, and waits for the next prompt."""
        self.shown = b""
        self.type(text + "\r")
        self.wait_for("\r\n")
        self.wait_for("> ")

    def messages(self, role="user"):
        self.type(f"/save {self.saved}\r")
        self.wait_for("messages")
        return [m["content"] for m in json.loads(self.saved.read_text()) if m["role"] == role]

    def end(self, how="\x04"):
        """Ends the chat, and returns its exit code."""
        self.type(how)
        return self.wait()

    def wait(self):
        until = time.monotonic() + DEADLINE
        while self.read(0.1):
            if time.monotonic() > until:
                self.process.kill()
                raise AssertionError(f"did not end; shown: {self.shown[-2000:]!r}")
        code = self.process.wait(DEADLINE)
        os.close(self.control)
        return code


class Terminal(unittest.TestCase):
    def test_a_pasted_line_of_100_kB_arrives_whole(self):
        chat = Chat()
        text = " ".join(f"word{i}" for i in range(10_000))
        self.assertGreater(len(text), 80_000)
        text += "x" * (100_000 - len(text))
        chat.ask("/system " + pasted(text))  # computes no answer
        self.assertEqual(chat.messages("system"), [text])
        self.assertEqual(chat.end(), 0)

    def test_a_pasted_zero_is_shown_and_cuts_nothing_off(self):
        chat = Chat()
        chat.ask("a" + pasted("one\0two\0") + "b")
        self.assertEqual(chat.messages(), ["aone\ufffdtwo\ufffdb"])
        self.assertEqual(chat.end(), 0)

    def test_what_is_pasted_while_an_answer_is_written_arrives_whole(self):
        chat = Chat("-n", "400", "--ignore-eos")
        text = "y" * 20_000
        chat.type("hello\r")
        chat.wait_for("\r\n")
        chat.type("/system " + pasted(text) + "\r")
        chat.wait_for("> ")
        self.assertEqual(chat.messages("system"), [text])
        self.assertEqual(chat.end(), 0)

    def test_three_pasted_lines_are_one_message(self):
        chat = Chat()
        chat.ask(pasted("one\n\ttwo\nthree"))
        chat.ask("say " + pasted("a\nb\n") + "c")
        chat.ask(pasted('"""\nquoted\nblock\n"""'))
        chat.ask(pasted("ends in a break\n"))
        self.assertEqual(chat.messages(), ["one\n\ttwo\nthree", "say a\nb\nc", "quoted\nblock", "ends in a break"])
        self.assertEqual(chat.end(), 0)

    def test_lines_are_edited(self):
        chat = Chat()
        chat.ask("hallo" + LEFT * 3 + "\x08e")  # Backspace deletes the a
        chat.ask("world" + HOME + DELETE + "W")
        chat.ask("Grüße, 世界 😀" + LEFT * 2 + "\x7f" + "月")
        self.assertEqual(chat.messages(), ["hello", "World", "Grüße, 世月 😀"])
        self.assertEqual(chat.end(), 0)

    def test_the_upward_arrow_brings_messages_back(self):
        chat = Chat()
        chat.ask("first")
        chat.ask(pasted("second\nof two"))
        chat.ask(UP)
        chat.ask(UP + UP + "!")
        self.assertEqual(chat.messages(), ["first", "second\nof two", "second\nof two", "first!"])
        self.assertEqual(chat.end(), 0)

    def test_a_history_file_outlives_the_chat_and_is_the_user_s_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "history")
            chat = Chat("--history", str(file))
            chat.ask("Grüße")
            self.assertEqual(chat.end(), 0)
            self.assertEqual(file.stat().st_mode & 0o077, 0)
            chat = Chat("--history", str(file))
            chat.ask(UP)
            self.assertEqual(chat.messages(), ["Grüße"])
            self.assertEqual(chat.end(), 0)

    def test_without_a_history_file_nothing_is_kept(self):
        with tempfile.TemporaryDirectory() as home:
            chat = Chat(home=home)
            chat.ask("secret")
            self.assertEqual(chat.end(), 0)
            self.assertEqual(os.listdir(home), [])

    def test_a_window_that_changes_its_size_loses_nothing(self):
        chat = Chat()
        for rows, columns in ((24, 80), (5, 20), (50, 200), (2, 10), (24, 80)):
            chat.resize(rows, columns)
            time.sleep(0.3)
            chat.type("some words that go on for more than a line ")
        chat.ask("")
        self.assertEqual(chat.messages(), ["some words that go on for more than a line " * 5])
        self.assertEqual(chat.end(), 0)

    def test_control_c_discards_a_line_and_control_d_ends_the_chat(self):
        chat = Chat()
        chat.type("not meant")
        chat.wait_for("meant")
        chat.type("\x03")
        chat.wait_for("Ctrl-D or /exit leaves")
        chat.wait_for("> ")
        chat.ask("meant")
        self.assertEqual(chat.messages(), ["meant"])
        self.assertEqual(chat.end(), 0)

    def test_keys_within_a_paste_are_text(self):
        chat = Chat()
        chat.ask(pasted("a\x1b[Ab"))  # within a paste the bytes of an arrow key are text
        self.assertEqual(chat.messages(), ["a\x1b[Ab"])
        self.assertEqual(chat.end(), 0)

    def test_sigterm_ends_it_with_the_terminal_as_it_was(self):
        chat = Chat()
        before = termios.tcgetattr(chat.control)[3]
        self.assertFalse(before & termios.ICANON)
        chat.process.send_signal(signal.SIGTERM)
        chat.wait_for("\x1b[?2004l")
        self.assertEqual(chat.process.wait(DEADLINE), 130)
        self.assertTrue(termios.tcgetattr(chat.control)[3] & termios.ICANON)
        os.close(chat.control)

    def test_a_second_signal_that_kills_leaves_the_terminal_as_it_was(self):
        codes = set()
        for milliseconds in (0, 1, 2, 5):  # by the time of the second signal, the first may have been handled or not
            chat = Chat()
            chat.ask("/file " + str(DEMO.parent / "long-document/document.txt"))
            chat.type("What?\r")
            chat.wait_for("prefill ")
            self.assertFalse(termios.tcgetattr(chat.control)[3] & termios.ICANON)
            chat.process.send_signal(signal.SIGINT)
            time.sleep(milliseconds / 1000)
            chat.process.send_signal(signal.SIGTERM)
            codes.add(chat.process.wait(DEADLINE))
            self.assertTrue(termios.tcgetattr(chat.control)[3] & termios.ICANON)
            os.close(chat.control)
        self.assertLessEqual(codes, {130, -signal.SIGTERM})

    def test_signals_that_kill_at_once_leave_the_terminal_as_it_was(self):
        for number in (signal.SIGHUP, signal.SIGQUIT):
            chat = Chat()
            self.assertFalse(termios.tcgetattr(chat.control)[3] & termios.ICANON)
            chat.process.send_signal(number)
            self.assertEqual(chat.process.wait(DEADLINE), -number)
            self.assertTrue(termios.tcgetattr(chat.control)[3] & termios.ICANON)
            os.close(chat.control)

    def test_a_terminal_that_goes_away_ends_it(self):
        chat = Chat()
        os.close(chat.control)
        self.assertIn(chat.process.wait(DEADLINE), (0, 1, -signal.SIGHUP))

    def test_a_dumb_terminal_gets_lines_without_editing(self):
        chat = Chat(term="dumb")
        chat.type("hello\r")
        chat.wait_for("> ")
        self.assertEqual(chat.messages(), ["hello"])
        self.assertEqual(chat.end(), 0)


if __name__ == "__main__":
    unittest.main()
