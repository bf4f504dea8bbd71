"""Two texts, word by word."""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from ._edits import Run, common


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._edits import Work


__all__ = ["Piece", "merged", "pieces", "reworded"]


#: Characters of each text that are looked at word by word, once what is equal at both ends is set aside.
MOST_CHARACTERS: Final = 50_000

#: Words that are shown of what is equal, on each side of a change.
CONTEXT: Final = 3

#: Characters that are shown of one change, removed or added.
LONGEST_CHANGE: Final = 160

# A date, a version, an address or an identifier is one word, the full stop behind it is none.
_WORD: Final = re.compile(r"\s+|\w(?:[\w.:/@+-]*\w)?|[^\w\s]")
_SPACE: Final = re.compile(r"\s")

#: Kana and Han are written without spaces: there each character is a word.
_UNSPACED: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff]")


class Piece(NamedTuple):
    """A part of two texts: the same in both, or *old* in the place of *new*; either may be empty."""

    old: str
    new: str

    @property
    def is_same(self) -> bool:
        """Whether both texts have it."""
        return self.old == self.new


def pieces(old: str, new: str, work: Work) -> list[Piece]:
    """*old* and *new* cut into pieces: all of ``old`` one after another is *old*, all of ``new`` is *new*.

    What is in between is one piece, if it is longer than ``MOST_CHARACTERS``, or if there is no work left.
    """
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    head, tail = _back(old, new, head), _back(old[::-1], new[::-1], tail)
    middle = _middle(old[head : len(old) - tail], new[head : len(new) - tail], work)
    ends = old[:head], old[len(old) - tail :]
    return _joined([Piece(ends[0], ends[0]), *middle, Piece(ends[1], ends[1])])


def _shared(old: str, new: str) -> int:
    """How many characters are equal at the start; by halves, because comparing slices is cheap."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if old[low:half] == new[low:half] else (low, half - 1)
    return low


def _back(old: str, new: str, size: int) -> int:
    """*size*, or as much less as there is of a word that goes on behind it in either text."""
    if size == len(old) == len(new):
        return size
    start = max(size - 200, 0)
    spaces = [found.end() for found in _SPACE.finditer(old, start, size)]
    return spaces[-1] if spaces else start


def _middle(old: str, new: str, work: Work) -> list[Piece]:
    if max(len(old), len(new)) > MOST_CHARACTERS:
        return [Piece(old, new)]
    olds, news = _split(old), _split(new)
    runs = common(olds, news, work)
    return [Piece(old, new)] if runs is None else list(_cut(olds, news, runs))


def _split(text: str) -> list[str]:
    words = _WORD.findall(text)
    if not _UNSPACED.search(text):
        return words
    return [part for word in words for part in (word if _UNSPACED.search(word) else (word,))]


def _cut(old: list[str], new: list[str], runs: list[Run]) -> Iterator[Piece]:
    for before, run in pairwise([Run(0, 0, 0), *runs]):
        gone = old[before.old_at + before.size : run.old_at]
        come = new[before.new_at + before.size : run.new_at]
        yield Piece("".join(gone), "".join(come))
        same = "".join(old[run.old_at : run.old_at + run.size])
        yield Piece(same, same)


def _joined(cut: Iterable[Piece]) -> list[Piece]:
    groups = groupby((piece for piece in cut if piece != ("", "")), key=lambda piece: piece.is_same)
    return [_one(list(group)) for _, group in groups]


def _one(group: list[Piece]) -> Piece:
    return Piece("".join(piece.old for piece in group), "".join(piece.new for piece in group))


# -- for people


def reworded(old: str, new: str, work: Work) -> str:
    """*new* as *old* with changes: ``…196 words… bot. Today is [-2026-11-20-]{+2026-11-21+}.``"""
    cut = merged(pieces(old, new, work))
    return "".join(_shown(piece, at == 0, at == len(cut) - 1) for at, piece in enumerate(cut))


def merged(cut: list[Piece]) -> list[Piece]:
    """*cut* with changes that only white space lies between as one."""
    between = [
        Piece(piece.old, piece.new)
        if not piece.is_same or piece.old.strip() or not 0 < at < len(cut) - 1
        else None
        for at, piece in enumerate(cut)
    ]
    keep = [piece is not None and piece.is_same for piece in between]
    groups = groupby(zip(keep, cut, strict=True), key=lambda pair: pair[0])
    return [_one([piece for _, piece in group]) for _, group in groups]


def _shown(piece: Piece, is_first: bool, is_last: bool) -> str:
    if piece.is_same:
        return _context(piece.old, is_first, is_last)
    gone = f"[-{_clipped(piece.old)}-]" if piece.old else ""
    come = f"{{+{_clipped(piece.new)}+}}" if piece.new else ""
    return gone + come


def _clipped(text: str) -> str:
    half = LONGEST_CHANGE // 2
    return text if len(text) <= LONGEST_CHANGE else f"{text[:half]}[…]{text[-half:]}"


def _context(text: str, is_first: bool, is_last: bool) -> str:
    count = len(text.split())
    if count <= 2 * CONTEXT + 2:
        return _clipped(text)
    rest, before = text.split(None, CONTEXT)[-1], text.rsplit(None, CONTEXT)[0]
    start = "" if is_first else _clipped(text[: len(text) - len(rest)].rstrip())
    end = "" if is_last else _clipped(text[len(before) :].lstrip())
    gap = f"…{count - CONTEXT} words… " if is_first else " […]" if is_last else " […] "
    return f"{start}{gap}{end}"
