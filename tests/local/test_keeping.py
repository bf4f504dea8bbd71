"""The cache as one call uses it: a miss when it fails, one of equal calls leads, and nobody is left waiting."""

from __future__ import annotations

import importlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from respan_openai import Provider
from respan_openai.exceptions import StoreError
from respan_openai.local.cache import Caching
from respan_openai.local.callers import Caller
from respan_openai.local.credentials import Credential
from respan_openai.local.entries import Entry, load
from respan_openai.local.flights import Flights
from respan_openai.local.gateway import LocalGateway
from respan_openai.local.keeping import PATIENCE_SECONDS, Keeping, mark_of
from respan_openai.local.router import Candidate
from respan_openai.local.steps import Wait, Work
from respan_openai.stores.memory import MemoryStore
from tests.local.support import HELLO, chat, chat_events
from tests.local_support import FAMILIES, PROVIDER_KEY, answer, listening


PATIENCE = 20
NOW = 1_795_000_000.0
CANDIDATE = Candidate("p", "m", "m", None, "")
FALLBACK = Candidate("p", "n", "n", None, "")
WHOLE = Entry(200, "application/json", (json.dumps(chat()).encode(),), "m", "p", None, "row", NOW)


class Failing(MemoryStore):
    """A store whose cache is out of reach."""

    def cached(self, *_: Any) -> bytes | None:
        """Fails."""
        raise StoreError("The store is out of reach.")

    def put(self, *_: Any) -> None:
        """Fails."""
        raise StoreError("The store is out of reach.")


class Scene:
    """Equal calls on one store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.flights = Flights()

    def call(self, *, ttl: float = 60.0, fields: Any = None, **options: Any) -> Keeping:
        """One of them."""
        caching = Caching(enabled=True, ttl=ttl, by_customer=True, by_model=True, omit_log=False)
        return Keeping(
            self.store,
            self.flights,
            caching,
            path="/chat/completions",
            fields=fields or {"messages": [{"role": "user", "content": "hello"}]},
            partition=lambda candidate: ("production", mark_of(b"s", "caller", candidate)),
            **options,
        )


def until_wait(steps: Any) -> Any:
    """Do the work of *steps* up to the first wait, which is returned, or to what they return."""
    answer = None
    error: StoreError | None = None
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            return stop.value
        if isinstance(step, Wait):
            return step
        assert isinstance(step, Work)
        try:
            answer, error = step.do(), None
        except StoreError as exc:
            answer, error = None, exc


def landed(steps: Any, entry: Entry | None) -> Any:
    """Answer the wait of *steps* with *entry*, and go on as :func:`until_wait`."""
    try:
        step = steps.send(entry)
    except StopIteration as stop:
        return stop.value
    if isinstance(step, Wait):
        return step
    return until_wait(_continued(step, steps))


def _continued(step: Any, steps: Any) -> Any:
    while True:
        answer = yield step
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            return stop.value


# -- whose answers


def test_marks() -> None:
    """Caller, provider and each part of a credential make another mark, and no key can be read or guessed from it."""
    credentials = [
        None,
        Credential("key"),
        Credential("key", "https://a.example"),
        Credential("key", "https://a.example", "v"),
        Credential("other"),
    ]
    marks = [mark_of(b"s", "caller", CANDIDATE._replace(credential=credential)) for credential in credentials]
    marks += [
        mark_of(b"other secret", "caller", CANDIDATE),
        mark_of(b"s", "somebody", CANDIDATE),
        mark_of(b"s", "caller", CANDIDATE._replace(provider="q")),
    ]

    assert len(set(marks)) == len(marks)
    assert mark_of(b"s", "caller", CANDIDATE) == mark_of(b"s", "caller", FALLBACK)
    assert all(len(mark) == 64 and "key" not in mark for mark in marks)


def test_marks_of_a_gateway() -> None:
    """They are the same as those, in any order and however often."""
    gateway = LocalGateway.echo()
    others = [CANDIDATE, CANDIDATE._replace(provider="q"), CANDIDATE._replace(credential=Credential("key"))]
    asked = [(key, candidate) for key in ("one", "two") for candidate in others] * 2
    secret = gateway.store.secret()
    marks = {key: until_wait(gateway.cache_marks(Caller("production", key))) for key in ("one", "two")}
    found = [marks[key](candidate) for key, candidate in asked]

    assert found == [mark_of(secret, key, candidate) for key, candidate in asked]


# -- found and kept


def test_kept_and_found() -> None:
    """What one call keeps answers the next one, and says that it was kept."""
    scene = Scene()
    first, second = scene.call(), scene.call()
    assert until_wait(first.find(CANDIDATE, NOW)) is None
    first.keep(CANDIDATE, WHOLE, streamed=False)
    found = until_wait(second.find(CANDIDATE, NOW + 1))

    assert json.loads(found.chunks[0])["usage"]["cached"] is True
    assert found.log_id == "row"


@pytest.mark.parametrize(
    ("ttl", "after", "is_found"), [(60.0, 59.0, True), (60.0, 61.0, False), (5.0, 6.0, False)]
)
def test_age(ttl: float, after: float, *, is_found: bool) -> None:
    """Neither the first call's time nor the second one's own may be over."""
    scene = Scene()
    first, second = scene.call(), scene.call(ttl=ttl)
    until_wait(first.find(CANDIDATE, NOW))
    first.keep(CANDIDATE, WHOLE, streamed=False)

    assert (until_wait(second.find(CANDIDATE, NOW + after)) is not None) is is_found


def test_answer_of_a_fallback() -> None:
    """It is kept under the fallback's name, not that of the model that was asked for first."""
    scene = Scene()
    first = scene.call()
    until_wait(first.find(CANDIDATE, NOW))
    first.keep(FALLBACK, WHOLE, streamed=False)

    assert until_wait(scene.call().find(CANDIDATE, NOW)) is None
    assert until_wait(scene.call().find(FALLBACK, NOW)) is not None


@pytest.mark.parametrize(
    ("entry", "streamed"),
    [
        (WHOLE._replace(status=500), False),
        (WHOLE._replace(chunks=(b"{}",)), False),
        (WHOLE._replace(content_type="text/event-stream", chunks=tuple(chat_events("a")[:-2])), True),
        (WHOLE._replace(content_type="text/event-stream", chunks=()), True),
    ],
)
def test_what_is_not_whole_is_not_kept(entry: Entry, *, streamed: bool) -> None:
    """Errors, and streams that broke off, are nobody else's answer."""
    scene = Scene()
    first = scene.call()
    until_wait(first.find(CANDIDATE, NOW))
    first.keep(CANDIDATE, entry, streamed=streamed)
    first.land(None)

    assert until_wait(scene.call().find(CANDIDATE, NOW)) is None


def test_broken_entry_is_a_miss() -> None:
    """Whatever lies in the store under a key, if it is no entry it is not served."""
    scene = Scene()
    first = scene.call()
    until_wait(first.find(CANDIDATE, NOW))
    first.land(None)
    scene.store.put(first._key(CANDIDATE), b"garbage", NOW, NOW + 60)

    assert until_wait(scene.call().find(CANDIDATE, NOW)) is None


def test_call_that_cannot_be_written_is_not_cached() -> None:
    """Fields that are nested too deeply for JSON make a miss, not an error, and nothing is kept."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    scene = Scene()
    call = scene.call(fields={"messages": deep})

    assert until_wait(call.find(CANDIDATE, NOW)) is None
    call.keep(CANDIDATE, WHOLE, streamed=False)
    call.land(None)
    while deep:  # taken apart level by level, or its destructor would go as deep
        deep = deep[0]


# -- a store that fails


def test_store_that_fails_is_a_miss(caplog: pytest.LogCaptureFixture) -> None:
    """The provider is asked, and the log has a line."""
    assert until_wait(Scene(Failing()).call().find(CANDIDATE, NOW)) is None
    assert "so the provider is asked. The store is out of reach." in caplog.text


def test_answer_that_cannot_be_kept_lands_all_the_same() -> None:
    """Those who wait have it, though the store has not."""
    scene = Scene(Failing())
    leader, follower = scene.call(), scene.call()
    until_wait(leader.find(CANDIDATE, NOW))
    wait = until_wait(follower.find(CANDIDATE, NOW))
    with pytest.raises(StoreError):
        leader.keep(CANDIDATE, WHOLE, streamed=False)

    assert wait.flight.landing.entry.log_id == "row"


# -- equal calls at one time


def test_followers_wait() -> None:
    """An equal call that is under way is waited for, so long, and its answer is the follower's."""
    scene = Scene()
    leader, follower = scene.call(), scene.call()
    until_wait(leader.find(CANDIDATE, NOW))
    steps = follower.find(CANDIDATE, NOW)
    wait = until_wait(steps)
    leader.keep(CANDIDATE, WHOLE, streamed=False)

    assert PATIENCE_SECONDS - 5 < wait.seconds <= PATIENCE_SECONDS
    assert landed(steps, wait.flight.wait_blocking(0)).log_id == "row"


def test_followers_have_patience_of_their_own() -> None:
    """Whoever has less time than others have patience does not wait longer than that."""
    scene = Scene()
    leader, follower = scene.call(), scene.call(patience=0.5)
    until_wait(leader.find(CANDIDATE, NOW))

    assert until_wait(follower.find(CANDIDATE, NOW)).seconds <= 0.5


def followed(seconds: float, *, only_the_first_is_slow: bool) -> tuple[int, int]:
    """Statuses of a call that follows a slow one and has so many seconds, and of the slow one."""
    asked, gate = threading.Event(), threading.Event()

    def respond(wfile: Any, _raw: bytes) -> None:
        if not (only_the_first_is_slow and asked.is_set()):
            asked.set()
            gate.wait(PATIENCE)  # less than a call waits for another one
        answer(wfile, 200, chat())

    library = importlib.import_module(FAMILIES[0])
    body = {"model": "m", "messages": HELLO, "cache_enabled": True}
    with listening() as upstream, ThreadPoolExecutor(1) as pool:
        upstream.respond = respond
        gateway = LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)])
        with library.Client(transport=gateway.transport(), base_url=gateway.base_url) as client:
            leading = pool.submit(client.post, "/chat/completions", json=body, timeout=90)
            assert asked.wait(PATIENCE)
            following = client.post("/chat/completions", json=body, timeout=seconds)
            gate.set()
            return following.status_code, leading.result().status_code


def test_follower_keeps_its_own_time() -> None:
    """A call that follows a slow one is over when its own timeout says so, while the other one goes on."""
    assert followed(0.05, only_the_first_is_slow=False) == (504, 200)


def test_follower_has_time_to_ask() -> None:
    """Who has waited in vain asks by itself, and not when its own time is over already."""
    assert followed(4, only_the_first_is_slow=True) == (200, 200)


def test_hit_lands_at_once() -> None:
    """Whoever finds the answer in the store hands it to those who came meanwhile."""
    scene = Scene()
    first = scene.call()
    until_wait(first.find(CANDIDATE, NOW))
    first.keep(CANDIDATE, WHOLE, streamed=False)
    finding = scene.call().find(CANDIDATE, NOW)
    lookup = next(finding)
    wait = until_wait(scene.call().find(CANDIDATE, NOW))
    with pytest.raises(StopIteration):
        finding.send(lookup.do())

    assert load(lookup.do()) == wait.flight.landing.entry


def test_of_those_who_waited_in_vain_one_leads() -> None:
    """The leader's failure is not everybody's: one asks again, the others wait for that, once."""
    scene = Scene()
    leader = scene.call()
    until_wait(leader.find(CANDIDATE, NOW))
    calls = [scene.call(), scene.call()]  # who leads must stay: see Flights
    second, third = (call.find(CANDIDATE, NOW) for call in calls)
    waits = [until_wait(second), until_wait(third)]
    leader.land(None)
    assert landed(second, None) is None  # leads now
    again = landed(third, None)
    assert isinstance(again, Wait)
    assert again.flight.landing is not waits[1].flight.landing

    assert landed(third, None) is None  # goes on alone


def test_landing_on_every_path() -> None:
    """Landing is harmless before a call has looked, and counts once."""
    scene = Scene()
    scene.call().land(None)
    leader, follower = scene.call(), scene.call()
    until_wait(leader.find(CANDIDATE, NOW))
    wait = until_wait(follower.find(CANDIDATE, NOW))
    leader.keep(CANDIDATE, WHOLE, streamed=False)
    leader.land(None)
    follower.land(None)

    assert wait.flight.landing.entry is not None
