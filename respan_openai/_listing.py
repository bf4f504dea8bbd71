"""The call log as a table in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .exceptions import ConfigError
from .local.figures import COLUMNS, Column
from .stores.protocol import FIELDS


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO


__all__ = ["printed", "where_from"]


_ALL: Final = (*COLUMNS, Column("Call", lambda row: row["id"]))
_HEADS: Final = tuple(column.label for column in _ALL)

#: Columns of text where no terminal says how many it has.
_WIDTH: Final = 220


def where_from(conditions: Iterable[str]) -> dict[str, object]:
    """What ``Store.entries`` is asked for, from ``name=value`` texts.

    Raises:
        ConfigError: if one is not of that form, or names something else than ``FIELDS``.
    """
    wanted: dict[str, object] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals or name not in FIELDS:
            raise ConfigError(f"--where takes NAME=VALUE, where NAME is one of {', '.join(FIELDS)}.")
        wanted[name] = _status(value) if name == "status" else value
    return wanted


def _status(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError("--where status=... takes a number, such as status=429.") from None


def printed(rows: Sequence[Mapping[str, Any]], to: TextIO) -> None:
    """Write *rows* to *to*: with rich, if it is installed, else as plain text."""
    lines = [tuple(_plain(column.text(row)) for column in _ALL) for row in rows]
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        to.writelines(f"{line}\n" for line in _aligned([_HEADS, *lines]))
        return
    table = Table()
    for column in _ALL:
        table.add_column(column.label, justify="right" if column.is_number else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))  # as text: rich would read markup out of names
    Console(file=to, width=None if to.isatty() else _WIDTH).print(table)


def _plain(text: str) -> str:
    # Callers choose identifiers, and control characters in them would act on the terminal.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
