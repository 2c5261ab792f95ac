#!/usr/bin/env python3
"""Checks CMake's message if libraries are missing: it names all of them, what was found instead, and the packages to install.
   tests/tools/dependencies_test.py CMAKE PKG_CONFIG [OPTIONS of every call of CMAKE]"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CMAKE, PKG_CONFIG, *OPTIONS = sys.argv[1:]


class Dependencies(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refusal(self, *options):
        """Configures as if only libraries below self.folder were installed. Returns the message as one line."""
        hidden = [f"-DCMAKE_FIND_USE_{place}=OFF" for place in
                  ("CMAKE_SYSTEM_PATH", "SYSTEM_ENVIRONMENT_PATH", "CMAKE_ENVIRONMENT_PATH", "PACKAGE_REGISTRY")]
        done = subprocess.run(
            [CMAKE, "-S", ROOT, "-B", self.folder / "build", *OPTIONS, f"-DPython3_EXECUTABLE={sys.executable}",
             f"-DCMAKE_PREFIX_PATH={self.folder}", *hidden, *options],
            env={**os.environ, "PKG_CONFIG_LIBDIR": str(self.folder), "PKG_CONFIG_PATH": ""},
            capture_output=True, text=True, timeout=100)
        self.assertNotEqual(done.returncode, 0)
        return " ".join(done.stderr.split())

    def test_everything_missing_is_named_at_once_with_packages_that_the_installer_knows(self):
        said = self.refusal(f"-DPKG_CONFIG_EXECUTABLE={PKG_CONFIG}")
        self.assertIn("was not found: nlohmann_json 3.10 or newer, spdlog, CLI11, PNG, SentencePiece, Boost 1.74 or newer, "
                      "libcrypto 3.0 or newer, libedit, openblas, libpcre2-8, libutf8proc, libxxhash. Run 'tools/install_deps.sh build'", said)
        packages = re.search("of Debian or Ubuntu: ([^.]*)", said)[1].split()
        self.assertEqual(len(packages), 12)
        known = re.search(r"^build_packages=\((.*?)\)", (ROOT / "tools/install_deps.sh").read_text(), re.M | re.S)[1].split()
        self.assertLessEqual(set(packages), set(known))

    def test_a_library_that_is_too_old_is_named_with_its_version(self):
        config = self.folder / "lib/cmake/Boost-1.71.0"
        config.mkdir(parents=True)
        (config / "BoostConfig.cmake").write_text("")
        (config / "BoostConfigVersion.cmake").write_text("set(PACKAGE_VERSION 1.71.0)\n")
        said = self.refusal(f"-DPKG_CONFIG_EXECUTABLE={PKG_CONFIG}")
        self.assertIn("Boost 1.74 or newer (found 1.71.0), ", said)

    def test_without_pkg_config_itself_that_is_what_is_missing(self):
        said = self.refusal()
        self.assertIn("was not found: pkg-config", said)
        self.assertNotIn("libedit", said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
