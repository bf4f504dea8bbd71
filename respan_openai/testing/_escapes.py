"""Forms in which text hides behind escapes, and back.

A form is undone wherever it could be one, whether or not anybody would read the text that way: what hides can
only be found by that, and what does not is not touched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ._splices import Piece


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = ["DEEPEST", "LAYERS", "Layer", "json_pieces", "plain_text"]


#: Forms inside of forms that are undone: base64 of JSON with escapes is two.
DEEPEST: Final = 4


class Layer(NamedTuple):
    """A form that replaces some bytes, each by more than it stands for.

    Attributes:
        hint: In every text that has it.
        escape: What stands for others.
        plain: What it stands for.
        unsafe: What would stand for something else, and how it is written therefore.
    """

    hint: bytes
    escape: re.Pattern[bytes]
    plain: Callable[[re.Match[bytes]], bytes]
    unsafe: tuple[bytes, bytes] | None = None

    def undone(self, data: bytes) -> bytes | None:
        """*data* in plain; ``None`` if it is that already."""
        text = self.escape.sub(self.plain, data) if self.hint in data else data
        return None if len(text) == len(data) else text

    def pieces(self, data: bytes, at: int = 0, start: int = 0) -> Iterator[Piece]:
        """Where each byte of *data* in plain comes from; *at* and *start* are where the two begin."""
        done = 0
        for found in self.escape.finditer(data):
            same, size = found.start() - done, len(self.plain(found))
            if same:
                yield Piece(at, same, start + done, start + found.start())
            yield Piece(at + same, size, start + found.start(), start + found.end())
            at, done = at + same + size, found.end()
        if done < len(data):
            yield Piece(at, len(data) - done, start + done, start + len(data))

    def written(self, new: bytes) -> bytes:
        """*new*, to stand in such a text."""
        return new.replace(*self.unsafe) if self.unsafe else new


_SHORT: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def _json_plain(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    if escape[1:2] != b"u":
        return _SHORT.get(escape[1:], escape[1:])
    # A character beyond the first 65 536 is two escapes, which are one only as UTF-16.
    units = escape.decode("unicode_escape").encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")


def _url_plain(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[0][1:].decode("ascii"))


def _nothing(_: re.Match[bytes]) -> bytes:
    return b""


_PAIR: Final = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ONE: Final = rb'\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])'

_JSON: Final = Layer(b"\\", re.compile(_PAIR + b"|" + _ONE), _json_plain)
_URL: Final = Layer(b"%", re.compile(rb"%[0-9a-fA-F]{2}"), _url_plain, (b"+", b"%2B"))
#: Base64 in mails and in PEM files; the shortest usual line has 64 characters.
_LINES: Final = Layer(
    b"\n",
    re.compile(rb"(?:\n(?<=[A-Za-z0-9+/]{60}\n)|\r\n(?<=[A-Za-z0-9+/]{60}\r\n))(?=[A-Za-z0-9+/])"),
    _nothing,
)

#: Each hides what the others would find.
LAYERS: Final = (_JSON, _URL, _LINES)


def plain_text(inner: bytes) -> bytes:
    """What a JSON string means, of which *inner* is between the quotation marks."""
    return _JSON.undone(inner) or inner


def json_pieces(inner: bytes, at: int, start: int) -> Iterator[Piece]:
    """Where each byte of :func:`plain_text` comes from, which begins *at*, and at *start* of the source."""
    return _JSON.pieces(inner, at, start)
