#!/usr/bin/env python3
"""Runs the commands of the project's pages with the built program and the demo model, and compares their output with the pages.

    pages_test.py [Case.test...]

The environment names what was built: SEER_BINARY, SEER_SHARED_LIBRARY, SEER_PAGE_PROGRAM and SEER_PAGE_SNIPPETS (see
CMakeLists.txt). exceptions.py lists what is not run, and shown_output.py says which figures may differ."""
import functools
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import unittest

import command_check
import exceptions
import page_blocks
import shown_output
import workplace

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEER = pathlib.Path(os.environ["SEER_BINARY"])
SPAN = re.compile(r"`([^`]+)`")
# Code within a line of text that is a command, or the name of a file of the project.
COMMAND_SPAN = re.compile(r"((build/release/bin/)?seer|cmake|(tools|tests|examples)/\S+\.(sh|py)) .*")
FILE_SPAN = re.compile(r"(tools|tests|examples|engine|kernels|models|tokenizer)/[\w./-]+\.(sh|py|cc|h|cu|cuh|md|json|txt)")


def without_comment(text):
    return re.sub(r"\s+# .*$", "", text)


@functools.cache
def blocks():
    return {page: page_blocks.blocks_of(ROOT, page) for page in page_blocks.pages(ROOT)}


def commands():
    return [command for of_page in blocks().values() for block in of_page for command in block.commands()]


def key(command):
    return command.page, without_comment(command.text)


def is_run(command):
    if key(command) in exceptions.NEED_REAL_MODELS:
        return "SEER_REAL_MODELS" in os.environ
    return key(command) not in exceptions.NOT_RUN


def as_run(command):
    """Returns a command with the replacements of exceptions.SHORTER."""
    text = command.text
    for (page, words), instead in exceptions.SHORTER.items():
        if page == command.page:
            text = text.replace(words, instead)
    return text


class Exceptions(unittest.TestCase):
    """The lists of exceptions name blocks and commands that the pages have."""

    def test_every_block_is_of_a_kind_that_is_tested(self):
        snippets = {(block.page, block.language, without_comment(block.lines[0]))
                    for of_page in blocks().values() for block in of_page if block.language not in {"sh", "console", "text"}}
        self.assertEqual(snippets, set(exceptions.SNIPPETS))
        for file in exceptions.SNIPPETS.values():
            self.assertTrue((ROOT / file).is_file(), file)

    def test_no_exception_is_for_a_command_that_no_page_has(self):
        there = {key(command) for command in commands()}
        self.assertEqual(exceptions.NEED_REAL_MODELS - there, set())
        self.assertEqual(set(exceptions.NOT_RUN) - there, set())
        for page, words in exceptions.SHORTER:
            self.assertTrue(any(command.page == page and words in command.text for command in commands()), (page, words))

    def test_tests_that_are_named_instead_exist(self):
        for reason, test in exceptions.NOT_RUN.values():
            self.assertTrue(reason)
            self.assertTrue(test is None or (ROOT / test).is_file(), test)

    def test_every_page_of_instructions_has_commands(self):
        pages = {command.page for command in commands()}
        for page in ["README.md", ".github/CONTRIBUTING.md", "engine/README.md", "kernels/comm/README.md", "tests/bench/README.md",
                     "tools/seer/README.md", "tools/seer/serve/README.md"]:
            self.assertIn(page, pages)


class Names(unittest.TestCase):
    """Programs, files and options that pages name exist, whether the commands are run or not."""

    @classmethod
    def setUpClass(cls):
        cls.checker = command_check.Checker(ROOT, SEER)

    def test_commands_in_blocks(self):
        wrong = [f"{command}: {reason}" for command in commands() for reason in self.checker.wrong(without_comment(command.text))]
        self.assertEqual(wrong, [])

    def test_commands_options_and_files_in_texts(self):
        wrong, others = [], set()
        for page in blocks():
            text = (ROOT / page).read_text(encoding="utf-8")
            text = re.sub(r"^```.*?^```", lambda block: "\n" * block[0].count("\n"), text, flags=re.DOTALL | re.MULTILINE)
            for number, line in enumerate(text.splitlines(), 1):
                for span in SPAN.findall(line):
                    reasons = []
                    if COMMAND_SPAN.fullmatch(span):
                        reasons = self.checker.wrong(span, whole=False)
                    elif FILE_SPAN.fullmatch(span) and not (ROOT / span).is_file():
                        reasons = ["there is no such file"]
                    elif span.startswith("--"):
                        option = re.split(r"[ =]", span)[0]
                        if (page, option) in exceptions.OPTIONS_OF_OTHERS:
                            others.add((page, option))
                        elif option not in self.checker.all_options:
                            reasons = ["seer has no such option"]
                    wrong += [f"{page}:{number}: {span}: {reason}" for reason in reasons]
        self.assertEqual(wrong, [])
        self.assertEqual(others, set(exceptions.OPTIONS_OF_OTHERS))


class Commands(unittest.TestCase):
    """Commands give what their pages show; those whose output no page shows end with 0."""

    def setUp(self):
        self.place = workplace.Workplace(ROOT, SEER, pathlib.Path(os.environ["SEER_SHARED_LIBRARY"]))
        self.addCleanup(self.place.close)
        # The commands of every page run with the variables that the quick start exports.
        for block in blocks()["README.md"]:
            if block.lines[0].startswith("export PATH="):
                for command in block.commands():
                    self.place.export(command.text)

    def run_page(self, page):
        failed = []
        for block in blocks()[page]:
            self.run_block(block, failed)
        if failed:
            self.fail("\n\n".join(["", *failed]))

    def run_block(self, block, failed):
        for command in block.commands():
            if not is_run(command):
                continue
            try:
                came = workplace.perform(self.place, command, as_run(command))
                difference = came is not None and shown_output.difference(command.shown, came)
                if difference:
                    failed.append(f"{command}\n{difference}")
            except workplace.Failed as error:
                failed.append(f"{command}\n{error}")
        if block.language == "python" and importlib.util.find_spec("openai") and self.place.server:
            self.run_client(block, failed)
        if block.language != "console" and self.place.server:
            self.place.stop_server()

    def run_client(self, block, failed):
        done = subprocess.run([sys.executable, "-c", self.place.here(block.text)], env=self.place.environment, capture_output=True,
                              text=True, timeout=workplace.DEADLINE)
        if done.returncode != 0 or len(done.stdout) < 10:
            failed.append(f"{block.page}:{block.line}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


# Adds a test for each page that has commands to run, so that ctest's message names the page.
def add_page(page):
    name = "test_" + re.sub(r"\W+", "_", page.removesuffix(".md")).strip("_").lower()
    setattr(Commands, name, lambda self: self.run_page(page))


for with_commands in sorted({command.page for command in commands() if is_run(command)}):
    add_page(with_commands)


class Snippets(unittest.TestCase):
    def written_by(self, program, *arguments):
        """Returns what a program of C++ blocks of engine/README.md writes to stdout and stderr."""
        done = subprocess.run([os.environ[program], *arguments], cwd=ROOT, env={**os.environ, "SEER_DEVICE": "cpu"},
                              capture_output=True, text=True, timeout=workplace.DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, done.stderr

    def test_the_program_writes_text(self):
        text, closing = self.written_by("SEER_PAGE_PROGRAM")
        self.assertTrue(text)
        self.assertRegex(closing, r"^\n\d+ tokens, density 1\n$")

    def test_the_snippet_that_changes_logits_gives_only_digits(self):
        self.assertRegex(self.written_by("SEER_PAGE_SNIPPETS", "on_logits")[0], r"^\d+\n$")

    def test_the_snippet_of_many_requests_gives_texts(self):
        texts, pages = self.written_by("SEER_PAGE_SNIPPETS", "many")[0].rstrip("\n").rsplit("\n", 1)
        self.assertGreater(len(texts), 20)
        self.assertRegex(pages, r"^\d+ pages$")

    def test_only_the_page_whose_cpp_is_compiled_has_cpp(self):
        found = [block for of_page in blocks().values() for block in of_page if block.language == "cpp"]
        self.assertEqual([block.page for block in found], 3 * ["engine/README.md"])

    def test_cmake_in_pages_is_that_of_the_embedding_project(self):
        project = (ROOT / "examples/embed/CMakeLists.txt").read_text(encoding="utf-8").replace("embed", "my_program")
        for block in blocks()["engine/README.md"]:
            if block.language == "cmake":
                for line in block.lines:
                    self.assertIn(without_comment(line), project)

    def test_python_in_pages_compiles(self):
        for of_page in blocks().values():
            for block in of_page:
                if block.language == "python":
                    compile(block.text, block.page, "exec")


class ShownOutput(unittest.TestCase):
    """The comparison ignores what depends on the machine, and nothing else."""

    def assert_same(self, shown, came):
        self.assertEqual(shown_output.difference(shown, came), "")

    def assert_different(self, shown, came):
        self.assertNotEqual(shown_output.difference(shown, came), "")

    def test_times_rates_and_the_cpu_may_differ(self):
        self.assert_same(["seer: prompt 11 tokens in 8.04 ms (1368.2 tokens/s), on cpu (2 threads, AVX-512, OpenBLAS Cooperlake)"],
                         ["seer: prompt 11 tokens in 1.2 s (9.0 tokens/s), on cpu (1 thread, AVX2, OpenBLAS Haswell)", ""])
        self.assert_same(["dense            58213    4.20 s     100.0%"], ["dense            58213    851 ms     100.0%"])

    def test_numbers_of_tokens_densities_and_texts_may_not_differ(self):
        line = "seer: prompt 11 tokens in 8.04 ms, density 10.1%"
        self.assert_different([line], [line.replace("11", "12")])
        self.assert_different([line], [line.replace("10.1%", "10.2%")])
        self.assert_different([line, "a word"], [line, "a  word"])
        self.assert_different([line], [line, "one more"])

    def test_only_measured_columns_of_a_table_may_differ(self):
        table = ["| sparse |         t/s | density |", "| ------ | ----------: | ------: |", "| dense  | 3198 ± 5.1 |  100.0% |"]
        self.assert_same(table, ["| sparse |     t/s | density |", "| ------ | ------: | ------: |", "| dense  | 9 ± 0.0 |  100.0% |"])
        self.assert_different(table, [*table[:2], table[2].replace("100.0", "100.1")])
        self.assert_different(table, [*table[:2], table[2].replace("dense", "other")])
        self.assert_different(table, [*table, table[2]])


class PageBlocks(unittest.TestCase):
    def block(self, language, *lines):
        return page_blocks.Block("a.md", 10, language, list(lines))

    def test_lines_of_a_console_after_a_command_are_its_output(self):
        first, second = self.block("console", "$ a b", "x", "", "$ c \\", "  d", "y").commands()
        self.assertEqual((first.text, first.shown, first.line), ("a b", ["x", ""], 11))
        self.assertEqual((second.text, second.shown, second.line), ("c \\\n  d", ["y"], 14))

    def test_a_console_that_begins_with_output_is_refused(self):
        with self.assertRaisesRegex(ValueError, "a.md:11: expected a command"):
            self.block("console", "x").commands()

    def test_here_documents_and_comments_are_no_commands(self):
        found = self.block("sh", "# what", "cat > f <<END", "seer", "END", "", "seer man").commands()
        self.assertEqual([command.text for command in found], ["cat > f <<END\nseer\nEND", "seer man"])


if __name__ == "__main__":
    unittest.main()
