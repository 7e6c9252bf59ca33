"""What the pages say one can type: the blocks that are run, and the commands that stand elsewhere."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
COMMAND = re.compile(r"^\s*(\$ )?(export |[A-Z_]+=\S+ )*(lwd|make|mkdir|torchrun|duckdb|python -m)\s")


@dataclass(frozen=True)
class Block:
    """Lines of a page that stand as code. ``line`` is the first one's number; ``info`` is empty where the
    block is made by indentation."""

    line: int
    info: str
    lines: tuple[str, ...]


def blocks(text: str) -> Iterator[Block]:
    """Code of a page in order, fenced or indented by four after an empty line."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
            indent = len(fence["indent"])
            yield Block(
                at + 2, fence["info"].strip() or "text", tuple(s[indent:] for s in lines[at + 1 : end])
            )
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("    ")), len(lines))
            yield Block(at + 1, "", tuple(s[4:] for s in lines[at:end]))
            at = end
        else:
            at += 1


def unrun_commands(text: str) -> list[tuple[int, str]]:
    """Lines that look like a command of ours but stand in a block that is not run."""
    return [
        (block.line + i, line)
        for block in blocks(text)
        if block.info != "bash"
        for i, line in enumerate(block.lines)
        if COMMAND.match(line)
    ]
