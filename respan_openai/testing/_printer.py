"""Prints JSON so that a person can read it, and a change of one thing changes one line.

1. Keys stay in their order. What fits on a line of :data:`WIDTH` columns is on one line; else there is one
   line for each item, set in by one blank. The outermost object, the lists in it, and the lines of a text
   (``$lines``) always have a line for each item.
2. A last item that does not fit, behind at most two short ones, begins on their line: ``[431, {``,
   ``{"role": "user", "content": {"$lines": [``. In a list it has a line of its own if it fits there.
3. A row, such as an event of a stream, may be :data:`ROW_WIDTH` wide, so that there is one on each line.
   Numbers fill their lines.
4. Characters stand for themselves, except those that an editor or a terminal would not show as they are.
"""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import is_list, is_object


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["ROW_WIDTH", "WIDTH", "printed"]


#: Columns of a line. A longer string is not broken.
WIDTH: Final = 110

#: Columns of a row: a list of two or three items, of which the first is a number or null, and the last an
#: object.
ROW_WIDTH: Final = 240

_MOST_HEADS: Final = 2
_MOST_HUGS: Final = 2
_NUMBERS: Final = {int, float}
_LINES: Final = '"$lines": '


def printed(value: Any) -> str:
    """The lines of *value*, which is JSON without ``NaN`` and infinities; ends with a line end."""
    return _text("", value, "", spread=2) + "\n"


def _text(label: str, value: Any, margin: str, *, spread: int = 0, behind: int = 1, hugs: int = 0) -> str:
    """*label* and *value*, to stand at *margin*.

    The *spread* outer levels have a line for each item. *behind* the last line are that many characters.
    *hugs* objects and lists begin on this line before it.
    """
    width = ROW_WIDTH if _is_row(value) else WIDTH
    is_spread = (spread and _items(value)) or label.endswith(_LINES)
    flat = None if is_spread else _flat(label, value, width - len(margin) - behind)
    if flat is not None:
        return flat
    if not _items(value):
        return label + _scalar(value)
    opening, closing = "{}" if is_object(value) else "[]"
    heads = _heads(value, margin) if not spread and hugs < _MOST_HUGS else None
    if heads is not None:
        key, last = _items(value)[-1]
        head = f"{label}{opening}{heads}{_label(key)}"
        return _text(head, last, margin, behind=behind + 1, hugs=hugs + 1) + closing
    lines = _lines(value, f"{margin} ", spread=max(spread - 1, 0))
    return f"{label}{opening}\n{lines}\n{margin}{closing}"


def _is_row(value: Any) -> bool:
    return (
        is_list(value)
        and len(value) in {2, 3}
        and (value[0] is None or type(value[0]) in {int, list})
        and is_object(value[-1])
    )


def _items(value: Any) -> list[tuple[str | None, Any]]:
    if is_object(value):
        return list(value.items())
    return [(None, item) for item in value] if is_list(value) else []


def _label(key: str | None) -> str:
    return "" if key is None else f"{_quoted(key)}: "


def _heads(value: Any, margin: str) -> str | None:
    """What is before the last item, if that has to begin on its line; else ``None``."""
    *heads, (_, last) = _items(value)
    if len(heads) > _MOST_HEADS or not _items(last) or any(_items(item) for _, item in heads):
        return None
    if is_list(value) and _flat("", last, WIDTH - len(margin) - 2) is not None:
        return None
    text = "".join(f"{_label(key)}{_scalar(item)}, " for key, item in heads)
    return text if len(text) < WIDTH // 2 else None


def _lines(value: Any, margin: str, *, spread: int) -> str:
    items = _items(value)
    if all(type(item) in _NUMBERS for _, item in items) and is_list(value):
        numbers = ", ".join(_scalar(item) for _, item in items)
        filled = wrap(numbers, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
        return "\n".join(filled)
    return ",\n".join(margin + _text(_label(key), item, margin, spread=spread) for key, item in items)


def _flat(label: str, value: Any, room: int) -> str | None:
    """All on one line; ``None`` if that is longer than *room*, found out without writing all of it."""
    parts: list[str] = [label]
    room -= len(label)
    for part in _parts(value):
        parts.append(part)
        room -= len(part)
        if room < 0 or part == _LINES:
            return None
    return "".join(parts)


def _parts(value: Any) -> Iterator[str]:
    if type(value) not in {dict, list}:
        yield _scalar(value)
        return
    opening, closing = "{}" if is_object(value) else "[]"
    yield opening
    for at, (key, item) in enumerate(_items(value)):
        yield (", " if at else "") + _label(key)
        yield from _parts(item)
    yield closing


_PLAIN: Final[set[Any]] = {int, float, dict, list}
_CONSTANTS: Final[dict[Any, str]] = {True: "true", False: "false", None: "null"}


def _scalar(value: object) -> str:
    """*value*, which has no items."""
    if isinstance(value, str):
        return _quoted(value)
    return repr(value) if type(value) in _PLAIN else _CONSTANTS[value]


#: Controls, line ends that JSON allows but editors take for such, what turns the direction of writing round
#: (a reviewer would read another text: CVE-2021-42574), the byte order mark, and halves of surrogate pairs.
_HIDDEN: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _quoted(text: str) -> str:
    quoted = encode_basestring(text)
    return quoted if quoted.isascii() and "\x7f" not in quoted else _HIDDEN.sub(_escape, quoted)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
