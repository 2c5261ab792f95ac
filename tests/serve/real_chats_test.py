#!/usr/bin/env python3
"""Two published chat models through `seer generate` and `seer serve`, compared with what transformers answered: the prompt's ids,
the text and how it ended. The models are no part of the project: SEER_REAL_MODELS names a folder that holds them, and the
references are test data (SEER_TEST_DATA). Skipped without either."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from running_server import DEADLINE, SEER, Server, environment

ROOT = pathlib.Path(os.environ.get("SEER_REAL_MODELS", "/nowhere"))
DATA = pathlib.Path(os.environ.get("SEER_TEST_DATA") or os.environ.get("SEER_DEFAULT_TEST_DATA", "/nowhere")) / "real-models"
CONTEXT = 256


def models():
    return [name for name in ("smollm2", "qwen2.5-coder-0.5b")
            if (ROOT / name / "config.json").exists() and (DATA / f"{name}.json").exists()]


def seer(*arguments, text=""):
    done = subprocess.run([SEER, *arguments], env=environment(), input=text.encode(), capture_output=True, timeout=DEADLINE,
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.stderr.decode()}")
    return done.stdout.decode()


def ids_of(text):
    return [int(word) for word in text.split()]


class RealChats(unittest.TestCase):
    def each(self):
        for name in models():
            yield name, str(ROOT / name), json.loads((DATA / f"{name}.json").read_text())

    def rendered_ids(self, model, messages):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(messages, file)
            file.flush()
            return ids_of(seer("render", "-m", model, "--messages", file.name, "--ids"))

    def test_generate_takes_a_question_and_a_system_message(self):
        for name, model, reference in self.each():
            for case in reference["chat"]:
                messages, n_new = case["messages"], len(case["new_ids"])
                with self.subTest(model=name, messages=messages):
                    self.assertEqual(self.rendered_ids(model, messages), case["prompt_ids"])
                    if [message["role"] for message in messages] not in (["user"], ["system", "user"]):
                        continue
                    system = ["--system", messages[0]["content"]] if len(messages) == 2 else []
                    command = ["generate", "-m", model, "-p", messages[-1]["content"], *system, "--chat-template", "auto",
                               "--temp", "0", "-n", str(n_new), "-c", str(CONTEXT), "-q"]
                    self.assertEqual(seer(*command), case["text"])
                    both = ids_of(seer(*command, "--echo", "--ids"))
                    self.assertEqual(both[:len(case["prompt_ids"])], case["prompt_ids"])

    def test_serve_answers_chats_and_completions(self):
        for name, model, reference in self.each():
            server = Server("-c", str(CONTEXT), model=["-m", model])
            try:
                for case in reference["chat"]:
                    with self.subTest(model=name, messages=case["messages"]):
                        answer = server.post("/v1/chat/completions", {"messages": case["messages"], "temperature": 0,
                                                                      "max_tokens": len(case["new_ids"])}).json
                        self.assertEqual(answer["usage"]["prompt_tokens"], len(case["prompt_ids"]))
                        self.assertEqual(answer["choices"][0]["message"]["content"], case["text"])
                for case in reference["plain"]:
                    with self.subTest(model=name, prompt=case["prompt"]):
                        answer = server.post("/v1/completions", {"prompt": case["prompt"], "temperature": 0,
                                                                 "max_tokens": len(case["new_ids"])}).json
                        self.assertEqual(answer["usage"]["prompt_tokens"], len(case["prompt_ids"]))
                        self.assertEqual(answer["choices"][0]["text"], case["text"])
            finally:
                server.stop()

    def test_a_chat_keeps_its_pages_and_says_what_transformers_says(self):
        for name, model, reference in self.each():
            for case in reference["chat"]:
                if len(case["messages"]) != 1:
                    continue
                with self.subTest(model=name, messages=case["messages"]):
                    said = seer("chat", "-m", model, "--temp", "0", "-c", str(CONTEXT), "-n", str(len(case["new_ids"])), "-q",
                                text=case["messages"][0]["content"].replace("\n", "\\\n") + "\n")
                    self.assertEqual(said.rstrip("\n"), case["text"].rstrip("\n"))


if __name__ == "__main__":
    if not models():
        print(f"SKIPPED: no models in SEER_REAL_MODELS ({ROOT}), or no references in {DATA}")
        sys.exit(0)
    unittest.main()
