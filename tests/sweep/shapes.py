"""Makes small random checkpoints from a Shape: config.json in the form of transformers 4 or 5, tensors, and files."""
import dataclasses
import json
import pathlib

import torch
from safetensors.torch import save_file

MODEL_TYPES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclasses.dataclass
class Shape:
    family: str = "llama"
    d_model: int = 64
    n_heads: int = 4
    n_kv_heads: int = 2
    d_head: int = 16
    d_ff: int = 96
    n_layers: int = 2
    n_vocab: int = 300
    max_positions: int = 512
    theta: float = 10000.0
    rope: dict | None = None  # rope_type, factor and so on; None for the default kind
    eps: float = 1e-6
    tied: bool = False
    attention_bias: bool = False  # for llama and qwen3; qwen2 always has biases of queries, keys and values
    mlp_bias: bool = False  # for llama


@dataclasses.dataclass
class Files:
    dtype: str = "float32"
    n_shards: int = 1
    seed: int = 0
    wide_vectors: bool = False  # norms and biases are float32, whatever dtype is


def config_of(shape, spelling, dtype="float32"):
    """Returns config.json with every key, as transformers 4 or 5 writes it."""
    config = {
        "architectures": [MODEL_TYPES[shape.family]], "model_type": shape.family, "hidden_act": "silu",
        "hidden_size": shape.d_model, "intermediate_size": shape.d_ff, "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads, "num_key_value_heads": shape.n_kv_heads, "vocab_size": shape.n_vocab,
        "max_position_embeddings": shape.max_positions, "rms_norm_eps": shape.eps, "tie_word_embeddings": shape.tied,
        "bos_token_id": 1, "eos_token_id": 2, "use_cache": True, "attention_dropout": 0.0, "initializer_range": 0.02}
    if shape.d_head * shape.n_heads != shape.d_model or shape.family == "qwen3":
        config["head_dim"] = shape.d_head
    if shape.family in ("llama", "qwen3"):
        config["attention_bias"] = shape.attention_bias
    if shape.family == "llama":
        config |= {"mlp_bias": shape.mlp_bias, "pretraining_tp": 1}
    elif shape.family == "mistral":
        config["sliding_window"] = None
    else:
        config |= {"use_sliding_window": False, "sliding_window": None if spelling == 5 else 4096, "max_window_layers": shape.n_layers}
    if spelling == 5:
        config["dtype"] = dtype
        config["rope_parameters"] = {"rope_theta": shape.theta} | (shape.rope or {"rope_type": "default"})
        if shape.family.startswith("qwen"):
            config["layer_types"] = ["full_attention"] * shape.n_layers
        config |= {"pad_token_id": None, "transformers_version": "5.24.0"}
    else:
        config |= {"torch_dtype": dtype, "rope_theta": shape.theta, "rope_scaling": shape.rope, "transformers_version": "4.57.1"}
    return config


class Weights:
    """Makes random tensors that all affect the logits visibly: no bias is zero, no norm's weight is one, and queries and keys are
    large enough that attention is far from even."""

    def __init__(self, shape, seed):
        self.random = torch.Generator().manual_seed(seed)
        self.shape = shape
        self.tensors = {}

    def matrix(self, name, n_out, n_in, gain=1.0, bias=False):
        self.tensors[name + ".weight"] = torch.randn(n_out, n_in, generator=self.random) * (gain / n_in**0.5)
        if bias:
            self.tensors[name + ".bias"] = torch.randn(n_out, generator=self.random) * 0.5

    def norm(self, name, n, low=0.5, high=1.5):
        self.tensors[name + ".weight"] = torch.rand(n, generator=self.random) * (high - low) + low

    def layer(self, i):
        s, name = self.shape, f"model.layers.{i}."
        qkv_bias = s.attention_bias or s.family == "qwen2"
        self.norm(name + "input_layernorm", s.d_model)
        for which, n_heads, gain in ("q", s.n_heads, 1.4), ("k", s.n_kv_heads, 1.4), ("v", s.n_kv_heads, 1.0):
            self.matrix(f"{name}self_attn.{which}_proj", n_heads * s.d_head, s.d_model, gain, qkv_bias)
        if s.family == "qwen3":
            self.norm(name + "self_attn.q_norm", s.d_head, 0.7, 2.0)
            self.norm(name + "self_attn.k_norm", s.d_head, 0.7, 2.0)
        self.matrix(name + "self_attn.o_proj", s.d_model, s.n_heads * s.d_head, bias=s.attention_bias)
        self.norm(name + "post_attention_layernorm", s.d_model)
        self.matrix(name + "mlp.gate_proj", s.d_ff, s.d_model, bias=s.mlp_bias)
        self.matrix(name + "mlp.up_proj", s.d_ff, s.d_model, bias=s.mlp_bias)
        self.matrix(name + "mlp.down_proj", s.d_model, s.d_ff, bias=s.mlp_bias)

    def all(self):
        s = self.shape
        # The embedding is small, so that rms_norm_eps matters in the first layer.
        self.tensors["model.embed_tokens.weight"] = torch.randn(s.n_vocab, s.d_model, generator=self.random) * 0.01
        for i in range(s.n_layers):
            self.layer(i)
        self.norm("model.norm", s.d_model)
        if not s.tied:
            self.matrix("lm_head", s.n_vocab, s.d_model)
        return self.tensors


def write_tensors(folder, tensors, files):
    """Writes model.safetensors, or shards and their index. Integers keep their type."""
    keep = {name for name, t in tensors.items() if not t.is_floating_point() or (files.wide_vectors and t.dim() == 1)}
    cast = {name: (t if name in keep else t.to(DTYPES[files.dtype])).contiguous() for name, t in tensors.items()}
    if files.n_shards == 1:
        save_file(cast, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, places = sorted(cast), {}
    for i in range(files.n_shards):
        file = f"model-{i + 1:05d}-of-{files.n_shards:05d}.safetensors"
        part = {name: cast[name] for name in names[i::files.n_shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    size = sum(t.numel() * t.element_size() for t in cast.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def write_config(folder, config):
    pathlib.Path(folder, "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
