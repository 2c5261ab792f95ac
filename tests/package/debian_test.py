#!/usr/bin/env python3
"""Checks the control fields and the files of the packages that cpack makes of the build.

    debian_test.py SETTINGS [Debian.test_NAME...]    exit code 77 if a tool of Debian's is missing

The packages are not compressed here, because compressing takes most of the time. Whether they install and run on a bare system is
tried by hand, as tools/package/README.md says."""
import gzip
import pathlib
import re
import shutil
import sys
import unittest

import installed_tree

TOOLS = ("cpack", "dpkg-deb", "dpkg-shlibdeps", "dpkg-parsechangelog")


class Debian(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tree = TREE
        cls.folder = TREE.work.parent / "debian"
        shutil.rmtree(cls.folder, ignore_errors=True)
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        TREE.run(["cpack", "-G", "DEB", "-C", TREE.config, "--config", TREE.build / "CPackConfig.cmake", "-B", cls.folder,
                  "-D", "CPACK_DEBIAN_COMPRESSION_TYPE=none"], SOURCE_DATE_EPOCH="1700000000")
        variant = "-cuda" if TREE.cuda else ""
        major = TREE.version.split(".")[0]
        cls.names = {"program": f"seer{variant}", "library": f"libseer-engine{major}{variant}",
                     "development": f"libseer-engine{variant}-dev"}
        cls.root, cls.fields, cls.control = {}, {}, {}
        for part, name in cls.names.items():
            found = list(cls.folder.glob(f"{name}_*.deb"))
            if len(found) != 1:
                raise AssertionError(f"expected one package {name}, found {list(cls.folder.glob('*.deb'))}")
            cls.root[part] = cls.folder / f"files-{part}"
            cls.control[part] = cls.folder / f"control-{part}"
            TREE.run(["dpkg-deb", "-x", found[0], cls.root[part]])
            TREE.run(["dpkg-deb", "-e", found[0], cls.control[part]])
            cls.fields[part] = {}
            for field in TREE.run(["dpkg-deb", "-f", found[0]]).split("\n"):
                if re.match(r"[A-Z]", field):
                    key, _, value = field.partition(": ")
                    cls.fields[part][key] = value
                elif field:
                    cls.fields[part][key] += "\n" + field
        cls.package_version = cls.fields["program"]["Version"]

    def files(self, part):
        root = self.root[part]
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}

    def test_control_fields(self):
        sections = {"program": "science", "library": "libs", "development": "libdevel"}
        for part, name in self.names.items():
            fields = self.fields[part]
            self.assertEqual(fields["Package"], name)
            self.assertEqual(fields["Source"], "seer")
            self.assertRegex(fields["Version"], rf"^{re.escape(self.tree.version)}-1(~[a-z]+[\d.]*)?$")
            self.assertEqual(fields["Architecture"], self.tree.run(["dpkg", "--print-architecture"]).strip())
            self.assertEqual(fields["Section"], ("contrib/" if self.tree.cuda else "") + sections[part])
            self.assertEqual(fields["Priority"], "optional")
            self.assertRegex(fields["Maintainer"], r"^\S.* <\S+@\S+>$")
            self.assertGreater(int(fields["Installed-Size"]), 20)
            summary, *more = fields["Description"].split("\n")
            self.assertLess(len(summary), 80)
            self.assertRegex(summary, r"^[a-z].*[^.]$")  # Debian's policy wants no capital at the beginning and no full stop
            self.assertGreater(len(more), 3)
            self.assertTrue(all(re.match(r" \S", line) and len(line) <= 80 for line in more), more)

    def test_each_package_depends_on_what_it_needs(self):
        library = f"{self.names['library']} (= {self.package_version})"
        asks = {part: fields.get("Depends", "") for part, fields in self.fields.items()}
        self.assertEqual(library in asks["program"], self.tree.shared_program)
        self.assertTrue(asks["development"].startswith(library))
        for package in ("libpcre2-dev", "libssl-dev", "libutf8proc-dev"):  # named by Requires.private of seer_engine.pc
            self.assertIn(package, asks["development"])
        for part in ("program", "library"):
            self.assertRegex(asks[part], r"libc6 \(>= [\d.]+\)")
        self.assertRegex(asks["program"], r"libedit2 \(")
        self.assertNotIn("libedit", asks["library"])
        for package in ("libopenblas0", "libpcre2-8-0", "libsentencepiece0", "libssl3", "libutf8proc"):
            self.assertIn(package, asks["library"])
        self.assertEqual("libcublas" in asks["library"], self.tree.cuda)

    def test_variants_replace_each_other(self):
        plain = {"program": "seer", "library": "libseer-engine" + self.tree.version.split(".")[0],
                 "development": "libseer-engine-dev"}
        for part, name in plain.items():
            expected = {"Provides": f"{name} (= {self.package_version})", "Conflicts": name, "Replaces": name}
            for field, value in expected.items():
                self.assertEqual(self.fields[part].get(field), value if self.tree.cuda else None, (part, field))
        major, minor, _ = (int(n) for n in self.tree.version.split("."))
        self.assertEqual((self.control["library"] / "shlibs").read_text(),
                         f"libseer_engine {major} {plain['library']} (>= {major}.{minor}), {plain['library']} (<< {major}.{minor + 1}~)\n")
        self.assertIn("ldconfig", (self.control["library"] / "triggers").read_text())
        # There must be no postrm script: with one, dpkg would remember the package after its removal.
        self.assertEqual({path.name for path in self.control["library"].iterdir()}, {"control", "md5sums", "shlibs", "triggers"})

    def test_files(self):
        documents = ("copyright", "changelog.gz", "changelog.Debian.gz")
        expected = {
            "program": {"usr/bin/seer", "usr/share/man/man1/seer.1.gz", "usr/share/bash-completion/completions/seer",
                        "usr/share/zsh/vendor-completions/_seer", "usr/share/fish/vendor_completions.d/seer.fish"},
            "library": {f"usr/{self.tree.libdir}/libseer_engine.so.{self.tree.version}",
                        f"usr/{self.tree.libdir}/libseer_engine.so.{self.tree.version.split('.')[0]}"},
        }
        for part, name in self.names.items():
            found = self.files(part)
            for document in documents:
                self.assertIn(f"usr/share/doc/{name}/{document}", found)
            if part in expected:
                self.assertEqual(found, expected[part] | {f"usr/share/doc/{name}/{document}" for document in documents})
            self.assertEqual({line.split("  ")[1] for line in (self.control[part] / "md5sums").read_text().splitlines()},
                             {path for path in found if not (self.root[part] / path).is_symlink()})
        development = self.files("development")
        for path in ("libseer_engine.so", "libseer_engine.a", "pkgconfig/seer_engine.pc", "cmake/seer_engine/seer_engine-config.cmake"):
            self.assertIn(f"usr/{self.tree.libdir}/{path}", development)
        self.assertIn("usr/include/seer/version.h", development)

    def test_documents(self):
        docs = self.root["program"] / "usr/share/doc" / self.names["program"]
        for part, name in self.names.items():  # package_test.py checks what the file says
            self.assertEqual((self.root[part] / "usr/share/doc" / name / "copyright").read_bytes(),
                             (self.tree.build / "copyright").read_bytes())
        changes = self.folder / "changes"
        changes.write_bytes(gzip.decompress((docs / "changelog.Debian.gz").read_bytes()))
        parsed = self.tree.run(["dpkg-parsechangelog", "-l", changes])
        self.assertIn(f"Version: {self.package_version}\n", parsed)
        self.assertIn(f"Maintainer: {self.fields['program']['Maintainer']}\n", parsed)
        date = re.search(rf"^## \[{re.escape(self.tree.version)}\] - (\d+)-\d+-(\d+)$",
                         (self.tree.source / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
        self.assertRegex(parsed, rf"\nDate: \w+, {date[2]} \w+ {date[1]} ")
        self.assertEqual(gzip.decompress((docs / "changelog.gz").read_bytes()), (self.tree.source / "CHANGELOG.md").read_bytes())
        manual = self.root["program"] / "usr/share/man/man1/seer.1.gz"
        self.assertEqual(gzip.decompress(manual.read_bytes()), (self.tree.source / "tools/seer/seer.1").read_bytes())

    def test_binaries_are_stripped(self):
        for part, path in (("program", "usr/bin/seer"), ("library", f"usr/{self.tree.libdir}/libseer_engine.so.{self.tree.version}")):
            self.assertNotIn(".symtab", self.tree.run([self.tree.readelf, "-S", "-W", self.root[part] / path]))


if __name__ == "__main__":
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        print("SKIPPED: packages were not built: not installed: " + ", ".join(missing))
        sys.exit(77)
    TREE = installed_tree.Tree(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
