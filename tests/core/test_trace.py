"""A call's record in the making."""

from __future__ import annotations

import pytest

from respan_openai._core.trace import Trace, Tried


FAILED = Tried("g", "m", 503, "overload", began=10.0, ended=10.25)
ANSWERED = Tried("p", "n", 200, None, began=11.0, ended=12.5, wait=0.75, received=7, possible_duplicate=True)


def trace_of(*tried: Tried) -> Trace:
    """A call that began at 10 seconds and was tried so."""
    trace = Trace("/responses", 10.0)
    trace.tried.extend(tried)
    return trace


def test_a_record_while_the_call_runs() -> None:
    """What is known so far, up to the moment at which it is asked for."""
    record = trace_of(FAILED).record(11.0)

    assert (record.path, record.ms, record.done, record.complete) == ("/responses", 1000.0, False, False)
    assert (record.target, record.model, record.status, record.received) == (None, None, None, None)
    assert (record.cache_hit, record.log_id, record.usage, record.error) == (None, None, None, None)
    assert (record.answer_model, record.flags, record.continued) == (None, (), False)


def test_attempts_on_record() -> None:
    """All of them, numbered from one, in milliseconds."""
    first, second = trace_of(FAILED, ANSWERED).record(13.0).attempts

    assert (first.number, first.target, first.status, first.meaning) == (1, "g", 503, "overload")
    assert (first.ms, first.wait, first.possible_duplicate, first.error) == (250.0, 0.0, False, None)
    assert first.received == 0
    assert (second.number, second.model, second.meaning, second.received) == (2, "n", None, 7)
    assert (second.ms, second.wait, second.possible_duplicate) == (1500.0, 0.75, True)


@pytest.mark.parametrize(("cache", "hit"), [("hit", True), ("miss", False), ("stale", None)])
def test_what_was_delivered_is_on_record(cache, hit) -> None:
    """Whose answer it is, and what its headers say of cache and log."""
    trace = trace_of(FAILED, ANSWERED)

    trace.deliver(ANSWERED, {"x-respan-cache": cache, "x-respan-log-id": "l"})

    record = trace.record(13.0)
    assert (record.target, record.model, record.status) == ("p", "n", 200)
    assert (record.cache_hit, record.log_id) == (hit, "l")


def test_what_headers_tell_of_the_delivered_answer() -> None:
    """Who answered, as which model, in how many attempts."""
    trace = trace_of(FAILED, ANSWERED)
    trace.deliver(ANSWERED, {})

    assert trace.told == ("p", 2, "n")


@pytest.mark.parametrize("model", [None, "m\r\nx-evil: 1", "\N{SNOWMAN}", "\x7f"])
def test_a_model_that_no_header_can_carry(model) -> None:
    """Left out: it comes from the body of the request, where anything may stand."""
    trace = trace_of(ANSWERED.replace(model=model))
    trace.deliver(trace.tried[0], {})

    assert trace.told == ("p", 1, None)


@pytest.mark.parametrize("log_id", ["\x1b[2J", "a\nb", "\N{SNOWMAN}"])
def test_a_log_id_that_must_not_be_shown(log_id) -> None:
    """Records are printed, and control characters act on a terminal."""
    trace = trace_of(ANSWERED)

    trace.deliver(ANSWERED, {"x-respan-log-id": log_id})

    assert trace.record(13.0).log_id is None


def test_nothing_is_told_of_an_answer_that_was_not_delivered() -> None:
    """No header names anybody."""
    assert trace_of(ANSWERED).told == (None, 0, None)


@pytest.mark.parametrize(
    ("error", "complete", "name"),
    [(None, True, None), (GeneratorExit(), False, None), (OSError(), False, "OSError")],
)
def test_how_a_call_ended(error, complete, name) -> None:
    """Well, with an error, or given up by its reader, which is none."""
    trace = trace_of(ANSWERED)

    assert trace.end(13.0, received=5, error=error)

    record = trace.record(99.0)
    assert (record.ms, record.received, record.done) == (3000.0, 5, True)
    assert (record.complete, record.error) == (complete, name)
    assert trace.done


def test_a_trace_ends_once() -> None:
    """The first end counts; a reader who stops early is no error."""
    trace = Trace("/responses", 1.0)

    assert trace.end(2.0, received=5, error=GeneratorExit())
    assert not trace.end(9.0, error=OSError())

    record = trace.record(10.0)
    assert (record.ms, record.received, record.complete, record.error) == (1000.0, 5, False, None)


def test_what_the_answer_says_of_itself_is_on_record() -> None:
    """Its tokens, its model, what makes it doubtful, and whether somebody else wrote its end."""
    trace = trace_of(ANSWERED)
    trace.usage, trace.answer_model = {"total_tokens": 3}, "o"
    trace.flags, trace.continued = ("length",), True

    record = trace.record(13.0)

    assert (record.usage, record.answer_model) == ({"total_tokens": 3}, "o")
    assert (record.flags, record.continued) == (("length",), True)
