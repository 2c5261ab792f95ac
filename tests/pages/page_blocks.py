"""Finds the code blocks of the project's pages, and the commands in them.

    page_blocks.py PAGE LANGUAGE FOLDER     writes the page's blocks of that language to FOLDER/1.LANGUAGE, 2.LANGUAGE, ..."""
import dataclasses
import pathlib
import re
import sys

FENCE = re.compile(r"\s*```(.*)")
NOT_OURS = {".git", "build"}


@dataclasses.dataclass
class Command:
    page: str
    line: int
    text: str  # all lines of the command, as the page has them
    shown: list[str] | None  # the output that the page shows; None if the page shows none

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"


@dataclasses.dataclass
class Block:
    page: str
    line: int
    language: str
    lines: list[str]

    @property
    def text(self):
        return "".join(line + "\n" for line in self.lines)

    def commands(self):
        if self.language == "sh":
            return list(self._plain_commands())
        if self.language == "console":
            return list(self._console_commands())
        return []

    def _command_at(self, i, first):
        """Returns the command that begins at line i, where `first` is its first line without a prompt, and the index of the line after
        it."""
        lines = [first]
        i += 1
        while lines[-1].endswith("\\"):
            lines.append(self.lines[i])
            i += 1
        document = re.search(r"<<-?\s*['\"]?(\w+)", lines[0])
        while document and lines[-1] != document[1]:
            lines.append(self.lines[i])
            i += 1
        return "\n".join(lines), i

    def _plain_commands(self):
        i = 0
        while i < len(self.lines):
            line = i
            if not self.lines[i].strip() or self.lines[i].startswith("#"):
                i += 1
                continue
            text, i = self._command_at(i, self.lines[i])
            yield Command(self.page, self.line + 1 + line, text, None)

    def _console_commands(self):
        """Yields the commands: a line that begins with `$ ` is a command, and the lines up to the next one are its output."""
        i = 0
        while i < len(self.lines):
            line = i
            if not self.lines[i].startswith("$ "):
                raise ValueError(f"{self.page}:{self.line + 1 + i}: expected a command after `$ `, found {self.lines[i]!r}")
            text, i = self._command_at(i, self.lines[i][2:])
            shown = []
            while i < len(self.lines) and not self.lines[i].startswith("$ "):
                shown.append(self.lines[i])
                i += 1
            yield Command(self.page, self.line + 1 + line, text, shown)


def blocks_of(root, page):
    block, found = None, []
    for number, line in enumerate((root / page).read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence and block is None:
            block = Block(page, number, fence[1].strip(), [])
        elif fence:
            found.append(block)
            block = None
        elif block is not None:
            block.lines.append(line)
    if block is not None:
        raise ValueError(f"{page}:{block.line}: a code block does not end")
    return found


def pages(root):
    return sorted(str(page.relative_to(root)) for page in root.rglob("*.md")
                  if not NOT_OURS & set(page.relative_to(root).parts))


def main():
    page, language, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    texts = [block for block in blocks_of(page.parent, page.name) if block.language == language]
    for number, block in enumerate(texts, 1):
        # With this line, a compiler's messages name the page.
        text = f'#line {block.line + 1} "{page}"\n{block.text}'
        (folder / f"{number}.{language}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
