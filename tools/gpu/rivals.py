#!/usr/bin/env python3
"""What others take for the same work on this GPU, measured in this run: random data and weights, CUDA events, warm-up,
medians.

    tools/gpu/rivals.py [--config FILE] [--output FILE.json] [--triton FILE] [--long] [--skip-model]

Hugging Face's LlamaForCausalLM (bf16, SDPA, logits of the last position): prefill, and decoding one sequence. PyTorch's
scaled_dot_product_attention by FlashAttention and by cuDNN, causal, 32 query and 8 KV heads of 128. With --triton, the
block-sparse kernel of https://github.com/microsoft/SeerAttention, which is not part of this project: fetch that
repository and name seer_attn/kernels/varlen/block_sparse_attn_varlen_2d.py (grouped heads) or
seer_attn/kernels/block_sparse_attn.py (one KV head a query head). What fails is reported and the rest goes on."""
import argparse
import importlib.util
import inspect
import json
import math
import statistics
import sys

import torch

HEADS, KV_HEADS, HEAD, BLOCK = 32, 8, 128, 64


class Rows:
    def __init__(self):
        self.rows, self.failed = [], []

    def add(self, what, n_tokens, ms, **more):
        self.rows.append({"what": what, "n_tokens": n_tokens, "ms": ms, **more})
        details = "".join(f"  {key} {value:.4g}" if isinstance(value, float) else f"  {key} {value}"
                          for key, value in more.items())
        print(f"{what:14s} {n_tokens:7d} tokens {ms:10.3f} ms{details}", flush=True)

    def attempt(self, what, function, *arguments):
        try:
            function(self, *arguments)
        except Exception as error:  # a rival that does not run here must not cost the others' numbers
            self.failed.append({"what": what, "error": f"{type(error).__name__}: {error}"})
            print(f"{what}: FAILED: {type(error).__name__}: {error}", flush=True)
        torch.cuda.empty_cache()


def elapsed_ms(call, n=1):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(n):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / n


def median_ms(call, rounds=5):
    """Of one call. Short ones are measured back to back for 10 ms, so that launching them hides behind running them."""
    elapsed_ms(call, 2)
    n = max(1, min(200, int(10 / max(elapsed_ms(call), 1e-3))))
    return statistics.median(elapsed_ms(call, n) for _ in range(rounds))


# ---- the whole model ----


def build_model(config_file):
    import transformers
    with open(config_file, encoding="utf-8") as file:
        fields = {key: value for key, value in json.load(file).items()
                  if not key.startswith("seerattn_") and key not in ("architectures", "model_type", "torch_dtype")}
    config = transformers.LlamaConfig(**fields, attn_implementation="sdpa")
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):  # 16 GB of random numbers take the GPU a second and the host minutes
            model = transformers.LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    print(f"transformers {transformers.__version__}, {sum(p.numel() for p in model.parameters()) / 1e9:.2f} G parameters, "
          f"{next(model.parameters()).dtype}", flush=True)
    return model.eval()


def measure_model(rows, config_file, lengths):
    model = build_model(config_file)
    parameters = inspect.signature(model.forward).parameters
    last = {name: 1 for name in ("logits_to_keep", "num_logits_to_keep") if name in parameters}
    n_vocab = model.config.vocab_size

    @torch.inference_mode()
    def forward(ids, cache=None):
        return model(input_ids=ids, past_key_values=cache, use_cache=True, **last)

    def decode(n_depth, cache, n_steps=48):
        token = torch.randint(n_vocab, (1, 1), device="cuda")
        times = []
        for _ in range(n_steps):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            out = forward(token, cache)
            token, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        ms = statistics.median(times[8:])
        rows.add("hf_decode", n_depth, ms, tokens_per_s=1000 / ms)

    for length in lengths:
        ids = torch.randint(n_vocab, (1, length), device="cuda")
        forward(ids)
        ms = statistics.median(elapsed_ms(lambda: forward(ids)) for _ in range(3 if length <= 32768 else 1))
        rows.add("hf_prefill", length, ms, tokens_per_s=1000 * length / ms)
        if length == 32768:
            decode(length, forward(ids).past_key_values)
    decode(0, forward(torch.randint(n_vocab, (1, 1), device="cuda")).past_key_values)


# ---- attention ----


def tensors(length, n_kv_heads=KV_HEADS):
    def random(n_heads):
        return torch.randn(1, n_heads, length, HEAD, device="cuda", dtype=torch.bfloat16)

    return random(HEADS), random(n_kv_heads), random(n_kv_heads)


def tflops(n_pairs, ms):
    """Of block pairs computed, all heads together."""
    return 4 * BLOCK * BLOCK * HEAD * n_pairs / ms * 1e-9


@torch.inference_mode()
def measure_sdpa(rows, what, backend, length):
    from torch.nn.attention import sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention
    q, k, v = tensors(length)
    grouped = {"enable_gqa": True}
    with sdpa_kernel(backend):
        try:
            scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)
        except RuntimeError:  # this kernel of this version takes one KV head a query head only
            k, v = (t.repeat_interleave(HEADS // KV_HEADS, dim=1) for t in (k, v))
            grouped = {}
        ms = median_ms(lambda: scaled_dot_product_attention(q, k, v, is_causal=True, **grouped))
    n = length // BLOCK
    rows.add(what, length, ms, tflops=tflops(n * (n + 1) // 2 * HEADS, ms), kv_heads=k.shape[1])


def load_module(path):
    spec = importlib.util.spec_from_file_location("rival_triton_kernel", path)
    if spec is None:
        raise ImportError(f"{path} is not a Python source")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def sparse_call(module, length, mask):
    """The kernel of either file as a function without arguments."""
    scale = 1 / math.sqrt(HEAD)
    if hasattr(module, "blocksparse_flash_attn_varlen_fwd"):
        q, k, v = (t[0].transpose(0, 1).contiguous() for t in tensors(length))  # [n_tokens, n_heads, d_head]
        bounds = torch.tensor([0, length], device="cuda", dtype=torch.int32)
        return lambda: module.blocksparse_flash_attn_varlen_fwd(q, k, v, bounds, bounds, length, scale, mask, BLOCK)
    if hasattr(module, "block_sparse_triton_fn"):
        q, k, v = tensors(length, HEADS)
        return lambda: module.block_sparse_triton_fn(q, k, v, mask, scale)
    raise AttributeError("expected blocksparse_flash_attn_varlen_fwd or block_sparse_triton_fn in the file of --triton")


@torch.inference_mode()
def measure_triton(rows, module, length, sparsity):
    n = length // BLOCK
    causal = torch.ones(n, n, dtype=torch.bool, device="cuda").tril()
    kept = causal & (torch.rand(n, n, device="cuda") < 1 - sparsity / 100)
    kept.fill_diagonal_(True)  # as bench_gpu_ops has it: a row without any block would be 0 / 0
    mask = kept.repeat(1, HEADS, 1, 1)
    ms = median_ms(sparse_call(module, length, mask))
    n_pairs = int(mask.sum())
    rows.add(f"triton_{sparsity}", length, ms, tflops=tflops(n_pairs, ms), density=n_pairs / (int(causal.sum()) * HEADS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="examples/configs/llama-3.1-8b.json")
    parser.add_argument("--output", help="JSON file for the rows")
    parser.add_argument("--triton", help="the official kernel's source")
    parser.add_argument("--long", action="store_true", help="131072 tokens too")
    parser.add_argument("--skip-model", action="store_true", help="attention only")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("rivals: torch finds no GPU")
    torch.manual_seed(0)
    lengths = [8192, 32768] + ([131072] if args.long else [])
    rows = Rows()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    backends = torch.nn.attention.SDPBackend
    for length in lengths:
        rows.attempt("sdpa_flash", measure_sdpa, "sdpa_flash", backends.FLASH_ATTENTION, length)
        rows.attempt("sdpa_cudnn", measure_sdpa, "sdpa_cudnn", backends.CUDNN_ATTENTION, length)
    if args.triton:
        module = load_module(args.triton)
        for length in lengths:
            for sparsity in (50, 90, 95):
                rows.attempt(f"triton_{sparsity}", measure_triton, module, length, sparsity)
    if not args.skip_model:
        rows.attempt("hf", measure_model, args.config, lengths)
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": rows.rows,
                       "failed": rows.failed}, file, indent=1)
    return 1 if rows.failed else 0


if __name__ == "__main__":
    sys.exit(main())
