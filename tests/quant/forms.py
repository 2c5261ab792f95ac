"""Quantises one matrix [outputs, inputs] to codes and scales, packed as compressed-tensors, AutoGPTQ and AutoAWQ pack them.

A form has three methods. plan(d_out, d_in) returns the (suffix, dtype, shape) of a layer's tensors. encode(w) returns these tensors
in the same order, and the float32 matrix that they stand for. config(ignored) returns config.json's quantization_config. Codes
are rounded to nearest, without calibration."""
import numpy as np

from tensor_files import encoded, rounded

AWQ_NIBBLE = (0, 4, 1, 5, 2, 6, 3, 7)  # AWQ's word has output j of eight in nibble AWQ_NIBBLE[j]
TINY = 2.0**-14  # the smallest scale that F16 keeps exactly; the scale of weights that are all zero


def e4m3(x):
    """Returns the codes of the nearest E4M3 numbers, halves to even, and these numbers."""
    magnitude = np.minimum(np.abs(x), np.float32(448))
    exponent = np.maximum(np.frexp(magnitude)[1] - 1, -6)
    value = np.ldexp(np.rint(np.ldexp(magnitude, 3 - exponent)), exponent - 3)
    exponent = np.maximum(np.frexp(value)[1] - 1, -6)  # rounding may have reached the next power of two
    steps = np.ldexp(value, 3 - exponent).astype(np.int32)  # 8 to 15, or below 8 for subnormal numbers
    codes = np.where(steps < 8, steps, ((exponent + 7) << 3) + steps - 8)
    return (codes | np.where(np.signbit(x), 0x80, 0)).astype(np.uint8), np.copysign(value, x).astype(np.float32)


def words(codes, axis, nibbles=range(8)):
    """Packs eight codes of 4 bits along an axis into each word. Code j lies in nibble nibbles[j]."""
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, -codes.shape[-1] % 8)])
    codes = codes.reshape(*codes.shape[:-1], -1, 8)
    packed = np.zeros(codes.shape[:-1], np.uint32)
    for j, nibble in enumerate(nibbles):
        packed |= codes[..., j] << np.uint32(4 * nibble)
    return np.moveaxis(packed, -1, axis)


def scheme(bits, kind, strategy, **more):
    return {"num_bits": bits, "type": kind, "symmetric": True, "dynamic": False, "strategy": strategy,
            "group_size": None, "block_structure": None, "actorder": None, **more}


def compressed_tensors(form, weights, inputs, ignored):
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, "output_activations": None,
             "format": form}
    return {"quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed",
            "config_groups": {"group_0": group}, "ignore": ignored, "kv_cache_scheme": None, "sparsity_config": {},
            "transform_config": {}, "global_compression_ratio": None, "version": "0.20.1"}


class Rows:
    """compressed-tensors' form of 8 bits, E4M3 or int8, with a scale for each output. Its config asks to round inputs by token too."""

    def __init__(self, kind):
        self.kind = kind
        self.text = {"float": "E4M3", "int": "int8"}[kind] + ", a scale for each output"

    def plan(self, d_out, d_in):
        codes = "F8_E4M3" if self.kind == "float" else "I8"
        return [("weight", codes, (d_out, d_in)), ("weight_scale", "BF16", (d_out, 1))]

    def encode(self, w):
        largest = np.abs(w).max(axis=1, keepdims=True)
        scale = rounded(np.maximum(largest / (448 if self.kind == "float" else 127.5), TINY), "BF16")
        if self.kind == "float":
            codes, values = e4m3(w / scale)
        else:
            values = np.clip(np.rint(w / scale), -128, 127)
            codes = values.astype(np.int8)
        return [codes, scale], values * scale

    def config(self, ignored):
        inputs = {**scheme(8, self.kind, "token"), "dynamic": True}
        return compressed_tensors(f"{self.kind}-quantized", scheme(8, self.kind, "channel"), inputs, ignored)


class Blocks:
    """The form with quant_method fp8: E4M3 with a scale for each block of 128 outputs and 128 inputs."""

    text = "E4M3, a scale for each block of 128 x 128"

    def plan(self, d_out, d_in):
        return [("weight", "F8_E4M3", (d_out, d_in)), ("weight_scale_inv", "F32", (-(-d_out // 128), -(-d_in // 128)))]

    def encode(self, w):
        d_out, d_in = w.shape
        padded = np.pad(np.abs(w), ((0, -d_out % 128), (0, -d_in % 128)))
        largest = padded.reshape(padded.shape[0] // 128, 128, -1, 128).max(axis=(1, 3))
        scale = np.maximum(largest / np.float32(448), np.float32(TINY))
        spread = np.repeat(np.repeat(scale, 128, axis=0), 128, axis=1)[:d_out, :d_in]
        codes, values = e4m3(w / spread)
        return [codes, scale], values * spread

    def config(self, ignored):
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3", "weight_block_size": [128, 128],
                "modules_to_not_convert": ignored}


class Groups:
    """Base of forms with 4 bits: each output has a scale, and a zero unless `symmetric`, for each group of inputs. A group of -1 is
    all inputs."""

    scale_type = "F16"

    def __init__(self, group, symmetric):
        self.group, self.symmetric = group, symmetric
        self.text = "4 bits, " + (f"groups of {group} inputs" if group > 0 else "a scale for each output") + (
            "" if symmetric else ", zeros")

    def n_groups(self, d_in):
        return 1 if self.group == -1 else d_in // self.group

    def refusal(self, module, d_out, d_in):
        """Returns why this matrix cannot have the form, or None."""
        if self.group != -1 and d_in % self.group:
            fits = [str(g) for g in (128, 64, 32) if d_in % g == 0] + ["-1"]
            return (f"--group {self.group}: {module} has {d_in} inputs: expected a multiple of {self.group}; "
                    f"use --group {' or '.join(fits)}")
        if d_in % 8 or d_out % 8:
            return f"{module} has {d_out} outputs and {d_in} inputs: expected multiples of 8, which share a word"
        return None

    def codes(self, w, lowest_zero=0):
        """Returns codes [outputs, inputs] and zeros [outputs, groups] from 0 to 15, scales [outputs, groups], and the matrix that they
        stand for."""
        groups = w.reshape(w.shape[0], self.n_groups(w.shape[1]), -1)
        low, high = np.minimum(groups.min(axis=2), 0), np.maximum(groups.max(axis=2), 0)
        span = 2 * np.maximum(-low, high) if self.symmetric else high - low
        scale = rounded(np.maximum(span / 15, TINY).astype(np.float32), self.scale_type)
        zero = np.full_like(scale, 8) if self.symmetric else np.clip(np.rint(-low / scale), lowest_zero, 15)
        codes = np.clip(np.rint(groups / scale[..., None]) + zero[..., None], 0, 15)
        value = (codes - zero[..., None]) * scale[..., None]
        return codes.reshape(w.shape), zero, scale, value.reshape(w.shape).astype(np.float32)


class Packed(Groups):
    """compressed-tensors' form pack-quantized. A word has eight inputs."""

    scale_type = "BF16"

    def plan(self, d_out, d_in):
        n = self.n_groups(d_in)
        zeros = [] if self.symmetric else [("weight_zero_point", "I32", (-(-d_out // 8), n))]
        return [("weight_packed", "I32", (d_out, d_in // 8)), ("weight_scale", "BF16", (d_out, n)),
                ("weight_shape", "I64", (2,)), *zeros]

    def encode(self, w):
        codes, zero, scale, value = self.codes(w)
        zeros = [] if self.symmetric else [words(zero, 0)]
        return [words(codes, 1), scale, np.array(w.shape, np.int64), *zeros], value

    def config(self, ignored):
        weights = scheme(4, "int", "channel" if self.group == -1 else "group", symmetric=self.symmetric,
                         group_size=None if self.group == -1 else self.group)
        return compressed_tensors("pack-quantized", weights, None, ignored)


class Gptq(Groups):
    """AutoGPTQ's form. A word has eight inputs of one output, and words of the same inputs are adjacent. Version 1 stores zero - 1."""

    def __init__(self, group, ordered, version):
        super().__init__(group, not ordered)
        self.ordered, self.version = ordered, version
        self.text += ", inputs ordered" if ordered else ""

    def plan(self, d_out, d_in):
        n = self.n_groups(d_in)
        return [("qweight", "I32", (d_in // 8, d_out)), ("qzeros", "I32", (n, d_out // 8)),
                ("scales", "F16", (n, d_out)), ("g_idx", "I32", (d_in,))]

    def encode(self, w):
        d_in = w.shape[1]
        # Without calibration there are no activations to order inputs by, so they are ordered by the size of their weights.
        order = np.argsort(-np.square(w).sum(axis=0), kind="stable") if self.ordered else np.arange(d_in)
        back = np.argsort(order)
        codes, zero, scale, value = self.codes(w[:, order], lowest_zero=1 if self.version == 1 else 0)
        group_of_input = (back // (d_in // self.n_groups(d_in))).astype(np.int32)
        stored = zero - 1 if self.version == 1 else zero
        return [words(codes[:, back].T, 0), words(stored.T, 1), scale.T, group_of_input], value[:, back]

    def config(self, ignored):
        v2 = {"checkpoint_format": "gptq_v2"} if self.version == 2 else {}
        return {"quant_method": "gptq", "bits": 4, "group_size": self.group, "desc_act": self.ordered,
                "sym": self.symmetric, "damp_percent": 0.01, "static_groups": False, "true_sequential": True, **v2}


class Awq(Groups):
    """AutoAWQ's form gemm. A word has eight outputs, in the order of AWQ_NIBBLE."""

    def __init__(self, group):
        super().__init__(group, symmetric=False)

    def plan(self, d_out, d_in):
        n = self.n_groups(d_in)
        return [("qweight", "I32", (d_in, d_out // 8)), ("qzeros", "I32", (n, d_out // 8)), ("scales", "F16", (n, d_out))]

    def encode(self, w):
        codes, zero, scale, value = self.codes(w)
        return [words(codes.T, 1, AWQ_NIBBLE), words(zero.T, 1, AWQ_NIBBLE), scale.T], value

    def config(self, ignored):
        return {"quant_method": "awq", "bits": 4, "group_size": self.group, "zero_point": True, "version": "gemm",
                "modules_to_not_convert": ignored}


FORMS = {
    "fp8": lambda group: Rows("float"),
    "fp8-block": lambda group: Blocks(),
    "int8": lambda group: Rows("int"),
    "int4": lambda group: Packed(group, symmetric=True),
    "int4-asym": lambda group: Packed(group, symmetric=False),
    "gptq": lambda group: Gptq(group, ordered=False, version=1),
    "gptq-v2": lambda group: Gptq(group, ordered=False, version=2),
    "gptq-act": lambda group: Gptq(group, ordered=True, version=1),
    "awq": Awq,
}


def layer_bytes(form, w):
    """Returns a list of the bytes of each of a layer's tensors, and the matrix that they stand for."""
    tensors, value = form.encode(w)
    return [encoded(t, dtype) for t, (_, dtype, _) in zip(tensors, form.plan(*w.shape))], value
