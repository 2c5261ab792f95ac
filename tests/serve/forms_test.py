#!/usr/bin/env python3
"""Checks that `seer serve` finds calls and reasoning in the forms in which models write them, some with special tokens as marks, in
whole and streamed answers."""
import json
import tempfile
import unittest

from automaton import write_model
from running_server import Server

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}} for name in ("f", "g", "fun")]
QUESTION = [{"role": "user", "content": "x"}]
MISTRAL = """\
{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{%- for message in messages %}[INST]{{ message.content }}[/INST]
{%- for call in message.tool_calls or [] %}
{%- if call.id | length != 9 %}{{ raise_exception('ids have nine letters') }}{% endif %}
{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson }}
{%- endfor %}
{%- endfor %}<|NAME|>"""
LLAMA = """\
{%- if tools %}Environment: ipython {{ tools | tojson }}{% endif %}
{%- for message in messages %}{{ message.content }}{% endfor %}{# {"name": ..., "parameters": ...} #}<|NAME|>"""
THINKS = """\
{%- for message in messages %}{{ message.content.split('</think>')[-1] }}{% endfor %}
{%- if enable_thinking is defined and not enable_thinking %}<think></think><|quick|>
{%- else %}<|first|><think>
{% endif %}"""


class Forms(unittest.TestCase):
    def serve(self, answers, template, *arguments, marks=()):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        write_model(folder.name, answers, template, marks)
        server = Server(*arguments, model=["-m", folder.name])
        self.addCleanup(server.stop)
        return server

    def both(self, server, **fields):
        """Returns the message of a whole answer and why it ended. Fails unless the deltas of a streamed answer add up to the same."""
        whole = server.chat(messages=QUESTION, **fields)
        self.assertEqual(whole.status, 200, whole.text)
        choice = whole.json["choices"][0]
        message = choice["message"]
        parts, calls = {"reasoning_content": "", "content": ""}, []
        events = server.chat(messages=QUESTION, stream=True, **fields).events
        for delta in (event["choices"][0]["delta"] for event in events):
            for name in parts:
                parts[name] += delta.get(name) or ""
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    calls.append({"name": call["function"]["name"], "arguments": ""})
                calls[call["index"]]["arguments"] += call["function"]["arguments"]
        self.assertEqual(parts["content"], message["content"] or "")
        self.assertEqual(parts["reasoning_content"], message.get("reasoning_content", ""))
        self.assertEqual(calls, [call["function"] for call in message.get("tool_calls", [])])
        self.assertEqual(events[-1]["choices"][0]["finish_reason"], choice["finish_reason"])
        return message, choice["finish_reason"]

    def check_calls(self, server, expected, content=None):
        message, reason = self.both(server, tools=TOOLS)
        self.assertEqual([(call["function"]["name"], json.loads(call["function"]["arguments"]))
                          for call in message["tool_calls"]], expected)
        self.assertEqual(message["content"], content)
        self.assertEqual(reason, "tool_calls")
        return message

    def test_mistral_s_array_after_a_special_token(self):
        server = self.serve({"array": 'So: [TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]'},
                            MISTRAL.replace("NAME", "array"), marks=["[TOOL_CALLS]"])
        message = self.check_calls(server, [("f", {"a": 1}), ("g", {})], "So:")
        self.assertRegex(message["tool_calls"][0]["id"], "^[a-zA-Z0-9]{9}$")
        again = server.chat(messages=[*QUESTION, message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"],
                                                           "content": "5"}], tools=TOOLS)
        self.assertEqual(again.status, 200, again.text)
        # Without tools the answer is not parsed: special tokens have no text, and the rest is the content.
        self.assertEqual(self.both(server)[0]["content"], 'So: [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]')

    def test_mistral_s_names_and_arguments(self):
        server = self.serve({"named": '[TOOL_CALLS]fun[ARGS]{"a": {"b": 2}}'}, MISTRAL.replace("NAME", "named"), marks=["[TOOL_CALLS]", "[ARGS]"])
        self.check_calls(server, [("fun", {"a": {"b": 2}})])

    def test_llama_s_object_with_and_without_its_special_token(self):
        for text in ('{"name": "f", "parameters": {"a": 1}}', '<|python_tag|>{"name": "f", "parameters": {"a": 1}}'):
            server = self.serve({"llama": text}, LLAMA.replace("NAME", "llama"), marks=["<|python_tag|>"])
            self.check_calls(server, [("f", {"a": 1})])

    def test_json_that_names_no_offered_function_is_content_for_llama(self):
        text = '{"name": "Bob", "parameters": {"age": 5}}'
        message, reason = self.both(self.serve({"llama": text}, LLAMA.replace("NAME", "llama")), tools=TOOLS)
        self.assertEqual((message["content"], reason), (text, "stop"))

    def test_a_call_with_malformed_arguments_is_content(self):
        template = LLAMA.replace("#}", "<tool_call> #}")
        text = '<tool_call>{"name": "f", "arguments": [1]}</tool_call> Sorry.'
        message, reason = self.both(self.serve({"bad": text}, template.replace("NAME", "bad")), tools=TOOLS)
        self.assertEqual((message["content"], reason), (text, "stop"))

    def test_the_parser_can_be_named_or_turned_off(self):
        text = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
        server = self.serve({"named": text}, LLAMA.replace("NAME", "named"), "--tool-call-parser", "hermes")
        self.check_calls(server, [("f", {})])
        server = self.serve({"none": text}, LLAMA.replace("NAME", "none"), "--tool-call-parser", "none")
        self.assertEqual(self.both(server, tools=TOOLS)[0]["content"], text)

    def test_an_answer_begins_with_reasoning_if_the_prompt_ends_with_think(self):
        server = self.serve({"\n": "Well, well.</think>Yes.", "first": "never", "quick": "No."}, THINKS,
                            marks=["<think>", "</think>"])
        message, _ = self.both(server)
        self.assertEqual((message["reasoning_content"], message["content"]), ("Well, well.", "Yes."))
        message, _ = self.both(server, chat_template_kwargs={"enable_thinking": False})
        self.assertEqual((message.get("reasoning_content"), message["content"]), (None, "No."))
        message, _ = self.both(server, reasoning_effort="none")
        self.assertEqual(message["content"], "No.")

    def test_reasoning_stays_in_the_text_if_its_parser_is_turned_off(self):
        server = self.serve({"\n": "Hm.</think>Yes.", "quick": "No."}, THINKS, "--reasoning-parser", "none")
        message, _ = self.both(server)
        self.assertEqual(message["content"], "Hm.</think>Yes.")

    def test_tools_are_refused_if_the_template_ignores_them_or_no_parser_reads_the_calls(self):
        server = self.serve({"quick": "No."}, "{{ messages[0].content }}<|quick|>")
        answer = server.chat(messages=QUESTION, tools=TOOLS)
        self.assertEqual((answer.status, answer.error["param"]), (400, "tools"))
        coder = "{% if tools %}{{ tools | tojson }}{% endif %}<tool_call>\n<function={{ 1 }}>{{ messages[0].content }}<|quick|>"
        answer = self.serve({"quick": "No."}, coder).chat(messages=QUESTION, tools=TOOLS)
        self.assertEqual((answer.status, answer.error["param"]), (400, "tools"))
        self.assertIn("--tool-call-parser none", answer.error["message"])


if __name__ == "__main__":
    unittest.main()
