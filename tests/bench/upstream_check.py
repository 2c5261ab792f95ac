#!/usr/bin/env python3
"""Checks that gates written by `seer distill --pth` give the same scores in upstream's Python as in Seer.

    tests/bench/upstream_check.py UPSTREAM SEER MODEL_DIR GATES_DIR TEXT [--tokens 2048] [--decode-tokens 96]
        [--float64-angles] [SEER OPTION...]

UPSTREAM is a checkout of github.com/microsoft/SeerAttention. Its own from_pretrained loads the model and GATES_DIR, in float32 on
the CPU, and its own forward pass computes the first tokens of TEXT (a text, or token ids in a file .ids), with dense attention.
`seer inspect --dump` does the same. With gates for prompts, all scores are compared. With gates for decoding, the keys of all full
blocks are compared, and the scores of the last --decode-tokens. Scores are probabilities (after the softmax), and differences of
keys are taken as shares of the largest key. Exits with 1 if a difference is above --tolerance, or if tensors of the file are not
those of upstream's gates. Options that are not this script's go to the program.

It needs the version of transformers that upstream pins: pip install transformers==4.51.0 torch==2.6.0 einops safetensors. The tokens
may end within a block (--tokens 2000). A token that fills a block is left out of the scores, because upstream then rotates the block's
key by that token's position, which contradicts its own training (models/DESIGN.md, chapter 6, point 2). What this changes is printed."""
import argparse
import contextlib
import importlib
import importlib.machinery
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types

import torch
import torch.nn.functional
import transformers.modeling_utils  # imported before the stand-ins, because it checks which packages are installed
import transformers.generation.logits_process
from safetensors.torch import load_file

# Upstream has no class of Llama with gates for decoding. Llama is Qwen2 whose biases are 0, and load_upstream checks that they are.
CLASSES = {("prefill", "llama"): "SeerAttnLlamaForCausalLM", ("prefill", "qwen2"): "SeerAttnQwen2ForCausalLM",
           ("decode", "llama"): "SeerDecodingQwen2ForCausalLM", ("decode", "qwen2"): "SeerDecodingQwen2ForCausalLM",
           ("decode", "qwen3"): "SeerDecodingQwen3ForCausalLM"}


class StandIn(types.ModuleType):
    """Takes the place of a package whose functions run on a GPU alone. Upstream's modules import such packages, and decorate kernels
    with triton's functions, but the modules of gates are plain torch. A call with a tensor would run a kernel, so it is an error."""

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.__path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def __call__(self, *args, **kwargs):
        if any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values())):
            raise RuntimeError(f"{self.__name__} needs a GPU, so the gates' modules are not plain torch")
        return self


@contextlib.contextmanager
def stand_ins():
    names = ("triton", "triton.language", "tilelang", "tilelang.language", "tilelang.autotuner", "block_sparse_seer_attn", "flash_attn",
             "flash_attn.bert_padding", "flash_attn.layers", "flash_attn.layers.rotary", "flash_attn_interface")
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: StandIn(name) for name in names})
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def dense_attention(q, k, v, *_, softmax_scale, **__):
    """Takes the place of upstream's attention kernels; q [1, T, heads, d], k and v [1, T, KV heads, d]."""
    out = torch.nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True,
                                                           scale=softmax_scale, enable_gqa=True)
    return out.transpose(1, 2)


def check_weights(model, gates_dir):
    """Compares all names and values with the files, because from_pretrained ignores names that it does not know (strict=False)."""
    written = torch.load(os.path.join(gates_dir, "attn_gate_weights.pth"), weights_only=True)
    loaded = {name: value for name, value in model.state_dict().items() if ".attn_gate." in name}
    if set(written) != set(loaded):
        raise SystemExit(f"upstream's gates have other tensors than the file: {sorted(set(written) ^ set(loaded))[:4]}")
    beside = load_file(os.path.join(gates_dir, "attn_gate_weights.safetensors"))
    for name, value in written.items():
        if not torch.equal(loaded[name], value.float()) or not torch.equal(value, beside[name]):
            raise SystemExit(f"{name}: upstream has loaded other values than the files have")
    print(f"upstream loaded {len(written)} tensors, {sum(v.numel() for v in written.values())} numbers, as they were written")


def load_upstream(args, kind, config):
    name = CLASSES.get((kind, config["model_type"]))
    if name is None:
        raise SystemExit(f"upstream has no model of type {config['model_type']} with gates of the kind {kind}")
    sys.path.insert(0, args.upstream)
    with stand_ins():
        cls = getattr(importlib.import_module("seer_attn"), name)
    module = sys.modules[cls.__module__]
    module.sparse_rule = importlib.import_module("seer_attn.modules.common").get_sparse_attn_mask_from_threshold
    module.sparse_flash_attention_forward = module.dense_flash_attention_forward = dense_attention
    # fused_norm and use_flash_rope would choose kernels for a GPU, which compute the same.
    model = cls.from_pretrained(args.gates, base_model=args.model, torch_dtype=torch.float32, fused_norm=False, use_flash_rope=False)
    model.eval()
    if config["model_type"] == "llama" and any(v.any() for n, v in model.state_dict().items() if n.endswith("_proj.bias")):
        raise SystemExit("a Llama model with biases cannot be compared here")
    check_weights(model, args.gates)
    return model, module


def run_seer(args, kind, ids, folder, *rule):
    """Returns the dump of a pass under `rule`. By default all blocks are kept, so that each layer has the input of dense attention."""
    tokens, dump = os.path.join(folder, "tokens"), os.path.join(folder, "dump.safetensors")
    pathlib.Path(tokens).write_text(" ".join(map(str, ids)))
    if kind == "prefill" and not rule:  # threshold=0 would drop blocks whose probability rounds to 0
        rule = ["--sparse", "nz_ratio=1"]
    if kind == "decode":
        rule = ["--sparse-decode", f"budget={2 * len(ids)}", "--prompt-tokens", str(len(ids) - args.decode_tokens)]
    subprocess.run([args.seer, "inspect", "-m", args.model, "-g", args.gates, "--tokens-file", tokens, "--dump", dump, "--device", "cpu",
                    "--kv-cache-dtype", "f32", *rule, *args.options], check=True, stdout=subprocess.DEVNULL)
    return load_file(dump)


def use_float64_angles(model):
    """Gives upstream the angles of RoPE in float64, as Seer computes them. Upstream's float32 angles are off by some 1e-4 at position
    2000."""
    if model.config.rope_scaling is not None:
        raise SystemExit("--float64-angles is only for models without rope_scaling")
    for name, rotary in model.model.named_children():
        if not hasattr(rotary, "inv_freq"):
            continue
        d = 2 * rotary.inv_freq.numel()
        frequencies = model.config.rope_theta ** (torch.arange(0, d, 2, dtype=torch.float64) / -d)

        def forward(_, positions, frequencies=frequencies):
            angles = torch.cat((positions[..., None] * frequencies,) * 2, dim=-1)
            return angles.cos().float(), angles.sin().float()
        rotary.forward = forward


def token_ids(args):
    if args.text.endswith(".ids"):
        words = pathlib.Path(args.text).read_text().split()
    else:
        command = [args.seer, "tokenize", "-m", args.model, "-f", args.text]
        words = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.split()
    ids = [int(word) for word in words[:args.tokens]]
    if len(ids) < args.tokens:
        raise SystemExit(f"{args.text} has only {len(ids)} tokens, fewer than --tokens {args.tokens}")
    return ids


def forward(model, ids):
    """Returns the inputs and the output of each layer's gate, and the last token's logits."""
    calls = []

    def record(gate, inputs, named, out):
        calls.append((gate, inputs, named, out))
    hooks = [layer.self_attn.attn_gate.register_forward_hook(record, with_kwargs=True) for layer in model.model.layers]
    batch = torch.tensor([ids])
    logits = model(batch, attention_mask=torch.ones_like(batch), use_cache=True).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return calls, logits


def largest_difference(ours, theirs):
    if not (ours.isfinite().all() and theirs.isfinite().all()):
        raise SystemExit("there are scores or keys that are NaN or infinite")
    return (ours - theirs).abs().max().item()


class Differences:
    """The largest difference of scores, and how many blocks the rule threshold=T would keep for one program but not for the other."""

    def __init__(self, threshold):
        self.threshold, self.largest, self.n, self.differ, self.nearest = threshold, 0.0, 0, 0, 0.0

    def add(self, ours, theirs):
        self.largest = max(self.largest, largest_difference(ours, theirs))
        differ = (ours > self.threshold) != (theirs > self.threshold)
        self.n += ours.numel()
        self.differ += int(differ.sum())
        if differ.any():
            self.nearest = max(self.nearest, (theirs[differ] - self.threshold).abs().max().item())

    def __str__(self):
        text = f"{self.largest:.2e}, {self.differ} of {self.n} blocks on the other side of {self.threshold:g}"
        return text + (f", at most {self.nearest:.1e} away from it" if self.differ else "")


def compare_rule(module, call, dump, threshold, last_block_dense):
    """Compares which blocks a threshold keeps in layer 0, the only layer whose input does not depend on the blocks kept."""
    differences, theirs, mask = Differences(threshold), call[3], dump["mask.0"].bool()
    differences.add(dump["score.0"], theirs[0])
    keep = module.sparse_rule(theirs, threshold, last_block_dense)[0]
    # A row without blocks keeps its diagonal block in Seer; upstream returns NaN for it.
    keep |= torch.eye(keep.shape[-1], dtype=torch.bool) & ~keep.any(-1, keepdim=True)
    n_differ = int((keep != mask).sum())
    print(f"layer  0 under threshold={threshold:g}: {differences}; {n_differ} of the {int(mask.sum())} blocks kept differ")
    if n_differ > differences.differ:
        raise SystemExit("the rule keeps other blocks, although their scores are on the same side of the threshold")
    return differences.largest


def compare_prefill(calls, dump, threshold):
    for layer, (_, _, _, theirs) in enumerate(calls):
        differences = Differences(threshold)
        ours, theirs = dump[f"score.{layer}"], theirs[0]
        if ours.shape != theirs.shape:
            raise SystemExit(f"layer {layer}: seer has scores {tuple(ours.shape)}, upstream {tuple(theirs.shape)}")
        causal = torch.ones(ours.shape[-2:], dtype=torch.bool).tril()
        ours = ours.masked_fill(~causal, -torch.inf).softmax(-1)  # with the rule nz_ratio Seer dumps scores before the softmax
        differences.add(ours[:, causal], theirs[:, causal])
        yield differences, 0.0, ""


def decode_scores(module, call, t):
    """Returns the scores [KV heads, blocks] that upstream's gate gives token t after a prompt of the tokens before it. The gate is
    called as layer 0 with a cache of its own, because upstream's cache counts the tokens of the open block of all layers in layer 0."""
    gate, inputs, named, _ = call
    k, q = inputs[0], inputs[3]
    block, gates = gate.block_size, sys.modules[type(gate).__mro__[1].__module__]
    cache, scores = module.KCompressionCache(1, block), []
    some = lambda pair, *which: None if pair is None else tuple(x[:, slice(*which)] for x in pair)
    gate(k[:, :t], 0, cache, max_cache_len=t, block_position_embeddings=some(named["block_position_embeddings"], -(-t // block)))
    rule, gates.get_sparse_attn_mask_from_threshold = gates.get_sparse_attn_mask_from_threshold, lambda x, _: scores.append(x) or x > 0
    gate(k[:, t:t + 1], 0, cache, q[:, t:t + 1], torch.ones(1, 1, t // block + 1, dtype=torch.bool), max_cache_len=t + 1,
         position_embeddings=some(named["position_embeddings"], t, t + 1))
    gates.get_sparse_attn_mask_from_threshold = rule
    return scores[0][0]


def difference_of_keys(cache, layer, ours):
    """Compares our keys [full blocks, KV heads, d] with those in `cache`, which upstream filled when it took all tokens as a prompt."""
    theirs = cache.k_compressed[layer][0, :ours.shape[0]]
    return largest_difference(ours, theirs) / theirs.abs().max().item()


def compare_decode(module, calls, dump, n_tokens, n_steps, threshold):
    for layer, call in enumerate(calls):
        differences, filling = Differences(threshold), Differences(threshold)
        for step in range(n_steps):
            t = n_tokens - n_steps + step
            theirs = decode_scores(module, call, t)
            ours = dump[f"decode.score.{layer}"][step, :, :theirs.shape[1]]
            (filling if (t + 1) % call[0].block_size == 0 else differences).add(ours, theirs)
        keys = difference_of_keys(call[1][2], layer, dump[f"decode.gate_key.{layer}"])
        note = f"; keys {keys:.1e}" + (f"; tokens that fill a block {filling.largest:.1e}" if filling.n else "")
        yield differences, keys, note


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    for name in ("upstream", "seer", "model", "gates", "text"):
        parser.add_argument(name)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens of the text (default: 2048)")
    parser.add_argument("--decode-tokens", type=int, default=96, help="gates for decoding: how many of them are decoded (default: 96)")
    parser.add_argument("--threshold", type=float, default=0.002, help="the rule by which blocks are counted (default: 0.002)")
    # The float32 hidden states of two programs differ by rounding, which changed scores by at most 2e-5 (30 layers, 2048 tokens).
    # Wrong positions, wrong pools or a wrong order of pools change scores by 0.01 and more (models/DESIGN.md, chapter 7).
    parser.add_argument("--tolerance", type=float, default=1e-4, help="the largest difference of scores (default: 1e-4)")
    parser.add_argument("--float64-angles", action="store_true", help="give upstream the angles of RoPE that Seer has, computed in float64")
    args, args.options = parser.parse_known_args()
    torch.set_grad_enabled(False)

    config = json.loads(pathlib.Path(args.gates, "config.json").read_text())
    kind = "decode" if "seerattn_q_head_pooling_type" in config else "prefill"
    ids = token_ids(args)
    model, module = load_upstream(args, kind, config)
    if args.float64_angles:
        use_float64_angles(model)
    calls, logits = forward(model, ids)
    with tempfile.TemporaryDirectory() as folder:
        dump = run_seer(args, kind, ids, folder)
        under_rule = run_seer(args, kind, ids, folder, "--sparse", f"threshold={args.threshold}") if kind == "prefill" else None
    ours = dump["decode.logits" if kind == "decode" else "logits"][-1]
    print(f"{kind} gates, {len(ids)} tokens; logits of the last token are up to {logits.abs().max():.1f} and differ by up to "
          f"{(ours - logits).abs().max():.1e}")
    rows = (compare_prefill(calls, dump, args.threshold) if kind == "prefill" else
            compare_decode(module, calls, dump, len(ids), args.decode_tokens, args.threshold))
    # A float32 frequency and its product with a position p are rounded, so the angle is off by up to p * 2^-23.
    key_tolerance = args.tolerance + (0 if args.float64_angles else len(ids) * 2.0**-23)
    score, key, n_layers = 0.0, 0.0, 0
    if kind == "prefill":
        score = compare_rule(module, calls[0], under_rule, args.threshold, model.config.seerattn_last_block_dense)
    for differences, key_difference, note in rows:
        print(f"layer {n_layers:2}: {differences}{note}", flush=True)
        score, key, n_layers = max(score, differences.largest), max(key, key_difference), n_layers + 1
    if n_layers != config["num_hidden_layers"]:
        raise SystemExit(f"{n_layers} layers were compared, but the model has {config['num_hidden_layers']}")
    print(f"largest difference of scores: {score:.1e}, tolerance {args.tolerance:.1e}" +
          (f"; of keys: {key:.1e}, tolerance {key_tolerance:.1e}" if kind == "decode" else ""))
    return 0 if score <= args.tolerance and key <= key_tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
