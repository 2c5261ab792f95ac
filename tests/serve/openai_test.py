#!/usr/bin/env python3
"""Uses `seer serve` through OpenAI's Python client. Skipped if the package `openai` is not installed."""
import sys
import unittest

from running_server import PROMPT, Server

try:
    import openai
except ImportError:
    openai = None


class OpenAi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", "key")
        cls.client = openai.OpenAI(base_url=cls.server.url + "/v1", api_key="key", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    def test_completions_and_chat_plain_and_streamed(self):
        ask = {"model": "demo", "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
        text = self.client.completions.create(**ask).choices[0].text
        self.assertEqual("".join(chunk.choices[0].text for chunk in self.client.completions.create(**ask, stream=True)), text)
        chat = {"model": "demo", "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": 8, "temperature": 0}
        answer = self.client.chat.completions.create(**chat)
        self.assertEqual(answer.choices[0].message.content, text)
        self.assertEqual(answer.usage.completion_tokens, 8)
        chunks = list(self.client.chat.completions.create(**chat, stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), text)
        self.assertEqual(chunks[-1].usage.completion_tokens, 8)
        self.assertEqual([model.id for model in self.client.models.list()], ["demo"])

    def test_extensions_go_through_extra_body(self):
        answer = self.client.completions.create(model="demo", prompt=PROMPT, max_tokens=3, extra_body={"sparse": "dense", "top_k": 1})
        self.assertEqual(answer.usage.completion_tokens, 3)

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.completions.create(model="demo", prompt=PROMPT, max_tokens=-1)
        self.assertEqual((caught.exception.param, caught.exception.status_code), ("max_tokens", 400))
        with self.assertRaises(openai.NotFoundError):
            self.client.completions.create(model="other", prompt=PROMPT)
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.server.url + "/v1", api_key="wrong", max_retries=0).models.list()


if __name__ == "__main__":
    if openai is None:
        print("SKIPPED: the Python package openai is not installed")
        sys.exit(0)
    unittest.main()
