"""The cache, as one call uses it: look, wait for an equal call, keep what is whole.

A cache that fails is a miss and a line in the log, never an error to the caller.
"""

from __future__ import annotations

import hmac
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from ..exceptions import StoreError
from .cache import cache_key
from .complete import is_complete
from .entries import Entry, dump, load, replayed
from .steps import Wait, Work


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from ..stores.protocol import Store
    from .cache import Caching
    from .flights import Flight, Flights
    from .router import Candidate

    Steps = Generator[Any, Any, Any]


__all__ = ["Keeping", "mark_of"]


#: Seconds that a call waits for an equal one. A reader who is slow must not hold others up for long.
PATIENCE_SECONDS = 60.0

_log = logging.getLogger("respan_openai")


def mark_of(secret: bytes, caller: str, candidate: Candidate) -> str:
    """Stands for whose answers a call may be served: who asks the gateway, and with whose key the provider is asked."""
    credential = candidate.credential
    whose = [caller, candidate.provider, None if credential is None else [credential.api_key, credential.api_base]]
    return hmac.new(secret, json.dumps(whose).encode(), "sha256").hexdigest()


class Keeping:
    """One call's part in the cache.

    Args:
        fields: OpenAI's, prompts rendered.
        partition: Whose answers it may be served, by candidate: see ``Caching.partition``.
    """

    def __init__(
        self,
        store: Store,
        flights: Flights[Entry],
        caching: Caching,
        path: str,
        fields: Mapping[str, Any],
        partition: Any,
    ) -> None:
        self._store = store
        self._flights = flights
        self._caching = caching
        self._path = path
        self._fields = fields
        self._partition = partition
        self._flight: Flight[Entry] | None = None

    def _key(self, candidate: Candidate) -> str:
        return cache_key(
            self._path,
            self._fields,
            model=candidate.model,
            by_model=self._caching.by_model,
            partition=self._partition(candidate),
        )

    def find(self, candidate: Candidate, at: float) -> Steps:
        """The entry that answers the call, if there is one, or comes to be while an equal call is under way."""
        key = self._key(candidate)
        flight = self._flights.join(key)
        if not flight.leads:
            landed = yield Wait(flight, PATIENCE_SECONDS)
            if landed is not None:
                return landed
            flight = self._flights.join(key)  # one of those who waited in vain leads the others
        self._flight = flight
        entry = yield from self._looked_up(key, at)
        if entry is not None:
            self.land(entry)
        return entry

    def _looked_up(self, key: str, at: float) -> Steps:
        try:
            data = yield Work(partial(self._store.cached, key, at), self._store.blocks)
        except StoreError as exc:
            _log.warning("The cache cannot be read, so the provider is asked. %s", exc)
            return None
        entry = None if data is None else load(data)
        return entry if entry is not None and entry.is_fresh(at, self._caching.ttl) else None

    def keep(self, candidate: Candidate, entry: Entry, *, streamed: bool) -> Steps:
        """Keep *entry* if it is whole, and hand it to those who wait."""
        if not is_complete(self._path, entry.status, entry.chunks, streamed=streamed):
            self.land(None)
            return
        entry = replayed(entry)
        at = entry.stored_at
        put = partial(self._store.put, self._key(candidate), dump(entry), at, at + self._caching.ttl)
        try:
            yield Work(put, self._store.blocks)
        except StoreError as exc:
            _log.warning("The cache cannot be written; the answer is delivered all the same. %s", exc)
        self.land(entry)

    def land(self, entry: Entry | None) -> None:
        """Let those go on who wait for this call; does nothing the second time."""
        if self._flight is not None:
            self._flight.land(entry)
