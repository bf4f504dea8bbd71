"""Playing: how long it takes, how it is cut, and as whose decorator."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import Gateway, wrap
from respan_openai._clock import now
from respan_openai.testing import CassetteMismatch, Options, cassette, no_waiting
from respan_openai.testing.playing import delays_of, recut
from respan_openai.testing.recording import Answer, Chunk, Failure
from tests.local_support import COMPLETION, answer, listening, stream


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_support import Upstream


CHUNKS = (Chunk(100, b"data: a\n\n"), Chunk(350, b"data: b\n\n"), Chunk(300, b"data: c\n\n"))
STREAM = Answer(200, chunks=CHUNKS)


@pytest.mark.parametrize(
    ("timing", "head", "chunks"),
    [
        (0, 0.0, [0.0, 0.0, 0.0]),
        ("recorded", 0.1, [0.0, 0.25, 0.0]),
        (0.5, 0.05, [0.0, 0.125, 0.0]),
        ({"ttft": 2, "tps": 4}, 0.0, [2, 0.25, 0.25]),
        ({"ttft": 2}, 0.0, [2, 0.0, 0.0]),
        ({"tps": 4}, 0.0, [0.0, 0.25, 0.25]),
    ],
)
def test_times(timing: Any, head: float, chunks: list[float]) -> None:
    """As recorded, a share of that, or as a model of some speed; a clock that went back takes no time."""
    assert delays_of(STREAM, Options(timing=timing)) == (pytest.approx(head), pytest.approx(chunks))


@pytest.mark.parametrize(("timing", "head"), [(0, 0.0), ("recorded", 1.5), (2, 3.0)])
def test_times_of_a_failure(timing: Any, head: float) -> None:
    """What failed before it began takes as long as it took."""
    failed = Answer(None, end="failed", failure=Failure("ReadTimeout", 1500))

    assert delays_of(failed, Options(timing=timing)) == (head, [])


def test_cuts() -> None:
    """The bytes stay the same however they are cut: by byte, by event, or by chance, the same for the same seed."""
    whole = b"".join(chunk.data for chunk in CHUNKS)

    assert recut(CHUNKS, "recorded") == CHUNKS
    assert [chunk.data for chunk in recut(CHUNKS, "byte")] == [bytes([byte]) for byte in whole]
    assert [chunk.data for chunk in recut(CHUNKS, "event")] == [chunk.data for chunk in CHUNKS]
    assert b"".join(chunk.data for chunk in recut(CHUNKS, 7)) == whole
    assert recut(CHUNKS * 20, 7) == recut(CHUNKS * 20, 7) != recut(CHUNKS * 20, 8)
    assert recut((), 7) == recut((), "byte") == recut((), "event") == ()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A gateway that streams three words, or answers at once."""
    delta = (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
        b'"delta":{"content":"a"},"finish_reason":%s}]}\n\n'
    )
    events = (delta % b"null", delta % b"null", delta % b'"stop"', b"data: [DONE]\n\n")

    def respond(wfile: Any, raw: bytes) -> None:
        if b'"stream":true' in raw.replace(b" ", b""):
            stream(wfile, *events)
        else:
            answer(wfile, 200, COMPLETION)

    with listening() as server:
        server.respond = respond
        yield server


def client(url: str, sdk: Any = openai.OpenAI) -> Any:
    """A wrapped client with its gateway at *url*."""
    return wrap(sdk(api_key="unused"), gateway=Gateway("canary-key-0123", url.replace("/v1", "/api")))


ASK: Any = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


def test_a_stream_takes_its_time(upstream: Upstream, tmp_path: Path) -> None:
    """Seconds to the first token, and tokens a second, as an application would see them."""
    path, asked = tmp_path / "calls.json", client(upstream.base_url)
    with cassette(path, mode="once"):
        assert len(list(asked.chat.completions.create(**ASK, stream=True))) == 3

    with no_waiting(), cassette(path, timing={"ttft": 20, "tps": 0.1}, split="event"):
        began = now()
        times = [now() - began for _ in asked.chat.completions.create(**ASK, stream=True)]

    assert [round(seconds, -1) for seconds in times] == [20, 30, 40]


def test_a_decorated_coroutine_function(upstream: Upstream, tmp_path: Path) -> None:
    """It stays one; each call has a cassette of its own, and an error in it is not hidden."""
    path = tmp_path / "calls.json"

    @cassette(path, mode="once")
    async def ask(text: str) -> str | None:
        """Asks."""
        async with client(upstream.base_url, openai.AsyncOpenAI) as asked:
            messages: Any = [{"role": "user", "content": text}]
            answered = await asked.chat.completions.create(model="m", messages=messages)
            return answered.choices[0].message.content

    assert inspect.iscoroutinefunction(ask)
    assert (ask.__name__, ask.__doc__) == ("ask", "Asks.")
    assert asyncio.run(ask("hello")) == asyncio.run(ask("hello"))
    assert len(upstream.received) == 1
    with pytest.raises(CassetteMismatch):
        asyncio.run(ask("something else"))
