"""Other people's kernels. Rival.make takes Inputs and a DeviceMask, and returns a function without arguments that runs the
kernel once and returns its output [1, n_heads, n_tokens, d_head]. What a kernel needs besides that (a mask in its own form,
repeated KV heads) is made before, and not timed. The user must fetch the sources that belong to others."""
import ctypes
import dataclasses
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import typing

import torch

from attention.data import BLOCK, HEAD, HEADS, KV_HEADS

NAMES = ("fa2", "cudnn", "vsa", "triton", "flex")


@dataclasses.dataclass
class Rival:
    name: str
    make: typing.Callable
    dense: bool = False  # computes every causal block whatever the mask
    causal_diagonal: bool = True


def make_sdpa(backend_name):
    def make(inputs, _):
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.nn.functional import scaled_dot_product_attention
        backend = getattr(SDPBackend, backend_name)
        with sdpa_kernel(backend):
            try:
                scaled_dot_product_attention(inputs.q, inputs.k, inputs.v, is_causal=True, enable_gqa=True)
                k, v, grouped = inputs.k, inputs.v, True
            except RuntimeError:  # in this version the kernel does not support grouped heads
                (k, v), grouped = inputs.expanded(), False

        def call():
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(inputs.q, k, v, is_causal=True, enable_gqa=grouped)

        return call

    return make


# ---- SeerAttention's Triton kernel ----


def load_module(path):
    spec = importlib.util.spec_from_file_location("rival_triton_kernel", path)
    if spec is None:
        raise ImportError(f"{path} is not a Python source")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def make_triton(module):
    """Returns Rival.make for a module that was loaded from seer_attn/kernels/block_sparse_attn.py (a KV head for each query
    head) or seer_attn/kernels/varlen/block_sparse_attn_varlen_2d.py (grouped heads)."""
    scale = HEAD**-0.5

    def make_grouped(inputs, mask):
        k, v = (t[0].transpose(0, 1).contiguous() for t in (inputs.k, inputs.v))
        n = inputs.n_tokens
        bounds = torch.tensor([0, n], device=k.device, dtype=torch.int32)
        kept = mask.dense()

        def call():
            out = module.blocksparse_flash_attn_varlen_fwd(inputs.q_rows, k, v, bounds, bounds, n, scale, kept, BLOCK)
            return (out[0] if isinstance(out, tuple) else out).transpose(0, 1)[None]

        return call

    def make_single(inputs, mask):
        k, v = inputs.expanded()
        kept = mask.dense()
        return lambda: module.block_sparse_triton_fn(inputs.q, k, v, kept, scale)

    if hasattr(module, "blocksparse_flash_attn_varlen_fwd"):
        return make_grouped
    if hasattr(module, "block_sparse_triton_fn"):
        return make_single
    raise AttributeError("expected blocksparse_flash_attn_varlen_fwd or block_sparse_triton_fn in the file of --triton")


# ---- FlexAttention ----


def make_flex():
    from torch.nn.attention.flex_attention import BlockMask, flex_attention
    compiled = torch.compile(flex_attention, dynamic=False)
    # The usual tiles of 128 rows, with 8 warps, are larger than a block of 64 rows, so tiles and warps are halved.
    options = {"BLOCK_M": BLOCK, "BLOCK_N": BLOCK, "num_warps": 4, "num_stages": 3}

    def causal(batch, head, q_index, kv_index):
        return q_index >= kv_index

    def make(inputs, mask):
        # The last block of a row is the diagonal one, which is masked inside; the blocks before it are computed whole.
        counts, blocks = mask.counts()[None], mask.blocks()[None]
        n = inputs.n_blocks
        diagonal = torch.zeros_like(blocks)
        diagonal[..., 0] = torch.arange(n, device=blocks.device, dtype=torch.int32)
        arguments = {"kv_num_blocks": torch.ones_like(counts), "kv_indices": diagonal,
                     "full_kv_num_blocks": counts - 1, "full_kv_indices": blocks,
                     "BLOCK_SIZE": (BLOCK, BLOCK), "mask_mod": causal}
        try:
            block_mask = BlockMask.from_kv_blocks(**arguments, compute_q_blocks=False)  # they are for the backward pass
        except TypeError:  # an older version
            block_mask = BlockMask.from_kv_blocks(**arguments)
        return lambda: compiled(inputs.q, inputs.k, inputs.v, block_mask=block_mask, enable_gqa=True,
                                kernel_options=options)

    return make


# ---- FastVideo's VSA kernel ----

VSA_SOURCE = "block_sparse_h100.cu"


def device_half(source):
    """Returns the part of the file before its binding for PyTorch, without includes of PyTorch's headers."""
    cut = source.find('#include "pyutils/torch_helpers.cuh"')
    if cut < 0 or "fwd_attend_ker" not in source[:cut]:
        raise ValueError(f'expected kernels before #include "pyutils/torch_helpers.cuh" in {VSA_SOURCE}; '
                         "fetch the file of FastVideo's fastvideo-kernel/csrc/attention")
    return "\n".join(line for line in source[:cut].splitlines() if not line.startswith("#include <c10/")) + "\n"


def build_vsa(folder, thunderkittens, build):
    """Compiles the kernel of folder/block_sparse_h100.cu (or of a FastVideo checkout) into a library; returns its path."""
    found = sorted(pathlib.Path(folder).rglob(VSA_SOURCE))
    if not found:
        raise FileNotFoundError(f"expected {VSA_SOURCE} under {folder}")
    include = next((d for d in (pathlib.Path(thunderkittens), pathlib.Path(thunderkittens) / "include")
                    if (d / "kittens.cuh").is_file()), None)
    if include is None:
        raise FileNotFoundError(f"expected kittens.cuh in {thunderkittens} or its folder include: name a checkout of "
                                "ThunderKittens at the commit that FastVideo's submodule fastvideo-kernel/include/tk has")
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    if nvcc is None:
        raise FileNotFoundError("expected nvcc on PATH")
    build = pathlib.Path(build).resolve()
    build.mkdir(parents=True, exist_ok=True)
    header, library = build / "vsa_device_half.cuh", build / "libvsa.so"
    header.write_text(device_half(found[0].read_text(encoding="utf-8")), encoding="utf-8")
    wrapper = pathlib.Path(__file__).with_name("vsa_wrapper.cu")
    done = subprocess.run(
        [nvcc, "-shared", "-arch=sm_90a", "-std=c++20", "-O3", "--use_fast_math", "--expt-relaxed-constexpr",
         "--expt-extended-lambda", "-DNDEBUG", "-DKITTENS_HOPPER", f'-DSEER_VSA_KERNEL="{header}"', "-I", str(include),
         "-Xcompiler=-fPIC,-fvisibility=hidden,-fno-strict-aliasing", "-Xlinker=--exclude-libs,ALL", "-w", str(wrapper),
         "-o", str(library), "-lcuda"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"nvcc did not build the VSA kernel: {done.stderr.strip()[-800:]}")
    return library


def make_vsa(library_path):
    forward = ctypes.CDLL(str(library_path)).seer_vsa_forward
    forward.argtypes = [ctypes.c_void_p] * 8 + [ctypes.c_int] * 4 + [ctypes.c_void_p]
    forward.restype = ctypes.c_int

    def make(inputs, mask):
        counts, blocks = mask.counts(), mask.blocks()
        sizes = torch.full((inputs.n_blocks,), BLOCK, device=blocks.device, dtype=torch.int32)
        out = torch.zeros_like(inputs.q)
        lse = torch.zeros(HEADS, inputs.n_tokens, device=blocks.device, dtype=torch.float32)

        def call():
            code = forward(out.data_ptr(), lse.data_ptr(), inputs.q.data_ptr(), inputs.k.data_ptr(), inputs.v.data_ptr(),
                           blocks.data_ptr(), counts.data_ptr(), sizes.data_ptr(), inputs.n_tokens, HEADS, KV_HEADS,
                           inputs.n_blocks, torch.cuda.current_stream().cuda_stream)
            if code:
                raise RuntimeError(f"the VSA kernel was not launched: CUDA error {code}")
            return out

        return call

    return make


def prepare(names, triton, vsa, thunderkittens, build, failed):
    """Returns the rivals among `names` that can be set up. Calls failed(name, status, reason) for each of the others."""
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "4")

    def triton_rival():
        if triton is None:
            raise LookupError("no --triton FILE given")
        return Rival("triton", make_triton(load_module(triton)))

    def vsa_rival():
        if vsa is None or thunderkittens is None:
            raise LookupError("no --vsa DIR with --thunderkittens DIR given")
        return Rival("vsa", make_vsa(build_vsa(vsa, thunderkittens, build)), causal_diagonal=False)

    makers = {"fa2": lambda: Rival("fa2", make_sdpa("FLASH_ATTENTION"), dense=True),
              "cudnn": lambda: Rival("cudnn", make_sdpa("CUDNN_ATTENTION"), dense=True),
              "vsa": vsa_rival, "triton": triton_rival, "flex": lambda: Rival("flex", make_flex())}
    ready = []
    for name in names:
        try:
            ready.append(makers[name]())
        except LookupError as reason:
            failed(name, "not run", str(reason))
        except Exception as error:  # the other rivals must be measured all the same
            failed(name, "failed", f"{type(error).__name__}: {error}")
    return ready
