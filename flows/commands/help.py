"""Help that is grouped and never cut: Typer's own cuts a line that is longer than the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup

_UNLIMITED = 1000  # characters of a command's line of help; the formatter wraps it
_LONGEST_NAME = 27  # of an option with its value; the text of a longer one begins below it

Row = tuple[str, str]


class GroupedCommand(TyperCommand):
    """A command whose options are listed by their `rich_help_panel`."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        listed = [(param, param.get_help_record(ctx)) for param in self.get_params(ctx)]
        _write(formatter, (_listed(param, row) for param, row in listed if row is not None))


class GroupedCommands(TyperGroup):
    """Commands, listed by their `rich_help_panel`."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each group of commands, every line of help whole."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        _write(
            formatter,
            (
                (_group(command, "Commands"), (name, command.get_short_help_str(_UNLIMITED)))
                for name, command in commands
                if command is not None and not command.hidden
            ),
        )


def _listed(param: Any, row: Row) -> tuple[str, Row]:
    name, text = row
    if param.param_type_name == "argument":
        return _group(param, "Arguments"), (name.partition(" <")[0], text)
    return _group(param, "Options"), row


def _group(listed: Any, default: str) -> str:
    return getattr(listed, "rich_help_panel", None) or default


def _write(formatter: Any, rows: Iterable[tuple[str, Row]]) -> None:
    """One section a group, all in the same two columns; no word is broken, not even at a hyphen."""
    groups: dict[str, list[Row]] = {}
    for group, row in rows:
        groups.setdefault(group, []).append(row)
    lengths = [len(name) for listed in groups.values() for name, _ in listed]
    column = 4 + max((length for length in lengths if length <= _LONGEST_NAME), default=0)
    for group, listed in groups.items():
        with formatter.section(group):
            for name, text in listed:
                formatter.write(_entry(f"  {name}", text, column, formatter.width))


def _entry(name: str, text: str, column: int, width: int) -> str:
    fits = len(name) + 2 <= column
    wrapped = textwrap.fill(
        text,
        width,
        initial_indent=name.ljust(column) if fits else " " * column,
        subsequent_indent=" " * column,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{wrapped}\n" if fits else f"{name}\n{wrapped}\n"
