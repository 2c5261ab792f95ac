"""Makes the cases of the sweep: random draws of shapes, and named cases for special forms of config.json and of tensors' names."""
import copy
import dataclasses
import random
import zlib
from collections.abc import Callable

import torch

from shapes import MODEL_TYPES, Files, Shape, config_of

FAMILIES = tuple(MODEL_TYPES)
ORIGINAL = "original_max_position_embeddings"
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, ORIGINAL: 64}
YARN = {"rope_type": "yarn", "factor": 4.0, ORIGINAL: 64}
ROPES = {
    "default": None,
    "linear": {"rope_type": "linear", "factor": 2.5},
    "dynamic, prompts beyond max_position_embeddings": {"rope_type": "dynamic", "factor": 4.0},
    "dynamic, prompts beyond an original that does not count": {"rope_type": "dynamic", "factor": 4.0, ORIGINAL: 32},
    "llama3": LLAMA3,
    "llama3 of other factors": {"rope_type": "llama3", "factor": 32, "low_freq_factor": 2, "high_freq_factor": 3.5, ORIGINAL: 128},
    "yarn": YARN,
    "yarn without an original": {"rope_type": "yarn", "factor": 8.0},
    "yarn, attention_factor": YARN | {"attention_factor": 1.35},
    "yarn, both mscales": YARN | {"mscale": 1.4, "mscale_all_dim": 0.6},
    "yarn, one mscale": YARN | {"mscale": 0.7},
    "yarn, mscale_all_dim 0": YARN | {"mscale": 0.7, "mscale_all_dim": 0},
    "yarn, betas": YARN | {"beta_fast": 16.0, "beta_slow": 0.5},
    "yarn, not truncated": YARN | {"truncate": False},
    "yarn, nulls": YARN | {"beta_fast": None, "beta_slow": None, "attention_factor": None, "mscale": None, "mscale_all_dim": None},
    "yarn, factor null": YARN | {"factor": None},
}


@dataclasses.dataclass
class Case:
    name: str
    shape: Shape
    config: dict  # config.json as Seer reads it
    files: Files
    n_tokens: int = 100
    reference: dict | None = None  # config.json for transformers, if it refuses `config`
    refused: str | None = None  # words that Seer's message must have if it is to refuse the case, for the reason `why`
    why: str = ""
    edit: Callable | None = None  # changes the tensors that are saved
    beside: Callable | None = None  # writes more files into the folder
    moves: bool = True  # false if the kind of rope gives the same logits as the default kind
    brief: bool = False  # runs also without --long


def rope_of(name, version):
    rope = copy.deepcopy(ROPES[name])
    if rope is not None and version == "old":
        rope["type"] = rope.pop("rope_type")
    return rope


def draw_shape(i, rng):
    family, kind = FAMILIES[i % 4], list(ROPES)[(i // 4) % len(ROPES)]
    n_kv_heads, group = rng.choice([(1, 1), (2, 1), (4, 1), (1, 2), (2, 2), (1, 3), (2, 3), (1, 7), (2, 7), (3, 2), (1, 4)])
    n_heads = n_kv_heads * group
    d_head = rng.choice([16, 20, 32, 48, 64, 80, 96, 112, 128])
    if rng.random() < 0.5 and 64 <= n_heads * d_head <= 256:
        d_model = n_heads * d_head
    elif family == "llama":  # transformers refuses a Llama whose d_model is no multiple of n_heads
        d_model = n_heads * rng.randrange(-(-64 // n_heads), 256 // n_heads + 1)
    else:
        d_model = rng.randrange(64, 257, 4)
    return kind, Shape(
        family, d_model, n_heads, n_kv_heads, d_head, d_ff=rng.randrange(96, 353, 8), n_vocab=rng.randrange(280, 330),
        max_positions=rng.choice([256, 512, 4096]), theta=rng.choice([10000.0, 500000.0, 1e6, 25000]), eps=rng.choice([1e-6, 1e-5]),
        tied=rng.random() < 0.3, attention_bias=family in ("llama", "qwen3") and rng.random() < 0.5,
        mlp_bias=family == "llama" and rng.random() < 0.5)


def put_original_outside(config):
    """Moves original_max_position_embeddings to the top level, where Phi's configurations have it. Returns whether there was one."""
    for key in "rope_parameters", "rope_scaling":
        rope = config.get(key)
        if rope and ORIGINAL in rope and rope.get("rope_type", rope.get("type")) != "dynamic":
            config[ORIGINAL] = rope.pop(ORIGINAL)
            return True
    return False


def draw(i):
    rng = random.Random(i)
    kind, shape = draw_shape(i, rng)
    spelling = rng.choice([4, 5])
    old = spelling == 4 and rng.random() < 0.5
    shape.rope = rope_of(kind, "old" if old else "new")
    grows = kind.startswith("dynamic, prompts")
    if grows:
        shape.max_positions = 64
    dtype = rng.choice(["float32", "float32", "bfloat16", "float16"])
    config = config_of(shape, spelling, dtype)
    outside = rng.random() < 0.25 and put_original_outside(config)
    if "head_dim" in config and config["head_dim"] * shape.n_heads == shape.d_model and shape.family != "qwen3" and rng.random() < 0.5:
        del config["head_dim"]
    name = f"draw {i}: {shape.family}, {kind}, spelling {spelling}{' (type)' if old else ''}{', original outside' if outside else ''}"
    return Case(name, shape, config, Files(dtype, rng.choice([1, 1, 2, 3]), seed=1000 + i), rng.randrange(80, 201),
                moves=shape.rope is not None and (grows or "dynamic" not in kind), brief=i % 13 == 0)


class Edges:
    """The named cases. Each is a complete config.json with the changes that its name says."""

    def __init__(self):
        self.cases = []

    def add(self, name, family="llama", spelling=4, change=None, without=(), brief=False, dtype="float32", shards=1, wide_vectors=False, **more):
        fields = {f.name for f in dataclasses.fields(Shape)}
        shape = Shape(family, **{k: more.pop(k) for k in list(more) if k in fields})
        config = config_of(shape, spelling, dtype)
        if change:
            config |= change
        for key in without:
            config.pop(key, None)
        name = f"{name} ({family})"
        files = Files(dtype, shards, zlib.crc32(name.encode()), wide_vectors)
        case = Case(name, shape, config, files, brief=brief, **more)
        case.moves = case.moves and shape.rope is not None
        self.cases.append(case)
        return case

    def families(self, name, **more):
        for family in FAMILIES:
            self.add(name, family, **more)

    def refused(self, name, words, why, **more):
        self.add(name, refused=words, why=why, moves=False, **more)


def absent_keys(e):
    yarn = {"rope_type": "yarn", "factor": 4.0}  # without an original length that is max_position_embeddings
    for family, positions in zip(FAMILIES, (2048, 131072, 32768, 32768)):
        e.add("no max_position_embeddings", family, without=["max_position_embeddings"], max_positions=positions, rope=yarn, brief=family == "qwen2")
        e.add("no rope_theta, spelling 4", family, without=["rope_theta"])
        case = e.add("no rope_theta, spelling 5", family, 5, theta=10000.0, rope={"rope_type": "linear", "factor": 2.0})
        del case.config["rope_parameters"]["rope_theta"]
        e.add("no rope keys at all", family, without=["rope_theta", "rope_scaling"], brief=family == "qwen3")
        e.add("no rms_norm_eps", family, without=["rms_norm_eps"])
        e.add("no tie_word_embeddings, with a head", family, without=["tie_word_embeddings"])
        e.add("no num_key_value_heads", family, without=["num_key_value_heads"], n_heads=32, d_model=256, d_head=8,
              n_kv_heads=8 if family == "mistral" else 32, brief=family == "mistral")
        case = e.add("num_key_value_heads null", family, n_kv_heads=4)
        case.reference = dict(case.config)  # transformers 5 refuses null, but only for mistral; version 4 accepts it
        case.config["num_key_value_heads"] = None
        n_vocab = 151936 if family.startswith("qwen") else 32000
        e.add("no vocab_size", family, without=["vocab_size"], n_vocab=n_vocab, tied=True, dtype="float16", n_tokens=80)
    e.families("no hidden_act, use_cache, initializer_range, token ids",
               without=["hidden_act", "use_cache", "initializer_range", "bos_token_id", "eos_token_id", "attention_dropout"])
    e.families("no dtype", without=["torch_dtype"], dtype="bfloat16")
    e.families("no architectures", without=["architectures"])
    e.add("no biases' keys", without=["attention_bias", "mlp_bias"])
    e.add("no attention_bias", "qwen3", without=["attention_bias"])
    e.add("no head_dim: 128", "qwen3", without=["head_dim"], d_head=128, brief=True)
    for family in "llama", "mistral":
        e.add("head_dim null", family, change={"head_dim": None})
    e.families("rope_parameters without rope_type", spelling=5, change={"rope_parameters": {"rope_theta": 500000.0}}, theta=500000.0)
    e.add("rope_scaling {}", change={"rope_scaling": {}}, theta=500000.0)
    e.add("rope_parameters null next to rope_theta", spelling=5, change={"rope_parameters": None, "rope_theta": 500000.0}, theta=500000.0)


def floats_for_integers(e):
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
             "max_position_embeddings")
    for family in FAMILIES:
        case = e.add("floats for integers", family, rope=YARN | {ORIGINAL: 64.0}, brief=family == "llama")
        case.reference = dict(case.config)  # transformers 5 checks types
        case.config |= {name: float(case.config[name]) for name in names}
        case = e.add("integers for floats", family, rope={"rope_type": "linear", "factor": 2}, eps=1.0, moves=False)
        case.reference = dict(case.config)  # likewise for rms_norm_eps
        case.config |= {"rope_theta": 10000, "rms_norm_eps": 1}


def rope_spellings(e):
    linear = {"rope_type": "linear", "factor": 4.0}
    for family in FAMILIES:
        e.add("rope_scaling and rope_parameters that agree", family, 5, rope=linear, theta=50000.0,
              change={"rope_theta": 50000.0, "rope_scaling": dict(linear) | {"rope_theta": 50000.0}})
        e.add("type and rope_type that agree", family, rope=linear, change={"rope_scaling": {"type": "linear"} | linear})
        case = e.add("original_max_position_embeddings outside", family, rope=YARN, brief=family == "llama")
        put_original_outside(case.config)
        case = e.add("llama3's original outside, spelling 5", family, 5, rope=LLAMA3)
        put_original_outside(case.config)
        e.add("original_max_position_embeddings outside before inside", family, rope=YARN,
              change={"rope_scaling": YARN | {ORIGINAL: 256}, ORIGINAL: 64})
        e.add("rope_theta in rope_parameters before outside", family, 5, theta=500000.0, change={"rope_theta": 10.0})
        e.add("yarn, betas' order reversed", family, 5, rope=YARN | {"beta_fast": 1.0, "beta_slow": 8.0})
        e.add("a prompt beyond max_position_embeddings", family, max_positions=64)
        e.add("a prompt beyond max_position_embeddings, original larger", family, max_positions=64,
              rope={"rope_type": "dynamic", "factor": 2.0, ORIGINAL: 4096}, brief=family == "mistral")
    e.add("an unknown key within rope_parameters", spelling=5, rope=linear | {"flavour": "vanilla"})
    e.add("yarn, factor 1", rope=YARN | {"factor": 1.0}, moves=False)
    e.add("yarn, a context of few turns", rope=YARN | {ORIGINAL: 4})
    e.add("linear, factor below 1", rope={"rope_type": "linear", "factor": 0.5})


def architectures(e):
    e.add("LLaMAForCausalLM", change={"architectures": ["LLaMAForCausalLM"]}, brief=True)
    e.add("LlamaModel, names without model., tied", change={"architectures": ["LlamaModel"]}, tied=True, edit=unprefixed, brief=True)
    e.add("LlamaModel with a head", change={"architectures": ["LlamaModel"]})
    case = e.add("no model_type")
    case.reference = dict(case.config)
    del case.config["model_type"]
    e.add("pretraining_tp 2", change={"pretraining_tp": 2})
    for act in "silu", "swish":
        e.add(f"hidden_act {act}", change={"hidden_act": act})
    e.add("head_dim, an odd share of hidden_size", "mistral", d_model=100, n_heads=3, n_kv_heads=1, d_head=32)
    e.add("head_dim with qwen2, which has no such field", "qwen2", d_model=72, n_heads=3, n_kv_heads=3, d_head=64, brief=True)
    e.add("14 heads of 64, groups of 7", "qwen2", d_model=128, n_heads=14, n_kv_heads=2, d_head=64)
    e.add("one layer", n_layers=1)
    e.add("ids that are null and lists", change={"bos_token_id": None, "eos_token_id": [2, 3], "pad_token_id": -1})


def windows(e):
    e.add("sliding_window, which llama ignores", change={"sliding_window": 16}, brief=True)
    e.add("sliding_window not reached", "mistral", change={"sliding_window": 128}, brief=True)
    e.add("sliding_window as long as the prompt", "mistral", change={"sliding_window": 100})
    e.add("no sliding_window: 4096", "mistral", without=["sliding_window"])
    for family in "qwen2", "qwen3":
        e.add("sliding_window, use_sliding_window false", family, change={"sliding_window": 16})
        e.add("no sliding_window keys", family, without=["sliding_window", "use_sliding_window", "max_window_layers"])
        e.add("use_sliding_window, from no layer on", family,
              change={"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2})
        e.add("use_sliding_window, all layers listed as full", family, 5,
              change={"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0})
        e.add("use_sliding_window not reached", family, change={"use_sliding_window": True, "sliding_window": 128, "max_window_layers": 0})


def unprefixed(tensors):
    for name in list(tensors):
        tensors[name.removeprefix("model.")] = tensors.pop(name)


def only_head(tensors):
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")


def other_head(tensors):
    embedding = tensors["model.embed_tokens.weight"]
    tensors["lm_head.weight"] = embedding.flip(0).contiguous() * 1.5


def same_head(tensors):
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


def extras(tensors):
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    tensors["model.rotary_emb.inv_freq"] = torch.ones(8)
    tensors["model.layers.1.self_attn.k_proj.k_scale"] = torch.ones(1)
    tensors["model.embed_positions.position_ids"] = torch.arange(512)
    tensors["v_head.summary.weight"] = torch.ones(1, 64)


def other_weights(folder):
    """Writes files of weights that transformers ignores if there is a model.safetensors."""
    for name in "consolidated.safetensors", "adapter_model.safetensors", "pytorch_model.bin", "training_args.bin":
        (folder / name).write_bytes(b"not weights")


def tensor_names(e):
    for family in FAMILIES:
        e.add("names without model., tied", family, tied=True, edit=unprefixed)
        e.add("names without model., with a head", family, edit=unprefixed)
        e.add("tied, the same head saved", family, tied=True, edit=same_head)
        e.add("tied, another head saved", family, tied=True, edit=other_head, brief=family == "qwen2")
        e.add("tied, only the head saved", family, tied=True, edit=only_head, brief=family == "qwen3")
        e.add("tensors that nothing asks for", family, edit=extras, brief=family == "qwen3")
    e.add("five shards", "qwen3", shards=5, dtype="bfloat16")
    e.families("norms and biases in float32 next to bfloat16", dtype="bfloat16", wide_vectors=True)
    e.families("consolidated.safetensors and the like next to it", beside=other_weights)


def refusals(e):
    """Adds the cases that Seer refuses on purpose. Its message must have the given words."""
    e.refused("longrope", "longrope", "two sets of factors by length are not implemented",
              change={"rope_scaling": {"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "factor": 4.0, ORIGINAL: 64}}, brief=True)
    e.refused("a rope type nobody knows", "rope", "cannot be guessed", change={"rope_scaling": {"type": "spiral", "factor": 2.0}})
    e.refused("partial rotary", "partial_rotary_factor", "no family that Seer reads rotates a part", change={"partial_rotary_factor": 0.5}, brief=True)
    e.refused("partial rotary inside", "partial_rotary_factor", "likewise", spelling=5,
              change={"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}})
    e.refused("yarn, beta_fast 0", "beta_fast", "transformers takes 0 for its default, others for 0", change={"rope_scaling": YARN | {"beta_fast": 0}})
    e.refused("yarn, beta_slow 0", "beta_slow", "likewise", change={"rope_scaling": YARN | {"beta_slow": 0}})
    for low in 4.0, 5.0:
        e.refused(f"llama3, low_freq_factor {low}, high 4", "high_freq_factor", "divides by their difference",
                  change={"rope_scaling": LLAMA3 | {"low_freq_factor": low}})
    e.refused("llama3 without low_freq_factor", "low_freq_factor", "needed",
              change={"rope_scaling": {k: v for k, v in LLAMA3.items() if k != "low_freq_factor"}})
    e.refused("linear without factor", "factor", "needed", change={"rope_scaling": {"type": "linear"}})
    e.refused("rope_parameters and rope_scaling contradict", "rope_scaling", "which is meant cannot be told", spelling=5, brief=True,
              change={"rope_scaling": {"type": "linear", "factor": 2.0}})
    e.refused("sliding_window reached", "sliding", "attention beyond a window is not implemented", family="mistral", change={"sliding_window": 64}, brief=True)
    for family in "qwen2", "qwen3":
        e.refused("sliding_window reached", "sliding", "attention beyond a window is not implemented", family=family,
                  change={"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1})
    e.refused("another activation", "hidden_act", "not implemented", change={"hidden_act": "gelu"})
    e.refused("another architecture", "PhiForCausalLM", "not implemented", change={"architectures": ["PhiForCausalLM"], "model_type": "phi"})
    e.refused("no head and no tie", "lm_head.weight", "transformers would make one up", edit=lambda tensors: tensors.pop("lm_head.weight"))
    e.refused("a norm is missing", "q_norm", "transformers would make one up", family="qwen3",
              edit=lambda tensors: tensors.pop("model.layers.1.self_attn.q_norm.weight"))
    e.refused("a bias is missing", "k_proj.bias", "transformers would make one up", family="qwen2",
              edit=lambda tensors: tensors.pop("model.layers.1.self_attn.k_proj.bias"))


def all_cases(n_draws):
    edges = Edges()
    for group in absent_keys, floats_for_integers, rope_spellings, architectures, windows, tensor_names, refusals:
        group(edges)
    return edges.cases + [draw(i) for i in range(n_draws)]
