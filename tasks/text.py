"""Paragraphs and tables as wide as the terminal, in which no word is ever broken."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from typing import TextIO

from rich.console import Console
from rich.text import Text

JOINED = "\xa0"
"""A space at which no line is broken."""

_ANY_WIDTH = 10_000  # where there is no terminal that would break a line
_GAP = "  "
Row = Sequence[str]


class Page:
    """Writes to a file: lines fit where it is a terminal, and are as long as need be elsewhere."""

    def __init__(self, file: TextIO) -> None:
        self._console = Console(file=file, highlight=False, markup=False, emoji=False)
        self._width = self._console.width if self._console.is_terminal else _ANY_WIDTH

    def say(self, text: str = "", *, label: str = "", style: str = "") -> None:
        """Write a paragraph, beside its label; an address in it stays in one piece."""
        lines = _wrapped(f"{label}{text}", self._width, " " * len(label)) or [""]
        for line in lines:
            written = Text(line, style=style)
            if line is lines[0]:
                written.stylize("bold", 0, len(label))
            self._print(written)

    def table(self, head: Row, rows: Iterable[Row], numeric: Collection[str] = ()) -> None:
        """Write a table without its empty columns; where it does not fit, a paragraph a row."""
        every = [[*row] for row in rows]
        kept = [i for i in range(len(head)) if any(row[i] for row in every)]
        head, *listed = [[row[i] for i in kept] for row in (head, *every)]
        widths = _widths([head, *listed], self._width - len(_GAP) * (len(head) - 1))
        if not widths:
            for first, *others in listed:
                self.say(first, style="bold")
                pairs = zip(head[1:], others, strict=True)
                self.say("; ".join(f"{name} {text}" for name, text in pairs if text), label="    ")
            return
        right = [name in numeric for name in head]
        for number, row in enumerate([head, *listed]):
            for line in _lines(row, widths, right):
                self._print(Text(line, "" if number else "bold"))

    def _print(self, line: Text) -> None:
        line.plain = line.plain.replace(JOINED, " ")
        self._console.print(line, soft_wrap=True)


def _lines(row: Row, widths: Sequence[int], right: Sequence[bool]) -> Iterable[str]:
    cells = [_wrapped(text, width) for text, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells, fillvalue=""):
        placed = (
            part.rjust(width) if is_right else part.ljust(width)
            for part, width, is_right in zip(parts, widths, right, strict=True)
        )
        yield _GAP.join(placed).rstrip()


def _widths(rows: Sequence[Row], room: int) -> list[int]:
    """Of the columns, in `room` characters together; empty where a word would be broken."""
    columns = list(zip(*rows, strict=True))
    least = [max(len(word) for cell in column for word in cell.split(" ")) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    while sum(widths) > room:
        spare = [width - low for width, low in zip(widths, least, strict=True)]
        widest = max(range(len(widths)), key=lambda i: (spare[i] > 0, widths[i]))
        if spare[widest] <= 0:
            return []
        widths[widest] -= 1
    return widths


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
