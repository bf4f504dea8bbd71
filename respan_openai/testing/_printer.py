"""Prints JSON so that a person can read it and a change of one thing changes one line.

1. Keys stay in their order. What fits on a line of :data:`WIDTH` columns is on one line; else there is one line for
   each item, set in by one blank. The outermost object, and the lists in it, always have a line for each item.
2. A last item that does not fit, behind at most two short ones, begins on their line: ``[431, {``,
   ``{"role": "user", "content": {"$lines": [``. Numbers fill their lines.
3. Characters stand for themselves, except those that an editor or a terminal would not show as they are.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, cast


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["WIDTH", "printed"]


#: Columns of a line. A longer string is not broken.
WIDTH: Final = 110

_MOST_HEADS: Final = 2
_NUMBERS: Final = {int, float}


def printed(value: Any) -> str:
    """The lines of *value*, which is JSON without ``NaN`` and infinities; ends with a line end."""
    return _text("", value, "", spread=2) + "\n"


def _text(label: str, value: Any, margin: str, *, spread: int = 0, behind: int = 1) -> str:
    """*label* and *value*, to stand at *margin*.

    The *spread* outer levels have a line for each item. *behind* the last line are that many characters.
    """
    flat = None if spread and _items(value) else _flat(label, value, WIDTH - len(margin) - behind)
    if flat is not None:
        return flat
    if not _items(value):
        return label + _scalar(value)
    opening, closing = "{}" if type(value) is dict else "[]"
    if not spread and (heads := _heads(value)) is not None:
        key, last = _items(value)[-1]
        hugged = _text(f"{label}{opening}{heads}{_label(key)}", last, margin, behind=behind + 1)
        return hugged + closing
    lines = _lines(value, f"{margin} ", spread=max(spread - 1, 0))
    return f"{label}{opening}\n{lines}\n{margin}{closing}"


def _items(value: Any) -> list[tuple[str | None, Any]]:
    if type(value) is dict:
        return list(cast("dict[str | None, Any]", value).items())
    return [(None, item) for item in cast("list[Any]", value)] if type(value) is list else []


def _label(key: str | None) -> str:
    return "" if key is None else f"{_quoted(key)}: "


def _heads(value: Any) -> str | None:
    """What is before the last item, if that may begin on its line."""
    *heads, (_, last) = _items(value)
    if len(heads) > _MOST_HEADS or not _items(last) or any(_items(item) for _, item in heads):
        return None
    text = "".join(f"{_label(key)}{_scalar(item)}, " for key, item in heads)
    return text if len(text) < WIDTH // 2 else None


def _lines(value: Any, margin: str, *, spread: int) -> str:
    items = _items(value)
    if all(type(item) in _NUMBERS for _, item in items) and type(value) is list:
        numbers = ", ".join(_scalar(item) for _, item in items)
        filled = wrap(numbers, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
        return "\n".join(filled)
    return ",\n".join(margin + _text(_label(key), item, margin, spread=spread) for key, item in items)


def _flat(label: str, value: Any, room: int) -> str | None:
    """All on one line; ``None`` if that is longer than *room*, which is found out without writing all of it."""
    parts: list[str] = [label]
    room -= len(label)
    for part in _parts(value):
        parts.append(part)
        room -= len(part)
        if room < 0:
            return None
    return "".join(parts)


def _parts(value: Any) -> Iterator[str]:
    if type(value) not in {dict, list}:
        yield _scalar(value)
        return
    opening, closing = "{}" if type(value) is dict else "[]"
    yield opening
    for at, (key, item) in enumerate(_items(value)):
        yield (", " if at else "") + _label(key)
        yield from _parts(item)
    yield closing


_PLAIN: Final = {int, float, dict, list}
_CONSTANTS: Final[dict[Any, str]] = {True: "true", False: "false", None: "null"}


def _scalar(value: Any) -> str:
    """*value*, which has no items."""
    kind = type(value)
    if kind is str:
        return _quoted(value)
    return repr(value) if kind in _PLAIN else _CONSTANTS[value]


#: Controls, line ends that JSON allows but editors take for such, what turns the direction of writing round (a
#: reviewer would read another text: CVE-2021-42574), the byte order mark, and halves of surrogate pairs.
_HIDDEN: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _quoted(text: str) -> str:
    quoted = encode_basestring(text)
    return quoted if quoted.isascii() and "\x7f" not in quoted else _HIDDEN.sub(_escape, quoted)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
