"""Whether an output is the one that a page shows. It must be, letter by letter, but for what depends on the machine:

- a time or a rate (8.04 ms, 1.2 s, 1368.2 tokens/s), and the columns of a table that are measured;
- the number of threads, the instruction set and the matrix library in brackets after `cpu`.

Everything else is equal on all CPUs: texts, ids, densities, perplexities, drawings. So are the colours that a terminal gets,
which pages do not show."""
import difflib
import re

MEASURED_COLUMNS = {"t/s", "attn ms", "gate ms", "speed-up", "seconds", "prefill s", "threads"}

FIGURE = re.compile(r"\b\d+(\.\d+)? (tokens/s|min|ms|us|s)\b")
CPU = re.compile(r"\bcpu \([^)]*\)")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def general(lines):
    """The lines without what depends on the machine."""
    out, columns = [], None
    for line in lines:
        line = COLOUR.sub("", line).rstrip()
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if columns is None:
                columns = cells
            elif len(cells) == len(columns):
                cells = ["#" if name in MEASURED_COLUMNS else cell for name, cell in zip(columns, cells)]
            # Columns are as wide as their longest figure.
            out.append("| " + " | ".join(re.sub(r"^-+(:?)$", r"-\1", cell) for cell in cells) + " |")
            continue
        columns = None
        without = FIGURE.sub(lambda figure: "# tokens/s" if figure[2] == "tokens/s" else "# s", line)
        if without != line:
            without = re.sub(r" {2,}", " ", without)  # so may be those that follow a figure
        out.append(CPU.sub("cpu (#)", without))
    while out and not out[-1]:
        out.pop()
    return out


def difference(shown, came):
    """Empty if they are the same."""
    expected, found = general(shown), general(came)
    return "\n".join(difflib.unified_diff(expected, found, "the page", "what came", lineterm=""))
