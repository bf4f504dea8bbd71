"""The cache, as one call uses it: look, wait for an equal call, keep what is whole.

A cache that fails is a miss and a line in the log, never an error to the caller.
"""

from __future__ import annotations

import hmac
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from .._clock import now
from ..exceptions import StoreError
from .cache import cache_key
from .complete import is_complete
from .entries import dump, load, replayed
from .steps import Wait, Work


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from ..stores.protocol import Store
    from .cache import Caching
    from .entries import Entry
    from .flights import Flight, Flights
    from .router import Candidate

    Steps = Generator[Any, Any, Any]


__all__ = ["PATIENCE_SECONDS", "Keeping", "mark_of"]


#: Seconds that a call waits for an equal one. A reader who is slow must not hold others up for long.
PATIENCE_SECONDS = 60.0

#: Of those who have waited in vain one leads the others, once; then each goes on alone.
_JOINS = 2

_log = logging.getLogger("respan_openai")


def mark_of(secret: bytes, caller: str, candidate: Candidate) -> str:
    """Stands for whose answers a call may be served: who asks, and with whose key the provider is asked."""
    credential = candidate.credential
    whose = [caller, candidate.provider, None if credential is None else [*credential[:3]]]
    return hmac.digest(secret, json.dumps(whose).encode(), "sha256").hex()


class Keeping:
    """One call's part in the cache.

    Args:
        store: Keeps entries.
        flights: Those under way in this process.
        caching: How the call uses the cache.
        path: What was called.
        fields: OpenAI's, prompts rendered.
        partition: Whose answers it may be served, by candidate: see ``Caching.partition``.
        patience: Seconds that it waits for an equal call at most; not more than its own caller has.
    """

    def __init__(
        self,
        store: Store,
        flights: Flights,
        caching: Caching,
        *,
        path: str,
        fields: Mapping[str, Any],
        partition: Callable[[Candidate], Sequence[str]],
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._store = store
        self._flights = flights
        self._caching = caching
        self._path = path
        self._fields = fields
        self._partition = partition
        self._patience = patience
        self._flight: Flight | None = None

    def _key(self, candidate: Candidate) -> str:
        return cache_key(
            self._path,
            self._fields,
            model=candidate.model,
            by_model=self._caching.by_model,
            partition=self._partition(candidate),
        )

    def find(self, candidate: Candidate, at: float) -> Steps:
        """The entry that answers the call at *at* (seconds since 1970), if there is one or comes to be.

        Else the call leads those that are equal, until :meth:`land`.
        """
        try:
            key = self._key(candidate)
        except RecursionError:
            return None  # it can be read, but not be written: see cache_key
        landed = yield from self._joined(key)
        if landed is None:
            landed = yield from self._looked_up(key, at)
            if landed is not None:
                self.land(landed)
        return landed

    def _joined(self, key: str) -> Steps:
        until = now() + self._patience
        for _ in range(_JOINS):
            self._flight = flight = self._flights.join(key)
            if flight.leads:
                break
            landed = yield Wait(flight, until - now())
            if landed is not None:
                return landed
        return None

    def _looked_up(self, key: str, at: float) -> Steps:
        try:
            data = yield Work(partial(self._store.cached, key, at), self._store.blocks)
        except StoreError as exc:
            _log.warning("The cache cannot be read, so the provider is asked. %s", exc)
            return None
        entry = None if data is None else load(data)
        return entry if entry is not None and entry.is_fresh(at, self._caching.ttl) else None

    def keep(self, candidate: Candidate, entry: Entry, *, streamed: bool) -> None:
        """Keep *entry*, by which *candidate* answered, if it is whole, and hand it to those who wait.

        May wait for the store.

        Raises:
            StoreError: if it could not be kept; those who wait have it all the same.
        """
        is_whole = is_complete(self._path, entry.status, entry.chunks, streamed=streamed)
        if self._flight is None or not is_whole:
            return
        entry, at = replayed(entry), entry.stored_at
        try:
            self._store.put(self._key(candidate), dump(entry), at, at + self._caching.ttl)
        finally:
            self.land(entry)  # only now: whoever leads next must find it in the store

    def land(self, entry: Entry | None) -> None:
        """Let those go on who wait for this call, with *entry* or alone; does nothing the second time."""
        if self._flight is not None:
            self._flight.land(entry)
