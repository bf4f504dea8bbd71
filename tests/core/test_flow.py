"""The flow by hand: no I/O at all, only what it asks for and what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from respan_openai._core.call import Call, Outgoing
from respan_openai._core.flow import MAX_REDIRECTS, flow, origin_of, same_origin
from respan_openai._core.steps import NOW, Close, Refusal, Send
from respan_openai._core.trace import Trace


OUTGOING = Outgoing("https://g.example/api/responses", [(b"Host", b"g.example")], b"{}", "m")


class Target:
    """Always wants the same."""

    name = "g"

    def build(self, _call: Call) -> Outgoing:
        return OUTGOING


@dataclass
class Head:
    status_code: int
    headers: dict[str, str] = field(default_factory=dict)


TARGET = Target()


def call(*, follow_redirects: bool = True) -> Call:
    return Call(
        "POST",
        "https://p.example/v1/responses",
        b"/v1/responses",
        "/responses",
        [],
        None,
        None,
        follow_redirects,
    )


def begin(**options) -> tuple:
    trace = Trace("/responses", 10.0)
    steps = flow(call(**options), TARGET, trace)
    assert next(steps) == Send(TARGET, OUTGOING)
    return steps, trace


def result_of(steps, value):
    with pytest.raises(StopIteration) as stop:
        steps.send(value)
    return stop.value.value


def test_one_call() -> None:
    """It sends, asks for the time, and returns the answer."""
    steps, trace = begin()
    head = Head(200, {"x-respan-log-id": "l"})

    assert steps.send(head) is NOW
    assert result_of(steps, 11.5) is head

    record = trace.record(12.0)
    assert (record.target, record.model, record.status, record.log_id) == ("g", "m", 200, "l")
    assert (record.ms, record.done) == (2000.0, False)
    assert [(a.number, a.status, a.ms) for a in record.attempts] == [(1, 200, 1500.0)]


def test_an_error_is_recorded_and_goes_on() -> None:
    """What was raised instead of an answer leaves the flow unchanged."""
    steps, trace = begin()
    error = OSError("gone")

    assert steps.throw(error) is NOW
    with pytest.raises(OSError, match="gone") as caught:
        steps.send(11.25)

    assert caught.value is error
    (attempt,) = trace.record(12.0).attempts
    assert (attempt.status, attempt.error, attempt.ms) == (None, "OSError", 1250.0)
    assert trace.record(12.0).target is None


def test_cancelling_asks_for_nothing_more() -> None:
    """A flow that is closed while it waits ends at once."""
    steps, trace = begin()

    steps.close()

    assert trace.record(12.0).attempts == ()


def test_a_redirect_inside_the_origin() -> None:
    """The answer is closed before the next request is sent, with the same headers and body."""
    steps, _ = begin()
    head = Head(307, {"location": "/other"})

    assert steps.send(head) is NOW
    assert steps.send(12.0) == Close(head)
    assert steps.send(None) == Send(TARGET, Outgoing("https://g.example/other", OUTGOING.headers, b"{}", "m"))


@pytest.mark.parametrize(
    ("status", "location", "reason"),
    [
        (307, "https://evil.example/api", "another origin"),
        (308, "http://g.example/api", "another origin"),
        (307, "https://g.example:8443/api", "another origin"),
        (307, "//evil.example/api", "another origin"),
        (307, "https://g.example.evil.example/", "another origin"),
        (307, "https://g.example:bad/", "another origin"),
        (307, "https://user:secret@g.example/api", "user name"),
        (301, "/other", "into a GET"),
        (302, "/other", "into a GET"),
        (303, "/other", "into a GET"),
    ],
)
def test_redirects_that_are_refused(status, location, reason) -> None:
    """Nothing is sent there, and the answer's connection is given back."""
    steps, trace = begin()
    head = Head(status, {"location": location})

    assert steps.send(head) is NOW
    assert steps.send(12.0) == Close(head)
    refusal = result_of(steps, None)

    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason
    assert len(trace.record(12.0).attempts) == 1


def test_a_loop_of_redirects_ends() -> None:
    """After three, with a reason."""
    steps, trace = begin()
    head = Head(307, {"location": "/api/responses"})

    for _ in range(MAX_REDIRECTS):
        steps.send(head)
        steps.send(12.0)
        steps.send(None)
    steps.send(head)
    steps.send(12.0)
    refusal = result_of(steps, None)

    assert f"more than {MAX_REDIRECTS}" in refusal.reason
    assert len(trace.record(12.0).attempts) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("head", [Head(307), Head(304, {"location": "/x"}), Head(200, {"location": "/x"})])
def test_what_is_no_redirect(head) -> None:
    """No Location, or a status that means something else: delivered as it is."""
    steps, _ = begin()
    steps.send(head)

    assert result_of(steps, 12.0) is head


def test_a_caller_that_follows_none() -> None:
    """The redirect is delivered."""
    steps, _ = begin(follow_redirects=False)
    head = Head(307, {"location": "https://evil.example"})
    steps.send(head)

    assert result_of(steps, 12.0) is head


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://A.example:443/y", True),
        ("http://a.example", "http://a.example:80", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:444", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.", False),
        ("https://a.example", "https://u@a.example", True),
        ("https://a.example:x", "https://a.example:x", False),
    ],
)
def test_origins(one, other, same) -> None:
    """Scheme, host and port, exactly (RFC 6454, section 4); never a part of one."""
    assert same_origin(one, other) is same


def test_an_origin_with_its_default_port() -> None:
    """Filled in, so that both spellings compare equal."""
    assert origin_of("HTTPS://A.example") == ("https", "a.example", 443)


def test_a_trace_ends_once() -> None:
    """The first end counts; a reader who stops early is no error."""
    trace = Trace("/responses", 1.0)

    assert trace.end(2.0, received=5, error=GeneratorExit())
    assert not trace.end(9.0, error=OSError())

    record = trace.record(10.0)
    assert (record.ms, record.received, record.complete, record.error, record.done) == (
        1000.0,
        5,
        False,
        None,
        True,
    )
