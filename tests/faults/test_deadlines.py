"""Time (the catalogue's rows D1 to D9): one deadline for a call, whoever is asked, and no limit that nobody set."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate

import openai
import pytest
from faults.answers import COMMENT, content, finish, openai_error, respan_error, role
from faults.standing import standing, until
from faults.steps import Answer, AtAccept, Drip, Ok, Raw, Silence, Sip, Sse, Steps
from faults.streams import alone, comments, meanings, with_fallback

from respan_openai import Breaker, CallTimedOut, Retry, StreamInterrupted, Timeouts, health
from respan_openai._clock import sleep
from respan_openai.testing import no_waiting


#: Of an answer whose body does not come to its end.
HEAD = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


async def ask(world, client, streamed, **options) -> str:
    """The model's words."""
    if streamed:
        return await world.text(client, **options)
    return (await world.call(client, **options)).choices[0].message.content


# --- one deadline -----------------------------------------------------------


@pytest.mark.both_families
@pytest.mark.parametrize(
    ("streamed", "step"),
    [(False, Silence()), (True, Silence()), (True, Sse(comments))],
    ids=["whole", "streamed", "comments"],
)
async def test_d1_a_stall_may_take_all_the_time_there_is(world, streamed, step) -> None:
    """The call is over at its deadline, with a timeout's error: neither we nor the SDK begin again."""
    gateway, second, records, client = with_fallback(world, step, client={"timeout": 0.3})

    async with standing({gateway: 1, second: 0}, client, deadline=0.3):
        with pytest.raises(CallTimedOut, match="whole call") as caught:
            await ask(world, client, streamed)

    assert isinstance(caught.value, openai.APITimeoutError)
    assert caught.value.record == records[0]
    assert meanings(records[0]) == ["ambiguous"]


async def test_d1_three_stalls_add_up_to_no_more(world) -> None:
    """Each target has its share of the time, the last one what is left."""
    gateway, second, third = (
        world.gateway(Silence()),
        world.server("p2", Silence()),
        world.server("p3", Silence()),
    )
    records = []
    client = world.wrapped(
        world.provider(),
        gateway,
        second,
        third,
        timeouts=Timeouts(first_content=0.3),
        client={"timeout": 1.0},
        on_call=records.append,
    )

    async with standing({gateway: 1, second: 1, third: 1}, client, deadline=1.0):
        with pytest.raises(CallTimedOut):
            await world.text(client)

    assert [attempt.target for attempt in records[0].attempts] == ["respan", "p2", "p3"]
    assert records[0].ms >= 900


STALL, DRIPS = Silence(), Drip(b"1\r\n \r\n" * 1000, every=0.02, size=6)


@pytest.mark.both_families
@pytest.mark.parametrize(
    ("status", "rest"), [(200, STALL), (200, DRIPS), (500, DRIPS)], ids=["stalls", "drips", "error"]
)
async def test_d1_a_body_may_take_all_the_time_there_is(world, status, rest) -> None:
    """Blocking too, and however often there is a byte of it. An error whose body stalls is told by its status."""
    head = Raw(HEAD % (status, b"Said"))
    gateway, second, _, client = with_fallback(world, Steps(head, rest), client={"timeout": 0.3})

    async with standing({gateway: 1, second: 0}, client, deadline=0.3):
        with pytest.raises(CallTimedOut if status == 200 else openai.InternalServerError):
            await world.call(client)


# --- no deadline ------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_d2_without_a_timeout_there_is_none(world, streamed) -> None:
    """Neither of the call, nor between events if that is switched off as well."""
    slow = Steps(Silence(0.3), Sse([role(), content("Hello!"), 0.3, finish()]) if streamed else Ok())
    gateway, _, client = alone(world, slow, client={"timeout": None}, timeouts=Timeouts(idle=None))

    async with standing({gateway: 1}, client):
        assert await ask(world, client, streamed) == "Hello!"


async def test_d2_without_a_timeout_first_content_still_has_one(world) -> None:
    """Where the user set it."""
    limits = Timeouts(first_content=0.3)
    gateway, second, _, client = with_fallback(world, Silence(), client={"timeout": None}, timeouts=limits)

    async with standing({gateway: 1, second: 1}, client, deadline=0.6):
        assert await world.text(client) == "Hello!"


async def test_d2_without_a_timeout_silence_still_has_one(world) -> None:
    """``Timeouts(idle=...)``, which has a default."""
    step = Sse([role(), content("Hel"), threading.Event()])
    gateway, _, client = alone(world, step, client={"timeout": None}, timeouts=Timeouts(idle=0.3))

    async with standing({gateway: 1}, client, deadline=0.3):
        with pytest.raises(StreamInterrupted):
            await world.text(client)


# --- other clocks -----------------------------------------------------------


@pytest.mark.parametrize("off", [-3600, 3600], ids=["behind", "ahead"])
async def test_d3_a_date_counts_from_the_server_s_own(world, off) -> None:
    """``Retry-After`` as a date, of a server whose clock is an hour off: what is waited is what it meant."""
    told = {"date": formatdate(time.time() + off, usegmt=True)}
    told["retry-after"] = formatdate(time.time() + off + 3, usegmt=True)
    gateway, records, client = alone(world, [Answer(429, respan_error(), told), Ok()])

    async with standing({gateway: 2}, client):
        with no_waiting():
            await world.call(client)

    assert 2 <= records[0].attempts[1].wait <= 4.4  # the two dates may fall into different seconds


@pytest.mark.parametrize("ahead", [3, 3600, -3600])
async def test_d3_a_date_alone_says_nothing(world, ahead) -> None:
    """Without the server's own date it is as if it were not there: the usual backoff, no hour, no endless loop."""
    told = {"retry-after": formatdate(time.time() + ahead, usegmt=True)}
    gateway, records, client = alone(world, [Answer(503, openai_error(), told), Ok()])

    async with standing({gateway: 2}, client):
        with no_waiting():
            await world.call(client)

    assert 0 < records[0].attempts[1].wait <= Retry().backoff_throttled


@pytest.mark.parametrize("jump", [-86_400, 86_400], ids=["back", "forth"])
async def test_d4_the_wall_clock_does_not_matter(world, monkeypatch, jump) -> None:
    """It is set by a day in the middle of a call, and again before the next."""
    offset, real = [0.0], time.time

    def jumps(_seen):
        offset[0] += jump
        return Answer(503, openai_error()) if len(gateway.requests) == 1 else Ok()

    monkeypatch.setattr(time, "time", lambda: real() + offset[0])
    gateway, records, client = alone(world, jumps)

    async with standing({gateway: 3}, client):
        with no_waiting():
            await world.call(client)
            await world.call(client)

    assert [len(record.attempts) for record in records] == [2, 1]
    assert 0 < records[0].attempts[1].wait <= Retry().backoff_throttled
    assert all(0 <= record.ms < 10_000 for record in records)


async def test_d5_after_a_long_pause_one_call_probes(world) -> None:
    """The machine slept for an hour: a breaker that was open lets one call through, and the others go elsewhere."""
    gate = threading.Event()
    gateway, second = world.gateway([Answer(500), Steps(Silence(gate), Ok("From here."))]), world.server("p2")
    client = world.wrapped(world.provider(), gateway, second, breaker=Breaker(failures=1))

    async def open_the_gate() -> str:
        assert await until(lambda: len(second.requests) == 6)
        gate.set()
        return ""

    async with standing({gateway: 2, second: 6}, client):
        assert await ask(world, client, streamed=False) == "Hello!"
        assert await ask(world, client, streamed=False) == "Hello!"
        with no_waiting():
            sleep(3600)
        calls = [lambda: ask(world, client, streamed=False)] * 5
        said = await world.together(*calls, open_the_gate)

    assert sorted(said) == ["", "From here.", *["Hello!"] * 4]
    assert health()[1].state == "closed"


# --- what does not fit ------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("status", "error"), [(429, openai.RateLimitError), (503, openai.InternalServerError)]
)
async def test_d6_a_wait_that_does_not_fit_is_not_begun(world, streamed, status, error) -> None:
    """Five seconds to wait, three left: the failure is told at once, not after them."""
    gateway, records, client = alone(
        world, Answer(status, respan_error("Later."), {"retry-after": "5"}), client={"timeout": 3}
    )

    async with standing({gateway: 1}, client, deadline=0):
        with pytest.raises(error):
            await ask(world, client, streamed)

    assert len(records[0].attempts) == 1


async def test_d7_an_upload_that_nobody_takes(world) -> None:
    """The write timeout ends it; somebody may have worked on what was sent, so the next target's is marked."""
    timeout = world.library.Timeout(10, write=0.3)
    gateway, second, records, client = with_fallback(world, AtAccept(Sip()), client={"timeout": timeout})
    messages = [{"role": "user", "content": "x" * 10_000_000}]

    async with standing({gateway: 0, second: 1}, client):
        assert await ask(world, client, streamed=False, messages=messages) == "Hello!"

    assert meanings(records[0]) == ["ambiguous", None]
    assert records[0].attempts[0].error == "WriteTimeout"
    assert records[0].attempts[1].possible_duplicate


async def test_d7_an_upload_that_is_taken_slowly(world) -> None:
    """Always in time for the write timeout; the deadline of the call ends it where that can be done."""
    if not world.is_async:
        pytest.skip("a blocking write that has begun cannot be cancelled; each one has its timeout")
    gateway, second, _, client = with_fallback(
        world, AtAccept(Sip(every=0.02, size=8192)), client={"timeout": 0.4}
    )
    messages = [{"role": "user", "content": "x" * 10_000_000}]

    async with standing({gateway: 0, second: 0}, client, deadline=0.4):
        with pytest.raises(CallTimedOut):
            await world.call(client, messages=messages)


# --- late timers ------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_d8_a_blocked_loop_is_no_fault_of_the_target(world, streamed) -> None:
    """Answers that nobody looked at in time: each call ends once, as the loop has it, and none blames the target."""
    if not world.is_async:
        pytest.skip("there is no loop")
    gate = threading.Event()
    gateway, records, client = alone(world, Steps(Silence(gate), Ok()), client={"timeout": 0.3})

    async def block() -> None:
        assert await until(lambda: len(gateway.requests) == 6)
        gate.set()
        time.sleep(0.7)  # noqa: ASYNC251 -- this is what must not be done

    async with standing({gateway: 6}, client):
        *outcomes, _ = await world.together(*[lambda: ask(world, client, streamed)] * 6, block)

    assert all(outcome == "Hello!" or isinstance(outcome, CallTimedOut) for outcome in outcomes)
    assert [(known.failures, known.state) for known in health()] == [(0, "closed")]
    assert len(records) == 6


async def test_d9_a_model_may_think_almost_as_long_as_it_may(world) -> None:
    """First content shortly before the limit: nobody else is asked meanwhile."""
    step = Sse([role(), COMMENT, 0.4, content("Hello!"), finish()])
    gateway, second, records, client = with_fallback(world, step, timeouts=Timeouts(first_content=1.5))

    async with standing({gateway: 1, second: 0}, client):
        assert await world.text(client) == "Hello!"

    assert len(records[0].attempts) == 1
