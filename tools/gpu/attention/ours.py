"""Calls this project's kernels through the C interface of tests/bench/attention_bridge.h."""
import ctypes

import numpy as np
import torch

from attention.data import HEAD, HEADS, KV_HEADS, BLOCK


class Attention(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("out", "q", "k", "v", "page_table", "counts", "blocks")] + [
        (name, ctypes.c_int64) for name in ("n_tokens", "n_heads", "n_kv_heads", "d_head", "page_tokens", "n_pages")]


class Gate(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("n_tokens", "chunk", "n_heads", "n_kv_heads", "d_head", "page_tokens")] + [
        ("threshold", ctypes.c_double), ("nz_ratio", ctypes.c_double), ("n_calls", ctypes.c_int32)]


class GateTimes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("append", "append_pooled", "project", "select", "attention", "density")]


class Bridge:
    """The loaded library. Raises OSError if it cannot be loaded, and RuntimeError with the library's own words if a call
    fails."""

    def __init__(self, path, device=0):
        self._library = ctypes.CDLL(str(path))
        self._library.seer_bench_error.restype = ctypes.c_char_p
        self._library.seer_bench_close.argtypes = [ctypes.c_void_p]
        self._library.seer_bench_close.restype = None
        self._library.seer_bench_open.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_int]
        self._library.seer_bench_attention.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(Attention), ctypes.c_int32, ctypes.POINTER(ctypes.c_double)]
        self._library.seer_bench_gate.argtypes = [ctypes.c_void_p, ctypes.POINTER(Gate), ctypes.POINTER(GateTimes)]
        self._handle = ctypes.c_void_p()
        self._checked(self._library.seer_bench_open(ctypes.byref(self._handle), device))

    def _checked(self, code):
        if code:
            raise RuntimeError(self._library.seer_bench_error().decode(errors="replace"))

    def close(self):
        self._library.seer_bench_close(self._handle)
        self._handle = ctypes.c_void_p()

    def attention(self, inputs, mask):
        """Returns the functions elapsed and output for a mask, or for dense attention if it is None. elapsed(n) runs n calls and
        returns the milliseconds of one, and output() returns the last call's result."""
        out = torch.zeros_like(inputs.q_rows)
        counts, blocks = (None, None) if mask is None else (mask.counts(), mask.blocks())
        table = np.ascontiguousarray(inputs.page_table)
        call = Attention(out.data_ptr(), inputs.q_rows.data_ptr(), inputs.k_pages.data_ptr(), inputs.v_pages.data_ptr(),
                         table.ctypes.data, None if mask is None else counts.data_ptr(),
                         None if mask is None else blocks.data_ptr(), inputs.n_tokens, HEADS, KV_HEADS, HEAD, BLOCK,
                         inputs.n_blocks)
        keep = (counts, blocks, table)

        def elapsed(n):
            assert keep
            torch.cuda.synchronize()  # the backend's stream does not wait for PyTorch's
            ms = ctypes.c_double()
            self._checked(self._library.seer_bench_attention(self._handle, ctypes.byref(call), n, ctypes.byref(ms)))
            return ms.value

        return elapsed, lambda: out.transpose(0, 1)[None]

    def gate(self, n_tokens, chunk, nz_ratio, threshold=0.0, n_calls=10):
        """Returns the milliseconds of one layer's operations over a whole prompt, as a dict of GateTimes' fields."""
        torch.cuda.synchronize()
        what = Gate(n_tokens, chunk, HEADS, KV_HEADS, HEAD, BLOCK, threshold, nz_ratio, n_calls)
        times = GateTimes()
        self._checked(self._library.seer_bench_gate(self._handle, ctypes.byref(what), ctypes.byref(times)))
        return {name: getattr(times, name) for name, _ in GateTimes._fields_}
