#!/usr/bin/env python3
"""Runs two tasks of lm-evaluation-harness, by its model `local-completions`: one of two choices and one of generated text. Their
results must be those that follow from the server's completions."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import weather
from running_server import DEADLINE, Server

CHOICES = [("It was a bright", [" morning", " xylophone"], 0), ("The captain looked at the", [" grey water", " Qqqq"], 0),
           ("Once upon a", [" zzzz", " time"], 1), ("She said nothing", [" and went", " 99 77"], 0)]

TASK = """\
task: seer_choices
dataset_path: json
dataset_kwargs: {data_files: {test: "%(data)s"}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{label}}"
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
GENERATED = """\
task: seer_generated
dataset_path: json
dataset_kwargs: {data_files: {test: "%(data)s"}}
test_split: test
output_type: generate_until
doc_to_text: "{{text}}"
doc_to_target: "{{continuation}}"
target_delimiter: ""
generation_kwargs: {until: ["\\n\\n\\n"], max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""


class LmEval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def loglikelihood(self, text, choice):
        n = len(self.ids(text))
        logprobs = self.server.complete(prompt=self.ids(text) + self.ids(choice), max_tokens=1, logprobs=1,
                                        echo=True).json["choices"][0]["logprobs"]["token_logprobs"]
        return sum(logprobs[n:-1])

    def ids(self, text):
        return self.server.post("/tokenize", {"prompt": text, "add_special_tokens": False}).json["tokens"]

    def test_two_tasks(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            rows = []
            for text, choices, label in CHOICES:
                answer = self.server.complete(prompt=self.ids(text), max_tokens=8, stop=["\n\n\n"]).json
                rows.append({"text": text, "choices": choices, "label": label, "continuation": answer["choices"][0]["text"]})
            data = folder / "rows.jsonl"
            data.write_text("".join(json.dumps(row) + "\n" for row in rows))
            for task, source in (("choices", TASK), ("generated", GENERATED)):
                (folder / f"{task}.yaml").write_text(source % {"data": data})
            results = self.run_tasks(folder)
        self.assertEqual(results["results"]["seer_generated"]["exact_match,none"], 1.0)
        right = sum(max(choices, key=lambda choice, t=text: self.loglikelihood(t, choice)) == choices[label]
                    for text, choices, label in CHOICES)
        self.assertEqual(results["results"]["seer_choices"]["acc,none"], right / len(CHOICES))
        self.assertGreaterEqual(right, 3)

    def run_tasks(self, folder):
        arguments = f"model=demo,base_url={self.server.url}/v1/completions,num_concurrent=2,max_retries=1"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
        done = subprocess.run([sys.executable, "-m", "lm_eval", "--model", "local-completions", "--model_args", arguments,
                               "--include_path", str(folder), "--tasks", "seer_choices,seer_generated",
                               "--output_path", str(folder / "out")], env=environment, capture_output=True, text=True,
                              timeout=2 * DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])
        return json.loads(next((folder / "out").rglob("results_*.json")).read_text())


if __name__ == "__main__":
    weather.run("lm_eval")
