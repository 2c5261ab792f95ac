#!/usr/bin/env python3
"""Trains gates for decoding (SeerAttention-R, Qproj and Kmaxminavg) for a Llama, Qwen2 or Qwen3 checkpoint, from plain text.

    train_decode_gates.py MODEL_DIR OUT_DIR TEXT... [--windows 8192,16384] [--steps 800] [--rows 1024] [--block 64]

It needs a GPU, PyTorch, transformers, safetensors, and sentencepiece for a checkpoint with tokenizer.model alone. The
model is frozen. The ground truth of a row is, for each key block before the row's own, the largest attention
probability of the block's keys, and of these the largest over the query heads of a KV head, normalised to sum 1. The
loss is KL(ground truth || softmax of the gate's scores), for rows in the second half of a window. The optimiser is
AdamW without weight decay; its learning rate is 1e-3 after 20 steps of warm-up, and falls along a cosine to 1e-5
(arXiv:2506.08889). Most windows get look-ups as train.py has them: `The secret number of the garden is 40213.` is
planted, and the number is asked for later. The rows of the answers are learned in any case. The last tenth of each
text is held out: at the end, the script prints the loss there, and how much of the ground truth lies in the best
tenth of the blocks."""
import argparse
import json
import math
import pathlib
import random
import time

import torch
import torch.nn.functional as F
from torch import nn

NOUNS = ("garden castle river letter captain doctor window forest island village teacher sailor merchant stranger brother sister "
         "cottage harbour mountain carriage bridge tower church school market prison palace cellar library kitchen chamber portrait "
         "servant soldier prince princess widow orphan painter farmer hunter priest lawyer judge thief ghost horse raven wolf dog").split()
PUBLISHED = dict(seerattn_k_seq_pooling_type="Kmaxminavg", seerattn_q_head_pooling_type="Qproj", seerattn_use_qk_norm=True,
                 seerattn_use_rope=True, seerattn_sparsity_method="threshold", seerattn_token_budget=1024, seerattn_threshold=0.0,
                 seerattn_start_layer=0, seerattn_implementation="seer_sparse")


class Gate(nn.Module):
    def __init__(self, n_kv_heads, group, d):
        super().__init__()

        def weight(*shape):
            module = nn.Module()
            module.weight = nn.Parameter(torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * math.prod(shape[1:-1]) ** -0.5)
            return module
        self.attngate_linear_q, self.attngate_linear_k = weight(n_kv_heads, group, d, d), weight(n_kv_heads, 3 * d, d)
        self.attngate_qnorm, self.attngate_knorm = weight(d), weight(d)

    def forward(self, q, k, rows, cos, sin, block):
        """q [tokens, heads, d] and k [tokens, KV heads, d] before RoPE. Returns scores [KV heads, rows, whole blocks]."""
        n_kv_heads, group, d, _ = self.attngate_linear_q.weight.shape
        n = k.shape[0] // block
        blocks = k[:n * block].float().view(n, block, n_kv_heads, d)
        pools = torch.cat((blocks.amax(1), blocks.amin(1), blocks.mean(1)), -1)
        keys = torch.einsum("nhi,hio->hno", pools, self.attngate_linear_k.weight)
        queries = torch.einsum("rhgi,hgio->hro", q[rows].float().view(len(rows), n_kv_heads, group, d), self.attngate_linear_q.weight)
        keys = rotate(norm(keys, self.attngate_knorm.weight), cos[:n * block:block], sin[:n * block:block])
        queries = rotate(norm(queries, self.attngate_qnorm.weight), cos[rows], sin[rows])
        return queries @ keys.transpose(1, 2) * d ** -0.5


def norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def block_maxima(q, k, rows, block):
    """Returns each row's largest probability in each whole block, over a KV head's group: [KV heads, rows, blocks]."""
    n_tokens, n_heads, d = q.shape
    n_kv_heads, n = k.shape[1], n_tokens // block
    keys, result = torch.arange(n_tokens, device=q.device), []
    for part in rows.split(128):
        scores = torch.einsum("rhgd,thd->hgrt", q[part].view(len(part), n_kv_heads, -1, d), k).float() * d ** -0.5
        scores.masked_fill_(keys[None] > part[:, None], float("-inf"))
        p = scores.softmax(-1)[..., :n * block].view(n_kv_heads, n_heads // n_kv_heads, len(part), n, block)
        result.append(p.amax(-1).amax(1))
    return torch.cat(result, 1)


class Text:
    """Windows of a text's ids, with look-ups planted at line ends."""

    def __init__(self, model, paths, seed):
        folder = pathlib.Path(model)
        if (folder / "tokenizer.json").exists():
            from transformers import AutoTokenizer
            tokenizer = AutoTokenizer.from_pretrained(model)
            self.encode = lambda s: tokenizer(s, add_special_tokens=False).input_ids
        else:
            import sentencepiece
            self.encode = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model")).encode
        ids = [torch.tensor(self.encode(pathlib.Path(path).read_text(encoding="utf-8"))) for path in paths]
        # The end of each text is held out, so that both parts have something of every text.
        cut = [int(0.9 * len(x)) for x in ids]
        self.train, self.held = torch.cat([x[:c] for x, c in zip(ids, cut)]), torch.cat([x[c:] for x, c in zip(ids, cut)])
        self.rng, self.line_end = random.Random(seed), set(self.encode("a\nb")) - set(self.encode("a b"))

    def line(self, text):
        """Returns the ids that a line has after a line end, with its own line end."""
        whole, before = self.encode(f"a\n{text}\n"), self.encode("a\n")
        assert whole[:len(before)] == before, "the tokenizer joins a line end with what follows"
        return whole[len(before):]

    def window(self, ids, size):
        """Returns ids [size] and rows: the positions before each token of an answer, which must look that token up."""
        at = self.rng.randrange(max(1, len(ids) - size))
        base = ids[at:at + size].tolist()
        ends = [i + 1 for i, x in enumerate(base) if x in self.line_end]
        if len(ends) < 2 or self.rng.random() < 0.2:
            return torch.tensor(base), []
        planted = []
        for noun in self.rng.sample(NOUNS, self.rng.randint(1, min(10, 1 + size // 800))):
            first, number = self.rng.randrange(len(ends) - 1), f"{self.rng.randrange(100000):05d}"
            planted.append((ends[first], self.line(f"The secret number of the {noun} is {number}."), 0))
            question = f"What is the secret number of the {noun}? The secret number of the {noun} is"
            answer = self.line(f"{question} {number}.")
            for _ in range(self.rng.randint(1, 3)):
                planted.append((ends[self.rng.randrange(first + 1, len(ends))], answer, len(self.encode(f"a\n{question}")) - len(self.encode("a\n"))))
        out, rows, last = [], [], 0
        for position, line, asked in sorted(planted, key=lambda x: x[0]):
            out += base[last:position]
            if asked:
                rows += range(len(out) + asked - 1, len(out) + len(line) - 1)
            out, last = out + line, position
        return torch.tensor((out + base[last:])[:size]), [r for r in rows if r < size]


class Trainer:
    def __init__(self, model, args):
        config = model.config
        self.model, self.args, self.device = model, args, model.device
        self.d = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        group = config.num_attention_heads // config.num_key_value_heads
        self.gates = nn.ModuleList(Gate(config.num_key_value_heads, group, self.d) for _ in range(config.num_hidden_layers)).to(self.device)

    def rows_of(self, n_tokens, answers):
        half = n_tokens // 2
        chosen = torch.randperm(n_tokens - half)[:self.args.rows] + half
        return torch.cat((chosen, torch.tensor([r for r in answers if r >= self.args.block], dtype=torch.long))).unique().to(self.device)

    def losses(self, ids, answers, learn):
        """Returns the mean KL of a layer, and the share of the ground truth in the best tenth of the blocks. If learn, gradients are added."""
        n_tokens, block = len(ids), self.args.block
        x = self.model.model.embed_tokens(ids[None].to(self.device))
        cos, sin = self.model.model.rotary_emb(x, torch.arange(n_tokens, device=self.device)[None])
        rows = self.rows_of(n_tokens, answers)
        n = n_tokens // block
        hidden = (torch.arange(n, device=self.device)[None] >= (rows // block)[:, None])[None]
        total = recall = 0.0
        for layer, gate in zip(self.model.model.layers, self.gates):
            with torch.no_grad():
                attn, h, shape = layer.self_attn, layer.input_layernorm(x), (1, n_tokens, -1, self.d)
                q, k, v = attn.q_proj(h).view(shape), attn.k_proj(h).view(shape), attn.v_proj(h).view(shape)
                if hasattr(attn, "q_norm"):
                    q, k = attn.q_norm(q), attn.k_norm(k)
                rq, rk = (rotate(y[0], cos[0][:, None], sin[0][:, None]) for y in (q, k))
                truth = block_maxima(rq, rk, rows, block).masked_fill(hidden, 0.0)
                truth = truth / truth.sum(-1, keepdim=True).clamp(min=1e-9)
            scores = gate(q[0], k[0], rows, cos[0].float(), sin[0].float(), block).masked_fill(hidden, float("-inf"))
            log_p = scores.log_softmax(-1).masked_fill(hidden, 0.0)
            loss = F.kl_div(log_p, truth, reduction="none").sum(-1).mean()
            total += loss.item()
            if learn:
                loss.backward()
            recall += truth.gather(-1, scores.topk(max(1, n // 10), -1).indices).sum(-1).mean().item()
            with torch.no_grad():
                heads = [y.transpose(0, 1)[None] for y in (rq, rk, v[0])]
                out = F.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)
                x = x + attn.o_proj(out[0].transpose(0, 1).reshape(1, n_tokens, -1))
                x = x + layer.mlp(layer.post_attention_layernorm(x))
        return total / len(self.gates), recall / len(self.gates)

    def train(self, text):
        optimizer = torch.optim.AdamW(self.gates.parameters(), lr=self.args.lr, weight_decay=0.0)
        start, windows, steps = time.time(), self.args.windows, self.args.steps
        for step in range(steps):
            cosine = 1e-5 + (self.args.lr - 1e-5) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = cosine * min(1, (step + 1) / 20)
            size = windows[step % len(windows)]
            loss, recall = self.losses(*text.window(text.train, size), learn=True)
            nn.utils.clip_grad_norm_(self.gates.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if step % 50 < len(windows) or step == steps - 1:
                print(f"[{time.time() - start:6.1f} s] step {step} of {steps}, window {size}: KL {loss:.4f}, best tenth {recall:.3f}", flush=True)
        return time.time() - start

    @torch.no_grad()
    def held_out(self, text):
        report = {}
        for size in self.args.windows:
            found = [self.losses(*text.window(text.held, size), learn=False) for _ in range(8)]
            report[str(size)] = {"kl": sum(x[0] for x in found) / 8, "truth in the best tenth of the blocks": sum(x[1] for x in found) / 8}
            print(f"held out, window {size}: {report[str(size)]}", flush=True)
        return report


def save(gates, model_dir, out, block, report):
    from safetensors.torch import save_file
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.layers.{i}.self_attn.attn_gate.{name}": value.detach().to(torch.bfloat16).contiguous().cpu()
               for i, gate in enumerate(gates) for name, value in gate.named_parameters()}
    save_file(tensors, str(folder / "attn_gate_weights.safetensors"), metadata={"format": "pt"})
    config = json.loads((pathlib.Path(model_dir) / "config.json").read_text(encoding="utf-8"))
    config.update(base_model="../model", seerattn_gate_block_size=block, seerattn_gate_hidden_size=gates[0].attngate_qnorm.weight.numel(), **PUBLISHED)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--windows", type=lambda s: [int(x) for x in s.split(",")], default=[8192, 16384])
    for name, value in (("steps", 800), ("rows", 1024), ("block", 64), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--lr", type=float, default=1e-3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16).to("cuda").eval().requires_grad_(False)
    text = Text(args.model, args.texts, args.seed)
    print(f"{len(text.train)} tokens to learn from, {len(text.held)} held out", flush=True)
    trainer = Trainer(model, args)
    seconds = trainer.train(text)
    report = {"seconds": round(seconds, 1), "steps": args.steps, "windows": args.windows, "rows": args.rows, "seed": args.seed,
              "tokens": len(text.train), "held out": trainer.held_out(text)}
    report["peak GiB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    save(trainer.gates, args.model, args.out, args.block, report)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
