"""A stream on its way: its bytes, however they are cut; what is changed, and what is kept."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai._core.sse import Watch
from respan_openai._core.steps import EventTooLarge
from respan_openai.local.metering import Metering
from respan_openai.local.prices import Prices
from respan_openai.local.reading import Asked
from respan_openai.local.relay import MOST_KEPT, Relay
from respan_openai.local.usage_stream import UsageHider
from tests.local.support import USAGE, chat_events, response_events


CHAT, RESPONSES = "/chat/completions", "/responses"
DONE = b"data: [DONE]\n\n"
FULL_USAGE = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}


def watch(path: str = CHAT, most: int = 1 << 20) -> Watch:
    """One that has seen nothing."""
    return Watch(path, max_event=most)


def metering(path: str = CHAT, **params: Any) -> Metering:
    """A call with these parameters, at no price."""
    fields: dict[str, Any] = {"model": "m", "stream": True, "messages": []}
    asked = Asked(path, None, frozenset(), params, fields, b"{}", untouched=True)
    return Metering(asked, fields, Prices(None), 0.0, 0.0)


def counted(*texts: str) -> list[bytes]:
    """A chat stream that tells a usage with cache counters."""
    events = chat_events(*texts, counts=True)
    return [event.replace(json.dumps(USAGE).encode(), json.dumps(FULL_USAGE).encode()) for event in events]


def whole(relay: Relay, chunks: list[bytes]) -> bytes:
    """All that a caller gets of *chunks*."""
    return b"".join([*map(relay.passed, chunks), relay.over()])


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """*body* cut at *places*, each taken modulo its length."""
    edges = sorted({0, len(body), *(place % len(body) for place in places)})
    return [body[begin:end] for begin, end in pairwise(edges)]


def dressed(path: str = CHAT, **options: Any) -> Relay:
    """One with everything at once: usage hidden, counters added, and a summary."""
    meter, seen = metering(path, request_breakdown=True), watch(path)
    summary, changes = meter.summary_events(lambda: {"model": seen.model}), [UsageHider(), meter.counts]
    return Relay(path, seen, changes=changes, dressing=meter.dressing, summary=summary, **options)


PLACES = st.lists(st.integers(0, 1 << 20), max_size=40)


# -- cutting


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    ("path", "events"),
    [
        (CHAT, counted("Hel", "lo", "!")),
        (CHAT, chat_events("a")[:-1]),
        (RESPONSES, response_events("a", "b")),
    ],
    ids=["chat", "chat without [DONE]", "responses"],
)
@given(places=PLACES)
def test_any_chunking_gives_the_same_bytes(
    path: str, events: list[bytes], line_end: bytes, places: list[int]
) -> None:
    """Wherever a provider's network cuts the stream, the caller and the cache get the same."""
    body = b"".join(events).replace(b"\n", line_end)
    at_once, in_pieces = dressed(path, keeps=True), dressed(path, keeps=True)

    assert whole(in_pieces, cut(body, places)) == whole(at_once, [body])
    assert b"".join(in_pieces.kept) == b"".join(at_once.kept)
    assert in_pieces.is_whole
    assert at_once.is_whole


@given(places=PLACES, body=st.binary(min_size=1, max_size=300))
def test_nothing_asked_for_changes_nothing(places: list[int], body: bytes) -> None:
    """Any bytes at all pass byte for byte where there is nothing to change, on every path."""
    for path in (CHAT, RESPONSES, "/audio/speech", "/audio/transcriptions"):
        assert whole(Relay(path, watch(path), keeps=True), cut(body, places)) == body


def test_event_is_passed_as_soon_as_it_is_whole() -> None:
    """It does not wait for the next one; part of an event waits for its rest."""
    relay = Relay(CHAT, watch())

    assert relay.passed(b"data: 1\n\ndata:") == b"data: 1\n\n"
    assert relay.passed(b" 2\n") == b""
    assert relay.passed(b"\n") == b"data: 2\n\n"


def test_other_paths_pass_at_once() -> None:
    """What is no stream of chat or Responses events is not held back for an end that may never come."""
    assert Relay("/audio/transcriptions", watch("/audio/transcriptions")).passed(b"data: 1") == b"data: 1"


def test_what_was_seen_is_not_seen_again() -> None:
    """The watch of the attempt knows what was held back."""
    seen = watch()
    events = chat_events("a")
    seen.feed(events[0] + events[1])
    relay = Relay(CHAT, seen)
    before = seen.events
    relay.passed(events[0] + events[1], seen=True)

    assert seen.events == before
    relay.passed(events[2])
    assert seen.events == before + 1


def test_event_that_grows_without_end() -> None:
    """It is an error at the watch's limit, and nothing of it was passed."""
    relay = Relay(CHAT, watch(most=1000))

    assert [relay.passed(b"data: " + b"x" * 100) for _ in range(9)] == [b""] * 9
    with pytest.raises(EventTooLarge):
        relay.passed(b"x" * 100)


# -- the end


@pytest.mark.parametrize(
    ("path", "events", "whole_there", "over_there"),
    [
        (CHAT, chat_events("a"), True, True),
        (CHAT, chat_events("a")[:-1], True, False),
        (CHAT, chat_events("a")[:-2], False, False),
        (CHAT, [], False, False),
        (CHAT, [*chat_events("a")[:2], b'data: {"error": {"message": "no"}}\n\n'], False, True),
        (CHAT, [*chat_events("a")[:2], b'data: {"error": {"message": "no"}}\n\n', DONE], False, True),
        (CHAT, [*chat_events("a")[:2], b"data: {\n\n"], False, False),
        (RESPONSES, response_events("a"), True, True),
        (RESPONSES, response_events("a")[:-1], False, False),
        (RESPONSES, [*response_events("a")[:-1], DONE], False, True),
    ],
)
def test_end(path: str, events: list[bytes], *, whole_there: bool, over_there: bool) -> None:
    """An answer is whole if it came to its end without an error; nothing more is to be expected after its last event."""
    relay = Relay(path, watch(path))
    whole(relay, events)

    assert (relay.is_whole, relay.is_over) == (whole_there, over_there)


def test_chat_is_not_over_before_its_usage() -> None:
    """The usage comes after the last choice has finished."""
    relay = Relay(CHAT, watch())
    for event in counted("a")[:-1]:
        relay.passed(event)

    assert relay.is_whole
    assert not relay.is_over


def test_summary_without_done() -> None:
    """A stream that ends without [DONE] gets its summary all the same, before bytes that end no event."""
    body = whole(dressed(), [*chat_events("a")[:-1], b": bye"])

    assert body.count(b'"request_breakdown":{') == 1
    assert body.endswith(b"\n\n: bye")


@pytest.mark.parametrize("events", [chat_events("a")[:-2], [b'data: {"error": {"message": "no"}}\n\n']])
def test_no_summary_of_what_broke_off(events: list[bytes]) -> None:
    """Half an answer has none."""
    assert b"request_breakdown" not in whole(dressed(), events)


# -- changes


def test_hider_counters_and_summary_together() -> None:
    """The usage that nobody asked for is gone, the summary is there, and all else is byte for byte the provider's."""
    events = counted("a", "b")
    out = whole(dressed(), events)
    plain = [event.replace(b', "usage": null', b"").replace(b',"usage":null', b"") for event in events]
    summary = out.partition(b'"request_breakdown":')[2]

    assert out.replace(b'"usage":null', b"").count(b"usage") == 0
    assert summary.startswith(b'{"model":"m-2025"}')
    assert out.startswith(b"".join(plain[:-2]))
    assert out.endswith(DONE)


def test_usage_that_was_asked_for_has_counters() -> None:
    """Without a hider the usage stays, with both names of its cache counters."""
    relay = Relay(CHAT, watch(), changes=[metering().counts], keeps=True)
    out = whole(relay, counted("a"))

    assert b'"cache_read_input_tokens":4' in out
    assert b"".join(relay.kept) == out  # everybody gets them, so they need not be added to a hit


@pytest.mark.parametrize("text", ["plain", 'say "usage": {} please', '"usage": null'])
def test_text_that_looks_like_usage(text: str) -> None:
    """What a model says is never taken for a count."""
    events = chat_events(text)
    relay = Relay(CHAT, watch(), changes=[UsageHider(), metering().counts])

    assert whole(relay, events) == b"".join(events)


# -- what is kept


def test_kept_is_without_what_is_for_this_caller_only() -> None:
    """The summary is made anew for each caller, so it is not kept; the hidden usage is not either."""
    events = counted("a", "b")
    relay = dressed(keeps=True)
    whole(relay, events)
    hidden = Relay(CHAT, watch(), changes=[UsageHider()])

    assert b"".join(relay.kept) == whole(hidden, events)
    assert relay.is_kept


def test_nothing_is_kept_unless_asked_for() -> None:
    """A stream that nobody keeps takes no memory."""
    relay = Relay(CHAT, watch())
    whole(relay, chat_events("a"))

    assert relay.kept == []
    assert not relay.is_kept


@pytest.mark.parametrize(("more", "is_kept"), [(0, True), (1, False)])
def test_bound(more: int, *, is_kept: bool) -> None:
    """Beyond ``MOST_KEPT`` bytes nothing is kept any more, not even what was there; the caller gets all of it."""
    path = "/audio/transcriptions"
    relay = Relay(path, Watch(path, max_event=2 * MOST_KEPT), keeps=True)
    half = b"x" * (MOST_KEPT // 2)
    passed = whole(relay, [half, half, b"y" * more])

    assert len(passed) == MOST_KEPT + more
    assert relay.is_kept is is_kept
    assert bool(relay.kept) is is_kept
