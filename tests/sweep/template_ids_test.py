#!/usr/bin/env python3
"""Compares the ids of prompts made by published chat templates with the ids that Hugging Face's tokenizers package gives the texts.

    template_ids_test.py SEER [DATA]

DATA (else SEER_TEST_DATA) holds templates/ (with cases.json) and tokenizers/. Where messages contain the text of a special token,
Seer reads it as plain text and the ids differ: then they must decode to the same text, and have no more special tokens than the
package finds. tokenizers comes from the Python named by SEER_PYTHON_HF, else from this one; without it, or without DATA,
the exit code is 77, which ctest reports as skipped."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tokenizer_sweep import use_python_with_tokenizers

DATE = "2026-11-28T09:05:03"  # the date with which the texts in cases.json were rendered
FAMILIES = {"llama3.1": ("meta-llama", "NousResearch-Hermes", "meetkai"),
            "qwen2": ("Qwen", "HuggingFaceTB", "deepseek-ai")}


def tokenizer_of(template):
    return next((name for name, starts in FAMILIES.items() if template.startswith(starts)), None)


def strings_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)


class Checker:
    def __init__(self, seer, data):
        import tokenizers
        self.seer, self.data = seer, data
        self.tokenizers = {name: tokenizers.Tokenizer.from_file(str(data / "tokenizers" / name / "tokenizer.json")) for name in FAMILIES}
        self.added = {name: {token.content: token_id for token_id, token in t.get_added_tokens_decoder().items()}
                      for name, t in self.tokenizers.items()}

    def found(self, case, name, folder):
        shutil.copy(self.data / "templates" / (case["template"] + ".jinja"), folder / "chat_template.jinja")
        if not (folder / "tokenizer.json").exists():
            (folder / "tokenizer.json").symlink_to((self.data / "tokenizers" / name / "tokenizer.json").resolve())
        tokens = {key: case[key] for key in ("bos_token", "eos_token") if case.get(key) is not None}
        known = {key: text for key, text in tokens.items() if text in self.added[name]}
        (folder / "tokenizer_config.json").write_text(json.dumps(known))
        (folder / "messages.json").write_text(json.dumps(case["messages"]))
        command = [self.seer, "render", "-m", str(folder), "--ids", "--messages", str(folder / "messages.json"), "--date", DATE]
        variables = {key: value for key, value in case["kwargs"].items() if key != "add_generation_prompt"}
        variables |= {key: text for key, text in tokens.items() if key not in known}  # passed as plain text
        command += ["--chat-template-kwargs", json.dumps(variables)]
        if not case["kwargs"].get("add_generation_prompt"):
            command.append("--no-generation-prompt")
        if case.get("tools") is not None:
            (folder / "tools.json").write_text(json.dumps(case["tools"]))
            command += ["--tools", str(folder / "tools.json")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(word) for word in done.stdout.split()] if done.returncode == 0 else done.stderr

    def check(self, case, folder):
        """Returns why Seer's ids are wrong, or None."""
        name = tokenizer_of(case["template"])
        found = self.found(case, name, folder)
        wanted = self.tokenizers[name].encode(case["expected"], add_special_tokens=False).ids
        if found == wanted:
            return None
        added = self.added[name]
        spelled = [token for token in added if any(token in text for text in strings_in([case["messages"], case.get("tools")]))]
        if not spelled or isinstance(found, str):
            return f"found {found}\nwanted {wanted}"
        if self.tokenizers[name].decode(found, skip_special_tokens=False) != case["expected"]:
            return "the ids stand for another text"
        more = [token for token in spelled if found.count(added[token]) > wanted.count(added[token])]
        return f"more of {more} than the text has" if more else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seer")
    parser.add_argument("data", type=pathlib.Path, nargs="?",
                        default=os.environ.get("SEER_TEST_DATA") or os.environ.get("SEER_DEFAULT_TEST_DATA", "/nowhere"))
    args = parser.parse_args()
    if not (args.data / "templates/cases.json").exists() or not (args.data / "tokenizers").exists():
        print(f"SKIPPED: no templates or tokenizers in {args.data}")
        sys.exit(77)
    print("tokenizers", use_python_with_tokenizers())
    checker, equal, wrong = Checker(args.seer, args.data), 0, 0
    for case in json.loads((args.data / "templates/cases.json").read_text()):
        if "expected" not in case or tokenizer_of(case["template"]) is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            reason = checker.check(case, pathlib.Path(folder))
        equal += reason is None
        if reason is not None:
            wrong += 1
            print(f"WRONG: {case['template']}, {case['name']}: {reason[:1500]}")
    print(f"{equal + wrong} prompts, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
