"""Texts that were looked through and hold no secret: most tests of a suite repeat a prompt, and so do conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


__all__ = ["Clean", "clean_for"]


#: Texts that are remembered, and their characters in all.
_MOST, _MOST_CHARACTERS = 10_000, 1 << 22

#: Sets of secrets that something is remembered for.
_MOST_SHARED: Final = 4


class Clean:
    """Texts that are known to be clean; forgotten when there are many. May be used by several threads."""

    __slots__ = ("_size", "_texts")

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._size = 0

    def without(self, texts: Iterable[str]) -> list[str]:
        """Those of *texts* that are not known to be clean."""
        known = self._texts
        return [text for text in texts if text not in known]

    def add(self, texts: Collection[str]) -> None:
        """Remember *texts*."""
        size = sum(map(len, texts))
        if len(self._texts) > _MOST or self._size + size > _MOST_CHARACTERS:
            self._texts, self._size = set(), 0
        self._texts.update(texts)
        self._size += size


_shared: Final[dict[bytes, Clean]] = {}


def clean_for(fingerprint: bytes) -> Clean:
    """What is clean of the secrets that *fingerprint* stands for, the same object for all cassettes of the process."""
    clean = _shared.get(fingerprint)
    if clean is None:
        if len(_shared) >= _MOST_SHARED:
            _shared.clear()
        clean = _shared.setdefault(fingerprint, Clean())
    return clean
