#!/usr/bin/env python3
"""Checks that tools/memory.py computes the memory that `seer` reports: memory_test.py SEER"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import memory  # noqa: E402

DEMO = ROOT / "examples/demo-model"
SHAPE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 256,
         "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
         "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
         "torch_dtype": "bfloat16"}
GATES = {"seerattn_gate_type": "Qavg_Kmaxminavg", "seerattn_gate_block_size": 64, "seerattn_gate_hidden_size": 64,
         "seerattn_sparsity_method": "nz_ratio", "seerattn_nz_ratio": 0.1}
DECODE_GATES = {"seerattn_k_seq_pooling_type": "Kmaxminavg", "seerattn_q_head_pooling_type": "Qproj",
                "seerattn_gate_block_size": 64, "seerattn_gate_hidden_size": 64, "seerattn_sparsity_method": "token_budget"}
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def run(*arguments):
    env = {name: value for name, value in os.environ.items() if not name.startswith("SEER_")}
    done = subprocess.run([*arguments], env={**env, "SEER_DEVICE": "cpu"}, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    return done


class Memory(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def config(self, **changes):
        path = pathlib.Path(self.folder.name, "shape.json")
        path.write_text(json.dumps({**SHAPE, **changes}), encoding="utf-8")
        return path

    def test_the_demo_model_takes_what_inspect_says(self):
        gates = json.loads((DEMO / "gates/config.json").read_text(encoding="utf-8"))
        model = json.loads((DEMO / "model/config.json").read_text(encoding="utf-8"))
        shape = memory.Shape(self.config(**model, **{key: gates[key] for key in gates if key.startswith("seerattn_")}))
        said = json.loads(run(SEER, "inspect", "-m", DEMO / "model", "-g", DEMO / "gates", "-c", "10000", "--output", "json").stdout)
        self.assertEqual(memory.weight_bytes(shape, "bf16", "cpu"), said["model"]["n_bytes"])
        self.assertEqual(memory.gate_bytes(shape), 2 * said["gates"]["n_params"])
        self.assertEqual(157 * memory.page_bytes(shape, 4, 4), said["engine"]["kv_bytes"])
        self.assertEqual(memory.step_bytes(shape, "bf16", "cpu", 10000, None), said["engine"]["step_bytes"])

    def check(self, weights="bf16", context=1000, kv="f32", options=(), chunk=None, **changes):
        """Compares with `seer bench -v` for a shape with random weights: weights to the byte, the rest to all printed digits."""
        config = self.config(**changes)
        done = run(SEER, "bench", "--config", config, "--random-weights", "--weights", weights, "-v", "-p", "64", "-n", "0", "-r", "1",
                   "--no-warmup", "-c", str(context), "--kv-cache-dtype", kv, "--sparse", "dense", "--output", "json", *options)
        said = done.stderr
        shape = memory.Shape(config)
        cache = -(-context // shape.page) * memory.page_bytes(shape, memory.SIZE[kv], 4)
        self.assertEqual(memory.weight_bytes(shape, weights, "cpu"), json.loads(done.stdout)[0]["model_size"])
        for n_bytes, pattern in [(cache, r"\(([\d.]+) (\w+), \w+\), chunks"),
                                 (memory.step_bytes(shape, weights, "cpu", context, chunk), r"([\d.]+) (\w+) that steps work in")]:
            found = re.search(pattern, said)
            self.assertTrue(found, said)
            self.assertEqual(f"{n_bytes / UNITS[found[2]]:.2f}", found[1], said)

    def test_shapes_without_gates(self):
        self.check()
        self.check(tie_word_embeddings=True, attention_bias=True, mlp_bias=True)

    def test_families_with_their_biases_and_norms(self):
        self.check(architectures=["Qwen2ForCausalLM"], model_type="qwen2")
        self.check(architectures=["Qwen3ForCausalLM"], model_type="qwen3", head_dim=32)

    def test_weights_that_are_rounded(self):
        self.check(weights="fp8")
        self.check(weights="int4")
        self.check(weights="int4", intermediate_size=352)  # a multiple of 32, but not of 64

    def test_gates_of_one_weight_and_of_two(self):
        self.check(**GATES)
        self.check(**{**GATES, "seerattn_gate_type": "Qmaxavg_Kavg", "seerattn_gate_block_size": 32})
        self.check(**GATES, seerattn_gate_force_double=True)

    def test_two_weights_of_gates_are_both_counted(self):
        shape = memory.Shape(self.config(**GATES, seerattn_gate_force_double=True))
        self.assertEqual(memory.gate_bytes(shape), 2 * 3 * (4 * 64 * 64 + 2 * 3 * 64 * 64))

    def test_gates_for_decoding(self):
        self.check(**DECODE_GATES)
        self.check(**{**DECODE_GATES, "seerattn_gate_block_size": 32, "seerattn_k_seq_pooling_type": "Kavg"})
        heads = {"Qproj": 4, "Qavgproj": 2, "Qavg": 0}
        for pool, n in heads.items():
            shape = memory.Shape(self.config(**{**DECODE_GATES, "seerattn_q_head_pooling_type": pool, "seerattn_use_qk_norm": True}))
            self.assertEqual(memory.gate_bytes(shape), 2 * 3 * (n * 64 * 64 + 2 * 3 * 64 * 64 + 2 * 64), pool)

    def test_contexts_chunks_and_types_of_the_cache(self):
        self.check(context=4096, kv="bf16", **GATES)
        self.check(context=64, **GATES)
        self.check(context=4096, chunk=256, options=["--chunk-size", "256"], **GATES)

    def test_a_row_is_the_sum_of_its_parts(self):
        out = run(sys.executable, "-B", ROOT / "tools/memory.py", ROOT / "examples/configs/llama-3.1-8b.json", "--weights", "bf16",
                  "-c", "8192,131072,262144").stdout.splitlines()
        self.assertEqual(out[0].split(), "| GiB | type | weights | steps | all, 8192 | all, 131072 | all, 262144 |".split())
        name, kind, weights, steps, *totals = [cell.strip() for cell in out[2].strip("|").split("|")]
        self.assertEqual((name, kind), ("llama-3.1-8b", "bf16"))
        # In each of 32 layers a token has 2 x 8 heads x 128 x 2 bytes, and 64 tokens have 32 gate keys of 128 x 2 bytes.
        cache = 131072 * 32 * (4096 + 32 * 128 * 2 / 64) / 2**30
        self.assertAlmostEqual(float(totals[1]), float(weights) + float(steps) + cache, delta=0.02)
        self.assertEqual(totals[2], "")  # empty, because the model has fewer positions

    def test_sizes_of_steps_are_the_engine_s(self):
        """Compares constants with the sources, because those of a GPU cannot be asked for here."""
        said = {}
        for file in ("engine/src/engine_sizes.cc", "kernels/cuda/codes/batch.h", "kernels/cuda/codes/codes.h", "models/arena.h"):
            for name, value in re.findall(r"constexpr int(?:64_t)? (k\w+) = ([^;]+);", (ROOT / file).read_text(encoding="utf-8")):
                number = re.fullmatch(r"(?:int64_t\{)?(\d+)\}?(?: << (\d+))?", value)
                if number:
                    said[name] = int(number[1]) << int(number[2] or 0)
        for name, ours in [("kGpuChunk", memory.CHUNK["gpu"]), ("kCpuChunk", memory.CHUNK["cpu"]),
                           ("kGpuMixedChunk", memory.MIXED_CHUNK["gpu"]), ("kCpuMixedChunk", memory.MIXED_CHUNK["cpu"]),
                           ("kGpuBatch", memory.BATCH["gpu"]), ("kCpuBatch", memory.BATCH["cpu"]),
                           ("kDefaultPage", memory.USUAL_PAGE), ("kLogitRows", memory.LOGIT_ROWS),
                           ("kGpuReserve", memory.RESERVE["gpu"]), ("kSpreadGroup", memory.SPREAD_GROUP),
                           ("kMostSpreadRows", memory.SPREAD_ROWS), ("kAlignment", memory.ALIGNMENT),
                           ("kChunkCodes", memory.CHUNK_CODES), ("kMostBatchRows", memory.BATCH_ROWS)]:
            self.assertEqual(said[name], ours, name)

    def test_a_gpu_that_rounds_no_inputs_has_room_for_a_widened_matrix_instead(self):
        shape = memory.Shape(ROOT / "examples/configs/llama-3.1-8b.json")
        self.assertEqual(memory.weight_bytes(shape, "fp8", "gpu", "bf16"), memory.weight_bytes(shape, "fp8", "cpu"))
        self.assertGreater(memory.weight_bytes(shape, "fp8", "gpu"), memory.weight_bytes(shape, "fp8", "cpu"))
        plain, widening = (memory.step_bytes(shape, kind, "gpu", 8192, None, "bf16") for kind in ("bf16", "fp8"))
        self.assertEqual(widening - plain, 2 * 28672 * 4096)
        rows = [run(sys.executable, "-B", ROOT / "tools/memory.py", ROOT / "examples/configs/llama-3.1-8b.json", "--activations",
                    activations).stdout.splitlines() for activations in ("auto", "bf16")]
        self.assertEqual([before == after for before, after in zip(*rows)], [True, True, True, False, True])

    def test_the_first_page_has_the_figures(self):
        page = (ROOT / "README.md").read_text(encoding="utf-8")
        computed = run(sys.executable, "-B", ROOT / "tools/memory.py", ROOT / "examples/configs/llama-3.1-8b.json").stdout
        for kind, words in [("bf16", "weights in bf16, as they are downloaded"), ("fp8", "`--weights fp8`"),
                            ("int4", "`--weights int4`")]:
            shown = re.search(rf"^\| {re.escape(words)} \| (.*) \|$", page, re.MULTILINE)[1].split(" | ")
            row = re.search(rf"\| {kind} +\|(.*)\|$", computed, re.MULTILINE)[1].split("|")[2:]
            self.assertEqual(len(shown), len(row))
            for figure, exact in zip(shown, row):
                self.assertAlmostEqual(float(figure), float(exact), delta=0.051)

    def test_invalid_values_are_refused(self):
        for arguments in (["--weights", "fp4"], ["-c", "0"], ["-c", "many"]):
            done = subprocess.run([sys.executable, "-B", ROOT / "tools/memory.py", self.config(), *arguments], capture_output=True,
                                  text=True)
            self.assertEqual(done.returncode, 2, arguments)


if __name__ == "__main__":
    SEER = pathlib.Path(sys.argv.pop(1))
    unittest.main()
