"""Tables and paragraphs on a narrow terminal."""

import io
import re
from collections import Counter

import pytest

from tasks.text import JOINED, Page

HEAD = ("name", "what", "size", "note")
ROWS = [
    ("mnist", "handwritten digits of many people", "60,000", ""),
    ("emnist-balanced", "digits and letters", f"112,800{JOINED}or{JOINED}so", ""),
]


def written(width, write, monkeypatch):
    """What comes out on a terminal of this width, without its colours."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    file = io.StringIO()
    write(Page(file))
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [120, 60, 50, 43, 30])
def test_a_table_fits_and_breaks_no_word(width, monkeypatch):
    lines = written(width, lambda page: page.table(HEAD, ROWS, numeric=("size",)), monkeypatch)
    assert max(map(len, lines)) <= width
    words = Counter(" ".join(lines).replace(",", " ").replace(";", " ").split())
    wanted = " ".join(" ".join(row) for row in ROWS).replace(JOINED, " ").replace(",", " ")
    assert Counter(wanted.split()) <= words
    assert any("112,800 or so" in line for line in lines)


def test_numbers_end_in_one_column_and_empty_columns_are_left_out(monkeypatch):
    lines = written(120, lambda page: page.table(HEAD, ROWS, numeric=("size",)), monkeypatch)
    assert len({line.rstrip() and len(line) for line in lines}) == 1
    assert "note" not in lines[0]


def test_a_paragraph_hangs_beside_its_label_and_keeps_an_address_whole(monkeypatch):
    address = "/a-directory-with-a-long-name/" + "x" * 40
    lines = written(
        40, lambda page: page.say(f"It is to be found at {address}", label="Report  "), monkeypatch
    )
    assert lines[0].startswith("Report  It is")
    assert all(line.startswith(" " * 8) for line in lines[1:])
    assert lines[-1].strip() == address


def test_where_there_is_no_terminal_lines_are_not_broken():
    file = io.StringIO()
    Page(file).table(HEAD, [("a", "word " * 100, "1", "")])
    assert len(file.getvalue().splitlines()) == 2
