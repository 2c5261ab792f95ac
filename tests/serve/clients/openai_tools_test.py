#!/usr/bin/env python3
"""Uses tools, reasoning, log-probabilities and a message that is continued through OpenAI's Python client, whole and streamed."""
import json
import math

import weather

try:
    import openai
except ImportError:
    openai = None


class OpenAiTools(weather.WeatherTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=cls.url, api_key="none", max_retries=0)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    def ask(self, messages=None, **fields):
        return self.client.chat.completions.create(model="demo", messages=messages or self.question(), **fields)

    @staticmethod
    def question():
        return [{"role": "user", "content": weather.QUESTION}]

    def check_call(self, call):
        self.assertEqual((call.type, call.function.name), ("function", "get_weather"))
        self.assertEqual(json.loads(call.function.arguments), weather.ARGUMENTS)

    def test_a_call_and_its_result_go_round(self):
        answer = self.ask(tools=[weather.TOOL]).choices[0]
        self.assertEqual(answer.finish_reason, "tool_calls")
        self.assertIsNone(answer.message.content)
        self.assertEqual(answer.message.reasoning_content, weather.REASONING)
        self.check_call(answer.message.tool_calls[0])
        told = self.ask([*self.question(), answer.message,
                         {"role": "tool", "tool_call_id": answer.message.tool_calls[0].id, "content": "-5 degrees"}],
                        tools=[weather.TOOL]).choices[0]
        self.assertEqual((told.finish_reason, told.message.content), ("stop", weather.ANSWER))
        self.assertIsNone(told.message.tool_calls)

    def test_the_helper_of_the_client_puts_a_streamed_call_together(self):
        with self.client.chat.completions.stream(model="demo", messages=self.question(), tools=[weather.TOOL]) as stream:
            pieces = [event for event in stream if event.type == "tool_calls.function.arguments.delta"]
            answer = stream.get_final_completion().choices[0]
        self.assertEqual(json.loads("".join(piece.arguments_delta for piece in pieces)), weather.ARGUMENTS)
        self.assertEqual(answer.finish_reason, "tool_calls")
        self.check_call(answer.message.tool_calls[0])

    def test_reasoning_is_streamed_before_the_call(self):
        deltas = [chunk.choices[0].delta for chunk in self.ask(tools=[weather.TOOL], stream=True)]
        reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
        self.assertEqual(reasoning, weather.REASONING)
        self.assertEqual("".join(delta.content or "" for delta in deltas), "")
        names = [call.function.name for delta in deltas for call in delta.tool_calls or [] if call.function.name]
        self.assertEqual(names, ["get_weather"])

    def test_without_tools_or_with_the_choice_none_it_answers(self):
        for fields in ({}, {"tools": [weather.TOOL], "tool_choice": "none"}):
            self.assertEqual(self.ask(**fields).choices[0].message.content, "Hello there.")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.ask(tools=[weather.TOOL], tool_choice="required")
        self.assertEqual(caught.exception.param, "tool_choice")

    def test_log_probabilities_plain_and_streamed(self):
        plain = self.ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
        text = b"".join(bytes(token.bytes) for token in plain)
        self.assertEqual(text, b"Hello there.<|end|>")
        for token in plain:
            self.assertEqual(len(token.top_logprobs), 2)
            self.assertEqual(token.top_logprobs[0].token, token.token)
            self.assertGreater(math.exp(token.logprob), 0.99)
        streamed = [token for chunk in self.ask(logprobs=True, top_logprobs=2, stream=True)
                    if chunk.choices[0].logprobs for token in chunk.choices[0].logprobs.content]
        self.assertEqual(streamed, plain)

    def test_log_probabilities_of_a_completion_with_its_prompt(self):
        choice = self.client.completions.create(model="demo", prompt="Hi<|quick|>", max_tokens=20, logprobs=1, echo=True).choices[0]
        self.assertEqual(choice.text, "Hi<|quick|>Hello there.")
        self.assertIsNone(choice.logprobs.token_logprobs[0])
        for token, offset in zip(choice.logprobs.tokens[:-1], choice.logprobs.text_offset):
            self.assertEqual(choice.text[offset:offset + len(token)], token)
        self.assertEqual(choice.logprobs.tokens[-1], "<|end|>")

    def test_a_list_of_biases_and_stop_ids_is_taken(self):
        first = self.ask(logprobs=True).choices[0].logprobs.content[0]
        ids = self.server.post("/tokenize", {"prompt": first.token, "add_special_tokens": False}).json["tokens"]
        self.assertEqual(len(ids), 1)
        stopped = self.ask(extra_body={"stop_token_ids": ids}).choices[0]
        self.assertEqual((stopped.finish_reason, stopped.message.content), ("stop", ""))
        self.assertNotEqual(self.ask(logit_bias={str(ids[0]): -100}, max_tokens=1).choices[0].message.content, first.token)


if __name__ == "__main__":
    weather.run("openai")
