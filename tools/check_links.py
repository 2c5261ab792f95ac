#!/usr/bin/env python3
"""Checks the links of the project's pages to files and chapters of the project.

    tools/check_links.py [ROOT]     prints FILE:LINE: reason, and exits with 1, for each link that leads nowhere

Links with a scheme (https:) are not followed. Chapters are named as GitHub names them."""
import functools
import pathlib
import re
import sys

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"#+\s+(.*)")
NOT_OURS = {".git", "build"}


def lines_outside_code(path):
    """Yields the number and the text of each line outside of code blocks, and (0, "") at the end if a code block does not end."""
    fence = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = not fence
        elif not fence:
            yield number, line
    if fence:
        yield 0, ""


@functools.cache
def chapters(path):
    found = set()
    for _, line in lines_outside_code(path):
        heading = HEADING.match(line)
        if not heading:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
        name = first = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        n = 0
        while name in found:
            n += 1
            name = f"{first}-{n}"
        found.add(name)
    return found


def reason(root, page, target):
    """Returns why a link leads nowhere, or None if it leads somewhere."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, chapter = target.partition("#")
    to = (page.parent / path).resolve() if path else page
    if not to.is_relative_to(root):
        return "leads out of the project"
    if not to.exists():
        return "no such file"
    if chapter and to.suffix == ".md" and chapter not in chapters(to):
        return "no such chapter"
    return None


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    failed = False
    for page in sorted(root.rglob("*.md")):
        if NOT_OURS & set(page.relative_to(root).parts):
            continue
        for number, line in lines_outside_code(page):
            if number == 0:
                failed = True
                print(f"{page.relative_to(root)}: a code block does not end")
                continue
            for link in LINK.finditer(line):
                why = reason(root, page, link[1])
                if why:
                    failed = True
                    print(f"{page.relative_to(root)}:{number}: {link[1]}: {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
