#!/usr/bin/env python3
"""Measures how long Hugging Face's transformers take for a whole model on this GPU: LlamaForCausalLM in bf16 with random
weights, SDPA, and logits of the last position. Prefill and decoding of one sequence are timed by CUDA events, after a warm-up,
and medians are reported. A part that fails is reported, and the others run. tools/gpu/bench_attention.py compares attention
alone.

    tools/gpu/rivals.py [--config FILE] [--output FILE.json] [--long]"""
import argparse
import inspect
import json
import statistics
import sys

import torch


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
        except Exception as error:  # the other parts must be measured all the same
            self.failed.append({"what": what, "error": f"{type(error).__name__}: {error}"})
            print(f"{what}: FAILED: {type(error).__name__}: {error}", flush=True)
        torch.cuda.empty_cache()


def elapsed_ms(call):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="examples/configs/llama-3.1-8b.json")
    parser.add_argument("--output", help="JSON file for the rows")
    parser.add_argument("--long", action="store_true", help="131072 tokens too")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("rivals: torch finds no GPU")
    torch.manual_seed(0)
    lengths = [8192, 32768] + ([131072] if args.long else [])
    rows = Rows()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    rows.attempt("hf", measure_model, args.config, lengths)
    if args.output:
        with open(args.output, "w", encoding="utf-8") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "rows": rows.rows,
                       "failed": rows.failed}, file, indent=1)
    return 1 if rows.failed else 0


if __name__ == "__main__":
    sys.exit(main())
