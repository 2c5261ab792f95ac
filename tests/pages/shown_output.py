"""Compares an output with the one that a page shows. They must be equal letter by letter, except for what depends on the machine:

- a time or a rate (8.04 ms, 1.2 s, 1368.2 tokens/s), and the columns of a table that are measured;
- the number of threads, the instruction set and the matrix library in brackets after `cpu`.

Everything else is equal on all CPUs: texts, ids, densities, perplexities, drawings. Colours are removed first, because pages do
not show them."""
import difflib
import re

MEASURED_COLUMNS = {"t/s", "attn ms", "gate ms", "speed-up", "seconds", "prefill s", "threads"}

FIGURE = re.compile(r"\b\d+(\.\d+)? (tokens/s|min|ms|us|s)\b")
CPU = re.compile(r"\bcpu \([^)]*\)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def general(lines):
    """Returns the lines with everything that depends on the machine replaced."""
    out, columns = [], None
    for line in lines:
        line = COLOUR.sub("", line).rstrip()
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if columns is None:
                columns = cells
            elif len(cells) == len(columns):
                cells = ["#" if name in MEASURED_COLUMNS else cell for name, cell in zip(columns, cells)]
            # A column is as wide as its longest figure, so its width may differ too.
            out.append("| " + " | ".join(re.sub(r"^-+(:?)$", r"-\1", cell) for cell in cells) + " |")
            continue
        columns = None
        without = FIGURE.sub(lambda figure: "# tokens/s" if figure[2] == "tokens/s" else "# s", line)
        if without != line:
            without = re.sub(r" {2,}", " ", without)  # the spaces that align a column of figures may differ too
        out.append(CPU.sub("cpu (#)", without))
    while out and not out[-1]:
        out.pop()
    return out


def difference(shown, came):
    """Returns the difference as text, which is empty if there is none."""
    expected, found = general(shown), general(came)
    return "\n".join(difflib.unified_diff(expected, found, "the page", "what came", lineterm=""))
