"""What a ``MemoryStore`` is made of. None of it is safe from threads: the store sees to that."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from ._amounts import fitting, held_already, room


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .protocol import Charge


__all__ = ["Cache", "Kept", "Ledger", "Log"]


# Expired holds are looked for when there are more than these, and then when their number has doubled.
_FEW_HOLDS = 1000


class _Cached(NamedTuple):
    value: bytes
    expires: float
    size: int


class Cache:
    """Values by key, the one used longest ago first."""

    def __init__(self, max_bytes: int) -> None:
        self._most = max_bytes
        self._size = 0
        self._kept: OrderedDict[str, _Cached] = OrderedDict()

    def get(self, key: str, now: float) -> bytes | None:
        """The value, unless it has expired; it is the last to go from now on."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.expires <= now:
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        return kept.value

    def put(self, key: str, value: bytes, now: float, expires: float) -> None:
        """Keep *value*, and let go of others until all of them fit; one that never fits is not kept."""
        if key in self._kept:
            self._remove(key)
        size = len(key) + len(value)
        if expires <= now or size > self._most:
            return
        self._kept[key] = _Cached(bytes(value), expires, size)
        self._size += size
        while self._size > self._most:
            self._remove(next(iter(self._kept)))

    def _remove(self, key: str) -> None:
        self._size -= self._kept.pop(key).size


class _Held(NamedTuple):
    charges: tuple[Charge, ...]
    expires: float


class Ledger:
    """What has been taken from each budget, and what each hold has taken.

    Attributes:
        taken: By account and window.
    """

    def __init__(self) -> None:
        self.taken: dict[tuple[str, str], int] = {}
        self._ends: dict[str, dict[str, float]] = {}  # of windows, by account
        self._holds: dict[str, _Held] = {}
        self._sweep_at = _FEW_HOLDS

    def reserve(self, hold: str, charges: Sequence[Charge], now: float, expires: float) -> Charge | None:
        """See :meth:`Store.reserve`."""
        if self._held(hold, now) is not None:
            raise held_already()
        self._forget(charges, now)
        after: dict[tuple[str, str], int] = {}
        for charge in charges:
            budget = charge.account, charge.window
            before = after.get(budget, self.taken.get(budget, 0))
            if before > room(charge):
                return charge
            after[budget] = before + charge.amount
        self.taken.update(after)
        self._note_ends(charges)
        self._holds[hold] = _Held(tuple(charges), expires)
        self._sweep(now)
        return None

    def settle(self, hold: str, amounts: Sequence[int], now: float) -> None:
        """See :meth:`Store.settle`."""
        held = self._held(hold, now)
        if held is None:
            return
        fitting(len(held.charges), len(amounts))
        del self._holds[hold]
        for charge, amount in zip(held.charges, amounts, strict=True):
            budget = charge.account, charge.window
            if budget in self.taken:  # it may have been forgotten
                self.taken[budget] += amount - charge.amount

    def _forget(self, charges: Sequence[Charge], now: float) -> None:
        for account in {charge.account for charge in charges}:
            known = self._ends.get(account, {})
            for window in [window for window, ends in known.items() if ends <= now]:
                del known[window], self.taken[account, window]

    def _note_ends(self, charges: Sequence[Charge]) -> None:
        for account, window, _, _, ends in charges:
            if ends is not None:
                self._ends.setdefault(account, {})[window] = ends

    def _held(self, hold: str, now: float) -> _Held | None:
        held = self._holds.get(hold)
        return held if held is not None and held.expires > now else None

    def _sweep(self, now: float) -> None:
        if len(self._holds) > self._sweep_at:
            self._holds = {hold: held for hold, held in self._holds.items() if held.expires > now}
            self._sweep_at = 2 * len(self._holds) + _FEW_HOLDS


class Kept(NamedTuple):
    """A row as JSON, and those of its fields that can be asked for."""

    text: str
    fields: Mapping[str, object]


class Log:
    """Rows by id, and their ids by time."""

    def __init__(self, max_rows: int) -> None:
        self._most = max_rows
        self._kept: dict[str, tuple[float, Kept]] = {}
        self._order: list[tuple[float, str]] = []

    def add(self, log_id: str, at: float, kept: Kept) -> None:
        """Keep a row, in the place of one with that id; the oldest one falls out if there are too many."""
        if log_id in self._kept:
            del self._order[bisect_left(self._order, (self._kept[log_id][0], log_id))]
        self._kept[log_id] = at, kept
        insort(self._order, (at, log_id))
        if len(self._order) > self._most:
            del self._kept[self._order.pop(0)[1]]

    def get(self, log_id: str) -> str | None:
        """The row with that id, as JSON."""
        return self._kept[log_id][1].text if log_id in self._kept else None

    def newest(self, before: float | None, where: Mapping[str, object]) -> Iterator[str]:
        """Rows older than *before* with the values in *where*, the newest first, as JSON."""
        end = len(self._order) if before is None else bisect_left(self._order, (before, ""))
        for at in range(end - 1, -1, -1):
            _, kept = self._kept[self._order[at][1]]
            if all(kept.fields[name] == value for name, value in where.items()):
                yield kept.text
