"""Other people's decode attention. Rival.make(inputs) returns a function of a layer's number that runs the kernel once on the
layer's pages and writes inputs.out. A plan that a kernel makes once in a step, for all layers, is made before and not timed."""
import dataclasses
import typing

import torch

from attention.data import BLOCK, HEAD, HEADS, KV_HEADS

SCALE = HEAD**-0.5
# The numbers of parts into which FlashAttention-3 is told to split a sequence, besides the number of its own choice.
SPLITS = (2, 4, 16)


@dataclasses.dataclass
class Rival:
    name: str
    layout: str  # "NHD" or "HND" as in data.Inputs, or "rows", which are no pages
    make: typing.Callable


# ---- FlashAttention-3 ----


def make_fa3(operators, paged=True, n_splits=0, planned=True):
    """Returns Rival.make for the operators of vLLM's build, which are FlashAttention-3's flash_attn_with_kvcache and
    get_scheduler_metadata."""

    def make(inputs):
        n, length = inputs.shape.n_sequences, inputs.shape.n_tokens
        q, out = (x.view(n, 1, HEADS, HEAD) for x in (inputs.q, inputs.out))
        table = inputs.table if paged else None
        plan = None
        if planned:
            plan = operators.get_scheduler_metadata(n, 1, length, HEADS, KV_HEADS, HEAD, HEAD, torch.bfloat16, inputs.lengths,
                                                    None, None, None, None, None, BLOCK if paged else None, 0, False, -1, -1,
                                                    False, n_splits, None, 0)

        def call(layer):
            k, v = inputs.pages(layer, "NHD") if paged else inputs.rows(layer)
            operators.fwd(q, k, v, None, None, None, out, None, None, None, None, inputs.lengths, None, None, table, None, None,
                          None, None, None, None, None, None, SCALE, False, -1, -1, 0.0, True, plan, n_splits, None, 0, None,
                          1, 0, None)

        return call

    return make


def fa3_rivals(path):
    torch.ops.load_library(path)
    operators = torch.ops._vllm_fa3_C
    return [Rival("fa3", "NHD", make_fa3(operators)),
            *(Rival(f"fa3 splits={n}", "NHD", make_fa3(operators, n_splits=n)) for n in SPLITS),
            Rival("fa3 unplanned", "NHD", make_fa3(operators, planned=False)),
            Rival("fa3 rows", "rows", make_fa3(operators, paged=False))]


# ---- FlashInfer ----


def make_flashinfer(flashinfer, layout, tensor_cores, backend):
    def make(inputs):
        n, n_pages = inputs.shape.n_sequences, inputs.n_sequence_pages
        workspace = torch.zeros(256 << 20, device=inputs.device, dtype=torch.uint8)
        wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(workspace, layout, use_tensor_cores=tensor_cores,
                                                                backend=backend)
        bounds = torch.arange(n + 1, dtype=torch.int32) * n_pages
        last = torch.full((n,), BLOCK, dtype=torch.int32)
        wrapper.plan(bounds, inputs.table.flatten(), last, HEADS, KV_HEADS, HEAD, BLOCK, q_data_type=torch.bfloat16,
                     kv_data_type=torch.bfloat16)
        return lambda layer: wrapper.run(inputs.q, inputs.pages(layer, layout), out=inputs.out)

    return make


def make_xqa(flashinfer, layout):
    def make(inputs):
        workspace = torch.zeros(256 << 20, device=inputs.device, dtype=torch.uint8)
        return lambda layer: flashinfer.decode.trtllm_batch_decode_with_kv_cache(
            inputs.q, inputs.pages(layer, layout), workspace, inputs.table, inputs.lengths, inputs.shape.n_tokens, SCALE, 1.0,
            out=inputs.out, kv_layout=layout, backend="xqa")

    return make


def flashinfer_rivals():
    import flashinfer
    return [Rival(f"flashinfer {name} {layout}", layout, make_flashinfer(flashinfer, layout, tensor_cores, backend))
            for layout in ("NHD", "HND")
            for name, tensor_cores, backend in (("fa2", True, "fa2"), ("fa3", True, "fa3"), ("cores", False, "auto"))]


def xqa_rivals():
    import flashinfer
    return [Rival(f"flashinfer xqa {layout}", layout, make_xqa(flashinfer, layout)) for layout in ("NHD", "HND")]


def prepare(names, fa3, failed):
    """Returns a list of rivals for each of the families `names` that can be set up. Calls failed(name, status, reason) for each
    of the others."""
    makers = {"fa3": lambda: fa3_rivals(fa3), "flashinfer": flashinfer_rivals, "xqa": xqa_rivals}
    ready = []
    for name in names:
        if name == "fa3" and fa3 is None:
            failed(name, "not run", "no --fa3 FILE given")
            continue
        try:
            ready.append(makers[name]())
        except Exception as error:  # the other families must be measured all the same
            failed(name, "failed", f"{type(error).__name__}: {str(error).strip()[:400]}")
    return ready
