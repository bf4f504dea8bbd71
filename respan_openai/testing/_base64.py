"""What may be base64 in a text, wherever it begins, and what it says."""

from __future__ import annotations

from base64 import b64encode
from binascii import a2b_base64
from typing import TYPE_CHECKING, Final, NamedTuple

from ._splices import Edit, applied


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["Run", "depth_of", "runs"]


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
        """What it means if it begins at each of the first four characters, for nobody knows where it does."""
        same = self.text.translate(_URL_SAFE)
        for offset in range(4):
            whole = same[offset : self._whole(offset)]
            yield offset, a2b_base64(whole + b"=" * (-len(whole) % 4))

    def _whole(self, offset: int) -> int:
        """Where what is base64 ends: a single character behind a group of four means nothing."""
        size = len(self.text)
        return size - ((size - offset) % 4 == 1)

    def edited(self, offset: int, plain: bytes, edits: Sequence[Edit]) -> Edit:
        """The edit for *edits* of *plain*, which is what the text means from *offset* on."""
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


_CONTROLS: Final = bytes(range(9))
_LARGE: Final = 1024


def depth_of(data: bytes, depth: int) -> int:
    """How deep to look into *data*, which was base64: *depth*, or not at all if it is an image or the like.

    So it is too where base64 was read from a wrong character on, which makes noise of text.
    """
    controls = len(data) - len(data.translate(None, _CONTROLS)) if len(data) > _LARGE else 0
    return 0 if controls * 100 > len(data) else depth
