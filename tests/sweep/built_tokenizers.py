"""Makes the tokenizers and the texts of tokenizer_sweep.py."""
import itertools
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|"
          r"\s*[\r\n]|\s+(?!\S)|\s+")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
O200K = (rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*|"
          r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK_V3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
               r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"

FRAGMENTS = """hello|Hello| world|the |and|'s|'LL|'re|don't|I'd|\u017fs|1|12|123|1234|3.14|\u0661\u0662|\u0967\u0968|\u00b2\u00bd|\u2167|
|\n|\n\n|\r\n|\t| |  |   |\u00a0|\u2003|\u3000|\u180e|\u200b|\u2028|\u0085|\ufeff|.|,|!?|...|--|\u2014|\u201cquoted\u201d|\u00bfque\u0301?|caf\u00e9|cafe\u0301|
na\u00efve|\u01c4|\u01c5|\u0130stanbul|STRASSE|stra\u00dfe|\u03a3\u0391\u03a3|\u0439\u043e\u0436|\u4f60\u597d|\u4e16\u754c\u3002|\u3053\u3093|\u304b\u3099|\ud55c\uad6d|
\u1112\u1161\u11ab|\u0e2a\u0e27\u0e31|\u0928\u092e\u0938\u094d|\u05e9\u05dc|\u0645\u0631\u062d|\U0001f600|\U0001f468\u200d\U0001f469|\U0001f1e9\U0001f1ea|\u2581|\u2581a|\u0120|
\u00c4|<0x41>|<0xFF>|<s>|</s>|<|im_start|>|<|im_end|>|<tool>|</tool>|tok|[MASK]|<unk>|a<s>b|_x_|snake_case|CamelCase|x=y+1;|{"k": [1]}|http://a.b/c?d|
@#$%^&*|\\d|(a)|[b]|\u00b7|\u20ac5|\u00e6|\ufb01|\uff21|\u2460|\u1d54f|\U0001d54f|\U00020000|\U00031350|\U0001e030|\U00010d50|\ua7cb|\u1c89|\u0378|\ue000|\U0010ffff|
e\u0338|>\u0338|\u0301|\u20dd|\u0f71\u0f72|\u212b|\u1e9e|ab|ba|aa|aaa|aaaa|z""".replace("\n|", "|").replace("|\n", "|").split("|")
FRAGMENTS = [f for f in FRAGMENTS if f] + ["|", "\n", "\n\n", "\n \n", " \n", "<|im_start|>", "<|im_end|>", " <|im_start|> "]
TOKENS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<tool>", "tok", "[MASK]", "\n\n"]


def texts(seed, n):
    draw = random.Random(seed)
    all_texts = ["", " ", "\n", "<s>", "<s> <s>", "hello"]
    while len(all_texts) < n:
        all_texts.append("".join(draw.choice(FRAGMENTS) for _ in range(draw.randint(1, 14))))
    return all_texts[:n]


def added(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **flags}


STANDARD = [added("<s>"), added("</s>"), added("<|im_start|>"), added("<|im_end|>"), added("<tool>", special=False)]


class Models:
    """The vocabularies of the tokenizers, each in the form of the field `model` of a tokenizer.json."""

    def __init__(self):
        corpus = texts(1, 3000)
        self.bytes = self.trained(corpus, models.BPE(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), vocab_size=900)
        self.characters = self.trained(corpus, models.BPE(), pre_tokenizers.Metaspace(split=False), vocab_size=900,
                                       limit_alphabet=180, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
        self.characters.update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        unigram = Tokenizer(models.Unigram())
        unigram.pre_tokenizer = pre_tokenizers.Metaspace()
        unigram.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=600, unk_token="<unk>", special_tokens=["<unk>", "<s>"], show_progress=False))
        self.unigram = json.loads(unigram.to_str())["model"]
        self.pairs = self.all_pairs()

    @staticmethod
    def trained(corpus, model, pre_tokenizer, **options):
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizer
        tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(show_progress=False, **options))
        return json.loads(tokenizer.to_str())["model"]

    @staticmethod
    def all_pairs():
        """Returns a vocabulary in which every pair of bytes is a token, so that the ids show where a text was split."""
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        merges = [[a, b] for a in alphabet for b in alphabet]
        random.Random(3).shuffle(merges)
        vocab = {c: i for i, c in enumerate(alphabet + [a + b for a, b in merges])}
        return {"type": "BPE", "vocab": vocab, "merges": merges}


def part(thing):
    """Returns the JSON of a normalizer, pre-tokenizer, decoder or post-processor. JSON is returned as it is."""
    if thing is None or isinstance(thing, (dict, list)):
        return thing
    return json.loads(thing.__getstate__().decode())


def split(pattern, behavior="isolated", invert=False, regex=True):
    return part(pre_tokenizers.Split(Regex(pattern) if regex else pattern, behavior, invert))


def byte_level(prefix=False, regex=False):
    return part(pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex))


def metaspace(scheme="always", pieces=True):
    return part(pre_tokenizers.Metaspace(prepend_scheme=scheme, split=pieces))


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": [part(p) for p in parts]}


def normal(*parts):
    return {"type": "Sequence", "normalizers": [part(p) for p in parts]}


def decode_sequence(*parts):
    return {"type": "Sequence", "decoders": [part(p) for p in parts]}


def template(before=(), after=()):
    token = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}  # noqa: E731
    single = [token(t) for t in before] + [{"Sequence": {"id": "A", "type_id": 0}}] + [token(t) for t in after]
    return {"type": "TemplateProcessing", "single": single,
            "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": [*before, *after]}


def byte_pre_tokenizers():
    digits = pre_tokenizers.Digits
    yield from {
        "gpt2": byte_level(regex=True), "gpt2 prefix": byte_level(True, True), "no split": byte_level(), "prefix": byte_level(True),
        "llama3": sequence(split(LLAMA3), byte_level()), "qwen2": sequence(split(QWEN2), byte_level()),
        "cl100k": sequence(split(CL100K), byte_level()), "cl100k removed inverted": sequence(split(CL100K, "removed", True), byte_level()),
        "o200k": sequence(split(O200K), byte_level()), "tekken": sequence(split(TEKKEN), byte_level()),
        "llama3 prefix": sequence(split(LLAMA3), byte_level(True)),
        "deepseek v3": sequence(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK_V3), byte_level()),
        "deepseek coder": sequence(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"),
                                   digits(True), byte_level()),
        "starcoder": sequence(digits(True), byte_level(regex=True)), "digits together": sequence(digits(False), byte_level(regex=True)),
        "falcon": sequence(pre_tokenizers.Punctuation("contiguous"), byte_level(regex=True), digits(False), split("[0-9][0-9][0-9]")),
        "bytes before digits": sequence(byte_level(regex=True), digits(True)), "bytes before letters": sequence(byte_level(), split(r"\p{L}+")),
        "bytes before a string": sequence(byte_level(), split("\u0120", regex=False)), "two byte levels": sequence(byte_level(), byte_level()),
        "digits then prefix": sequence(digits(True), byte_level(True, True)),
        "bloom": sequence(split(BLOOM), byte_level()), "white space": sequence(pre_tokenizers.Whitespace(), byte_level()),
        "white space removed": sequence(pre_tokenizers.WhitespaceSplit(), byte_level()), "bert": sequence(pre_tokenizers.BertPreTokenizer(), byte_level()),
        "hyphen": sequence(pre_tokenizers.CharDelimiterSplit("-"), byte_level()), "scripts": sequence(pre_tokenizers.UnicodeScripts(), byte_level()),
        "caret": sequence(split(r"^\s*\w|\w$"), byte_level()), "hexadecimal": sequence(split(r"\h+"), byte_level()),
        "nested": sequence(split(r"[a-z[0-9]]+"), byte_level()), "intersection": sequence(split(r"[\p{L}&&[^a-c]]+"), byte_level()),
        "word": sequence(split(r"\w+|[^\w\s]+", "removed", True), byte_level()), "boundary": sequence(split(r"\b"), byte_level()),
        "lazy": sequence(split(r"a+?|\d{2}?"), byte_level()), "possessive": sequence(split(r"a++b|\p{L}{2,3}+"), byte_level()),
        "empty": sequence(split(r"x*"), byte_level()), "anchors": sequence(split(r"\A.|.\z|\n\Z"), byte_level()), "posix": sequence(split(r"[[:alpha:]]+|[[:punct:]]+"), byte_level()),
    }.items()
    for behavior, invert in itertools.product(("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"), (False, True)):
        name = behavior + " inverted" * invert
        yield f"string {name}", sequence(split(" ", behavior, invert, regex=False), byte_level())
        yield f"letters {name}", sequence(split(r"\p{L}\p{M}*", behavior, invert), byte_level())
        if not invert:
            yield f"punctuation {name}", sequence(pre_tokenizers.Punctuation(behavior), byte_level())


def all_normalizers():
    strip, replace = normalizers.Strip, normalizers.Replace
    return {
        "nfc": normalizers.NFC(), "nfd": normalizers.NFD(), "nfkc": normalizers.NFKC(), "nfkd": normalizers.NFKD(), "lower": normalizers.Lowercase(),
        "strip": strip(), "strip left": strip(True, False), "strip right": strip(False, True), "accents": normal(normalizers.NFD(), normalizers.StripAccents()),
        "nmt": normalizers.Nmt(), "bert": normalizers.BertNormalizer(), "replace": replace("aa", "b"), "replace by nothing": replace(" ", ""),
        "replace regex": replace(Regex(r"\s+"), " "), "replace ends": replace(Regex(r"\A +| +\z"), ""), "prepend": normalizers.Prepend("x"),
        "lower nfkc": normal(normalizers.NFKC(), normalizers.Lowercase()), "strip prepend": normal(strip(), normalizers.Prepend(" ")),
        "byte level": normalizers.ByteLevel(), "empty": normal(),
    }


def metaspace_decoder(scheme="always"):
    return part(decoders.Metaspace(prepend_scheme=scheme))


LLAMA_DECODER = decode_sequence(decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0))
LLAMA_NORMALIZER = normal(normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581"))


def all_decoders():
    replace, fallback, fuse = decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()
    return {
        "llama": LLAMA_DECODER, "gemma": decode_sequence(replace, fallback, fuse), "no fuse": decode_sequence(replace, fallback),
        "strip each": decode_sequence(replace, fallback, decoders.Strip(" ", 1, 0)), "strip two": decode_sequence(replace, fallback, fuse, decoders.Strip(" ", 2, 0)),
        "strip end": decode_sequence(replace, fallback, fuse, decoders.Strip(" ", 1, 1)), "no fallback": decode_sequence(replace, fuse, decoders.Strip(" ", 1, 0)),
        "late replace": decode_sequence(fallback, fuse, replace), "fuse first": decode_sequence(fuse, replace), "always": metaspace_decoder(), "first": metaspace_decoder("first"),
        "never": metaspace_decoder("never"), "metaspace fallback": decode_sequence(metaspace_decoder(), fallback), "fallback metaspace": decode_sequence(fallback, metaspace_decoder()),
        "none": None, "byte level": decoders.ByteLevel(), "wordpiece": decoders.WordPiece(), "bpe": decoders.BPEDecoder(), "ctc": decoders.CTC(), "replace other": decoders.Replace("a", "b"),
    }


class Cases:
    def __init__(self):
        self.models = Models()

    def file(self, model, tokens=None, **parts):
        base = json.loads(Tokenizer(models.BPE()).to_str())
        base["model"] = model
        base.update({k: part(v) for k, v in parts.items()})
        size = max(model["vocab"].values()) + 1 if isinstance(model["vocab"], dict) else len(model["vocab"])
        names = model["vocab"] if isinstance(model["vocab"], dict) else {t: i for i, (t, _) in enumerate(model["vocab"])}
        base["added_tokens"] = []
        for token in STANDARD if tokens is None else tokens:
            id_ = names.get(token["content"])
            if id_ is None:
                id_, size = size, size + 1
            base["added_tokens"].append({"id": id_, **token})
        ids = {t["content"]: t["id"] for t in base["added_tokens"]}
        for node in [base["post_processor"], *((base["post_processor"] or {}).get("processors", []))]:
            if node and isinstance(node.get("special_tokens"), list):
                node["special_tokens"] = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in node["special_tokens"]}
            if node and "cls" in node:
                node["cls"], node["sep"] = ["<s>", ids["<s>"]], ["</s>", ids["</s>"]]
        return base

    def byte(self, pre=None, decoder=decoders.ByteLevel(), model=None, **parts):
        return self.file(model or self.models.bytes, pre_tokenizer=pre or byte_level(regex=True), decoder=decoder, **parts)

    def meta(self, decoder=LLAMA_DECODER, model=None, **parts):
        return self.file({**self.models.characters, **(model or {})}, decoder=decoder, **parts)

    def everything(self):
        for name, pre in byte_pre_tokenizers():
            yield f"bytes, {name}", self.byte(pre)
        for name, normalizer in all_normalizers().items():
            yield f"normalizer {name}", self.byte(normalizer=normalizer)
            yield f"normalizer {name}, normalised tokens", self.byte(normalizer=normalizer, tokens=[{**t, "normalized": True} for t in STANDARD])
        yield from self.metaspaces()
        for name, decoder in all_decoders().items():
            yield f"decoder {name}", self.meta(decoder, normalizer=LLAMA_NORMALIZER)
        for name, decoder in {"none": None, "in a sequence": decode_sequence(decoders.ByteLevel()), "fused": decode_sequence(decoders.ByteLevel(), decoders.Fuse()),
                              "stripped": decode_sequence(decoders.ByteLevel(), decoders.Strip(" ", 1, 0)), "metaspace": metaspace_decoder(), "fuse": decoders.Fuse()}.items():
            yield f"bytes, decoder {name}", self.byte(decoder=decoder)
        yield from self.added_flags()
        yield from self.post_processors()
        yield from self.odd_models()

    def metaspaces(self):
        for scheme, pieces in itertools.product(("always", "first", "never"), (True, False)):
            yield f"metaspace {scheme}, split {pieces}", self.meta(metaspace_decoder(scheme), pre_tokenizer=metaspace(scheme, pieces))
            yield f"metaspace {scheme}, split {pieces}, stripped", self.meta(LLAMA_DECODER, pre_tokenizer=metaspace(scheme, pieces), normalizer=normalizers.Strip())
        digits, punctuation = pre_tokenizers.Digits(True), pre_tokenizers.Punctuation()
        for scheme in ("always", "first", "never"):
            yield f"digits, metaspace {scheme}", self.meta(pre_tokenizer=sequence(digits, metaspace(scheme)))
            yield f"metaspace {scheme}, digits", self.meta(pre_tokenizer=sequence(metaspace(scheme), digits))
            yield f"white space, metaspace {scheme}", self.meta(pre_tokenizer=sequence(pre_tokenizers.WhitespaceSplit(), metaspace(scheme)))
            yield f"punctuation, metaspace {scheme}, tokens normalised", self.meta(pre_tokenizer=sequence(punctuation, metaspace(scheme)), normalizer=normalizers.NFKC(),
                                                                                   tokens=[{**t, "normalized": True} for t in STANDARD])
        yield "metaspace, another replacement", self.meta(pre_tokenizer=part(pre_tokenizers.Metaspace("_")), decoder=part(decoders.Metaspace("_")))
        yield "old metaspace", self.meta(pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}, decoder={"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True})
        yield "gemma", self.meta(decode_sequence(decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()), normalizer=normalizers.Replace(" ", "\u2581"),
                                 pre_tokenizer=split(" ", "merged_with_previous", regex=False))
        yield "llama", self.meta(normalizer=LLAMA_NORMALIZER)
        yield "llama, normalised tokens", self.meta(normalizer=LLAMA_NORMALIZER, tokens=[{**t, "normalized": True} for t in STANDARD])

    def added_flags(self):
        for flags in itertools.product((False, True), repeat=4):
            chosen = dict(zip(("single_word", "lstrip", "rstrip", "special"), flags))
            tokens = [added(t, **chosen) for t in TOKENS]
            name = ", ".join(k for k, v in chosen.items() if v) or "no flag"
            yield f"added tokens: {name}", self.byte(tokens=tokens)
            yield f"llama, added tokens: {name}", self.meta(normalizer=LLAMA_NORMALIZER, tokens=[{**t, "normalized": not t["special"]} for t in tokens])
        yield "added tokens of the vocabulary", self.byte(tokens=[added("he", special=False), added("a", special=True), added("l", special=False, single_word=True)])
        # "\u00e9" alone is left out: with ByteLevel the package decodes it to U+FFFD, and Seer to itself (Decoder::name_of_added).
        yield "added tokens that overlap", self.byte(tokens=[added(t, special=s) for t, s in (("ab", False), ("aba", True), ("b", False), ("ba", True), ("\u00e9\u4f60", True), ("a b", False), (" ", True))])
        yield "a byte-level name", self.byte(tokens=[added("\u0120x"), added("\u4f60", special=False)])

    def post_processors(self):
        one, both = template(["<s>"]), template(["<s>"], ["</s>"])
        tail = part(processors.ByteLevel())
        for name, post in {"bos": one, "bos and eos": both, "eos": template((), ["</s>"]), "two bos": template(["<s>", "<|im_start|>"]), "bytes, bos": {"type": "Sequence", "processors": [tail, one]},
                           "two templates": {"type": "Sequence", "processors": [one, template(["<|im_start|>"])]}, "bos, then eos": {"type": "Sequence", "processors": [one, template((), ["</s>"])]},
                           "bert": {"type": "BertProcessing", "sep": ["</s>", 0], "cls": ["<s>", 0]},
                           "roberta": {"type": "RobertaProcessing", "sep": ["</s>", 0], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True}, "byte level": tail}.items():
            yield f"post-processor {name}", self.byte(post_processor=post)

    def odd_models(self):
        m = self.models
        merges = m.bytes["merges"]
        yield "ignore_merges", self.byte(model={**m.bytes, "ignore_merges": True})
        yield "merges twice", self.byte(model={**m.bytes, "merges": merges + merges[:40]})
        yield "merges as text", self.byte(model={**m.bytes, "merges": [" ".join(x) for x in merges]})
        yield "half of the merges, ignore_merges", self.byte(model={**m.bytes, "merges": merges[:200], "ignore_merges": True})
        for name, change in {"no unk": {"unk_token": None, "byte_fallback": False}, "unk, not fused": {"fuse_unk": False, "byte_fallback": False}, "unk, fused": {"byte_fallback": False},
                             "fallback without unk": {"unk_token": None}, "ignore_merges": {"ignore_merges": True}, "unk unknown": {"unk_token": "<nothing>"}}.items():
            yield f"characters, {name}", self.meta(model=change, normalizer=LLAMA_NORMALIZER)
        few = {t: i for i, t in enumerate(t for t in m.characters["vocab"] if t not in ("<0xE4>", "<0xC2>"))}
        for fused in (False, True):
            yield f"characters, bytes missing, fused {fused}", self.meta(model={"vocab": few, "fuse_unk": fused}, normalizer=LLAMA_NORMALIZER)
        yield "bytes missing", self.byte(model={**m.bytes, "vocab": {t: i for i, t in enumerate(t for t in m.bytes["vocab"] if t not in "\u0120q")}, "merges": []})
        yield "dropout", self.byte(model={**m.bytes, "dropout": 0.1})
        yield "subword prefix", self.byte(model={**m.bytes, "continuing_subword_prefix": "##", "merges": []})
        yield "word suffix", self.byte(model={**m.bytes, "end_of_word_suffix": "</w>", "merges": []})
        yield "no pre-tokenizer", self.file(m.characters, decoder=LLAMA_DECODER)
        yield "unigram", self.file(m.unigram, pre_tokenizer=metaspace(), decoder=metaspace_decoder())
        yield "unigram, legacy", self.file(m.unigram, normalizer=LLAMA_NORMALIZER, decoder=LLAMA_DECODER)
        yield "word level", self.file({"type": "WordLevel", "vocab": {"hello": 0, "<unk>": 1}, "unk_token": "<unk>"}, pre_tokenizer=pre_tokenizers.Whitespace())
        yield "word piece", self.file({"type": "WordPiece", "vocab": {"hello": 0, "[UNK]": 1}, "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100},
                                      pre_tokenizer=pre_tokenizers.Whitespace())
        gap = self.byte()
        gap["added_tokens"][-1]["id"] += 7
        yield "an id after a gap", gap
        wrong = self.byte(tokens=[added("he", special=False)])
        wrong["added_tokens"][0]["id"] = 5000
        yield "an id that the vocabulary contradicts", wrong

    def code_points(self):
        """Yields the tokenizers that are tried with every code point."""
        wanted = ("gpt2", "llama3", "qwen2", "cl100k", "o200k", "tekken", "deepseek v3", "deepseek coder", "starcoder", "falcon", "word", "white space",
                  "white space removed", "bert", "punctuation isolated", "posix", "boundary")
        for name, pre in byte_pre_tokenizers():
            if name in wanted:
                yield f"code points, {name}", self.byte(pre, model=self.models.pairs)
        for name in ("nfc", "nfd", "nfkc", "nfkd", "lower", "accents", "nmt", "bert"):
            yield f"code points, {name}", self.byte(byte_level(), model=self.models.pairs, normalizer=all_normalizers()[name])
        flags = [added(t, special=False, lstrip=True, rstrip=True) for t in ("<|", "|>")] + [added("tok", special=False, single_word=True)]
        yield "code points, added tokens", self.byte(byte_level(), model=self.models.pairs, tokens=flags)
        yield "code points, metaspace", self.meta(pre_tokenizer=metaspace())
