"""How live calls end, and what a cassette makes of it: streams left open, failures, retries, races, cancelling."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import random
import re
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import (
    AsyncRespanTransport,
    Breaker,
    Gateway,
    Hedge,
    Provider,
    RedirectRefused,
    RespanTransport,
    Retry,
    StreamInterrupted,
    Timeouts,
    last_call,
    record_of,
    wrap,
)
from respan_openai.testing import Cassette, CassetteMismatch, Options, cassette, no_waiting
from tests.local_support import COMPLETION, FAMILIES, answer, listening
from tests.testing.test_cassette import HELLO, KEY, NOWHERE, ask, client, closed_clients, numbered


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.local_support import Upstream


__all__ = ["closed_clients"]  # a fixture for this file as well

#: What the installed SDK is built on.
LIBRARY: Any = importlib.import_module(FAMILIES[0])


BUSY = {"error": {"message": "busy"}}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A gateway on a loopback socket that answers each request differently."""
    with listening() as server:
        server.respond = numbered(server)
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a cassette that is not there yet."""
    return tmp_path / "calls.json"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opens when the test is over: answers that wait for it do not come before."""
    event = threading.Event()
    yield event
    event.set()


def recorded(path: Path) -> list[Any]:
    """The calls in the file."""
    return json.loads(path.read_text())["calls"]


def gateway_at(base_url: str) -> Gateway:
    return Gateway(KEY, base_url.replace("/v1", "/api"))


def awaiting(base_url: str, *, timeout: float = 20, **options: Any) -> openai.AsyncOpenAI:
    """Same as ``client``, awaited; *options* are those of ``wrap``."""
    inner = openai.AsyncOpenAI(api_key="canary-provider-key-33333", timeout=timeout)
    return wrap(inner, gateway=gateway_at(base_url), **options)


async def aask(asked: openai.AsyncOpenAI, text: str = "hello") -> str | None:
    messages: Any = [{"role": "user", "content": text}]
    return (await asked.chat.completions.create(model="m", messages=messages)).choices[0].message.content


def holding(upstream: Upstream, gate: threading.Event, *numbers: int) -> threading.Event:
    """Let *upstream* answer the requests *numbers* behind *gate*; the event returned says that one is there."""
    respond, arrived = upstream.respond, threading.Event()

    def held(wfile: Any, raw: bytes) -> None:
        if len(upstream.received) in numbers:
            arrived.set()
            gate.wait(20)
        respond(wfile, raw)

    upstream.respond = held
    return arrived


def failing(upstream: Upstream, *numbers: int, status: int = 500) -> None:
    """Let *upstream* refuse the requests *numbers*, counted from 1."""
    respond = upstream.respond

    def refused(wfile: Any, raw: bytes) -> None:
        if len(upstream.received) in numbers:
            answer(wfile, status, BUSY, "Retry-After-Ms: 1")
        else:
            respond(wfile, raw)

    upstream.respond = refused


def test_a_pattern_that_is_found_in_a_path(upstream: Upstream, path: Path) -> None:
    """What a user wants to be kept out is looked for everywhere, also where nothing else could be secret."""
    redact = [re.compile("completions")]
    with cassette(path, mode="once", redact=redact):
        live = ask(client(upstream.base_url))
    with cassette(path, redact=redact):
        assert ask(client(NOWHERE)) == live

    assert [call["request"]["path"] for call in recorded(path)] == ["/chat/{{secret:1}}"]


# -- streams that nobody read to their end


def test_a_stream_that_is_still_open(upstream: Upstream, path: Path) -> None:
    """What came of it until then is its recording, and a good file is not replaced by an empty one."""
    for mode, url in (("once", upstream.base_url), ("rewrite", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode):
            stream = client(url).chat.completions.create(model="m", messages=HELLO, stream=True)
            assert next(iter(stream)).choices[0].delta.content == "a"

        assert [call["response"]["end"] for call in recorded(path)] == ["closed"]


def test_an_awaited_stream_that_is_left(upstream: Upstream, path: Path) -> None:
    """``break`` alone closes nothing at once, and is enough."""

    async def first(url: str, mode: str) -> str | None:
        async with awaiting(url) as asked:
            with cassette(path, mode=mode):
                stream = await asked.chat.completions.create(model="m", messages=HELLO, stream=True)
                async for chunk in stream:
                    return chunk.choices[0].delta.content
        return None

    assert [asyncio.run(first(upstream.base_url, "once")), asyncio.run(first(NOWHERE, "none"))] == ["a", "a"]
    assert len(recorded(path)) == 1


def test_a_call_that_is_still_under_way(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """It has no answer to record: that is told, and the file stays as it was."""
    with cassette(path, mode="once"):
        ask(client(upstream.base_url))
    before, arrived = path.read_bytes(), holding(upstream, gate, 2)

    tape = Cassette(path, Options(mode="rewrite")).start()
    thread = threading.Thread(target=ask, args=(client(upstream.base_url), "late"))
    thread.start()
    assert arrived.wait(20)
    [problem] = tape.stop()
    gate.set()
    thread.join()

    assert "call #1 (POST /chat/completions) was still under way" in problem
    assert path.read_bytes() == before


def test_half_an_answer_in_json(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """Is none, also where its type names a character set: it is still under way."""

    def half(wfile: Any, _raw: bytes) -> None:
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 1000"
        wfile.write(f"{head}\r\n\r\n{{".encode())
        wfile.flush()
        gate.wait(20)

    upstream.respond = half
    tape = Cassette(path, Options(mode="once")).start()
    inner = openai.OpenAI(api_key="k", base_url=upstream.base_url)
    asked = wrap(inner, gateway=gateway_at(upstream.base_url))
    with asked.models.with_streaming_response.list() as response:
        body = response.iter_bytes()
        assert next(body) == b"{"
        [problem] = tape.stop()

    assert "call #1 (GET /models) was still under way" in problem
    assert not path.exists()


def test_a_call_under_way_after_a_failure(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """Is no further trouble, also where the others are saved all the same."""
    arrived = holding(upstream, gate, 2)
    tape = Cassette(path, Options(mode="once", save="always")).start()
    asked = client(upstream.base_url)
    ask(asked)
    thread = threading.Thread(target=ask, args=(asked, "late"))
    thread.start()
    assert arrived.wait(20)

    assert tape.stop(passed=False) == []
    gate.set()
    thread.join()
    assert len(recorded(path)) == 1


# -- calls that somebody gave up


def test_a_call_that_is_cancelled(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """Nothing was answered that could be played, so that the recording is refused and says what to do."""
    arrived = holding(upstream, gate, 1)

    async def main() -> None:
        async with awaiting(upstream.base_url) as asked:
            task = asyncio.ensure_future(aask(asked))
            await asyncio.to_thread(arrived.wait, 20)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    said = r"call #1 \(POST /chat/completions\) was cancelled by the test .*awaits it to its end"
    with pytest.raises(CassetteMismatch, match=said), cassette(path, mode="once"):
        asyncio.run(main())

    assert not path.exists()


def test_an_error_that_is_none_of_the_library(path: Path) -> None:
    """It could not be raised again as what it was."""

    def broken(_request: Any) -> Any:
        raise ZeroDivisionError

    with LIBRARY.Client(transport=LIBRARY.MockTransport(broken)) as http:
        asked = wrap(openai.OpenAI(api_key="k", http_client=http, max_retries=0), gateway=gateway_at(NOWHERE))
        with (
            pytest.raises(CassetteMismatch, match="ended with ZeroDivisionError"),
            cassette(path, mode="once"),
            suppress(Exception),
        ):
            ask(asked)

    assert not path.exists()


def test_a_timeout_of_the_client(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """An awaited call is cancelled when its time is over: for whoever asked a timeout, live and played."""
    holding(upstream, gate, 1)

    async def timed_out(url: str, seconds: float) -> None:
        async with awaiting(url, timeout=seconds, retry=Retry(attempts=1)) as asked:
            with pytest.raises(openai.APITimeoutError):
                await aask(asked)

    with cassette(path, mode="once"):
        asyncio.run(timed_out(upstream.base_url, 0.1))
    with cassette(path):
        asyncio.run(timed_out(NOWHERE, 20))

    assert [call["error"]["type"] for call in recorded(path)] == ["ReadTimeout"]


def test_a_timeout_of_a_blocking_client(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """Its connection is shut down when the time is over, while the answer drips in: a timeout all the same."""

    def drips(wfile: Any, _raw: bytes) -> None:
        wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
        while not gate.wait(0.02):
            wfile.write(b" ")
            wfile.flush()

    def timed_out(url: str, seconds: float) -> None:
        asked = wrap(
            openai.OpenAI(api_key="k", timeout=seconds), gateway=gateway_at(url), retry=Retry(attempts=1)
        )
        with pytest.raises(openai.APITimeoutError):
            ask(asked)

    upstream.respond = drips
    with cassette(path, mode="once"):
        timed_out(upstream.base_url, 0.2)
    with cassette(path):
        timed_out(NOWHERE, 20)

    assert [call["error"]["type"] for call in recorded(path)] == ["ReadTimeout"]


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
def test_a_timeout_of_a_client_with_a_fallback(
    upstream: Upstream, path: Path, gate: threading.Event, awaited: bool, drips: bool
) -> None:
    """Live, no time is left for the fallback. Nor is there when it is played, which takes none itself."""

    def respond(wfile: Any, _raw: bytes) -> None:
        if drips:
            wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n")
        while not gate.wait(0.02):
            if drips:
                wfile.write(b" ")
                wfile.flush()

    def timed_out(url: str) -> Any:
        options = {
            "fallbacks": [Provider("other", url, "canary-other-key-44444")],
            "retry": Retry(attempts=2),
        }
        with pytest.raises(openai.APITimeoutError) as caught:
            if awaited:
                asyncio.run(_aasked(awaiting(url, timeout=0.3, **options)))
            else:
                plain = openai.OpenAI(api_key="k", timeout=0.3, max_retries=0)
                ask(wrap(plain, gateway=gateway_at(url), **options))
        return caught.value

    upstream.respond = respond
    with cassette(path, mode="once"):
        live = timed_out(upstream.base_url)
    assert len(upstream.received) == 1
    with cassette(path):
        played = timed_out(NOWHERE)

    assert [call["error"]["spent"] for call in recorded(path)] == [True]
    assert type(played) is type(live)
    assert [each.target for each in record_of(played).attempts] == ["respan"]


def test_a_played_timeout_is_over_for_its_call_alone(
    upstream: Upstream, path: Path, gate: threading.Event
) -> None:
    """The breaker that it opens lets a probe in as soon as one that took no time: clocks are not moved."""
    holding(upstream, gate, 1)

    def asked_twice(url: str) -> list[str | None]:
        plain = openai.OpenAI(api_key="k", timeout=openai.Timeout(20, read=0.5), max_retries=0)
        other = Provider("other", url, "canary-other-key-44444")
        asked = wrap(
            plain, gateway=gateway_at(url), fallbacks=[other], breaker=Breaker(failures=1, open_for=0.1)
        )
        targets: list[str | None] = []
        for text in ("one", "two"):
            ask(asked, text)
            targets.append(last_call().target)
            threading.Event().wait(0.2)
        return targets

    with cassette(path, mode="once", retries="keep"):
        live = asked_twice(upstream.base_url)
    with cassette(path):
        assert asked_twice(NOWHERE) == live == ["other", "respan"]


async def _aasked(asked: openai.AsyncOpenAI) -> None:
    async with asked:
        await aask(asked)


def test_a_stream_that_falls_silent(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """Comments are no content: for whoever reads it, it is broken off, live and played, at the same place."""

    def respond(wfile: Any, _raw: bytes) -> None:
        wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        wfile.write(b'data: {"choices":[{"index":0,"delta":{"content":"so far"}}]}\n\n')
        while not gate.wait(0.02):
            wfile.write(b": ping\n\n")
            wfile.flush()

    def broken_off(url: str) -> Any:
        plain = openai.OpenAI(api_key="k", timeout=20)
        asked = wrap(plain, gateway=gateway_at(url), timeouts=Timeouts(idle=0.1))
        stream = asked.chat.completions.create(model="m", messages=HELLO, stream=True)
        with pytest.raises(StreamInterrupted) as caught:
            list(stream)
        return caught.value

    upstream.respond = respond
    with cassette(path, mode="once"):
        live = broken_off(upstream.base_url)
    with cassette(path):
        played = broken_off(NOWHERE)

    assert (played.text, played.events) == (live.text, live.events) == ("so far", 1)
    assert [call["error"]["type"] for call in recorded(path)] == ["ReadTimeout"]


EAGER = Hedge(samples=1, floor=0.02, quantile=0.5, budget=1.0)


@pytest.mark.parametrize("slower", [2, 3])
def test_the_slower_of_two_tasks_is_not_recorded(
    upstream: Upstream, path: Path, gate: threading.Event, slower: int
) -> None:
    """It was cancelled, and the call was answered: played, the call is made once."""
    first = threading.Event()
    holding(upstream, gate if slower == 2 else first, 2)
    arrived = holding(upstream, gate if slower == 3 else threading.Event(), slower)
    threading.Thread(target=lambda: arrived.wait(20) and first.set()).start()

    async def both(url: str, mode: str) -> list[str | None]:
        async with awaiting(url, hedge=EAGER) as asked:
            with cassette(path, mode=mode):
                return [await aask(asked, "one"), await aask(asked, "two")]

    answers = asyncio.run(both(upstream.base_url, "once"))
    assert len(upstream.received) == 3
    assert asyncio.run(both(NOWHERE, "none")) == answers


@pytest.mark.parametrize("lands", [True, False])
def test_the_slower_of_two_threads_is_not_recorded(
    upstream: Upstream, path: Path, gate: threading.Event, lands: bool
) -> None:
    """Whether it is answered before the cassette is saved, or not."""
    holding(upstream, gate, 2)

    def both(url: str) -> list[str | None]:
        asked = wrap(openai.OpenAI(api_key="k"), gateway=gateway_at(url), hedge=EAGER)
        return [ask(asked, "one"), ask(asked, "two")]

    with cassette(path, mode="once"):
        assert both(upstream.base_url) == ["answer 1", "answer 3"]
        if lands:
            gate.set()
            for thread in [each for each in threading.enumerate() if "hedge" in each.name]:
                thread.join(20)
    with cassette(path):
        assert both(NOWHERE) == ["answer 1", "answer 3"]


# -- failures, and the same question once more


def test_a_failure_that_the_test_has_seen(upstream: Upstream, path: Path) -> None:
    """Who asks again himself makes another call, and the failure of the first is played as well."""
    failing(upstream, 1)

    def twice(url: str) -> str | None:
        asked = wrap(openai.OpenAI(api_key="k"), gateway=gateway_at(url), retry=Retry(attempts=1))
        with pytest.raises(openai.InternalServerError):
            ask(asked)
        return ask(asked)

    with cassette(path, mode="once"):
        assert twice(upstream.base_url) == "answer 2"
    with cassette(path):
        assert twice(NOWHERE) == "answer 2"


def test_calls_that_ask_the_same_at_once(upstream: Upstream, path: Path, gate: threading.Event) -> None:
    """The failure of one is not made up for by the answer of the other."""
    failing(upstream, 1)
    arrived = holding(upstream, gate, 2)
    made = wrap(openai.OpenAI(api_key="k"), gateway=gateway_at(upstream.base_url), retry=Retry(attempts=1))

    with made as asked, cassette(path, mode="once"):
        with pytest.raises(openai.InternalServerError):
            ask(asked)
        thread = threading.Thread(target=ask, args=(asked,))
        thread.start()
        assert arrived.wait(20)
        gate.set()
        thread.join()

    assert [call["response"]["status"] for call in recorded(path)] == [500, 200]


@pytest.mark.parametrize(("repeats", "kept"), [(1, [200]), (0, [500, 200])])
def test_retries_of_the_sdk(upstream: Upstream, path: Path, repeats: int, kept: list[int]) -> None:
    """What passes by the gateway is repeated by the SDK, and says so; who repeats it himself makes two calls."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, {"created": 1, "data": []})
    failing(upstream, 1)

    def draw(url: str) -> None:
        inner = openai.OpenAI(api_key="k", base_url=url, max_retries=repeats)
        with wrap(inner, gateway=gateway_at(NOWHERE)) as asked:
            if not repeats:
                with pytest.raises(openai.InternalServerError):
                    asked.images.generate(prompt="a fox", model="i")
            asked.images.generate(prompt="a fox", model="i")

    with cassette(path, mode="once"):
        draw(upstream.base_url)
    assert [call["response"]["status"] for call in recorded(path)] == kept
    with cassette(path):
        draw(NOWHERE)


@pytest.mark.parametrize("location", ["/api/elsewhere?x=1", "{origin}/api/elsewhere?x=1"])
def test_a_redirect(upstream: Upstream, path: Path, location: str) -> None:
    """Within an origin it is followed as it was recorded, wherever it is played."""
    origin = upstream.base_url.removesuffix("/v1")

    def respond(wfile: Any, raw: bytes) -> None:
        if raw.startswith(b"POST /api/elsewhere"):
            answer(wfile, 200, COMPLETION)
        else:
            answer(wfile, 307, {}, f"Location: {location.format(origin=origin)}")

    upstream.respond = respond
    with cassette(path, mode="once"):
        live = ask(client(upstream.base_url))
    with cassette(path):
        assert ask(client(NOWHERE)) == live

    head = [call["response"].get("headers", {}).get("location") for call in recorded(path)]
    assert head == ["/api/elsewhere?x=1", None]
    assert len(upstream.received) == 2


def test_a_redirect_that_is_refused(upstream: Upstream, path: Path) -> None:
    """One to another origin is refused when it is played, as it was."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 307, {}, "Location: http://other.example/api/x")

    with cassette(path, mode="once"), pytest.raises(RedirectRefused):
        ask(client(upstream.base_url))
    with cassette(path), pytest.raises(RedirectRefused, match="another origin"):
        ask(client(NOWHERE))


# -- bodies


def test_a_body_that_can_only_be_awaited(path: Path) -> None:
    """It is read before it is compared, and sent from memory then."""
    received: list[bytes] = []

    async def respond(request: Any) -> Any:
        received.append(await request.aread())
        return LIBRARY.Response(200, json=COMPLETION)

    async def said(mode: str, text: str) -> int:
        async def body() -> AsyncIterator[bytes]:
            yield b'{"model":"m","messages":'
            yield json.dumps([{"role": "user", "content": text}]).encode() + b"}"

        transport = AsyncRespanTransport(LIBRARY.MockTransport(respond), gateway=gateway_at(NOWHERE))
        async with LIBRARY.AsyncClient(transport=transport) as http:
            with cassette(path, mode=mode):
                answered = await http.post("https://api.openai.com/v1/chat/completions", content=body())
                return answered.status_code

    assert asyncio.run(said("once", "one")) == 200
    question = {"model": "m", "messages": [{"role": "user", "content": "one"}]}
    assert [json.loads(each) for each in received] == [question]
    assert recorded(path)[0]["request"]["json"] == question
    assert asyncio.run(said("none", "one")) == 200
    with pytest.raises(CassetteMismatch, match=r"messages\[0\]"):
        asyncio.run(said("none", "two"))


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
def test_a_body_that_can_be_read_once_is_sent_once(path: Path, awaited: bool) -> None:
    """As without a cassette: a failure is not repeated, though the body was read to be compared."""
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    statuses: list[int] = []

    def respond(_request: Any) -> Any:
        statuses.append(500 if not statuses else 200)
        return LIBRARY.Response(statuses[-1], json=COMPLETION)

    def blocking() -> Any:
        transport = RespanTransport(LIBRARY.MockTransport(respond), gateway=gateway_at(NOWHERE))
        with LIBRARY.Client(transport=transport) as http:
            return http.post(f"{NOWHERE}/chat/completions", content=iter([body]), headers=headers)

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async def awaiting() -> Any:
        transport = AsyncRespanTransport(LIBRARY.MockTransport(respond), gateway=gateway_at(NOWHERE))
        async with LIBRARY.AsyncClient(transport=transport) as http:
            return await http.post(f"{NOWHERE}/chat/completions", content=pieces(), headers=headers)

    for mode in ("once", "none"):
        with cassette(path, mode=mode), no_waiting():
            answered = asyncio.run(awaiting()) if awaited else blocking()
        assert (answered.status_code, statuses) == (500, [500])


def test_a_header_that_is_compared_is_read_as_keys_are(
    upstream: Upstream, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret beyond ASCII is known for one, in calls for the gateway and in those that pass it by."""
    monkeypatch.setenv("MY_PASSWORD", "pässwört-geheim")
    http = LIBRARY.Client(headers=[("x-note", "pässwört-geheim".encode())])
    sdk = openai.OpenAI(api_key=KEY, base_url=upstream.base_url, max_retries=0, http_client=http)
    gateway = Gateway(KEY, upstream.base_url.replace("/v1", "/api"), headers=["x-note"])

    with wrap(sdk, gateway=gateway) as asked, cassette(path, mode="once", match=["header:x-note"]):
        ask(asked)
        with suppress(openai.OpenAIError):
            asked.models.list()

    headers = [each["request"]["headers"] for each in recorded(path)]
    assert headers == [{"x-note": "{{env:MY_PASSWORD}}"}] * 2


def test_an_answer_that_cannot_be_unpacked(upstream: Upstream, path: Path) -> None:
    """Up to where it can be it is kept, and breaks off there again."""
    packed = gzip.compress(json.dumps([random.Random(seed).random() for seed in range(500)]).encode())
    broken = packed[:2000] + b"garbage" + packed[2000:]
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, broken, "Content-Encoding: gzip")
    reasons: list[str] = []
    for mode, url in (("once", upstream.base_url), ("none", NOWHERE)):
        with cassette(path, mode=mode):
            asked = wrap(openai.OpenAI(api_key="k"), gateway=gateway_at(url), retry=Retry(attempts=1))
            with pytest.raises(openai.APIConnectionError) as caught:
                ask(asked)
            reasons.append(str(caught.value))

    assert "DecodingError" in reasons[0]
    assert "DecodingError" in reasons[1]
    assert [call["error"]["type"] for call in recorded(path)] == ["DecodingError"]
