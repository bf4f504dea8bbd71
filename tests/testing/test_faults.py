"""Failures on demand: which requests they meet, and what is played instead."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing.errors import CassetteError
from respan_openai.testing.faults import Fault, Faults
from respan_openai.testing.recording import Answer, Chunk, Failure, Question


CHAT = Question("POST", "/chat/completions")
EMBEDDINGS = Question("POST", "/embeddings")

JSON = (("content-type", "application/json"),)
WHOLE = Answer(200, JSON, (Chunk(5, b'{"id": "a", '), Chunk(9, b'"choices": []}')))

EVENTS = [b": hello\n\n", b'data: {"n": 1}\r\n\r\n', b'event: x\ndata: {"n": 2}\n\n', b"data: [DONE]\n\n"]
STREAM = Answer(
    200,
    (("content-type", "text/event-stream; charset=utf-8"),),
    (Chunk(3, EVENTS[0] + EVENTS[1][:5]), Chunk(4, EVENTS[1][5:] + EVENTS[2]), Chunk(6, EVENTS[3])),
)

#: One for each effect that cuts a recorded answer.
CUTS: list[dict[str, Any]] = [{"disconnect_after": 1}, {"malformed": True}, {"truncate_bytes": 10}]


def content(answer: Answer) -> bytes:
    return b"".join(chunk.data for chunk in answer.chunks)


def met(faults: Faults, *questions: Question) -> list[int]:
    """The numbers of those requests that a fault meets."""
    return [number for number, each in enumerate(questions, 1) if faults.next(each, number) is not None]


# -- which requests


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [1]),
        ({"at": 3}, [3]),
        ({"times": 2}, [1, 2]),
        ({"at": 2, "times": 3}, [2, 3, 4]),
        ({"path": "/embeddings"}, [2]),
        ({"path": "/embeddings", "at": 3}, [4]),
        ({"path": "/embeddings", "times": 2}, [2, 4]),
        ({"path": "/responses"}, []),
        ({"rate": 1}, [1, 2, 3, 4]),
        ({"rate": 1, "times": 2}, [1, 2]),
        ({"rate": 1.0, "at": 3}, [3, 4]),
    ],
)
def test_when_a_fault_happens(spec, expected) -> None:
    """From a request on, at a path, so many times, or by chance; once unless something else is asked for."""
    faults = Faults([{"status": 500, **spec}])

    assert met(faults, CHAT, EMBEDDINGS, CHAT, EMBEDDINGS) == expected


def test_one_fault_for_one_request() -> None:
    """Faults that meet the same request happen one after another, in the order in which they were given."""
    faults = Faults([{"status": 500}, {"status": 429}])
    faults.add({"timeout": "read"})

    found = [faults.next(CHAT, number) for number in (1, 2, 3, 4)]

    assert [fault and str(fault) for fault in found] == ["status=500", "status=429", "timeout='read'", None]


def test_chance_is_the_same_in_every_run() -> None:
    """A seed decides which requests are met, not the order in which they come; another decides otherwise."""
    fault = Fault.of(status=500, rate=0.5, seed=7)
    runs = [
        [number for number in numbers if fault.meets(CHAT, number)]
        for numbers in (range(1, 101), range(100, 0, -1))
    ]
    other = [number for number in range(1, 101) if Fault.of(status=500, rate=0.5, seed=8).meets(CHAT, number)]

    assert runs[0] == sorted(runs[1])
    assert runs[0] != other
    assert 20 < len(runs[0]) < 80


def test_what_never_happened() -> None:
    """A fault that did not happen as often as it was to is told, for then the test has not tested it."""
    faults = Faults([
        {"status": 500, "times": 2},
        {"status": 429, "path": "/embeddings"},
        {"latency": 0.5, "rate": 1},
        {"timeout": "connect", "rate": 1e-9},
    ])  # fmt: skip
    faults.next(CHAT, 1)
    before = faults.unfired
    faults.next(CHAT, 2)
    faults.next(CHAT, 3)

    assert before == [
        "times=2, status=500 (1 of 2 times)",
        "path='/embeddings', status=429",
        "rate=1, latency=0.5",
        "rate=1e-09, timeout='connect'",
    ]
    assert faults.unfired == ["path='/embeddings', status=429", "rate=1e-09, timeout='connect'"]


# -- what is accepted


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"statsu": 500}, "has no 'statsu'; it has: at, path"),
        ({"status": 200}, "status=200: expected a status from 400 to 599"),
        ({"status": True}, "status=True: expected"),
        ({"status": "500"}, "status='500': expected"),
        ({"status": 500, "at": 0}, "at=0: expected the number of a request"),
        ({"status": 500, "times": 0}, "times=0"),
        ({"status": 500, "rate": 0}, "rate=0: expected a chance"),
        ({"status": 500, "rate": float("nan")}, "rate=nan"),
        ({"status": 500, "path": "/v1/embeddings"}, "without the base"),
        ({"status": 500, "path": "embeddings"}, "expected a path"),
        ({"status": 500, "path": b"/embeddings"}, "path=of type bytes"),
        ({"status": 500, "seed": 1}, "seed means something only together with rate"),
        ({"status": 500, "rate": 1, "seed": 1.5}, "seed=1.5"),
        ({"timeout": "write"}, "timeout='write': expected read or connect"),
        ({"timeout": ["read"]}, "timeout=of type list"),
        ({"timeout": "read", "retry_after": 1}, "retry_after means something only together with status"),
        ({"status": 429, "retry_after": -1}, "retry_after=-1"),
        ({"disconnect_after": -1}, "disconnect_after=-1"),
        ({"truncate_bytes": 1.5}, "truncate_bytes=1.5"),
        ({"malformed": 1}, "malformed=1: expected True"),
        ({"latency": "1"}, "latency='1': expected seconds"),
        ({"status": 500, "malformed": True}, "status and malformed: a fault does one thing"),
        ({"at": 1}, "The fault does nothing: give one of status"),
        ({"malformed": False}, "The fault does nothing"),
        ({"latency": 0}, "The fault does nothing"),
        ({}, "The fault does nothing"),
    ],
)
def test_what_is_not_accepted(spec, message) -> None:
    """A mistake is told where the fault is asked for, in one line that says what is expected."""
    with pytest.raises(CassetteError) as caught:
        Fault.of(**spec)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["status=500", 500, [("status", 500)]])
def test_a_fault_is_a_mapping(spec) -> None:
    """Anything else in a list of faults is refused with an example of what is meant."""
    with pytest.raises(CassetteError, match=r"such as \{'status': 429\}"):
        Faults([spec])


def test_none_is_as_if_it_were_not_there() -> None:
    """So that a helper of a test can pass on what it was given."""
    assert Fault.of(status=429, at=None, latency=None, timeout=None) == Fault.of(status=429)


# -- what happens


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, "invalid_request_error", None),
        (401, "invalid_request_error", "invalid_api_key"),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (599, "server_error", None),
    ],
)
@pytest.mark.parametrize("answer", [None, WHOLE, STREAM])
def test_an_error_status(status, kind, code, answer) -> None:
    """The error has OpenAI's shape, whatever was recorded; unless asked for it tells no time to wait."""
    played = Fault.of(status=status).applied(answer)
    error = json.loads(content(played))["error"]

    assert (played.status, played.headers, played.end, played.failure) == (status, JSON, "eof", None)
    assert (error["type"], error["code"], error["param"]) == (kind, code, None)
    assert str(status) in error["message"]


@pytest.mark.parametrize(
    ("seconds", "whole", "ms"), [(2, "2", "2000"), (0.2, "1", "200"), (0, "0", "0"), (1.5, "2", "1500")]
)
def test_a_time_to_wait(seconds, whole, ms) -> None:
    """It stands in both headers that the SDK reads; the one in whole seconds is never too early."""
    played = Fault.of(status=429, retry_after=seconds).applied(None)

    assert dict(played.headers)["retry-after"] == whole
    assert dict(played.headers)["retry-after-ms"] == ms


@pytest.mark.parametrize(("timeout", "name"), [("read", "ReadTimeout"), ("connect", "ConnectTimeout")])
def test_a_timeout(timeout, name) -> None:
    """No answer begins, and the exception is the HTTP library's own."""
    assert Fault.of(timeout=timeout).applied(WHOLE) == Answer(None, end="failed", failure=Failure(name, 0))


@pytest.mark.parametrize("count", range(6))
def test_a_stream_breaks_off_behind_so_many_events(count) -> None:
    """What came before is as recorded, cut where the event ends; the exception comes with the last chunk."""
    played = Fault.of(disconnect_after=count).applied(STREAM)
    last = {0: 0, 1: 3, 2: 4, 3: 4}.get(count, 6)

    assert content(played) == b"".join(EVENTS[:count])
    assert (played.status, played.end) == (200, "failed")
    assert played.failure == Failure("RemoteProtocolError", last)
    assert all(chunk.data for chunk in played.chunks)


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 13), (9, 13)])
def test_what_is_no_stream_breaks_off_in_its_middle(count, size) -> None:
    """Or before its first byte, if no event is to come."""
    played = Fault.of(disconnect_after=count).applied(WHOLE)

    assert content(played) == content(WHOLE)[:size]
    assert played.failure is not None


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 1), (12, 12), (13, 13), (1000, 26)])
def test_a_truncated_body(size, expected) -> None:
    """It ends after so many bytes as if that were all: nothing says that more was to come."""
    played = Fault.of(truncate_bytes=size).applied(WHOLE)

    assert content(played) == content(WHOLE)[:expected]
    assert (played.status, played.end, played.failure) == (200, "eof", None)


def test_a_malformed_body() -> None:
    """Half of it is missing, so that it is no JSON any more."""
    played = Fault.of(malformed=True).applied(WHOLE)

    assert content(WHOLE).startswith(content(played))
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(content(played))


def test_a_malformed_event() -> None:
    """Half of the first object is missing; what is around it and all later events are as recorded."""
    played = Fault.of(malformed=True).applied(STREAM)

    assert content(played) == b": hello\n\n" + b'data: {"n"\r\n\r\n' + EVENTS[2] + EVENTS[3]
    assert [chunk.at for chunk in played.chunks] == [3, 4, 6]


def test_a_stream_without_an_object_is_halved() -> None:
    """There is always something missing."""
    answer = STREAM._replace(chunks=(Chunk(1, b"data: [DONE]\n\n"),))

    assert content(Fault.of(malformed=True).applied(answer)) == b"data: ["


@given(
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans())), st.booleans()
)
def test_a_malformed_object_is_none(value, stream) -> None:
    """Whatever the object is, half of it cannot be parsed."""
    text = json.dumps(value).encode()
    body = b"data: " + text + b"\n\n" if stream else text
    answer = (STREAM if stream else WHOLE)._replace(chunks=(Chunk(0, body),))

    broken = content(Fault.of(malformed=True).applied(answer)).removeprefix(b"data: ")

    with pytest.raises(ValueError):  # noqa: PT011 -- json has many words for it
        json.loads(broken)


@pytest.mark.parametrize("spec", CUTS)
@pytest.mark.parametrize("answer", [None, Answer(None, end="failed", failure=Failure("ReadTimeout", 30))])
def test_nothing_to_cut(spec, answer) -> None:
    """Then the connection breaks off before an answer begins, also while a test is being recorded."""
    failure = Failure("RemoteProtocolError", 0)

    assert Fault.of(**spec).applied(answer) == Answer(None, end="failed", failure=failure)


@pytest.mark.parametrize("spec", CUTS)
@given(body=st.binary(max_size=40), cuts=st.lists(st.integers(1, 40), max_size=5))
def test_cuts_only_take_away(spec, body, cuts) -> None:
    """No cut fails on any body, invents a byte, or leaves an empty chunk."""
    edges = [0, *sorted({cut for cut in cuts if cut < len(body)}), len(body)]
    chunks = tuple(Chunk(at, body[at:to]) for at, to in pairwise(edges) if at < to)
    played = Fault.of(**spec).applied(STREAM._replace(chunks=chunks))

    rest = iter(body)
    assert all(byte in rest for byte in content(played))
    assert all(chunk.data for chunk in played.chunks)


def test_a_delay() -> None:
    """Alone it leaves the recorded answer as it is, which is used up; with an effect it comes before that."""
    alone, before_error = Fault.of(latency=0.2), Fault.of(latency=0.2, status=500)

    assert alone.applied(STREAM) is STREAM
    assert (alone.only_delays, alone.latency) == (True, 0.2)
    assert (before_error.only_delays, before_error.applied(STREAM).status) == (False, 500)


def test_nothing_to_delay() -> None:
    """A delay of what was never recorded is a mistake in the test."""
    with pytest.raises(CassetteError, match=r"latency=0.2 delays a recorded answer, and none was recorded"):
        Fault.of(latency=0.2).applied(None)
