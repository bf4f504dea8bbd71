"""A mapping that forgets: for what is learned under names that callers make up, and must not grow with them."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar


if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """At most *most* values by key; the one changed longest ago goes first. Safe to use from any thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> T | None:
        """The value at *key*; ``None`` if there is none."""
        return self._kept.get(key)

    def change(self, key: Hashable, change: Callable[[T | None], T]) -> T:
        """Put what *change* makes of the value at *key*, or of ``None``, in its place, and return it."""
        with self._lock:
            self._kept[key] = value = change(self._kept.get(key))
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return value
