"""Bad tokenizers and chat templates."""
import json

import files
from rows import Run, row


def tokenizer(name, *words, code=3, prompt="x"):
    """Adds a row. The decorated function puts a tokenizer into a model folder that has none."""

    def add(function):
        def build():
            folder = files.model().without("tokenizer.model", "tokenizer_config.json")
            function(folder)
            return Run(["tokenize", "-m", folder, "-p", prompt], code, *words, folder=folder)

        row("tokenizer", name)(build)
        return function

    return add


def model_file(name, *words):
    return lambda data: tokenizer(name, "tokenizer.model", *words)(
        lambda folder: folder.write("tokenizer.model", data() if callable(data) else data))


def sentencepiece():
    return (files.MODEL / "tokenizer.model").read_bytes()


tokenizer("none", "tokenizer.json", "tokenizer.model")(lambda folder: None)
model_file("tokenizer.model empty")(b"")
model_file("tokenizer.model of text")("this is no SentencePiece model")
model_file("tokenizer.model cut short")(lambda: sentencepiece()[:1000])
model_file("tokenizer.model a Git LFS pointer", "Git LFS pointer", "git lfs pull")(
    "version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 1\n")
model_file("tokenizer.model a web page", "web page", "download")("<!DOCTYPE html><html></html>")
model_file("tokenizer.model with a length of 2^63")(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f")

BPE = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}, "decoder": {"type": "ByteLevel"}}


def json_file(name, *words, text=None, prompt="x", **keys):
    def change(folder):
        folder.write("tokenizer.json", {**BPE, **keys} if text is None else text() if callable(text) else text)

    tokenizer(name, *words, prompt=prompt)(change)


json_file("tokenizer.json empty", "JSON", text="")
json_file("tokenizer.json cut short", "JSON", text=lambda: json.dumps(BPE)[:40])
json_file("tokenizer.json a list", "JSON object", text="[]")
json_file("tokenizer.json nested 1,000,000 deep", "nested", text=lambda: '{"a":' + "[" * 1_000_000)
json_file("another kind of model", "Unigram", model={"type": "Unigram", "vocab": []})
json_file("a vocabulary that is a list", "vocab", model={"type": "BPE", "vocab": [], "merges": []})
json_file("ids that are no numbers", "expected the id of 'a'", model={"type": "BPE", "vocab": {"a": "x"}, "merges": []})
json_file("a merge of unknown pieces", "merge", model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a q"]})
json_file("an unknown normalizer", "Backwards", normalizer={"type": "Backwards"})
json_file("an unknown pre-tokenizer", "Backwards", pre_tokenizer={"type": "Backwards"})
json_file("a pattern that is no pattern", "regular expression", "missing closing parenthesis",
          pre_tokenizer={"type": "Split", "pattern": {"Regex": "(((("}, "behavior": "Isolated", "invert": False})
json_file("an added token without content", "an added token lacks", added_tokens=[{"id": 2}])

# Seer once ran out of memory with this.
json_file("40 steps that each double the text", "Replace", prompt="a", normalizer={"type": "Sequence", "normalizers": [
    {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40})
# Seer once took 5 s for 28 letters, and twice as long for each further letter.
json_file("a pattern that tries 2^40 ways", "(?:a|a)+[bc]", prompt="a" * 40, pre_tokenizer={
    "type": "Split", "pattern": {"Regex": "(?:a|a)+[bc]"}, "behavior": "Isolated", "invert": False})


@tokenizer("tokenizer_config.json cut short", "tokenizer_config.json", "JSON")
def _(folder):
    folder.link("tokenizer.model", files.MODEL / "tokenizer.model").write("tokenizer_config.json", '{"bos_token": ')


def template(name, *words, code=3, messages='[{"role": "user", "content": "x"}]'):
    """Adds a row that renders a chat template. The function gets its text, or a function that returns it."""

    def add(source):
        def build():
            folder = files.Folder().write("template.jinja", source() if callable(source) else source)
            folder.write("messages.json", messages)
            return Run(["render", "-m", files.MODEL, "--chat-template", folder.path / "template.jinja", "--messages",
                        folder.path / "messages.json"], code, *words, folder=folder)

        row("template", name)(build)
        return source

    return add


template("an open block", "template.jinja", "if")("{% if x %}")
template("an unknown tag", "template.jinja", "spell")("{% spell x %}")
template("an unknown filter", "template.jinja", "backwards")("{{ messages | backwards }}")
template("a loop of 10^12 rounds", "template.jinja")(
    "{% for a in range(1000000) %}{% for b in range(1000000) %}{% endfor %}{% endfor %}")
template("a text that doubles 40 times", "template.jinja")(
    "{% set ns = namespace(t='x') %}{% for i in range(40) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}")
template("100,000 open brackets", "template.jinja")(lambda: "{{ " + "(" * 100_000)
template("raise_exception", "no tools here")("{{ raise_exception('no tools here') }}")


@row("template", "--chat-template names nothing")
def _():
    return Run(["render", "-m", files.MODEL, "--chat-template", "no-such", "--messages", "-"], 2, "no-such", "chatml",
               stdin="[]")


@row("template", "--chat-template is a folder")
def _():
    folder = files.Folder()
    return Run(["render", "-m", files.MODEL, "--chat-template", folder, "--messages", "-"], 3, folder.path.name,
               "regular file", stdin="[]")
