#!/usr/bin/env python3
"""Checks the installed and moved tree: its exports and files, and that programs find it by CMake, pkg-config and C, and run.

    package_test.py SETTINGS [Package.test_NAME...]    after installed_tree.py SETTINGS install"""
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest

import installed_tree

PROMPT = "It was a bright morning, and the whole village"
C_HEADERS = {"seer.h", "export.h", "version.h"}
PUBLIC = re.compile(r"(typeinfo for |typeinfo name for |vtable for )?seer::|seer_")
# Matches a mangled C++ name: the length of the outermost namespace, and the name from there on. std has no length.
NAMESPACE = re.compile(r"_ZZ*(?:T[VISTt])?N[KVrRO]*(\d+)(\w+)")
# The namespaces of other projects' code that is compiled into the program or the library, each with the name and the licence that
# the copyright file gives. Names with __ belong to the compiler's run time, whose licence asks for no notice.
THIRD_PARTIES = {"nlohmann": ("JSON for Modern C++", "Expat"), "CLI": ("CLI11", "BSD-3-clause"), "spdlog": ("spdlog", "Expat"),
                 "fmt": ("fmt", "Expat with embedded exception"), "boost": ("Boost", "BSL-1.0")}


class Package(unittest.TestCase):
    def setUp(self):
        self.tree = TREE
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=TREE.work))
        self.addCleanup(shutil.rmtree, self.folder)

    def configure(self, cmake_lists=None, *options, prefix=None, files=None, environment=None):
        """Configures a project of these files, or examples/embed, in self.folder/b. Returns the finished process."""
        project = self.folder / "project"
        shutil.rmtree(project, ignore_errors=True)
        shutil.rmtree(self.folder / "b", ignore_errors=True)
        if cmake_lists is None:
            shutil.copytree(self.tree.source / "examples/embed", project)
        else:
            project.mkdir()
            (project / "CMakeLists.txt").write_text(cmake_lists, encoding="utf-8")
            for name, text in (files or {}).items():
                (project / name).parent.mkdir(exist_ok=True)
                (project / name).write_text(text, encoding="utf-8")
        return self.tree.try_run([self.tree.cmake, "-S", project, "-B", self.folder / "b", "-G", self.tree.generator,
                                  "-DCMAKE_BUILD_TYPE=" + self.tree.config,
                                  f"-DCMAKE_PREFIX_PATH={prefix or self.tree.prefix}", *options],
                                 **(environment or {}))

    def configured(self, *args, **kwargs):
        done = self.configure(*args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("CMake Warning", done.stderr)
        return done

    def build_embed(self, *options, prefix=None):
        self.configured(None, *options, prefix=prefix)
        self.tree.run([self.tree.cmake, "--build", self.folder / "b"])
        return self.folder / "b/embed"

    def needed(self, binary):
        return re.findall(r"\(NEEDED\).*\[(.*)\]", self.tree.run([self.tree.readelf, "-d", binary]))

    def check_embed(self, program):
        text = self.tree.run([program, self.tree.model, PROMPT])
        reference = self.tree.run([self.tree.bin / "seer", "generate", "-m", self.tree.model, "-p", PROMPT, "--echo",
                                   "-n", "16", "--temp", "0", "-q"])
        self.assertEqual(text.rstrip("\n"), reference.rstrip("\n"))
        failed = self.tree.try_run([program, "/no/such/model", PROMPT])
        self.assertEqual(failed.returncode, 1)
        self.assertIn("/no/such/model", failed.stderr)

    def copy_without(self, *patterns):
        """Returns a copy of the prefix, made of links, without the libraries' files that match these patterns."""
        copy = self.folder / "copy"
        shutil.copytree(self.tree.prefix, copy, symlinks=True, copy_function=os.link)
        for pattern in patterns:
            matches = list((copy / self.tree.libdir).glob(pattern))
            self.assertTrue(matches, pattern)
            for path in matches:
                path.unlink()
        return copy

    # --- CMake.

    def test_embed_shared(self):
        program = self.build_embed("-DBUILD_SHARED_LIBS=ON")
        self.assertIn(f"libseer_engine.so.{self.tree.version.split('.')[0]}", self.needed(program))
        self.check_embed(program)

    def test_embed_static(self):
        program = self.build_embed("-DBUILD_SHARED_LIBS=OFF")
        self.assertNotIn("libseer_engine", " ".join(self.needed(program)))
        self.check_embed(program)

    def test_find_package_twice(self):
        self.configured("""
            cmake_minimum_required(VERSION 3.18)
            project(twice LANGUAGES CXX)
            set(CMAKE_MODULE_PATH mine)
            foreach(kind shared static)
              set(BUILD_SHARED_LIBS ON)
              find_package(seer_engine CONFIG REQUIRED)
              find_package(seer_engine 0.2 CONFIG REQUIRED COMPONENTS ${kind})
              find_package(seer_engine CONFIG REQUIRED COMPONENTS ${kind})
            endforeach()
            if(NOT CMAKE_MODULE_PATH STREQUAL mine)
              message(FATAL_ERROR "CMAKE_MODULE_PATH has changed")
            endif()
            get_target_property(aliased seer::engine ALIASED_TARGET)
            if(NOT aliased STREQUAL "seer::engine_shared" OR NOT TARGET seer::engine_static)
              message(FATAL_ERROR "seer::engine is ${aliased}")
            endif()
            add_subdirectory(below)
            """, files={"below/CMakeLists.txt": """
            find_package(seer_engine CONFIG REQUIRED)
            add_library(below STATIC below.cc)
            target_link_libraries(below PUBLIC seer::engine)
            """, "below/below.cc": "#include <seer/engine.h>\n"})

    def test_components(self):
        lists = """
            cmake_minimum_required(VERSION 3.18)
            project(components LANGUAGES CXX)
            find_package(seer_engine CONFIG REQUIRED %s)
            get_target_property(aliased seer::engine ALIASED_TARGET)
            message(STATUS "engine=${aliased}")
            """
        for components, options, kind in (("", (), "shared"),
                                          ("", ("-DBUILD_SHARED_LIBS=OFF",), "static"),
                                          ("COMPONENTS static", ("-DBUILD_SHARED_LIBS=ON",), "static"),
                                          ("COMPONENTS shared static", (), "shared"),
                                          ("OPTIONAL_COMPONENTS pigeon COMPONENTS static", (), "static")):
            self.assertIn(f"engine=seer::engine_{kind}", self.configured(lists % components, *options).stdout)
        failed = self.configure(lists % "COMPONENTS pigeon")
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("pigeon", failed.stderr)

    def test_versions(self):
        major, minor, _ = (int(n) for n in self.tree.version.split("."))
        tries = [(f"{major}.{minor}", True), (f"{major}", True), (f"{major}.{minor + 1}", False),
                 (f"{major + 1}", False), (self.tree.version + " EXACT", True)]
        if major > 0:
            tries.append((f"{major - 1}", False))
        checks = "".join(f"""
            find_package(seer_engine {version} CONFIG QUIET)
            if({"NOT seer_engine_FOUND" if good else "seer_engine_FOUND"})
              message(FATAL_ERROR "version {version}: found is ${{seer_engine_FOUND}}")
            endif()""" for version, good in tries)
        self.configured(f"""
            cmake_minimum_required(VERSION 3.18)
            project(versions LANGUAGES CXX)
            set(seer_engine_DIR "" CACHE PATH "")
            {checks}""")

    def test_c_only_project(self):
        example = (self.tree.source / "examples/05_c_interface.c").read_text(encoding="utf-8")
        self.configured("""
            cmake_minimum_required(VERSION 3.18)
            project(in_c LANGUAGES C)
            set(CMAKE_C_STANDARD 99)
            find_package(seer_engine CONFIG REQUIRED COMPONENTS shared)
            add_executable(in_c main.c)
            target_link_libraries(in_c PRIVATE seer::engine)
            """, files={"main.c": example})
        self.tree.run([self.tree.cmake, "--build", self.folder / "b"])
        self.assertTrue(self.tree.run([self.folder / "b/in_c", self.tree.model, self.tree.gates, PROMPT]).strip())

    def test_one_kind_only(self):
        shared_only = self.copy_without("libseer_engine.a", "cmake/seer_engine/seer_engine-static*.cmake")
        self.configured(None, "-DBUILD_SHARED_LIBS=OFF", prefix=shared_only)
        lists = "cmake_minimum_required(VERSION 3.18)\nproject(p)\nfind_package(seer_engine CONFIG REQUIRED %s)\n"
        failed = self.configure(lists % "COMPONENTS static", prefix=shared_only)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("static, which is not installed", " ".join(failed.stderr.split()))

    def test_missing_dependency(self):
        """The archive's config file says which package is missing; the shared library asks for none."""
        lists = "cmake_minimum_required(VERSION 3.18)\nproject(p)\nfind_package(seer_engine CONFIG REQUIRED %s)\n"
        nothing = {"PKG_CONFIG_LIBDIR": str(self.folder), "PKG_CONFIG_PATH": ""}
        failed = self.configure(lists % "COMPONENTS static", environment=nothing)
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("were not found: LIBCRYPTO, OPENBLAS, PCRE2, UTF8PROC", " ".join(failed.stderr.split()))
        self.configured(lists % "COMPONENTS shared", environment=nothing)

    def test_add_subdirectory(self):
        """A project that adds Seer by add_subdirectory gets the target, but no tests and no install rules. It is not built."""
        self.configured(f"""
            cmake_minimum_required(VERSION 3.25)
            project(outer LANGUAGES CXX)
            add_subdirectory({self.tree.source} seer)
            if(NOT TARGET seer::engine OR NOT TARGET seer_engine)
              message(FATAL_ERROR "there is no seer::engine")
            endif()
            if(TARGET seer_test_main)
              message(FATAL_ERROR "the tests were configured")
            endif()
            """, "-DSEER_CUDA=OFF", "-DSEER_MPI=OFF")
        self.assertFalse(list((self.folder / "b").rglob("seer_engine-config.cmake")))

    # --- pkg-config.

    def compile_with_pkg_config(self, prefix, *options):
        path = str(prefix / self.tree.libdir / "pkgconfig")
        if os.environ.get("PKG_CONFIG_PATH"):
            path += ":" + os.environ["PKG_CONFIG_PATH"]
        flags = self.tree.run([self.tree.pkg_config, *options, "--cflags", "--libs", "seer_engine"],
                              PKG_CONFIG_PATH=path).split()
        self.assertEqual(self.tree.run([self.tree.pkg_config, "--modversion", "seer_engine"],
                                       PKG_CONFIG_PATH=path).strip(), self.tree.version)
        program = self.folder / "program"
        self.tree.run([self.tree.cc, "-std=c99", self.tree.source / "examples/05_c_interface.c", "-o", program, *flags,
                       *self.tree.sanitizers, f"-Wl,-rpath,{prefix / self.tree.libdir}"])
        self.assertTrue(self.tree.run([program, self.tree.model, self.tree.gates, PROMPT]).strip())
        return program

    def test_pkg_config(self):
        needed = self.needed(self.compile_with_pkg_config(self.tree.prefix))
        self.assertIn("libseer_engine", " ".join(needed))
        for private in ("crypto", "openblas", "pcre2", "utf8proc", "sentencepiece", "cublas"):
            self.assertNotIn(private, " ".join(needed))

    def test_pkg_config_static(self):
        prefix = self.copy_without("libseer_engine.so*")
        needed = self.needed(self.compile_with_pkg_config(prefix, "--static"))
        self.assertNotIn("libseer_engine", " ".join(needed))

    # --- The installed files.

    def test_program(self):
        self.assertEqual(self.tree.run([self.tree.bin / "seer", "--version"]), f"seer {self.tree.version}\n")
        dynamic = self.tree.run([self.tree.readelf, "-d", self.tree.bin / "seer"])
        self.assertNotIn("cublas", dynamic)  # it is opened when a GPU is used first
        if self.tree.shared_program:
            self.assertRegex(dynamic, r"PATH\).*[\[:]\$ORIGIN/")
        else:
            self.assertNotIn("libseer_engine", dynamic)

    def completed_options(self, shell, script, command):
        """Returns the options that a shell's script offers after `seer COMMAND`."""
        if shell == "fish":
            lines = [line for line in script.splitlines() if f"seen_subcommand_from {command}'" in line]
            return {kind + name for line in lines
                    for kind, flag in (("--", "l"), ("-", "s")) for name in re.findall(rf" -{flag} (\S+)", line)}
        part = re.search(rf"\n    {command}\)\n(.*?);;\n(?:    \w|  esac)", script, re.DOTALL)[1]
        return set(re.findall(r"(?<![\w-])--?\w[\w-]*", part))

    def test_completions(self):
        """Each shell's script is what the program prints, and has every option that each command's --help shows."""
        seer = self.tree.bin / "seer"
        overview = self.tree.run([seer, "--help"]).split("Options:")[0]
        helps = {}
        for command in re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE):
            names = re.findall(r"^ {2,6}(-\w)?(?:, )?(--[\w-]+)?", self.tree.run([seer, command, "--help"]), re.MULTILINE)
            helps[command] = {name for pair in names for name in pair if name}
        self.assertGreater(len(helps), 8)
        self.assertGreater(len(helps["generate"]), 40)
        for shell, path in (("bash", "bash-completion/completions/seer"), ("zsh", "zsh/site-functions/_seer"),
                            ("fish", "fish/vendor_completions.d/seer.fish")):
            script = (self.tree.prefix / self.tree.datadir / path).read_text(encoding="utf-8")
            self.assertEqual(script, self.tree.run([seer, "completion", shell]))
            for command, options in helps.items():
                self.assertEqual(options - self.completed_options(shell, script, command), set(), f"{shell}: seer {command}")

    def test_manual_page(self):
        page = (self.tree.prefix / self.tree.mandir / "man1/seer.1").read_text(encoding="utf-8")
        self.assertEqual(page, self.tree.run([self.tree.bin / "seer", "man"]))
        self.assertIn(f"seer {self.tree.version}", page.splitlines()[0])

    def namespaces(self, binary):
        """Returns the outermost namespaces of the C++ code in a binary that is not stripped."""
        found = set()
        for line in self.tree.run([self.tree.nm, "--defined-only", binary]).splitlines():
            match = NAMESPACE.match(line.split()[-1])
            if match:
                found.add(match[2][:int(match[1])])
        return found

    def test_copyright(self):
        """The copyright file names everyone whose code is in the program and the library, and has the text of each licence.
        Binaries are checked in the release build alone: less optimised ones keep functions of headers that nothing calls."""
        docs = self.tree.prefix / self.tree.docdir
        paragraphs = [dict(re.findall(r"^([A-Z][\w-]*):((?:.*\n?)(?: .*\n?)*)", paragraph, re.MULTILINE))
                      for paragraph in (docs / "copyright").read_text(encoding="utf-8").split("\n\n")]
        files = {p["Files"].strip(): p for p in paragraphs if "Files" in p}
        texts = {p["License"].split("\n")[0].strip(): p["License"].split("\n", 1)[1]
                 for p in paragraphs if "Files" not in p and "License" in p}
        used = {name.strip() for p in files.values() for name in p["License"].split(" and ")}
        self.assertEqual(set(texts), used)
        licence = (docs / "LICENSE").read_text(encoding="utf-8")
        self.assertEqual(licence, (self.tree.source / "LICENSE").read_text(encoding="utf-8"))
        self.assertEqual(re.sub(r"^ \.?", "", texts["Expat"], flags=re.MULTILINE).split(), licence.split("\n\n", 2)[2].split())
        holder = re.search(r"\(c\) (.*)", licence)[1]
        for pattern, binary in (("*bin/seer", self.tree.bin / "seer"), ("*libseer_engine.*", self.tree.lib / "libseer_engine.so")):
            self.assertIn(holder, files[pattern]["Copyright"])
            if self.tree.config != "Release":
                continue
            others = {name for name in self.namespaces(binary) if not name.startswith(("seer", "__", "_GLOBAL__"))}
            self.assertIn("nlohmann", others)
            self.assertEqual(others - set(THIRD_PARTIES), set(), f"{binary} has code that tools/package/copyright.in does not name")
            for name in others:
                called, terms = THIRD_PARTIES[name]
                self.assertIn(called, files[pattern]["Copyright"])
                self.assertIn(terms, [used.strip() for used in files[pattern]["License"].split(" and ")])
        self.assertEqual("NVIDIA" in files["*libseer_engine.*"]["Copyright"], self.tree.cuda)

    def test_exports(self):
        """The library exports only public names, and exactly those functions of the C interface that its header declares."""
        listing = self.tree.run([self.tree.nm, "-D", "--defined-only", "-C", self.tree.lib / "libseer_engine.so"])
        names = [line.split(" ", 2)[2] for line in listing.splitlines()]
        self.assertEqual([name for name in names if not PUBLIC.match(name)], [])
        header = (self.tree.include / "seer/seer.h").read_text(encoding="utf-8")
        declared = re.findall(r"^SEER_API [^;(]*?(seer_\w+)\(", header, re.MULTILINE)
        self.assertGreater(len(declared), 15)
        self.assertEqual(sorted(name for name in names if name.startswith("seer_")), sorted(declared))
        for name in ("seer::Engine::load(", "seer::Tokenizer::load(", "seer::SparseRule::parse(",
                     "seer::SamplingParams::validate()", "seer::version()", "typeinfo for seer::Error",
                     "vtable for seer::Engine"):
            self.assertTrue(any(n.startswith(name) for n in names), f"{name} is not exported")
        for name in ("Impl", "Backend", "Decoder", "Sequence"):
            self.assertFalse([n for n in names if re.match(rf"(typeinfo for |vtable for )?seer::\w*{name}", n)])

    def test_soname(self):
        dynamic = self.tree.run([self.tree.readelf, "-d", self.tree.lib / "libseer_engine.so"])
        major = self.tree.version.split(".")[0]
        self.assertIn(f"soname: [libseer_engine.so.{major}]", dynamic)
        self.assertEqual(os.readlink(self.tree.lib / "libseer_engine.so"), f"libseer_engine.so.{major}")
        self.assertEqual(os.readlink(self.tree.lib / f"libseer_engine.so.{major}"),
                         f"libseer_engine.so.{self.tree.version}")

    def test_headers(self):
        """Each header compiles alone without warnings, and those for C also as C."""
        installed = {path.name for path in (self.tree.include / "seer").iterdir()}
        written = {path.name.removesuffix(".in") for path in (self.tree.source / "engine/include/seer").iterdir()}
        self.assertEqual(installed, written)
        strict = ["-I", self.tree.include, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
        for name in sorted(installed):
            for compiler, language, standard in ((self.tree.cxx, "c++", "c++20"), (self.tree.cc, "c", "c99")):
                if language == "c++" or name in C_HEADERS:
                    self.tree.run([compiler, "-x", language, f"-std={standard}", *strict, "-"],
                                  input=f"#include <seer/{name}>\nint main(void) {{ return 0; }}\n")

    def test_no_path_of_the_build(self):
        """No file names the source tree or the build, which holds the first prefix, and no link is absolute. Binaries are
        checked in the release build alone, because in others assertions name source files."""
        # If the source tree is /seer, neither seer/engine.h nor ${prefix}/seer nor /seer_engine is a path in it.
        roots = "|".join(re.escape(str(path)) for path in (self.tree.source, self.tree.build))
        ours = re.compile(rf"(?:{roots})(?![\w\-])".encode())
        begins = re.compile(rb"(?:^|[^\w.\-/}]|-I|-L)$")
        n_files = 0
        for path in self.tree.prefix.rglob("*"):
            if path.is_symlink():
                self.assertFalse(os.path.isabs(os.readlink(path)), path)
            elif path.is_file():
                content = path.read_bytes()
                if self.tree.config != "Release" and content.startswith((b"\x7fELF", b"!<arch>")):
                    continue
                n_files += 1
                found = [content[match.start():match.start() + 100] for match in ours.finditer(content)
                         if begins.search(content, max(0, match.start() - 2), match.start())]
                self.assertEqual(found, [], path)
        self.assertGreater(n_files, 20)


if __name__ == "__main__":
    TREE = installed_tree.Tree(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
