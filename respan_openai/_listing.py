"""The call log as a table in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .exceptions import ConfigError
from .local.figures import NOTHING, cost_text, model_text, seconds_text, time_text, tokens_text
from .stores.protocol import FIELDS


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TextIO


__all__ = ["printed", "where_from"]


_HEADS: Final = ("Time (UTC)", "Status", "Model", "Provider", "Customer", "Tokens", "Cost", "Latency", "First token", "Cache", "Call")  # fmt: skip
_NUMBERS: Final = frozenset({"Tokens", "Cost", "Latency", "First token"})


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
    lines = [tuple(map(_plain, _cells(row))) for row in rows]
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        to.writelines(f"{line}\n" for line in _aligned([_HEADS, *lines]))
        return
    table = Table()
    for head in _HEADS:
        table.add_column(head, justify="right" if head in _NUMBERS else "left", overflow="fold")
    for line in lines:
        table.add_row(*map(Text, line))  # as text: rich would read markup out of names
    Console(file=to, width=None if to.isatty() else _WIDTH).print(table)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        time_text(row["at"]),
        NOTHING if row.get("status") is None else str(row["status"]),
        model_text(row),
        row.get("provider") or NOTHING,
        row.get("customer_identifier") or NOTHING,
        tokens_text(row.get("tokens")),
        cost_text(row.get("cost")),
        seconds_text(row.get("latency")),
        seconds_text(row.get("first_token")),
        row.get("cache") or NOTHING,
        row["id"],
    )


def _plain(text: str) -> str:
    # Callers choose identifiers, and control characters in them would act on the terminal.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
