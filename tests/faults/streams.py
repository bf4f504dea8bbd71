"""Streams of both interfaces, cut where a test wants them, and clients that read them."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from .answers import (
    COMMENT,
    DONE,
    content,
    event,
    numbered,
    openai_error,
    response_delta,
    response_error,
    response_start,
    response_stream,
    role,
)


if TYPE_CHECKING:
    from collections.abc import Iterator

    from respan_openai import CallRecord

    from .scripted import Scripted
    from .world import World


INTERFACES = ["chat", "responses"]

#: What comes before the first content.
BEGUN = {"chat": [COMMENT, role()], "responses": numbered(*response_start())}

#: The same, and a first piece of text.
SAID = {
    "chat": [*BEGUN["chat"], content("Hel")],
    "responses": numbered(*response_start(), response_delta("Hel")),
}

#: What a caller gets of ``SAID``: pieces of text, or types of events.
GOT = {"chat": ["Hel"], "responses": [said["type"] for said in [*response_start(), response_delta("")]]}

#: What a caller gets of a whole answer.
WHOLE = {
    "chat": ["Hel", "lo!"],
    "responses": [json.loads(said.partition(b"data: ")[2])["type"] for said in response_stream("Hel", "lo!")],
}


def failing(interface: str, code: str) -> list[bytes]:
    """A stream with an error in the place of the first content."""
    if interface == "chat":
        return [*BEGUN["chat"], event(openai_error(code=code)), DONE]
    return [*BEGUN["responses"], *numbered(response_error(code))]


def comments() -> Iterator[Any]:
    """Comments without end, too many of them for the timeout of a single read."""
    return itertools.chain.from_iterable([COMMENT, 0.02] for _ in itertools.count())


# --- clients ---------------------------------------------------------------


def alone(world: World, step: Any, **options: Any) -> tuple[Scripted, list[CallRecord], Any]:
    """The gateway, which does *step*; the records of a client of it alone, and the client."""
    gateway = world.gateway(step)
    records: list[CallRecord] = []
    return gateway, records, world.wrapped(world.provider(), gateway, on_call=records.append, **options)


def with_fallback(
    world: World, step: Any, **options: Any
) -> tuple[Scripted, Scripted, list[CallRecord], Any]:
    """The gateway, which does *step*; a second target; the records of a client of both, and the client."""
    gateway, second = world.gateway(step), world.server("p2")
    records: list[CallRecord] = []
    client = world.wrapped(world.provider(), gateway, second, on_call=records.append, **options)
    return gateway, second, records, client


def meanings(record: CallRecord) -> list[str | None]:
    """What the attempts of a call came to."""
    return [attempt.meaning for attempt in record.attempts]


# --- reading ---------------------------------------------------------------


async def read(world: World, client: Any, interface: str, into: list[str] | None = None) -> list[str]:
    """A streamed call: its pieces of text, or the types of its events; they go into *into* as they come."""
    got = [] if into is None else into
    await {"chat": world.text, "responses": world.responses_stream}[interface](client, into=got)
    return got


async def opened(world: World, client: Any, interface: str) -> Any:
    """A streamed call of which nothing was read yet."""
    return await {"chat": world.call, "responses": world.responses}[interface](client, stream=True)


async def take(world: World, stream: Any, number: int) -> list[Any]:
    """The next so many items of *stream*."""
    return [await anext(stream) if world.is_async else next(stream) for _ in range(number)]


async def close(world: World, stream: Any) -> None:
    """``close()`` in either colour."""
    closing = stream.close()
    if world.is_async:
        await closing
