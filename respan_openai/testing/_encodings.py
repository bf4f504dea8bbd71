"""Forms in which text hides: escaped, quoted, broken into lines, in base64; and where each byte of the plain form stands.

A form is undone wherever it could be one, whether or not anybody would read the text that way: what hides can only be
found, and what does not is not touched.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


__all__ = [
    "DEEPEST", "LAYERS", "Edit", "Layer", "Piece", "Run", "applied", "blanked", "forms", "mapped", "plain_text", "runs",
]  # fmt: skip


#: Forms inside of forms that are undone: base64 of JSON with escapes is two.
DEEPEST: Final = 4


# -- edits


class Edit(NamedTuple):
    """Bytes *start* to *end* are to be *new*."""

    start: int
    end: int
    new: bytes


def applied(data: bytes, edits: Iterable[Edit]) -> bytes:
    """*data* after *edits*, which are sorted and do not overlap."""
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts += data[at : edit.start], edit.new
        at = edit.end
    return b"".join([*parts, data[at:]])


def blanked(data: bytes, edits: Iterable[Edit]) -> bytes:
    """*data* with zeros where *edits* are to be made, so that nothing more is found there, nor across."""
    return applied(data, (edit._replace(new=bytes(edit.end - edit.start)) for edit in sorted(edits)))


class Piece(NamedTuple):
    """*size* bytes of a plain text, from *at* on, are bytes *start* to *end* of its source.

    If there are as many, they are the same bytes; else they are one escape.
    """

    at: int
    size: int
    start: int
    end: int


def mapped(edits: Iterable[Edit], pieces: Sequence[Piece]) -> Iterator[Edit]:
    """What *edits* of a plain text are in its source. What comes from several places is replaced in the first."""
    for edit in edits:
        (start, end), *others = _sources(edit, pieces)
        yield Edit(start, end, edit.new)
        yield from (Edit(start, end, b"") for start, end in others)


def _sources(edit: Edit, pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for at in range(_piece_at(edit.start, pieces), len(pieces)):
        piece = pieces[at]
        if piece.at >= edit.end:
            break
        start, end = _source(edit, piece)
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


def _piece_at(start: int, pieces: Sequence[Piece]) -> int:
    return bisect_right(pieces, start, key=lambda piece: piece.at) - 1


def _source(edit: Edit, piece: Piece) -> tuple[int, int]:
    if piece.size != piece.end - piece.start:
        return piece.start, piece.end
    return piece.start + max(edit.start - piece.at, 0), piece.end - max(piece.at + piece.size - edit.end, 0)


# -- escapes


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


# -- base64

_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_STANDARD: Final = bytes.maketrans(b"+/", b"-_")


class Run(NamedTuple):
    """Bytes that may be base64, with either alphabet.

    Attributes:
        start: Where they begin.
        text: They, without padding.
        padding: The equals signs behind them.
    """

    start: int
    text: bytes
    padding: bytes

    @property
    def end(self) -> int:
        """Where they end."""
        return self.start + len(self.text) + len(self.padding)

    def undone(self) -> Iterator[tuple[int, bytes]]:
        """What the text means, if it begins at each of its first four characters: nobody knows where it does."""
        same = self.text.translate(_URL_SAFE)
        for offset in range(4):
            whole = same[offset : self._whole(offset)]
            yield offset, b64decode(whole + b"=" * (-len(whole) % 4))

    def _whole(self, offset: int) -> int:
        """Where what is base64 ends: a single character behind a group of four means nothing."""
        size = len(self.text)
        return size - ((size - offset) % 4 == 1)

    def edited(self, offset: int, plain: bytes, edits: Sequence[Edit]) -> Edit:
        """The edit after which the text means what *plain* is after *edits*; *plain* is its meaning from *offset* on."""
        groups = edits[0].start // 3
        new = b64encode(applied(plain, edits)[groups * 3 :])
        rest = self.text[self._whole(offset) :]
        return Edit(self.start + offset + groups * 4, self.end, self._spelt(new) + rest)

    def _spelt(self, new: bytes) -> bytes:
        is_url_safe = b"-" in self.text or b"_" in self.text
        is_padded = bool(self.padding) or (len(self.text) % 4 == 0 and not is_url_safe)
        new = new.translate(_STANDARD) if is_url_safe else new
        return new if is_padded else new.rstrip(b"=")


_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_IS_BASE64: Final = bytes(byte in _ALPHABET for byte in range(256))


def runs(data: bytes, shortest: int) -> Iterator[Run]:
    """What in *data* may be base64 of at least *shortest* bytes. Digits alone are numbers."""
    # Much quicker than a regular expression, which begins anew at each character of each word.
    is_base64 = data.translate(_IS_BASE64) + b"\0"
    wanted = b"\1" * -(-shortest * 4 // 3)
    start = is_base64.find(wanted)
    while start >= 0:
        end = is_base64.find(b"\0", start)
        text, padding = data[start:end], data[end : end + 2]
        if not text.isdigit():
            yield Run(start, text, padding[: len(padding) - len(padding.lstrip(b"="))])
        start = is_base64.find(wanted, end)


def forms(data: bytes, shortest: int, depth: int = DEEPEST) -> Iterator[bytes]:
    """*data*, and whatever it may mean, up to *depth* forms deep; in base64 at least *shortest* bytes."""
    yield data
    for text in _undone(data, shortest) if depth else ():
        yield from forms(text, shortest, depth - 1)


def _undone(data: bytes, shortest: int) -> Iterator[bytes]:
    yield from (text for layer in LAYERS if (text := layer.undone(data)) is not None)
    yield from (text for run in runs(data, shortest) for _, text in run.undone())
