"""Quantised checkpoints: the demo model with one layer of codes, whose tensors or quantization_config are damaged."""
import json
import struct

import files
from files import safetensors, split
from rows import row, with_model

MODULE = "model.layers.5.mlp.down_proj"  # the last layer, so that all others are read first
N_OUT, N_IN, GROUP = 256, 768, 128
N_GROUPS = N_IN // GROUP

BF16_ONE, F16_ONE, F32_ONE = b"\x80\x3f", b"\x00\x3c", b"\x00\x00\x80\x3f"
SCALE_TYPES = {"BF16": (BF16_ONE, b"\xc0\x7f", b"\x80\x7f", b"\x80\xbf"),
               "F16": (F16_ONE, b"\x00\x7e", b"\x00\x7c", b"\x00\xbc"),
               "F32": (F32_ONE, b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xbf")}
BROKEN = (("NaN", 1, "found nan at 0"), ("infinite", 2, "found inf at 0"), ("negative", 3, "found -1.000000 at 0"),
          ("zero", None, "found 0.000000 at 0"))


def compressed(form, weights, inputs=None):
    return {"quant_method": "compressed-tensors", "format": form, "ignore": ["re:.*"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights, "input_activations": inputs}}}


def codes(dtype, shape, byte=b"\x33"):
    n = {"I32": 4, "I64": 8}.get(dtype, 1)
    for size in shape:
        n *= size
    return dtype, shape, byte * n


def ones(dtype, shape):
    n = 1
    for size in shape:
        n *= size
    return dtype, shape, SCALE_TYPES[dtype][0] * n


def fp8():
    return (compressed("float-quantized", {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}),
            {"weight": codes("F8_E4M3", [N_OUT, N_IN]), "weight_scale": ones("BF16", [N_OUT, 1])})


def static():
    config, tensors = fp8()
    group = config["config_groups"]["group_0"]
    group["weights"]["strategy"] = "tensor"
    group["input_activations"] = {"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": True, "dynamic": False}
    return config, {**tensors, "weight_scale": ones("F32", [1]), "input_scale": ones("F32", [1])}


def fp8_block():
    return ({"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128],
             "modules_to_not_convert": ["re:.*"]},
            {"weight": codes("F8_E4M3", [N_OUT, N_IN]), "weight_scale_inv": ones("F32", [2, 6])})


def int8():
    return (compressed("int-quantized", {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}),
            {"weight": codes("I8", [N_OUT, N_IN]), "weight_scale": ones("BF16", [N_OUT, 1])})


def int4(symmetric=True):
    weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": symmetric}
    tensors = {"weight_packed": codes("I32", [N_OUT, N_IN // 8]), "weight_scale": ones("BF16", [N_OUT, N_GROUPS]),
               "weight_shape": ("I64", [2], struct.pack("<qq", N_OUT, N_IN))}
    if not symmetric:
        tensors["weight_zero_point"] = codes("I32", [N_OUT // 8, N_GROUPS])
    return compressed("pack-quantized", weights), tensors


def int4_zeros():
    return int4(symmetric=False)


def gptq():
    # GPTQ's config has no list of plain modules, so rows about its tensors make those of all layers (whole_gptq).
    return ({"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": True, "sym": False},
            {"qweight": codes("I32", [N_IN // 8, N_OUT]), "qzeros": codes("I32", [N_GROUPS, N_OUT // 8]),
             "scales": ones("F16", [N_GROUPS, N_OUT]),
             "g_idx": ("I32", [N_IN], struct.pack(f"<{N_IN}i", *(i * 5 % N_IN // GROUP for i in range(N_IN))))})


def awq():
    return ({"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm",
             "modules_to_not_convert": ["re:.*"]},
            {"qweight": codes("I32", [N_IN, N_OUT // 8]), "qzeros": codes("I32", [N_GROUPS, N_OUT // 8]),
             "scales": ones("F16", [N_GROUPS, N_OUT])})


def weights_of(file, layers, tensors, cut=0):
    """Returns the demo model's file with tensors(module), {suffix: (dtype, shape, bytes)}, in the place of the weight of each
    module in `layers`, without the last `cut` bytes."""
    header, data = split(file)
    header.pop("__metadata__", None)
    kept, out, at = {}, [], 0
    for name, entry in header.items():
        if name.removesuffix(".weight") in layers:
            continue
        begin, end = entry["data_offsets"]
        kept[name] = {**entry, "data_offsets": [at, at + end - begin]}
        out.append(data[begin:end])
        at += end - begin
    for module in layers:
        for suffix, (dtype, shape, content) in tensors(module).items():
            kept[f"{module}.{suffix}"] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
            out.append(content)
            at += len(content)
    whole = safetensors(kept, b"".join(out))
    return whole[:len(whole) - cut]


def damaged(make, name, *words, cut=0):
    """Adds a row. The decorated function changes the config and the tensors that `make` returns."""

    def add(change):
        def build():
            config, tensors = make()
            changed = change(config, tensors)
            folder = files.model()
            folder.change("config.json", quantization_config=config if changed is None else changed)
            folder.write("model.safetensors",
                         weights_of(folder.read("model.safetensors"), [MODULE], lambda module: tensors, cut))
            return with_model(folder, *words)

        row("quantised", f"{make.__name__}: {name}")(build)
        return change

    return add


def without(make, suffix, *words):
    damaged(make, f"no {suffix}", f"missing: {MODULE}.{suffix} ", *words)(
        lambda config, tensors: tensors.pop(suffix) and None)


def replaced(make, name, suffix, tensor, *words):
    damaged(make, name, f"{MODULE}.{suffix}: expected ", *words)(
        lambda config, tensors: tensors.update({suffix: tensor}))


def overwritten(make, name, suffix, content, *words):
    def change(config, tensors):
        dtype, shape, old = tensors[suffix]
        tensors[suffix] = dtype, shape, content + old[len(content):]

    damaged(make, name, f"{MODULE}.{suffix}: expected ", *words)(change)


def config(make, name, key, value, *words):
    """Adds a row with another value in the config. The key is a path of keys; the message must name its last one."""

    def change(config, tensors):
        *path, last = key.split("/")
        at = config
        for part in path:
            at = at[part]
        at[last] = value

    damaged(make, name, "quantization_config", f"expected {key.split('/')[-1]} to be", *words,
            "Use the model's plain checkpoint")(change)


SCALES = ((fp8, "weight_scale", "F32 or BF16 or F16 [256, 1] or [256]"), (fp8_block, "weight_scale_inv", "[2, 6]"),
          (int8, "weight_scale", "[256, 1]"), (int4, "weight_scale", "[256, 6]"), (awq, "scales", "[6, 256]"),
          (static, "input_scale", "F32 or BF16 or F16 [1]"))
for make_form, scale, shape_words in SCALES:
    without(make_form, scale, shape_words, "use the config.json that belongs to these weights")
    replaced(make_form, f"{scale} of another shape", scale, ones("BF16", [3, 5]), shape_words, "found BF16 [3, 5]")
    kind, shape, _ = make_form()[1][scale]
    for what, index, found_words in BROKEN:
        bytes_of = SCALE_TYPES[kind][index] if index else bytes(len(SCALE_TYPES[kind][0]))
        overwritten(make_form, f"{scale} {what}", scale, bytes_of, "expected positive numbers", found_words, "another copy")

overwritten(fp8, "NaN among the codes", "weight", b"\x11" * 5 + b"\x7f", "expected finite numbers, found NaN at [0, 5]",
            "another copy")
overwritten(fp8_block, "-NaN among the codes", "weight", b"\xff", "expected finite numbers, found NaN at [0, 0]")
replaced(fp8, "int8 codes", "weight", codes("I8", [N_OUT, N_IN]), "expected F8_E4M3 [256, 768], found I8 [256, 768]")
replaced(fp8, "codes turned around", "weight", codes("F8_E4M3", [N_IN, N_OUT]), "found F8_E4M3 [768, 256]")
replaced(int4, "seven codes a word", "weight_packed", codes("I32", [N_OUT, 110]), "expected I32 [256, 96], found I32 [256, 110]")
replaced(int4, "words of bytes", "weight_packed", codes("U8", [N_OUT, N_IN // 2]), "expected I32 [256, 96], found U8 [256, 384]")
overwritten(int4, "a weight_shape that lies", "weight_shape", struct.pack("<qq", 256, 2**62),
            "expected 256 and 768, found 256 and 4611686018427387904")
without(int4, "weight_shape", "I64 or I32 [2]")
without(int4_zeros, "weight_zero_point", "I32 [32, 6]")
replaced(int4_zeros, "zeros that are not packed", "weight_zero_point", codes("I8", [N_OUT, N_GROUPS]),
         "expected I32 [32, 6], found I8 [256, 6]")
without(awq, "qzeros", "I32 [6, 32]")
replaced(awq, "codes in GPTQ's order", "qweight", codes("I32", [N_IN // 8, N_OUT]), "expected I32 [768, 32], found I32 [96, 256]")
damaged(int4, "a quantised tensor cut short", "model.safetensors", "bytes of tensor data, found", "download",
        cut=1000)(lambda config, tensors: None)


@damaged(int4, "zeros in a symmetric file", f"unexpected: {MODULE}.weight_zero_point I32 [32, 6]")
def _(config, tensors):
    tensors.update(weight_zero_point=codes("I32", [32, N_GROUPS]))


@damaged(int4, "a layer without codes that the config does not leave plain",
         "missing: the codes of model.layers.0.self_attn.q_proj, which quantization_config does not leave out")
def _(config, tensors):
    config["ignore"] = ["lm_head"]


@damaged(int4, "a tensor of another order's groups", f"unexpected: {MODULE}.weight_g_idx I32 [768]")
def _(config, tensors):
    tensors.update(weight_g_idx=codes("I32", [N_IN], b"\0"))


GROUP_0 = "config_groups/group_0"
config(fp8, "another method", "quant_method", "bitsandbytes", "compressed-tensors, fp8, gptq or awq", '"bitsandbytes"')
config(fp8, "no method", "quant_method", None, "no quant_method")
config(fp8, "a method of 1 MB", "quant_method", "x" * 1_000_000, "(1000000 bytes)")
config(fp8, "another format", "format", "nvfp4-pack-quantized", '"pack-quantized"', '"nvfp4-pack-quantized"')
config(int4, "3 bits", f"{GROUP_0}/weights/num_bits", 3, "4, found 3")
config(int4, "another strategy", f"{GROUP_0}/weights/strategy", "tensor_group", '"group" or "channel", found "tensor_group"')
config(int4, "groups of 100", f"{GROUP_0}/weights/group_size", 100, "-1 or a multiple of 32, found 100")
config(int4, "a target that is no Linear", f"{GROUP_0}/targets", ["Embedding"], '["Linear"], found ["Embedding"]')
config(gptq, "8 bits", "bits", 8, "4, found 8")
config(gptq, "a future checkpoint_format", "checkpoint_format", "gptq_v3", '"gptq" or "gptq_v2", found "gptq_v3"')
config(awq, "gemv", "version", "gemv", '"gemm", found "gemv"')
config(fp8_block, "blocks of 64", "weight_block_size", [64, 64], "[128, 128], found [64,64]")


@damaged(int4, "groups of 512 of 768 inputs", f"{MODULE} of 768 inputs and 256 outputs",
         "expected multiples of 8, and inputs that groups of 512 divide", "smaller groups")
def _(config, tensors):
    config["config_groups"]["group_0"]["weights"]["group_size"] = 512


@damaged(fp8, "two groups that differ in their format", "groups that are all alike but for their targets",
         'found format "naive-quantized" in group_1 and "float-quantized" in group_0')
def _(config, tensors):
    group = config["config_groups"]["group_0"]
    config["config_groups"]["group_1"] = {**group, "targets": ["re:.*mlp.*"], "format": "naive-quantized"}


@damaged(fp8, "config_groups a list", "config_groups", "an object with a group")
def _(config, tensors):
    config["config_groups"] = [7]


@damaged(fp8, "a config that is a number", "quantization_config", "an object")
def _(config, tensors):
    return 7


LAYERS = [f"model.layers.{layer}.{name}" for layer in range(6) for name in (
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
    "mlp.down_proj")]


def whole_gptq(name, *words):
    """Adds a row in which every layer has codes, because GPTQ's config can leave none plain. The decorated function changes the
    tensors of the last layer."""

    def add(change):
        def build():
            folder = files.model()
            shapes = {n.removesuffix(".weight"): t.get("shape")
                      for n, t in split(folder.read("model.safetensors"))[0].items()}

            def tensors(module):
                n_out, n_in = shapes[module]
                made = {"qweight": codes("I32", [n_in // 8, n_out]), "qzeros": codes("I32", [n_in // GROUP, n_out // 8]),
                        "scales": ones("F16", [n_in // GROUP, n_out]),
                        "g_idx": ("I32", [n_in], struct.pack(f"<{n_in}i", *(i // GROUP for i in range(n_in))))}
                if module == MODULE:
                    change(made)
                return made

            folder.change("config.json", quantization_config=gptq()[0])
            folder.write("model.safetensors", weights_of(folder.read("model.safetensors"), LAYERS, tensors))
            return with_model(folder, *words)

        row("quantised", f"gptq: {name}")(build)
        return change

    return add


def g_idx(values):
    return "I32", [N_IN], struct.pack(f"<{N_IN}i", *values)


whole_gptq("g_idx above the groups", f"{MODULE}.g_idx: expected groups from 0 to 5, found 6 at 3", "another copy")(
    lambda made: made.update(g_idx=g_idx([0, 0, 0, 6] + [i // GROUP for i in range(4, N_IN)])))
whole_gptq("g_idx negative", f"{MODULE}.g_idx: expected groups from 0 to 5, found -2147483648 at 0", "another copy")(
    lambda made: made.update(g_idx=g_idx([-2**31] + [i // GROUP for i in range(1, N_IN)])))
whole_gptq("g_idx all zero", f"{MODULE}.g_idx: expected 128 inputs in group 0, found 768", "another copy")(
    lambda made: made.update(g_idx=g_idx([0] * N_IN)))
whole_gptq("g_idx of another length", f"{MODULE}.g_idx: expected I32 [768], found I32 [767]")(
    lambda made: made.update(g_idx=("I32", [N_IN - 1], bytes(4 * N_IN - 4))))
whole_gptq("zero scales", f"{MODULE}.scales: expected positive numbers, found 0.000000 at 0", "another copy")(
    lambda made: made.update(scales=("F16", [N_GROUPS, N_OUT], bytes(2 * N_GROUPS * N_OUT))))
whole_gptq("qzeros of another shape", f"{MODULE}.qzeros: expected I32 [6, 32], found I32 [6, 256]")(
    lambda made: made.update(qzeros=codes("I32", [N_GROUPS, N_OUT])))
whole_gptq("no scales", f"missing: {MODULE}.scales F32 or BF16 or F16 [6, 256]")(lambda made: made.pop("scales"))
whole_gptq("no qzeros", f"missing: {MODULE}.qzeros I32 [6, 32]")(lambda made: made.pop("qzeros"))
