"""Single flight: one asks, the others wait, and nobody waits for ever; across threads, loops, asyncio and trio."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from respan_openai.local.entries import Entry
from respan_openai.local.flights import Flight, Flights


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


ENTRY = Entry(200, "application/json", (b"{}",), "m", "p", None, "log-1", 1.0)

#: Seconds; no test waits that long unless a promise is broken.
LONG = 60.0


class _Counted(set[Any]):
    """The wakes of a flight; tells who watches when there are enough of them."""

    def __init__(self, enough: int, reached: threading.Event) -> None:
        self._enough, self._reached = enough, reached

    def add(self, element: Any) -> None:
        super().add(element)
        if len(self) == self._enough:
            self._reached.set()


def when_waiting(flight: Flight, count: int) -> Callable[[], None]:
    """A function that returns once *count* followers of *flight* wait."""
    reached = threading.Event()
    flight.landing._wakes = _Counted(count, reached)

    def wait() -> None:
        assert reached.wait(LONG)

    return wait


@contextmanager
def threads(*works: Callable[[], object]) -> Iterator[list[Any]]:
    """Run *works* at once, each in a thread of its own; at the end of the block all are over, and these are their results."""
    results: list[Any] = []
    running = [threading.Thread(target=lambda work=work: results.append(work())) for work in works]
    for thread in running:
        thread.start()
    yield results
    for thread in running:
        thread.join(LONG)
        assert not thread.is_alive()


def waits(flight: Flight) -> int:
    """How many wait for *flight*."""
    return len(flight.landing._wakes)


# -- who leads


def test_the_first_leads_and_the_others_follow() -> None:
    """For each key one call goes out."""
    flights = Flights()

    joined = [flights.join(key) for key in ("a", "a", "b", "a")]

    assert [flight.leads for flight in joined] == [True, False, True, False]


def test_a_key_is_free_after_landing() -> None:
    """What has landed is over: who joins then leads, and looks into the cache."""
    flights = Flights()
    first = flights.join("a")
    first.land(ENTRY)

    assert flights.join("a").leads


def test_a_late_landing_does_not_end_the_next_flight() -> None:
    """A leader that lands twice, the second time when somebody else leads, does nothing."""
    flights = Flights()
    first = flights.join("a")
    first.land(None)
    second = flights.join("a")
    first.land(ENTRY)

    third = flights.join("a")
    second.land(None)

    assert not third.leads
    assert third.wait_blocking(LONG) is None


def test_a_leader_that_is_dropped_is_forgotten() -> None:
    """A key is not lost because its leader's object was thrown away; followers wait out their time."""
    flights = Flights()
    leader = flights.join("a")
    follower = flights.join("a")
    del leader
    gc.collect()

    assert follower.wait_blocking(0.0) is None
    assert flights.join("a").leads


def test_many_threads_have_one_leader() -> None:
    """However many join at once, exactly one leads."""
    flights = Flights()
    at_once = threading.Barrier(16)

    def join() -> Flight:
        at_once.wait(LONG)
        return flights.join("a")

    with threads(*[join] * 16) as joined:
        pass

    assert [flight.leads for flight in joined].count(True) == 1


def test_nothing_is_kept_when_all_is_over() -> None:
    """No key, and nobody who waits."""
    flights = Flights()
    for number in range(100):
        with flights.join(f"key {number}") as leader:
            flights.join(f"key {number}").wait_blocking(0.0)
        assert waits(leader) == 0

    assert len(flights._leaders) == 0


def test_what_is_shown_of_a_flight() -> None:
    """Its part, and no key: keys name what was asked."""
    flights = Flights()
    leader = flights.join("a")

    assert repr(leader) == "<leading Flight>"
    assert repr(flights.join("a")) == "<following Flight>"


# -- landing


@pytest.mark.parametrize("timeout", [LONG, float("inf")])
@pytest.mark.parametrize("entry", [ENTRY, None])
def test_followers_get_what_the_leader_got(entry: Entry | None, timeout: float) -> None:
    """An entry, or the news that there is none."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")
    waiting = when_waiting(leader, 1)

    with threads(lambda: follower.wait_blocking(timeout)) as results:
        waiting()
        leader.land(entry)

    assert results == [entry]


def test_who_comes_to_wait_late_gets_it_at_once() -> None:
    """Between joining and waiting the leader may have landed."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")
    leader.land(ENTRY)

    assert follower.wait_blocking(0.0) is ENTRY


def test_only_the_first_landing_counts() -> None:
    """So that a ``finally`` can land with nothing, whatever came before."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")
    leader.land(ENTRY)
    leader.land(None)

    assert follower.wait_blocking(LONG) is ENTRY


def test_a_follower_cannot_land() -> None:
    """Its own end is no end for the others."""
    flights = Flights()
    leader, follower, other = (flights.join("a") for _ in range(3))
    with follower:
        follower.land(ENTRY)

    assert other.wait_blocking(0.0) is None
    leader.land(ENTRY._replace(log_id="log-2"))
    assert other.wait_blocking(LONG) == ENTRY._replace(log_id="log-2")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_leader_that_fails_lands_with_nothing(error: type[BaseException]) -> None:
    """The end of the block is a landing, whatever ended it; the error goes on."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")

    with pytest.raises(error), leader:
        raise error

    assert follower.wait_blocking(LONG) is None
    assert flights.join("a").leads


def test_a_block_keeps_what_landed_in_it() -> None:
    """The end of the block does not take the entry back."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")

    with leader:
        leader.land(ENTRY)

    assert follower.wait_blocking(LONG) is ENTRY


def test_a_leader_that_joins_again_is_freed_by_time() -> None:
    """Joining is not re-entrant: the timeout is what ends the wait, and nothing is left behind."""
    flights = Flights()
    leader = flights.join("a")

    with leader, flights.join("a") as again:
        assert not again.leads
        assert again.wait_blocking(0.001) is None
        assert waits(leader) == 0


# -- asyncio and trio


BACKENDS = ["asyncio", "trio"]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_tasks_get_what_the_leader_got() -> None:
    """Leader and followers may be tasks of one loop; they get the entry, or the news that there is none."""
    flights = Flights()
    results: list[Entry | None] = []

    async def follow() -> None:
        results.append(await flights.join("a").wait(LONG))

    for entry in (ENTRY, None):
        leader = flights.join("a")
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            assert waits(leader) == 3
            leader.land(entry)
        assert waits(leader) == 0

    assert results == [ENTRY] * 3 + [None] * 3


async def test_a_task_that_comes_late_gets_it_at_once() -> None:
    """Also with no time at all to wait."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")
    leader.land(ENTRY)

    assert await follower.wait(LONG) is ENTRY
    assert await follower.wait(0.0) is ENTRY


async def test_a_task_does_not_wait_for_ever() -> None:
    """When its time is over it goes on alone, and leaves nothing behind."""
    flights = Flights()
    leader, follower = flights.join("a"), flights.join("a")

    assert await follower.wait(0.001) is None
    assert waits(leader) == 0


async def test_a_cancelled_follower_leaves_nothing_behind() -> None:
    """The others do not notice, and the leader does not wake a task that is gone."""
    flights, results = Flights(), list[Entry | None]()
    leader = flights.join("a")

    async def follow() -> None:
        results.append(await flights.join("a").wait(LONG))

    async with anyio.create_task_group() as outer:
        outer.start_soon(follow)
        async with anyio.create_task_group() as inner:
            inner.start_soon(follow)
            await anyio.wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
        assert waits(leader) == 1
        leader.land(ENTRY)

    assert results == [ENTRY]


async def test_a_cancelled_leader_lands() -> None:
    """The client of a leader may go while it asks: then its followers go on alone."""
    flights = Flights()
    leader = flights.join("a")

    async def lead() -> None:
        with leader:
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        follower = flights.join("a")
        group.cancel_scope.cancel()

    assert await follower.wait(LONG) is None


# -- all at once


@pytest.mark.parametrize("leading", ["sync", *BACKENDS])
def test_threads_and_loops_follow_one_leader(leading: str) -> None:
    """Threads, two loops of asyncio and two of trio wait for a leader that sits in none of them."""
    flights = Flights()
    leader = flights.join("a")
    waiting = when_waiting(leader, 12)

    def blocking() -> list[Entry | None]:
        return [flights.join("a").wait_blocking(LONG)]

    def awaiting(backend: str) -> list[Entry | None]:
        found: list[Entry | None] = []

        async def follow() -> None:
            found.append(await flights.join("a").wait(LONG))

        async def follow_all() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(follow)

        anyio.run(follow_all, backend=backend)
        return found

    def land() -> None:
        waiting()
        leader.land(ENTRY)

    async def land_awaited() -> None:
        land()

    loops = [lambda backend=backend: awaiting(backend) for backend in BACKENDS * 2]
    with threads(*[blocking] * 4, *loops) as results:
        if leading == "sync":
            land()
        else:
            anyio.run(land_awaited, backend=leading)

    assert [entry for found in results for entry in found] == [ENTRY] * 12
    assert waits(leader) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_is_over_does_not_disturb_the_leader(backend: str) -> None:
    """Landing raises nothing, and reaches those who come after it."""
    flights = Flights()
    leader = flights.join("a")
    wakes: list[Any] = []

    async def be_there() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(flights.join("a").wait, LONG)
            await anyio.wait_all_tasks_blocked()
            wakes.extend(leader.landing._wakes)
            group.cancel_scope.cancel()

    anyio.run(be_there, backend=backend)
    leader.landing._wakes.update(wakes)  # as if the loop had ended before it could take them back
    follower = flights.join("a")
    leader.land(ENTRY)

    with pytest.raises(RuntimeError):
        wakes[0]()
    assert follower.wait_blocking(LONG) is ENTRY
