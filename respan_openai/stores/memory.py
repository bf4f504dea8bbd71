"""A store in the memory of the process: nothing to set up, and nothing left when the process ends."""

from __future__ import annotations

import os
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any

from ._amounts import check_amounts
from ._forks import watch
from ._parts import Cache, Kept, Ledger, Log
from ._values import check_where, dumped, dumped_row, loaded, most_rows, positive, row_of
from .protocol import FIELDS, SECRET_BYTES


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .protocol import Charge, Row


__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps a gateway's state in this process, and for as long as it runs.

    Each process has its own: four workers with one budget of 10 USD spend up to 40. Prompts and answers lie
    in its memory as plain text, in the cache and in the log.

    Args:
        max_bytes: Size of the cache, in bytes of keys and values. What was read or written longest ago makes
            room.
        max_rows: Rows of the call log; the oldest ones fall out. ``None`` keeps all of them.

    Raises:
        ConfigError: if a bound is not a positive integer.
    """

    def __init__(self, *, max_bytes: int = 64 * 2**20, max_rows: int | None = 10_000) -> None:
        self._cache = Cache(positive("MemoryStore(max_bytes=...)", max_bytes))
        self._ledger = Ledger()
        self._log = Log(most_rows("MemoryStore(max_rows=...)", max_rows))
        self._customers: dict[str, str] = {}
        self._prompts: dict[str, str] = {}
        self._secret = os.urandom(SECRET_BYTES)
        self._lock = Lock()
        watch(self)

    def __repr__(self) -> str:
        return "MemoryStore()"

    @property
    def blocks(self) -> bool:
        """False: no method waits for anything but another thread's few microseconds."""
        return False

    def cached(self, key: str, now: float) -> bytes | None:
        """See :meth:`Store.cached`."""
        with self._lock:
            return self._cache.get(key, now)

    def put(self, key: str, value: bytes, now: float, expires: float) -> None:
        """See :meth:`Store.put`. A value larger than the cache is not kept."""
        with self._lock:
            self._cache.put(key, value, now, expires)

    def reserve(self, hold: str, charges: Sequence[Charge], now: float, expires: float) -> Charge | None:
        """See :meth:`Store.reserve`."""
        check_amounts(charge.amount for charge in charges)
        with self._lock:
            return self._ledger.reserve(hold, charges, now, expires)

    def settle(self, hold: str, amounts: Sequence[int], now: float) -> None:
        """See :meth:`Store.settle`."""
        check_amounts(amounts)
        with self._lock:
            self._ledger.settle(hold, amounts, now)

    def taken(self, account: str, window: str) -> int:
        """See :meth:`Store.taken`."""
        with self._lock:
            return self._ledger.taken.get((account, window), 0)

    def customer(self, identifier: str) -> Row | None:
        """See :meth:`Store.customer`."""
        return row_of(self._customers.get(identifier))

    def save_customer(self, identifier: str, fields: Mapping[str, Any]) -> Row:
        """See :meth:`Store.save_customer`."""
        with self._lock:
            text = dumped({**(self.customer(identifier) or {}), **fields})
            self._customers[identifier] = text
        return row_of(text) or {}

    def prompt(self, prompt_id: str) -> Row | None:
        """See :meth:`Store.prompt`."""
        return row_of(self._prompts.get(prompt_id))

    def save_prompt(self, prompt_id: str, prompt: Mapping[str, Any]) -> None:
        """See :meth:`Store.save_prompt`."""
        self._prompts[prompt_id] = dumped(prompt)

    def secret(self) -> bytes:
        """See :meth:`Store.secret`."""
        return self._secret

    def log(self, row: Row) -> None:
        """See :meth:`Store.log`."""
        kept = Kept(dumped_row(row), {name: row.get(name) for name in FIELDS})
        with self._lock:
            self._log.add(row["id"], row["at"], kept)

    def entry(self, log_id: str) -> Row | None:
        """See :meth:`Store.entry`."""
        with self._lock:
            text = self._log.get(log_id)
        return row_of(text)

    def entries(
        self, *, limit: int = 100, before: float | None = None, where: Mapping[str, object] | None = None
    ) -> list[Row]:
        """See :meth:`Store.entries`."""
        wanted = check_where(where)
        with self._lock:
            texts = list(islice(self._log.newest(before, wanted), max(limit, 0)))
        return [loaded(text) for text in texts]

    def close(self) -> None:
        """Nothing to give back: what is kept goes with the object."""

    def pause(self) -> None:
        """Wait until no thread is inside, because the process is about to fork."""
        self._lock.acquire()

    def resume(self, *, child: bool) -> None:  # noqa: ARG002 -- it is the same in both
        """Go on after a fork; a *child* begins with a copy of what its parent kept."""
        self._lock.release()
