#!/usr/bin/env python3
"""Makes the installed tree that package_test.py looks at, and runs commands for the tests.

    installed_tree.py SETTINGS install    installs the build to one prefix and moves that to another
    installed_tree.py SETTINGS remove     removes it"""
import json
import os
import pathlib
import shutil
import subprocess
import sys


class Tree:
    def __init__(self, settings_file):
        settings = json.loads(pathlib.Path(settings_file).read_text(encoding="utf-8"))
        self.__dict__.update(settings)
        self.source, self.build, self.work = (pathlib.Path(settings[k]) for k in ("source", "build", "work"))
        self.first_prefix = self.work / "first"
        self.prefix = self.work / "moved" / "elsewhere"
        self.lib = self.prefix / self.libdir
        self.include = self.prefix / self.includedir
        self.bin = self.prefix / self.bindir
        self.model = self.source / "examples/demo-model/model"
        self.gates = self.source / "examples/demo-model/gates"
        self.sanitizers = [f"-fsanitize={self.sanitize}"] if self.sanitize else []

    def install(self):
        shutil.rmtree(self.work, ignore_errors=True)
        self.run([self.cmake, "--install", self.build, "--config", self.config, "--prefix", self.first_prefix])
        self.prefix.parent.mkdir(parents=True)
        self.first_prefix.rename(self.prefix)

    def environment(self, **extra):
        # These variables could find a library or a package that the installed files do not find by themselves.
        hidden = ("LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "CMAKE_PREFIX_PATH", "SEER_MODEL", "SEER_GATES")
        kept = {k: v for k, v in os.environ.items() if k not in hidden}
        flags = " ".join(self.sanitizers)
        return {**kept, "CC": self.cc, "CXX": self.cxx, "CFLAGS": flags, "CXXFLAGS": flags, "SEER_DEVICE": "cpu",
                "LC_ALL": "C", **extra}

    def try_run(self, command, **extra):
        """Runs a command and returns the finished process. stdin is empty, or the text `input`."""
        text = extra.pop("input", "")
        return subprocess.run([str(c) for c in command], input=text, capture_output=True, text=True, timeout=240,
                              env=self.environment(**extra))

    def run(self, command, **extra):
        """Runs a command that must succeed, and returns its stdout."""
        done = self.try_run(command, **extra)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(str(c) for c in command)}\nexited with {done.returncode}\n"
                                 f"{done.stdout}\n{done.stderr}")
        return done.stdout


if __name__ == "__main__":
    if sys.argv[2] == "install":
        Tree(sys.argv[1]).install()
    else:
        shutil.rmtree(Tree(sys.argv[1]).work)
