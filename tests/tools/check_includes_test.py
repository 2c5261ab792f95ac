#!/usr/bin/env python3
"""Checks which includes tools/check_includes.py refuses."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/check_includes.py"


def check(files):
    """Runs the script on a tree of files, {name: text}. Returns its exit code and output."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPT, root], capture_output=True, text=True)
        return done.returncode, done.stdout


class CheckIncludes(unittest.TestCase):
    def refused(self, name, include, *, line=2, says=""):
        code, output = check({name: f"// a comment\n#include {include}\n"})
        self.assertEqual(code, 1, f"{name} may include {include}")
        self.assertIn(f"{name}:{line}:", output)
        self.assertIn(says, output)

    def accepted(self, name, include):
        self.assertEqual(check({name: f"#include {include}\n"}), (0, ""))

    def test_an_upward_include_is_refused_with_file_and_line(self):
        for name, include in [
            ("kernels/a.cc", '"models/config.h"'),
            ("kernels/cpu/a.cc", '"engine/src/batch.h"'),
            ("kernels/a.h", '"tokenizer/tokenizer.h"'),
            ("kernels/a.cc", '"seer/engine.h"'),
            ("tokenizer/a.cc", '"kernels/tensor.h"'),
            ("tokenizer/a.cc", '"seer/tokenizer.h"'),
            ("models/a.cc", '"engine/src/batch.h"'),
            ("models/a.cc", '"tokenizer/tokenizer.h"'),
            ("models/a.cc", "<seer/sparse.h>"),
            ("engine/src/a.cc", '"tools/seer/options.h"'),
            ("engine/src/a.cc", '"tests/support/catch.h"'),
            ("kernels/cuda/a.cu", '  "models/config.h"'),
        ]:
            self.refused(name, include, says="may not include")

    def test_tools_and_examples_see_public_headers_only(self):
        for folder in ("tools/seer", "examples"):
            for include in ('"engine/src/batch.h"', '"models/config.h"', '"kernels/tensor.h"', '"tokenizer/bpe.h"'):
                self.refused(f"{folder}/a.cc", include, says="may not include")
            self.accepted(f"{folder}/a.cc", '"seer/engine.h"')

    def test_a_way_round_by_a_relative_or_absolute_path_is_refused(self):
        self.refused("kernels/a.cc", '"../models/config.h"')
        self.refused("kernels/a.cc", '"kernels/../models/config.h"')
        self.refused("kernels/a.cc", '"/usr/include/stdio.h"')
        self.refused("kernels/a.cc", '"tensor.h"', says="from the project's root")

    def test_cuda_headers_stay_in_their_two_places(self):
        for include in ("<cuda_runtime.h>", "<cublasLt.h>", "<nccl.h>", "<cuda/barrier>"):
            self.refused("models/a.cc", include, says="CUDA headers belong")
            self.refused("kernels/cpu/a.cc", include)
            self.accepted("kernels/cuda/a.cu", include)
        self.accepted("kernels/comm/nccl.cc", "<nccl.h>")
        self.refused("kernels/comm/mpi.cc", "<nccl.h>")

    def test_public_headers_hold_standard_types_only(self):
        for include in ("<spdlog/spdlog.h>", "<nlohmann/json.hpp>", '"models/config.h"', "<mpi.h>", "<cuda_runtime.h>"):
            self.refused("engine/include/seer/a.h", include, says="public header")
        self.accepted("engine/include/seer/a.h", "<vector>")
        self.accepted("engine/include/seer/a.h", '"seer/error.h"')
        self.accepted("engine/include/seer/a.h", "<stdint.h>")
        self.refused("engine/include/seer/a.h", "<unistd.h>", says="public header")

    def test_the_base_is_open_to_every_folder_and_uses_none(self):
        for folder in ("kernels", "models", "tokenizer", "engine/src", "engine/base", "tools/seer", "tests/base"):
            self.accepted(f"{folder}/a.cc", '"engine/base/json_reader.h"')
        for include in ('"engine/src/batch.h"', '"models/config.h"', '"seer/engine.h"', '"tokenizer/utf8.h"'):
            self.refused("engine/base/a.cc", include, says="may not include")
        self.accepted("engine/base/a.cc", '"seer/error.h"')
        self.refused("engine/include/seer/a.h", '"engine/base/json_reader.h"', says="public header")

    def test_json_values_are_those_of_the_base(self):
        for name in ("tokenizer/a.cc", "tools/seer/a.h", "engine/base/json_reader.h"):
            self.refused(name, "<nlohmann/json.hpp>", says="include engine/base/json.h instead")
        self.refused("tokenizer/a.h", "<nlohmann/json_fwd.hpp>", says="include engine/base/json.h instead")

    def test_downward_includes_are_accepted(self):
        for name, include in [
            ("kernels/a.cc", '"kernels/tensor.h"'),
            ("kernels/a.cc", '"seer/error.h"'),
            ("kernels/a.cc", "<cblas.h>"),
            ("tokenizer/a.cc", '"engine/base/json.h"'),
            ("engine/base/json.h", "<nlohmann/json.hpp>"),
            ("tests/models/a.cc", "<nlohmann/json.hpp>"),
            ("models/a.cc", '"kernels/tensor.h"'),
            ("engine/src/a.cc", '"models/config.h"'),
            ("engine/src/a.cc", '"tokenizer/tokenizer.h"'),
            ("tests/models/a.cc", '"tests/support/catch.h"'),
        ]:
            self.accepted(name, include)

    def test_a_checkout_below_a_folder_called_build_is_read(self):
        with tempfile.TemporaryDirectory() as parent:
            path = pathlib.Path(parent, "build/kernels/a.cc")
            path.parent.mkdir(parents=True)
            path.write_text('#include "models/config.h"\n', encoding="utf-8")
            done = subprocess.run([sys.executable, SCRIPT, pathlib.Path(parent, "build")], capture_output=True)
            self.assertEqual(done.returncode, 1)

    def test_a_folder_without_sources_is_refused(self):
        code, output = check({"README.md": "nothing\n"})
        self.assertEqual(code, 1)
        self.assertIn("not the project's root", output)

    def test_a_source_with_another_suffix_is_refused(self):
        self.refused("kernels/a.cpp", "<vector>", line=1, says=".cpp")

    def test_c_is_for_examples_and_tests_of_the_c_interface_and_is_read(self):
        self.refused("engine/src/a.c", "<stdio.h>", line=1, says=".c")
        for name in ("examples/a.c", "tests/c_api/a.c"):
            self.accepted(name, '"seer/seer.h"')
        self.refused("examples/a.c", '"engine/src/batch.h"', says="may not include")

    def test_a_stamp_is_written_if_all_is_well_and_depends_on_sources_and_folders(self):
        with tempfile.TemporaryDirectory() as folder:
            root, stamp, depfile = (pathlib.Path(folder, name) for name in ("a b", "stamp", "stamp.d"))
            for name in ("kernels/cpu/a.cc", "kernels/build/b.cc", "kernels/__pycache__/c.pyc", "kernels/notes.md", "kernels/build_c.cc"):
                root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
                root.joinpath(name).touch()
            command = [sys.executable, SCRIPT, root, "--stamp", stamp, "--depfile", depfile]
            self.assertEqual(subprocess.run(command).returncode, 0)
            target, names = depfile.read_text(encoding="utf-8").replace("\\\n", "").split(": ")
            self.assertEqual(target, "stamp")
            paths = [pathlib.Path(name.replace("\0", " ")) for name in names.replace("\\ ", "\0").split()]
            found = {path.relative_to(root).as_posix() for path in paths}
            self.assertEqual({name for name in found if name.startswith("kernels")},
                             {"kernels", "kernels/cpu", "kernels/cpu/a.cc", "kernels/build_c.cc"})
            stamp.unlink()
            root.joinpath("kernels/cpu/a.cc").write_text('#include "models/config.h"\n', encoding="utf-8")
            self.assertEqual(subprocess.run(command, stdout=subprocess.DEVNULL).returncode, 1)
            self.assertFalse(stamp.exists())


if __name__ == "__main__":
    unittest.main()
