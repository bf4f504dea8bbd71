"""Single flight: of equal calls at one time, one asks the provider and the others wait for what it gets.

1. Whoever joins a key first leads, and lands exactly once, whatever becomes of it. The others follow.
2. Nobody depends on a leader: a follower waits only so long, and then goes on alone.
3. Leader and followers may sit in different threads, in different event loops, and in loops of asyncio and of trio.
   A follower therefore leaves behind how to wake it where it waits, and takes that back when it stops waiting.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import anyio
from sniffio import current_async_library


if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Self

    from .entries import Entry

    Wake = Callable[[], object]


__all__ = ["Flight", "Flights"]


class Flights:
    """Who is asking for what, in this process. Every method may be called from several threads at once.

    Join first, and look into the cache as the leader: an answer that another leader kept between one's look and one's
    joining would be missed the other way round.

    A key is known from the first ``join`` until its leader lands. A leader that is dropped without landing is forgotten
    with its object, so that a key is never lost for good: its followers wait out their time, and whoever joins then
    leads. Keep the object for as long as the flight takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaders: WeakValueDictionary[str, Flight] = WeakValueDictionary()

    def join(self, key: str) -> Flight:
        """Lead the flight *key*, or follow whoever leads it.

        Joining is not re-entrant: a leader that joins its own key again follows itself, and is only freed when its time
        to wait is over.
        """
        with self._lock:
            leader = self._leaders.get(key)
            if leader is not None:
                return Flight(leader.landing)
            flight = Flight(_Landing(), partial(self._forget, key))
            self._leaders[key] = flight
            return flight

    def _forget(self, key: str, flight: Flight) -> None:
        with self._lock:
            if self._leaders.get(key) is flight:
                del self._leaders[key]


class Flight:
    """One participant's part in a flight.

    As a context manager it lands with nothing at the end of the block, if it leads and has not landed before: an error,
    a cancelled task or a client that has gone then keeps nobody waiting.

    Attributes:
        leads: Whether the others wait for this one.
        landing: What the participants have in common.
    """

    __slots__ = ("__weakref__", "_forget", "landing", "leads")

    def __init__(self, landing: _Landing, forget: Callable[[Flight], object] | None = None) -> None:
        self.leads = forget is not None
        self.landing = landing
        self._forget = forget

    def __repr__(self) -> str:
        return f"<{'leading' if self.leads else 'following'} Flight>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.land(None)

    def land(self, entry: Entry | None) -> None:
        """Hand *entry* to everyone who follows; ``None`` if there is none, and each goes on alone.

        Only a leader's first landing counts; others do nothing, so it may stand in a ``finally``. Raises nothing:
        followers whose loop is over by now are past caring.
        """
        if self._forget is not None:
            self.landing.settle(entry)
            self._forget(self)

    def wait_blocking(self, timeout: float) -> Entry | None:
        """What the leader landed with, within *timeout* seconds.

        ``None`` if it failed, or is still on its way: the caller goes on alone, or joins again once. Then one of those
        who are left leads, instead of all of them asking at once.
        """
        arrived = threading.Event()
        with self.landing.waking(arrived.set):
            arrived.wait(min(timeout, threading.TIMEOUT_MAX))
        return self.landing.entry

    async def wait(self, timeout: float) -> Entry | None:  # noqa: ASYNC109 -- being late is no error here
        """Same as :meth:`wait_blocking`, awaited, on asyncio and trio. Can be cancelled."""
        arrived = anyio.Event()
        with self.landing.waking(partial(_in_this_loop(), arrived.set)), anyio.move_on_after(timeout):
            await arrived.wait()
        return self.landing.entry


class _Landing:
    """What the participants of a flight have in common: its entry, and how to wake who waits for it."""

    __slots__ = ("_is_settled", "_lock", "_wakes", "entry")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self._lock = threading.Lock()
        self._is_settled = False
        self._wakes: set[Wake] = set()

    def settle(self, entry: Entry | None) -> None:
        with self._lock:
            if self._is_settled:
                return
            self.entry, self._is_settled = entry, True
            wakes, self._wakes = self._wakes, set()
        for wake in wakes:
            with suppress(RuntimeError):  # asyncio's closed loop, trio's RunFinishedError
                wake()

    @contextmanager
    def waking(self, wake: Wake) -> Generator[None]:
        """Inside the block *wake* is called once it is settled; at once if it is."""
        if not self._add(wake):
            wake()
        try:
            yield
        finally:
            with self._lock:
                self._wakes.discard(wake)

    def _add(self, wake: Wake) -> bool:
        with self._lock:
            if not self._is_settled:
                self._wakes.add(wake)
            return not self._is_settled


def _in_this_loop() -> Callable[[Wake], Any]:
    """What has a function called in the running event loop; itself it can be called from any thread."""
    if current_async_library() == "trio":
        from trio.lowlevel import current_trio_token

        return current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe
