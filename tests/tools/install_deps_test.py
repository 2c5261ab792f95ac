#!/usr/bin/env python3
"""Runs tools/install_deps.sh in a made-up system, and checks how it calls apt and what it says if it cannot."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/install_deps.sh"
ALL = "cmake ninja-build g++ pkg-config python3 libopenblas-dev libpcre2-dev libutf8proc-dev libxxhash-dev libssl-dev libcli11-dev " \
      "libsentencepiece-dev nlohmann-json3-dev libspdlog-dev libpng-dev libedit-dev libboost-dev libopenmpi-dev openmpi-bin dpkg-dev catch2 curl jq clang libclang-rt-dev " \
      "clang-format-14 clang-tidy-14"
STYLE = ("clang-format-14", "clang-tidy-14")

# The programs that take the place of real ones. apt-get records its call and which packages it installed.
STUBS = {
    "dpkg-query": 'grep -qxF "${@: -1}" "$STATE/installed" && printf installed',
    "apt-cache": 'grep -qxF "${@: -1}" "$STATE/available"',
    "apt-get": 'echo "${DEBIAN_FRONTEND:-} $*" >>"$STATE/calls"; for p in "$@"; do echo "$p" >>"$STATE/installed"; done; '
               'exit "${APT_EXIT:-0}"',
    "sudo": 'echo "sudo $1" >>"$STATE/calls"; [ "$1" = -n ] && shift; exec "$@"',
    "id": 'echo "$FAKE_UID"',
}


class System:
    def __init__(self, root, installed, stubs, available):
        self.state = pathlib.Path(root, "state")
        self.bin = pathlib.Path(root, "bin")
        self.state.mkdir()
        self.bin.mkdir()
        (self.state / "installed").write_text("".join(p + "\n" for p in installed))
        (self.state / "available").write_text("".join(p + "\n" for p in available))
        for name in ("env", "grep", "bash"):
            (self.bin / name).symlink_to(shutil.which(name))
        for name in stubs:
            path = self.bin / name
            path.write_text(f"#!{shutil.which('bash')}\n{STUBS[name]}\n")
            path.chmod(0o755)

    def run(self, *args, uid=0, **extra):
        env = {"PATH": str(self.bin), "STATE": str(self.state), "FAKE_UID": str(uid), **extra}
        done = subprocess.run([shutil.which("bash"), SCRIPT, *args], env=env, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=60)
        calls = self.state / "calls"
        self.calls = calls.read_text().splitlines() if calls.exists() else []
        return done.returncode, done.stderr


class InstallDeps(unittest.TestCase):
    def system(self, installed=(), without=(), available=ALL.split()):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return System(folder.name, installed, [s for s in STUBS if s not in without], available)

    def test_with_everything_installed_apt_and_sudo_are_not_called(self):
        for uid in (0, 1000):
            system = self.system(ALL.split(), without=("sudo",))
            self.assertEqual(system.run("test", uid=uid), (0, ""))
            self.assertEqual(system.calls, [])

    def test_root_installs_the_missing_packages_only_and_without_questions(self):
        system = self.system(p for p in ALL.split() if p not in ("libpcre2-dev", "catch2"))
        code, _ = system.run("test")
        self.assertEqual(code, 0)
        self.assertEqual(len(system.calls), 2)
        self.assertIn("update", system.calls[0])
        self.assertTrue(system.calls[1].startswith("noninteractive "))
        self.assertTrue(system.calls[1].endswith("install -y --no-install-recommends libpcre2-dev catch2"))

    def test_build_asks_for_no_test_packages(self):
        system = self.system()
        self.assertEqual(system.run("build")[0], 0)
        self.assertIn("libopenblas-dev", system.calls[1])
        for package in ("catch2", "clang", "openmpi"):
            self.assertNotIn(package, " ".join(system.calls))

    def test_ranks_on_several_machines_have_a_set_of_their_own(self):
        for name, tests in (("mpi", False), ("test", True)):
            system = self.system()
            self.assertEqual(system.run(name)[0], 0)
            self.assertIn(" libopenmpi-dev openmpi-bin", system.calls[1])
            self.assertEqual("catch2" in system.calls[1], tests)

    def test_building_packages_takes_their_tools_and_no_test_packages(self):
        system = self.system()
        self.assertEqual(system.run("package")[0], 0)
        self.assertIn("libopenblas-dev", system.calls[1])
        self.assertTrue(system.calls[1].endswith(" dpkg-dev"))
        self.assertNotIn("catch2", system.calls[1])

    def test_without_root_it_goes_through_sudo_and_never_waits_for_a_password(self):
        system = self.system()
        self.assertEqual(system.run("build", uid=1000)[0], 0)
        self.assertEqual(system.calls[0], "sudo -n")

    def test_without_root_and_sudo_it_names_the_packages_and_fails(self):
        system = self.system((p for p in ALL.split() if p not in ("cmake", "libpcre2-dev")), without=("sudo",))
        code, message = system.run("build", uid=1000)
        self.assertEqual(code, 1)
        self.assertIn("apt-get install cmake libpcre2-dev\n", message)
        self.assertEqual(system.calls, [])

    def test_without_apt_it_names_every_package_and_fails(self):
        code, message = self.system(without=("apt-get", "dpkg-query", "apt-cache")).run("build")
        self.assertEqual(code, 1)
        for package in ("cmake", "libopenblas-dev", "SEER_NO_INSTALL=1"):
            self.assertIn(package, message)

    def test_with_no_install_set_it_touches_nothing(self):
        system = self.system(without=("apt-get", "dpkg-query", "apt-cache"))
        self.assertEqual(system.run("test", SEER_NO_INSTALL="1"), (0, ""))

    def test_a_failed_install_fails_and_names_the_packages(self):
        code, message = self.system().run("build", APT_EXIT="100")
        self.assertEqual(code, 1)
        self.assertIn("could not install: cmake", message)
        self.assertIn("universe", message)

    def test_style_tools_that_the_distribution_lacks_are_left_out(self):
        have = [p for p in ALL.split() if p not in STYLE]
        system = self.system(have, available=have)
        self.assertEqual(system.run("test"), (0, ""))
        self.assertEqual(system.calls, [])

    def test_missing_style_tools_without_root_and_sudo_do_not_fail(self):
        system = self.system((p for p in ALL.split() if p not in STYLE), without=("sudo",))
        self.assertEqual(system.run("test", uid=1000), (0, ""))

    def test_an_unknown_set_is_bad_usage(self):
        code, message = self.system().run("tests")
        self.assertEqual(code, 2)
        self.assertIn("'tests'", message)


if __name__ == "__main__":
    unittest.main()
