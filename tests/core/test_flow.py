"""One call from its first try to its answer, driven by hand: what the flow asks for, and what it then knows."""

from __future__ import annotations

from typing import Any

import pytest
from by_hand import (
    BEGAN,
    CHAT,
    COMPLETION,
    CONTENT,
    DONE,
    OWN,
    RAISED,
    RELAYED,
    RESPONSES,
    ROLE,
    SPEECH,
    Answer,
    Drive,
    Target,
    call,
    direct,
    events,
    gateway,
    named,
    ok,
    open_breaker,
    plan,
    provider,
    run,
    spend_all,
)

from respan_openai._core.attempt import MAX_ERROR_BODY, MAX_REDIRECTS, Outcome
from respan_openai._core.call import Call, Mode, Outgoing
from respan_openai._core.course import FIRST_CONTENT_SECONDS, JITTER, MOST_ATTEMPTS
from respan_openai._core.flow import flow
from respan_openai._core.judge import Fault, Meaning
from respan_openai._core.plan import Controls
from respan_openai._core.steps import (
    DRAW,
    NOW,
    REPLAY,
    SPENT,
    Ask,
    Came,
    Close,
    Next,
    Overdue,
    Read,
    Send,
    Sleep,
    Tell,
)
from respan_openai._core.trace import Trace
from respan_openai.policy import Breaker, Hedge, Limits, Retry, Timeouts


STREAM = Mode.EVENTS


def controls(**fields: Any) -> Any:
    """What every call says about its own repetition."""
    return lambda _call: Controls(**fields)


def never(_call: Call) -> Controls:
    raise AssertionError("looked up although nothing failed")


def reply(status: int, body: bytes = RELAYED, **headers: str) -> Answer:
    """An answer that is none; names of headers with underscores for dashes."""
    return Answer(status, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def lost(fault: Fault) -> Exception:
    """What the HTTP library raises for *fault*."""
    return RAISED[fault]()


def reason_of(outcome: Outcome | None) -> str | None:
    """Why it is no answer."""
    assert outcome is not None
    return None if outcome.verdict is None else outcome.verdict.reason


# --- nothing goes wrong ------------------------------------------------------


def test_a_whole_answer_step_by_step() -> None:
    """Sent, read within the limits, timed: nothing else is done for an answer that is read at once."""
    target, answer = gateway(), ok()
    rules = plan(target, provider(), controls=never)
    trace = Trace(CHAT, BEGAN)
    asked = call(timeout=60.0)
    steps = flow(asked, rules, trace)

    asks = Ask(target, target.build(asked), rules.limits.body, BEGAN + 60, rules.timeouts.idle, asked)
    assert next(steps) == asks
    with pytest.raises(StopIteration) as stop:
        steps.send(Came(answer, COMPLETION, 11.5))

    outcome = stop.value.value
    assert (outcome.answer, outcome.verdict, outcome.held, outcome.over) == (answer, None, [COMPLETION], True)
    assert (trace.usage, trace.answer_model, trace.flags) == ({"tokens": 3}, "n", ("length",))


def test_a_stream_step_by_step() -> None:
    """Chunks are read one by one up to the first content, and not one further."""
    target, answer = gateway(), events(b": keep-alive\n\n", ROLE, CONTENT, CONTENT)
    rules = plan(target, controls=never)
    asked = call(STREAM, timeout=60.0)
    drive = run(rules, asked, answer)

    until = BEGAN + 60
    assert drive.steps == [
        Send(target, target.build(asked), until, rules.timeouts.idle, asked),
        Next(answer, until),
        Next(answer, until),
        Next(answer, until),
        NOW,
    ]
    outcome = drive.outcome
    assert outcome is not None
    assert outcome.held == [b": keep-alive\n\n", ROLE, CONTENT]
    assert (outcome.verdict, outcome.over, answer.body) == (None, False, [CONTENT])
    assert outcome.watch is not None
    assert outcome.watch.content == 1


@pytest.mark.parametrize("path", [CHAT, SPEECH])
def test_an_answer_that_its_caller_reads_step_by_step(path) -> None:
    """Delivered at its head; its body is left alone."""
    target, answer = gateway(), Answer(200, b"ID3")
    rules = plan(target, controls=never)
    asked = call(Mode.PASS, path)
    drive = run(rules, asked, answer)

    assert drive.steps == [Send(target, target.build(asked), None, rules.timeouts.idle, asked), NOW]
    outcome = drive.outcome
    assert outcome is not None
    assert (outcome.answer, outcome.verdict, outcome.held, outcome.over) == (answer, None, None, False)
    assert outcome.body == b""


def test_no_limits_where_the_user_set_none() -> None:
    """Without a timeout, and with ``Timeouts`` that are off, no step has an end."""
    target = gateway()
    rules = plan(target, timeouts=Timeouts(idle=None))

    drive = run(rules, call(STREAM), events(CONTENT))

    assert [(step.until, step.idle) for step in drive.of(Send)] == [(None, None)]
    assert [step.until for step in drive.of(Next)] == [None]


def test_a_first_success_earns_a_token_and_is_timed() -> None:
    """It fills the retry bucket by one; what it took is known to hedging, and when the target last answered."""
    target = gateway()
    target.known.spend(BEGAN, 10.0)

    run(plan(target), call(), ok(), took=1.5)

    assert target.seen().retry_tokens == 91.0
    assert list(target.known._latencies) == [1.5]
    assert target.known.answered_within(2.0, BEGAN + 2)


def test_the_record_of_one_call() -> None:
    """Who was asked for which model, with what outcome, from when to when."""
    drive = run(plan(gateway()), call(), ok(), took=1.5)

    (tried,) = drive.attempts
    assert (tried.number, tried.target, tried.model, tried.status, tried.meaning) == (1, "g", "m", 200, None)
    assert (tried.ms, tried.wait, tried.received, tried.possible_duplicate) == (
        1500.0,
        0.0,
        len(COMPLETION),
        False,
    )


@pytest.mark.parametrize(
    ("answer", "status", "error", "received"),
    [
        (lost(Fault.CONNECT), None, "CONNECT", 0),
        (reply(503), 503, None, len(RELAYED)),
        (Answer(200, b'{"error":{"code":503}}'), 503, None, 22),
        (Answer(200, b"<html>"), 200, None, 6),
        (events(b"data: {\n\n", CONTENT), 200, None, 9),
        (Answer(200, lost(Fault.READ)), None, "READ", 0),
    ],
    ids=["connect", "503", "an error inside a 200", "no JSON", "garbage", "broken off"],
)
def test_the_record_of_a_failure(answer, status, error, received) -> None:
    """Its status or what that stands for, else the name of what was raised; and how much had come."""
    asked = call(STREAM if isinstance(answer, Answer) and answer.headers else Mode.WHOLE)

    (tried,) = run(plan(gateway(), retry=Retry(attempts=1)), asked, answer).attempts

    assert (tried.status, tried.error, tried.received) == (status, error, received)


@pytest.mark.parametrize(("status", "good"), [(199, False), (200, True), (299, True), (300, False)])
def test_good_statuses(status, good) -> None:
    """Every 2xx (RFC 9110, 15.3), and nothing else."""
    assert (reason_of(run(plan(gateway()), call(), Answer(status, COMPLETION)).outcome) is None) is good


def test_a_delivered_answer_is_the_end() -> None:
    """Nothing is asked for after it, whatever could be."""
    drive = run(plan(gateway(), provider()), call(), reply(500, OWN), ok(), ok())

    assert drive.asked == ["g", "p"]
    assert isinstance(drive.steps[-1], Ask)
    with pytest.raises(StopIteration):
        next(drive.flow)


# --- what each failure means: who is next, at what price ---------------------

ELSEWHERE, AGAIN, END = "p", "g", None

#: A failure of the gateway; who is asked next; taken from its bucket; faults counted; whether it may have been billed.
MEANINGS = {
    "connect": (lost(Fault.CONNECT), ELSEWHERE, 10, 1, False),
    "write": (lost(Fault.WRITE), ELSEWHERE, 10, 1, True),
    "read": (lost(Fault.READ), ELSEWHERE, 10, 1, True),
    "read timeout": (lost(Fault.READ_TIMEOUT), ELSEWHERE, 10, 1, True),
    "overdue": (Overdue(), ELSEWHERE, 10, 1, True),
    "protocol": (lost(Fault.PROTOCOL), ELSEWHERE, 10, 1, True),
    "decoding": (lost(Fault.DECODING), ELSEWHERE, 10, 1, True),
    "certificate": (lost(Fault.CERTIFICATE), END, 0, 0, False),
    "pool": (lost(Fault.POOL), END, 0, 0, False),
    "unsendable": (lost(Fault.UNSENDABLE), END, 0, 0, False),
    "proxy": (lost(Fault.PROXY), END, 0, 0, False),
    "limit": (lost(Fault.LIMIT), END, 0, 0, False),
    "a body that breaks off": (Answer(200, COMPLETION[:9], lost(Fault.READ)), ELSEWHERE, 10, 1, True),
    "a body too large": (Answer(200, bytes(1025)), END, 0, 0, False),
    "no JSON": (Answer(200, b"<html>"), ELSEWHERE, 10, 1, True),
    "no JSON, with a log id": (reply(200, b"<html>", x_respan_log_id="l"), ELSEWHERE, 10, 0, True),
    "empty": (Answer(200), ELSEWHERE, 10, 1, True),
    "an error inside a 200": (reply(200, b'{"error":{"code":503,"message":"No."}}'), ELSEWHERE, 10, 0, False),
    "408": (reply(408, OWN), ELSEWHERE, 10, 1, True),
    "500": (reply(500, OWN), ELSEWHERE, 10, 1, True),
    "500, relayed": (reply(500), ELSEWHERE, 10, 0, True),
    "500, with a log id": (reply(500, OWN, x_respan_log_id="l"), ELSEWHERE, 10, 0, True),
    "424": (reply(424, OWN), ELSEWHERE, 10, 0, True),
    "502": (reply(502, b""), ELSEWHERE, 10, 1, True),
    "503": (reply(503, OWN), ELSEWHERE, 10, 1, False),
    "503, not to be repeated": (reply(503, OWN, x_should_retry="false"), END, 0, 1, False),
    "504": (reply(504, OWN), ELSEWHERE, 10, 1, True),
    "529, relayed": (reply(529), ELSEWHERE, 10, 0, False),
    "429, relayed": (reply(429), ELSEWHERE, 5, 0, False),
    "429 of the gateway": (reply(429, OWN), END, 0, 0, False),
    "429 of the gateway, with a wait": (reply(429, OWN, retry_after="2"), AGAIN, 5, 0, False),
    "429, a quota": (named("insufficient_quota", 429), END, 0, 0, False),
    "401": (reply(401), END, 0, 0, False),
    "402": (reply(402), END, 0, 0, False),
    "403": (reply(403), END, 0, 0, False),
    "400": (reply(400), END, 0, 0, False),
    "400, to be repeated": (reply(400, x_should_retry="true"), AGAIN, 10, 0, False),
    "404": (reply(404), END, 0, 0, False),
    "409": (reply(409), AGAIN, 10, 0, False),
    "413": (reply(413), END, 0, 0, False),
    "425": (reply(425), AGAIN, 10, 0, False),
    "431": (reply(431), END, 0, 0, False),
    "501": (reply(501, OWN), END, 0, 0, False),
}


def fresh(answer: Any) -> Any:
    """A copy, because a body can be read once."""
    if isinstance(answer, Answer):
        return Answer(answer.status_code, *answer.body, headers=answer.headers)
    return type(answer)()


@pytest.mark.parametrize(("failure", "onward", "cost", "faults", "billed"), MEANINGS.values(), ids=MEANINGS)
def test_what_a_failure_of_the_gateway_leads_to(failure, onward, cost, faults, billed) -> None:
    """The table: another target or the same one, what it costs, what counts against the gateway."""
    target, other = gateway(), provider()
    rules = plan(target, other, limits=Limits(body=1024))

    drive = run(rules, call(), fresh(failure), reply(400))

    assert drive.asked == ["g"] + [onward] * (onward is not None)
    if onward is None:
        assert drive.told == []
        assert target.seen(drive.now).retry_tokens == 100.0
        assert target.seen(drive.now).failures == faults
    else:
        ((tell, seen),) = drive.told
        assert (tell.target, tell.onward, tell.attempt) == ("g", onward, 1)
        assert tell.action == ("retry" if onward == "g" else "fallback")
        assert (100.0 - seen.retry_tokens, seen.failures) == (cost, faults)
        assert [tried.possible_duplicate for tried in drive.attempts] == [False, billed]


#: A failure of the only target; whether it is repeated, and for how long its caller waits if the draw is a half.
REPEATED = {
    "connect": (lost(Fault.CONNECT), None),
    "write": (lost(Fault.WRITE), None),
    "read": (lost(Fault.READ), None),
    "read timeout": (lost(Fault.READ_TIMEOUT), None),
    "protocol": (lost(Fault.PROTOCOL), None),
    "decoding": (lost(Fault.DECODING), 0.1),
    "no JSON": (Answer(200, b"<html>"), 0.1),
    "408": (reply(408), 0.1),
    "409": (reply(409), 0.1),
    "424": (reply(424), None),
    "429": (reply(429), 0.5),
    "500": (reply(500), 0.1),
    "503": (reply(503), 0.5),
    "504": (reply(504), None),
    "529": (reply(529), 0.1),
    "400": (reply(400), None),
    "401": (reply(401), None),
    "429, a quota": (named("insufficient_quota", 429), None),
}


@pytest.mark.parametrize(("failure", "wait"), REPEATED.values(), ids=REPEATED)
def test_what_a_failure_of_the_only_target_leads_to(failure, wait) -> None:
    """Repeated after a backoff where that may help, and otherwise returned at once."""
    drive = run(plan(provider()), call(), fresh(failure), ok())

    assert drive.waits == ([] if wait is None else [wait])
    assert drive.asked == ["p"] * (1 + len(drive.waits))


@pytest.mark.parametrize("again", [1, 2])
def test_an_overloaded_target_is_asked_again_and_again_a_faulty_one_once(again) -> None:
    """Up to the attempts allowed for a 503; the second 500 is returned although a third attempt is allowed."""
    status = {1: 500, 2: 503}[again]

    drive = run(plan(provider()), call(), *(reply(status) for _ in range(3)))

    assert drive.asked == ["p"] * (1 + again)
    assert drive.outcome is not None
    assert drive.outcome.answer is not None
    assert drive.outcome.answer.status_code == status


def test_another_target_is_asked_before_the_same_one_and_at_once() -> None:
    """A wait helps nobody if somebody else can answer now."""
    drive = run(plan(provider("p"), provider("q")), call(), reply(503, retry_after="2"), reply(503), ok())

    assert drive.asked == ["p", "q", "q"]
    assert [tell.wait for tell, _ in drive.told] == [0.0, 0.5]


@pytest.mark.parametrize(
    ("answer", "bad"),
    [
        (reply(401), True),
        (reply(403), True),
        (reply(402), False),
        (named("insufficient_quota", 403), False),
        (reply(400), False),
    ],
    ids=["401", "403", "402", "quota", "400"],
)
def test_a_refused_credential_is_remembered(answer, bad) -> None:
    """For a minute, if it was the credential that was refused."""
    target = provider()

    run(plan(target), call(), answer)

    assert target.seen(BEGAN + 59).credential_bad is bad
    assert not target.seen(BEGAN + 60).credential_bad


def test_a_sign_of_life_ends_a_row_of_faults() -> None:
    """Also a refusal: whoever refuses is up."""
    target = gateway()
    for _ in range(4):
        target.known.faulted(BEGAN, 0.5, Breaker())

    run(plan(target), call(), reply(400))

    assert target.seen().failures == 0


@pytest.mark.parametrize(
    ("make", "answer", "paused"),
    [
        (provider, reply(429, retry_after="4"), 4.0),
        (provider, reply(503, retry_after="4"), 4.0),
        (provider, reply(429, retry_after="3600"), 10.0),
        (provider, reply(429), 0.0),
        (provider, reply(400, retry_after="4"), 0.0),
        (gateway, reply(429, retry_after="4"), 0.0),
    ],
    ids=["429", "503", "too long", "no time", "400", "gateway"],
)
def test_who_asks_to_be_left_alone_is(make, answer, paused) -> None:
    """For the time it names, or the longest that is honoured. Not a gateway: it speaks of one model behind it."""
    target = make()

    run(plan(target, retry=Retry(attempts=1)), call(), answer)

    assert target.seen().paused_for == paused


# --- the retry bucket --------------------------------------------------------


@pytest.mark.parametrize("other", [True, False], ids=["elsewhere", "again"])
@pytest.mark.parametrize(("status", "left"), [(200, 50.0), (400, 40.0), (500, 40.0)])
def test_what_succeeds_is_given_back(other, status, left) -> None:
    """An attempt that brings an answer is free in the end; the bucket of who failed pays for any other."""
    target = provider()
    target.known.spend(BEGAN, 50.0)
    second = Answer(status, COMPLETION if status == 200 else RELAYED)
    rules = plan(target, *[provider("q")] * other, retry=Retry(attempts=2, backoff=0.0))

    drive = run(rules, call(), reply(500), second)

    assert target.seen().retry_tokens == left
    assert drive.asked == ["p", "q" if other else "p"]


def test_each_failure_is_paid_for_by_who_failed() -> None:
    """Three targets, each with its own bucket; only the attempt that succeeded is given back."""
    targets = [provider(name) for name in "pqr"]

    run(plan(*targets), call(), reply(500), reply(429), ok())

    assert [target.seen().retry_tokens for target in targets] == [90.0, 100.0, 100.0]


def test_nothing_is_repeated_when_the_bucket_is_empty() -> None:
    """The failure is returned at once: another attempt is more load for who is down."""
    target = provider()
    spend_all([target])

    drive = run(plan(target), call(), reply(500))

    assert drive.asked == ["p"]
    assert reason_of(drive.outcome) == "500"
    assert drive.told == []


def test_another_target_that_is_well_is_asked_all_the_same() -> None:
    """The bucket of who failed is empty, but a fallback is no load for that one; it is free if it succeeds."""
    target, other = provider(), provider("q")
    spend_all([target])

    drive = run(plan(target, other), call(), reply(500), ok())

    assert drive.asked == ["p", "q"]
    assert (target.seen().retry_tokens, other.seen().retry_tokens) == (0.0, 100.0)


@pytest.mark.parametrize(("failure", "left"), [(reply(500), 90.0), (reply(503), 90.0), (reply(429), 95.0)])
def test_who_is_asked_on_his_own_account_pays_if_he_fails_too(failure, left) -> None:
    """What the one before could not: ten tokens after a fault, five after a 429."""
    target, other = provider(), provider("q")
    spend_all([target])

    drive = run(plan(target, other, retry=Retry(attempts=2)), call(), failure, reply(400))

    assert drive.asked == ["p", "q"]
    assert other.seen().retry_tokens == left


def test_what_was_paid_for_is_not_charged_again() -> None:
    """The bucket of who failed had enough, so the other target owes nothing."""
    target, other = provider(), provider("q")

    run(plan(target, other, retry=Retry(attempts=2)), call(), reply(500), reply(500))

    assert (target.seen().retry_tokens, other.seen().retry_tokens) == (90.0, 100.0)


def ask_to_wait(target: Target) -> None:
    target.known.pause(BEGAN, 5.0)


def refuse(target: Target) -> None:
    target.known.mark_bad(BEGAN)


def be_probing(target: Target) -> None:
    open_breaker(target, BEGAN - 6)


def spend(target: Target) -> None:
    spend_all([target])


@pytest.mark.parametrize("ail", [open_breaker, be_probing, ask_to_wait, refuse, spend])
def test_who_is_not_well_is_asked_only_if_it_is_paid_for(ail) -> None:
    """A breaker that is not closed, a pause, a refused key, an empty bucket of his own; the one behind him may be well."""
    first, second, third = provider(), provider("q"), provider("r")
    spend_all([first])
    ail(second)

    alone = run(plan(first, second), call(), reply(500))
    assert (alone.asked, alone.told) == (["p"], [])
    assert run(plan(first, second, third), call(), reply(500), ok()).asked == ["p", "r"]


def test_the_same_door_under_another_name_is_not_another_target() -> None:
    """Another model at the gateway that is down is more load for it."""
    target = provider()
    spend_all([target])

    assert run(plan(target, provider("q", known=target.known)), call(), reply(500)).asked == ["p"]


def test_many_calls_under_way_when_a_target_breaks_down() -> None:
    """Forty at once: a bucket pays for ten, and yet all of them are answered by the other target."""
    target, other = gateway(), provider()
    drives = [Drive(plan(target, other), call(), reply(500, OWN), ok()).begin() for _ in range(40)]
    for drive in drives:
        while drive.outcome is None and drive.asked == ["g"]:
            drive.advance()

    assert [drive.run().asked for drive in drives] == [["g", "p"]] * 40
    assert other.seen().failures == 0


@pytest.mark.parametrize(
    ("failure", "extra"),
    [(reply(500), 10 + 10), (reply(429), 20 + 20)],
    ids=["faults", "limits, which open no breaker"],
)
def test_an_outage_of_everybody_is_not_amplified(failure, extra) -> None:
    """However many calls come: the tokens of two buckets, and each call is one attempt again."""
    never_opens = Breaker(failures=1_000_000, minimum=1_000_000)
    rules = plan(provider(), provider("q"), breaker=never_opens, retry=Retry(attempts=2))

    assert sum(len(run(rules, call(), failure, failure).asked) for _ in range(100)) == 100 + extra


def test_ten_repeats_and_no_more() -> None:
    """In an outage, however many calls come: the hundred tokens of one bucket, ten at a time."""
    target, never_opens = provider(), Breaker(failures=1_000_000, minimum=1_000_000)
    rules = plan(target, breaker=never_opens, retry=Retry(backoff=0.0))

    sent = sum(len(run(rules, call(), reply(500), reply(500)).asked) for _ in range(50))

    assert sent == 50 + 10


# --- how long is waited ------------------------------------------------------


@pytest.mark.parametrize(("draw", "wait"), [(0.0, 2.0), (0.5, 2.1), (1.0, 2.2)])
def test_a_wait_that_was_asked_for(draw, wait) -> None:
    """At least as long, and up to a tenth longer, so that not all come back in the same moment."""
    drive = run(plan(provider()), call(), reply(429, retry_after="2"), ok(), draw=draw)

    assert drive.waits == [pytest.approx(wait)]
    assert JITTER == 0.1


@pytest.mark.parametrize(
    ("failure", "draw", "retry", "waits"),
    [
        (reply(503), 1.0, Retry(), [1.0, 2.0]),
        (reply(503), 0.25, Retry(), [0.25, 0.5]),
        (reply(529), 1.0, Retry(), [0.2, 0.4]),
        (reply(429), 1.0, Retry(backoff_throttled=3.0, backoff_cap=4.0), [3.0, 4.0]),
        (reply(529), 1.0, Retry(backoff=7.0), [7.0, 8.0]),
        (reply(503), 1.0, Retry(backoff_throttled=0.0), []),
        (reply(503, retry_after="0"), 1.0, Retry(), []),
    ],
)
def test_backoff(failure, draw, retry, waits) -> None:
    """A share of the base, doubled each time, up to the cap; the longer base after 429 and 503. Zero is no wait."""
    drive = run(plan(provider(), retry=retry), call(), fresh(failure), fresh(failure), ok(), draw=draw)

    assert drive.waits == waits
    assert drive.asked == ["p"] * 3


def test_a_wait_is_on_record() -> None:
    """The attempt after it says how long; its own time begins when the wait is over."""
    drive = run(plan(provider()), call(), reply(503), ok(), took=1.0)

    assert [(tried.wait, tried.ms) for tried in drive.attempts] == [(0.0, 1000.0), (0.5, 1000.0)]
    assert drive.now == BEGAN + 2.5


@pytest.mark.parametrize("asked", ["11", "3600"])
@pytest.mark.parametrize("others", [0, 1])
def test_a_wait_beyond_the_cap(asked, others) -> None:
    """Another target is asked at once, or the answer returned: nobody sleeps for an hour."""
    targets = [provider(), *[provider("q")] * others]

    drive = run(plan(*targets), call(), reply(429, retry_after=asked), ok())

    assert drive.asked == ["p", "q"][: 1 + others]
    assert drive.waits == []


def test_the_cap_is_the_users() -> None:
    """Also for an error inside an answer, and in a stream."""
    inside = b'{"error":{"code":429,"message":"No.","retry_after":11}}'
    rules = plan(provider(), retry=Retry(retry_after_cap=12.0))

    whole = run(rules, call(), Answer(200, inside), ok(), draw=0.0)
    stream = run(rules, call(STREAM), events(b"data: %b\n\n" % inside), events(CONTENT), draw=0.0)
    other = run(rules, call(STREAM), events(inside), events(CONTENT), draw=0.0)

    assert whole.waits == stream.waits == other.waits == [11.0]


# --- deadlines ---------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "waits"), [(2.2, []), (2.3, [2.2])])
def test_a_wait_that_does_not_fit_is_not_begun(timeout, waits) -> None:
    """With its jitter it must be over before the call is; otherwise the failure is returned now."""
    asked = call(timeout=timeout)

    drive = run(plan(provider()), asked, reply(429, retry_after="2"), ok(), draw=1.0)

    assert drive.waits == [pytest.approx(wait) for wait in waits]
    assert drive.now <= BEGAN + timeout


@pytest.mark.parametrize(("took", "asked"), [(5.0, ["g"]), (4.0, ["g", "p"])])
def test_nothing_is_sent_when_the_time_is_over(took, asked) -> None:
    """Not even to a target that could be asked at once."""
    target = gateway()
    drive = Drive(plan(target, provider()), call(timeout=5.0), reply(500, OWN), ok())
    drive.run_to(1)
    drive.now += took - 0.5
    drive.advance()
    drive.now += 0.5
    drive.run()

    assert drive.asked == asked


def test_a_wait_that_took_longer_than_it_should() -> None:
    """The machine was suspended: the failure is returned, nothing is sent, and a probe's place is given back."""
    target = provider()
    open_breaker(target, BEGAN - 6)
    drive = Drive(plan(target), call(timeout=60.0), reply(409))
    while not drive.of(Sleep):
        drive.advance() if drive.steps else drive.begin()
    assert target.known.enter(BEGAN).value == "closed"
    drive.now += 3600

    drive.run()

    assert (drive.asked, reason_of(drive.outcome)) == (["p"], "409")
    assert target.known._waiting == 0


def test_one_deadline_for_all_attempts() -> None:
    """Each step of each attempt ends with the call, not some time after its own beginning."""
    drive = run(
        plan(gateway(), provider()),
        call(timeout=60.0),
        reply(500, OWN),
        ok(),
        took=20.0,
    )

    assert {step.until for step in drive.of(Send, Next, Read)} == {BEGAN + 60}
    assert drive.now == BEGAN + 40


#: What the call asks for, what the policy says, targets, the call's timeout; seconds to the first content.
FIRST_CONTENT = [
    (None, None, 1, None, None),
    (None, None, 1, 600.0, 600.0),
    (None, None, 2, None, FIRST_CONTENT_SECONDS),
    (None, None, 2, 600.0, FIRST_CONTENT_SECONDS),
    (None, None, 2, 60.0, 60.0),
    (None, 7.0, 1, None, 7.0),
    (None, 7.0, 2, 60.0, 7.0),
    (None, 700.0, 2, None, 700.0),
    (3.0, 7.0, 1, 60.0, 3.0),
    (9.0, 7.0, 2, None, 9.0),
    (9.0, None, 2, 5.0, 5.0),
]


@pytest.mark.parametrize(("said", "policy", "targets", "timeout", "seconds"), FIRST_CONTENT)
def test_when_the_first_content_must_come(said, policy, targets, timeout, seconds) -> None:
    """What the call says, else the policy, else five minutes if another could be asked; never past the deadline."""
    rules = plan(*[provider(name) for name in "pq"[:targets]], timeouts=Timeouts(first_content=policy))
    asked = call(STREAM, timeout=timeout, first_content=said)

    drive = run(rules, asked, events(ROLE, CONTENT))

    assert FIRST_CONTENT_SECONDS == 300
    until = None if seconds is None else BEGAN + seconds
    assert [step.until for step in drive.of(Send, Next)] == [until] * 3


@pytest.mark.parametrize("mode", [Mode.WHOLE, Mode.EVENTS, Mode.PASS])
def test_a_failure_that_is_played_and_left_no_time(mode) -> None:
    """It takes none now, but nobody is asked who was not when it was recorded; any other leaves all the time."""
    for spent, asked in ((True, ["g"]), (False, ["g", "p"])):
        error = lost(Fault.READ_TIMEOUT)
        setattr(error, SPENT, spent)
        answer = events(CONTENT) if mode is Mode.EVENTS else ok()

        drive = run(plan(gateway(), provider()), call(mode, timeout=60.0), error, answer)

        assert drive.asked == asked


@pytest.mark.parametrize("mode", [Mode.WHOLE, Mode.PASS])
def test_only_streams_have_a_first_content(mode) -> None:
    """Other answers have the whole time of the call."""
    rules = plan(gateway(), provider(), timeouts=Timeouts(first_content=7.0))

    drive = run(rules, call(mode, timeout=60.0), ok())

    assert {step.until for step in drive.of(Ask, Send)} == {BEGAN + 60}


def test_a_stream_without_content_in_time() -> None:
    """Comments and a role do not count; the next target's time begins when it is asked."""
    target = gateway()
    rules = plan(target, provider(), timeouts=Timeouts(first_content=7.0))
    silent = events(ROLE, 3.0, b": PROCESSING\n\n", 5.0, CONTENT)

    drive = run(rules, call(STREAM, timeout=60.0), silent, events(CONTENT))

    assert drive.asked == ["g", "p"]
    assert [step.until for step in drive.of(Send)] == [BEGAN + 7, BEGAN + 14]
    assert drive.closed == [silent]
    assert [tried.meaning for tried in drive.attempts] == ["ambiguous", None]
    assert target.seen().failures == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, 8.0, COMPLETION, headers={"content-type": "application/json"}),
        Answer(500, 8.0, OWN),
    ],
    ids=["JSON", "an error"],
)
def test_what_is_no_stream_has_no_more_time_than_one(answer) -> None:
    """A body that stalls is left when the first content is overdue."""
    rules = plan(gateway(), provider(), timeouts=Timeouts(first_content=7.0))

    drive = run(rules, call(STREAM), answer, events(CONTENT))

    assert drive.asked == ["g", "p"]
    assert drive.now == BEGAN + 7
    assert drive.closed == [answer]


# --- nobody goes around a gateway --------------------------------------------

#: A failure of the gateway; whether the client's own provider may be asked, and whether another endpoint may.
AROUND = {
    "connect": (lost(Fault.CONNECT), True, True),
    "read": (lost(Fault.READ), True, True),
    "500": (reply(500, OWN), True, True),
    "502": (reply(502, b"<html>"), True, True),
    "500, relayed": (reply(500), False, True),
    "502, with a log id": (reply(502, b"<html>", x_respan_log_id="l"), False, True),
    "424": (reply(424, OWN), False, True),
    "no JSON, with a log id": (reply(200, b"<html>", x_respan_log_id="l"), False, True),
    "500, broken off": (Answer(500, OWN[:5], lost(Fault.READ)), True, True),
    "500, too long": (Answer(500, b'{"error":{"message":"', bytes(MAX_ERROR_BODY), b'"}}'), True, True),
    "429, relayed": (reply(429), False, True),
    "429 of the gateway": (reply(429, OWN), False, False),
    "429, broken off": (
        Answer(429, RELAYED[:5], lost(Fault.READ), headers={"retry-after": "2"}),
        False,
        False,
    ),
    "429, too long": (
        Answer(429, RELAYED, bytes(MAX_ERROR_BODY), headers={"retry-after": "2"}),
        False,
        False,
    ),
    "429 of the gateway, with a wait": (reply(429, OWN, retry_after="2"), False, False),
    "429 of the gateway, too long": (reply(429, b'{"detail":"No.","retry_after":60}'), False, False),
    "401": (reply(401, OWN), False, False),
    "402": (reply(402, OWN), False, False),
    "403": (reply(403, OWN), False, False),
    "400": (reply(400, OWN), False, False),
    "certificate": (lost(Fault.CERTIFICATE), False, False),
}


@pytest.mark.parametrize(("failure", "straight", "elsewhere"), AROUND.values(), ids=AROUND)
def test_ways_around_a_gateway(failure, straight, elsewhere) -> None:
    """Straight to the provider only if the gateway itself is broken; nowhere else either if it set a limit."""
    no_repeats = controls(attempts=2)

    there = run(plan(gateway(), direct(), controls=no_repeats), call(), fresh(failure), reply(400))
    other = run(plan(gateway(), provider(), controls=no_repeats), call(), fresh(failure), reply(400))

    assert ("direct" in there.asked) is straight
    assert ("p" in other.asked) is elsewhere


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        (reply(429, OWN, retry_after="2"), lost(Fault.CONNECT), ["g", "h"]),
        (reply(429, OWN, retry_after="2"), reply(500), ["g", "h", "h"]),
        (reply(429, OWN, retry_after="11"), reply(429), ["g"]),
        (reply(429), lost(Fault.CONNECT), ["g", "h", "p"]),
        (reply(500, OWN), lost(Fault.CONNECT), ["g", "h", "direct"]),
    ],
    ids=["limited", "limited, then relayed", "limited for long", "relayed", "broken"],
)
def test_what_one_gateway_refused_holds_after_another_failed(first, second, asked) -> None:
    """A limit, and whose failure it was, are not forgotten with the next failure."""
    rules = plan(gateway("g"), gateway("h"), direct(), provider())

    drive = run(rules, call(), first, second, reply(400))

    assert drive.asked == asked


def test_a_limit_holds_after_the_wait_that_it_asked_for() -> None:
    """The gateway is asked again, and then fails: still nobody goes around it."""
    drive = run(plan(gateway(), provider()), call(), reply(429, OWN, retry_after="2"), reply(500, OWN))

    assert drive.asked == ["g", "g"]


def test_a_relayed_failure_is_not_taken_straight_to_the_provider_later() -> None:
    """Not even when the endpoint asked in between breaks down by itself."""
    drive = run(plan(gateway(), provider(), direct()), call(), reply(500), lost(Fault.CONNECT))

    assert drive.asked == ["g", "p"]


# --- lists named for one reason ----------------------------------------------

REFUSED = {
    "context": "context_length_exceeded",
    "content": "content_filter",
    "model": "model_not_found",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("have", [*REFUSED, None])
def test_a_named_list_is_for_its_reason_alone(kind, have) -> None:
    """And the ordinary targets are not for any of them."""
    lists = {} if have is None else {have: (provider("n"),)}

    drive = run(plan(gateway(), provider(), named=lists), call(), named(REFUSED[kind]), ok())

    assert drive.asked == (["g", "n"] if kind == have else ["g"])


def test_a_named_list_is_not_used_for_a_failure() -> None:
    """It takes what is refused, not what breaks."""
    rules = plan(gateway(), named={kind: (provider("n"),) for kind in REFUSED})

    assert run(rules, call(), reply(502, OWN), reply(400)).asked == ["g", "g"]


def test_a_named_list_stays_in_force() -> None:
    """Who opted for it to get around moderation did not opt for the ordinary targets; its own next one is asked."""
    lists = {"content": (provider("n"), provider("o"))}

    drive = run(
        plan(gateway(), provider(), named=lists, retry=Retry(attempts=4)),
        call(),
        named("content_filter"),
        lost(Fault.CONNECT),
        lost(Fault.CONNECT),
    )

    assert drive.asked == ["g", "n", "o"]


def test_from_one_named_list_to_the_other() -> None:
    """A larger model that refuses the content has a list for that."""
    lists = {"context": (provider("n"),), "content": (provider("o"),)}

    drive = run(
        plan(gateway(), named=lists), call(), named("context_length_exceeded"), named("content_filter"), ok()
    )

    assert drive.asked == ["g", "n", "o"]


def test_nobody_is_asked_twice_because_two_lists_name_him() -> None:
    """A target that refused is not the one to go to for the same refusal."""
    shared = provider("n")

    drive = run(
        plan(gateway(), named={"model": (shared,), "context": (shared,)}),
        call(),
        named("model_not_found"),
        named("context_length_exceeded"),
    )

    assert drive.asked == ["g", "n"]


def test_a_named_list_is_no_way_around_a_limit() -> None:
    """The gateway's own 429 holds there too, and straight to the provider goes nothing that was relayed."""
    limited = plan(gateway(), named={"model": (provider("n"),)})
    relayed = plan(gateway(), named={"model": (direct(), provider("n"))})

    first = run(limited, call(), reply(429, OWN, retry_after="2"), named("model_not_found"))
    second = run(relayed, call(), named("model_not_found"), ok())

    assert first.asked == ["g", "g"]
    assert second.asked == ["g", "n"]


# --- who can be asked at all -------------------------------------------------


@pytest.mark.parametrize("unfit", [{"reason": "its prompt is stored"}, {"paths": frozenset({RESPONSES})}])
def test_a_target_that_cannot_take_the_call_is_passed_over(unfit) -> None:
    """It does not serve the path, or says why it could not."""
    rules = plan(gateway(), provider(**unfit), provider("q"), named={"model": (provider("n", **unfit),)})

    assert run(rules, call(), reply(500, OWN), ok()).asked == ["g", "q"]
    assert run(rules, call(), named("model_not_found")).asked == ["g"]


def test_a_target_that_cannot_take_the_call_is_no_refuge_from_an_open_breaker() -> None:
    """The preferred one is asked nevertheless."""
    target = gateway()
    open_breaker(target)

    assert run(plan(target, provider(reason="no")), call(), ok()).asked == ["g"]


# --- what the call says about itself -----------------------------------------


@pytest.mark.parametrize(
    ("attempts", "of_policy", "sent"),
    [(None, 3, 3), (None, 1, 1), (None, 5, 5), (1, 3, 1), (2, 3, 2), (4, 3, 4), (9, 3, MOST_ATTEMPTS)],
)
def test_how_many_attempts(attempts, of_policy, sent) -> None:
    """What the call says, else the policy, and five at most; all targets together."""
    rules = plan(
        provider("p"), provider("q"), retry=Retry(attempts=of_policy), controls=controls(attempts=attempts)
    )

    drive = run(rules, call(), *(reply(503) for _ in range(9)))

    assert len(drive.asked) == sent
    assert MOST_ATTEMPTS == 5


def test_a_backoff_of_the_calls_own() -> None:
    """It takes the place of either base, and doubles as they do."""
    rules = plan(provider(), controls=controls(backoff=3.0))

    assert run(rules, call(), reply(503), reply(503), ok(), draw=1.0).waits == [3.0, 6.0]


def test_a_call_that_stays() -> None:
    """No other target is asked: not after a failure, not from a named list, not past an open breaker."""
    target = gateway()
    rules = plan(target, provider(), named={"model": (provider("n"),)}, controls=controls(stays=True))

    assert run(rules, call(), reply(500, OWN), reply(400)).asked == ["g", "g"]
    assert run(rules, call(), named("model_not_found")).asked == ["g"]
    open_breaker(target)
    assert run(rules, call(), lost(Fault.CONNECT)).asked == ["g"]


@pytest.mark.parametrize(
    "careful",
    [{"controls": controls(once=True)}, {"retry": Retry(on_ambiguous="raise")}],
    ids=["stored", "policy"],
)
@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (lost(Fault.READ), ["g"]),
        (lost(Fault.READ_TIMEOUT), ["g"]),
        (lost(Fault.WRITE), ["g"]),
        (reply(408), ["g"]),
        (reply(504, OWN), ["g"]),
        (lost(Fault.CONNECT), ["g", "p"]),
        (reply(503, OWN), ["g", "p"]),
    ],
    ids=["read", "read timeout", "write", "408", "504", "connect", "503"],
)
def test_what_may_have_been_carried_out_is_not_repeated(careful, failure, asked) -> None:
    """If the call would be stored twice, or the policy says so; what was certainly not carried out, is."""
    assert run(plan(gateway(), provider(), **careful), call(), fresh(failure), ok()).asked == asked


def test_a_stale_connection_may_have_carried_it_out_too() -> None:
    """So a careful call is not even repeated then."""
    target = gateway()
    target.known.succeeded(BEGAN - 1, clean=True)
    rules = plan(target, retry=Retry(on_ambiguous="raise"))

    assert run(rules, call(), lost(Fault.READ)).asked == ["g"]


def test_what_a_call_says_is_looked_up_once_and_only_after_a_failure() -> None:
    """It means to parse the body."""
    looked: list[Call] = []

    def look(asked: Call) -> Controls:
        looked.append(asked)
        return Controls()

    run(plan(provider(), controls=look), call(), ok())
    assert looked == []
    run(plan(provider(), controls=look), call(), reply(503), reply(503), ok())
    assert len(looked) == 1


# --- bodies that are not in memory -------------------------------------------


def test_a_body_that_can_be_sent_only_once() -> None:
    """The failure is returned: an empty request would be worse."""
    drive = run(plan(gateway(), provider()), call(body=None), reply(500, OWN))

    assert drive.steps[-1] is REPLAY
    assert drive.asked == ["g"]
    assert reason_of(drive.outcome) == "500"


def test_a_body_that_can_be_had_again() -> None:
    """It is asked for once, and sent in each further attempt."""
    drive = run(
        plan(gateway(), provider()), call(body=None), reply(503, OWN), reply(503), ok(), replay=b"--b"
    )

    assert drive.asked == ["g", "p", "p"]
    assert [step.outgoing.body for step in drive.of(Ask, Send)] == [None, b"--b", b"--b"]
    assert len(drive.of(type(REPLAY))) == 1


@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (lost(Fault.CONNECT), ["g", "p"]),
        (lost(Fault.POOL), ["g"]),
        (lost(Fault.CERTIFICATE), ["g"]),
        (reply(401), ["g"]),
        (reply(400), ["g"]),
    ],
    ids=["connect", "pool", "certificate", "401", "400"],
)
def test_a_body_is_not_read_again_for_nothing(failure, asked) -> None:
    """Not if none of it was sent, nor if nothing is to be repeated anyway."""
    drive = run(plan(gateway(), provider()), call(body=None), fresh(failure), ok())

    assert REPLAY not in drive.steps
    assert drive.asked == asked


# --- connections that were closed before -------------------------------------


def answered_before(target: Target, seconds: float = 1.0) -> Target:
    """*target*, which answered another call so long ago."""
    target.known.succeeded(BEGAN - seconds, clean=True)
    return target


def test_a_stale_connection_is_replaced_once_and_for_free() -> None:
    """At the same target, although another could be asked: it says nothing against the first."""
    target = answered_before(gateway())

    drive = run(plan(target, provider()), call(), lost(Fault.READ), ok())

    ((tell, seen),) = drive.told
    assert drive.asked == ["g", "g"]
    assert (tell.action, tell.reason, tell.wait) == ("retry", "stale", 0.0)
    assert (seen.retry_tokens, seen.failures) == (100.0, 0)
    assert [tried.possible_duplicate for tried in drive.attempts] == [False, True]


def test_a_fresh_connection_that_breaks_is_no_stale_one() -> None:
    """The second time it counts, costs, and another target is asked."""
    target = answered_before(gateway())

    drive = run(plan(target, provider()), call(), lost(Fault.READ), lost(Fault.READ), reply(400))

    assert drive.asked == ["g", "g", "p"]
    (_, (tell, seen)) = drive.told
    assert (tell.reason, seen.retry_tokens, seen.failures) == ("read", 90.0, 1)


def test_one_stale_connection_for_all_targets() -> None:
    """The free repeat is not spent again on the second target."""
    first, second = answered_before(gateway()), answered_before(provider())
    rules = plan(first, second, retry=Retry(attempts=5))

    drive = run(rules, call(), *(lost(Fault.READ) for _ in range(3)))

    assert drive.asked == ["g", "g", "p"]
    assert second.seen().failures == 1


def test_a_second_target_may_have_the_stale_connection() -> None:
    """If the first failed in another way."""
    second = answered_before(provider())

    drive = run(plan(gateway(), second), call(), reply(503, OWN), lost(Fault.READ), ok())

    assert drive.asked == ["g", "p", "p"]
    assert drive.told[1][1].failures == 0


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (lost(Fault.READ), 300.0),
        (lost(Fault.READ), None),
        (lost(Fault.WRITE), 1.0),
        (lost(Fault.READ_TIMEOUT), 1.0),
        (Answer(200, lost(Fault.READ)), 1.0),
    ],
    ids=["long ago", "never", "while writing", "timeout", "after the head"],
)
def test_what_is_no_stale_connection(failure, seconds) -> None:
    """It must have been used before, and closed before one byte of the answer came."""
    target = gateway() if seconds is None else answered_before(gateway(), seconds)

    drive = run(plan(target, provider()), call(), fresh(failure), ok())

    assert drive.asked == ["g", "p"]
    assert drive.told[0][1].failures == 1


def test_a_target_that_hangs_up_on_everybody_has_no_old_connections() -> None:
    """After a fault nothing is free until it has answered: each call asks it once, however many come."""
    target, never_opens = answered_before(gateway()), Breaker(failures=1_000_000, minimum=1_000_000)
    rules = plan(target, breaker=never_opens)

    sent = [run(rules, call(), *[lost(Fault.READ)] * 2).asked for _ in range(3)]

    assert sent == [["g", "g"], ["g"], ["g"]]


def test_a_bad_answer_leaves_a_connection_too() -> None:
    """After a 503 the next call may find it closed, as after a good answer."""
    target = gateway()
    run(plan(target, retry=Retry(attempts=1)), call(), reply(503, OWN))

    assert run(plan(target), call(), lost(Fault.READ), ok()).asked == ["g", "g"]


def test_a_repeat_at_the_same_target_is_not_stale() -> None:
    """After an answer and a backoff, a connection that breaks is a failure like any other."""
    target = provider()

    drive = run(plan(target), call(), reply(503), lost(Fault.READ))

    assert drive.asked == ["p", "p"]
    assert reason_of(drive.outcome) == "503"
    assert target.seen().failures == 2


def test_elsewhere_nothing_is_free() -> None:
    """If the breaker has opened meanwhile, the call goes on as after any connection that broke."""
    target = answered_before(gateway())
    drive = Drive(plan(target, provider()), call(), lost(Fault.READ), reply(400)).run_to(1)
    open_breaker(target)
    drive.run()

    assert drive.asked == ["g", "p"]
    assert target.seen().retry_tokens == 90.0


# --- breakers ----------------------------------------------------------------


def test_an_open_breaker() -> None:
    """The second target is asked first; without a word, for nothing failed in this call."""
    target, other = gateway(), provider()
    open_breaker(target)

    drive = run(plan(target, other), call(), ok())

    assert drive.asked == ["p"]
    assert (drive.told, other.seen().retry_tokens) == ([], 100.0)


def test_a_failure_behind_an_open_breaker() -> None:
    """The preferred target is not asked, the one after the second is."""
    target = gateway()
    open_breaker(target)

    assert run(plan(target, provider("p"), provider("q")), call(), reply(500), ok()).asked == ["p", "q"]


@pytest.mark.parametrize("trouble", ["open", "paused", "bad"])
def test_a_target_in_trouble_is_passed_over(trouble) -> None:
    """Its breaker is open, it asked to be left alone, or its credential was refused: the next but one is asked."""
    second = provider()
    {
        "open": lambda: open_breaker(second),
        "paused": lambda: second.known.pause(BEGAN, 5.0),
        "bad": lambda: second.known.mark_bad(BEGAN),
    }[trouble]()

    drive = run(plan(gateway(), second, provider("q")), call(), reply(500, OWN), ok())

    assert drive.asked == ["g", "q"]


@pytest.mark.parametrize("trouble", ["paused", "bad"])
def test_a_preferred_target_in_trouble_is_asked_all_the_same(trouble) -> None:
    """A refused credential is no reason to go around a gateway, and the first attempt is never held back."""
    target = gateway()
    (target.known.pause if trouble == "paused" else target.known.mark_bad)(BEGAN, 5.0)

    assert run(plan(target, provider()), call(), ok()).asked == ["g"]


@pytest.mark.parametrize("took", [0.0, 6.0])
@pytest.mark.parametrize("failure", [reply(503, OWN), reply(500), lost(Fault.CONNECT)])
def test_the_last_resort(failure, took) -> None:
    """If nobody is well, the preferred target is asked once; nothing is repeated, even if somebody is well by then."""
    target, other = gateway(), provider()
    for each in (target, other):
        open_breaker(each)

    drive = run(plan(target, other), call(), fresh(failure), took=took)

    assert drive.asked == ["g"]
    assert drive.waits == []


def test_a_last_resort_that_answers() -> None:
    """It is delivered; the breaker stays open until a probe says otherwise."""
    target = gateway()
    open_breaker(target)

    assert run(plan(target), call(), ok()).outcome is not None
    assert target.seen().state == "open"


def test_the_call_that_opens_the_breaker() -> None:
    """Its repeat is not made: the target is to be left alone."""
    target = provider()
    for _ in range(4):
        target.known.faulted(BEGAN, 0.5, Breaker())

    assert run(plan(target), call(), reply(503)).asked == ["p"]
    assert target.seen().state == "open"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (ok(), "closed"),
        (reply(400), "closed"),
        (reply(500), "closed"),
        (reply(429), "closed"),
        (reply(500, OWN), "open"),
        (lost(Fault.CONNECT), "open"),
        (lost(Fault.POOL), "half-open"),
        (lost(Fault.CERTIFICATE), "half-open"),
    ],
    ids=["ok", "400", "500 relayed", "429", "500", "connect", "pool", "certificate"],
)
def test_what_a_probe_tells(answer, state) -> None:
    """A sign of life closes the breaker, a fault opens it again, and what says nothing leaves it to the next call."""
    target = gateway()
    open_breaker(target, BEGAN - 6)

    run(plan(target), call(), fresh(answer), ok(), trace=Trace(CHAT, BEGAN))

    assert target.seen().state == state
    assert not target.known._probing


def test_one_probe_at_a_time() -> None:
    """While it is under way, other calls go elsewhere."""
    target, other = gateway(), provider()
    open_breaker(target, BEGAN - 6)
    probe = Drive(plan(target, other), call(), ok()).run_to(1)

    second = run(plan(target, other), call(), ok())

    assert (probe.asked, second.asked) == (["g"], ["p"])


@pytest.mark.parametrize("answer", [ok(), reply(400), lost(Fault.CONNECT), lost(Fault.POOL)])
def test_what_a_call_from_before_tells_is_not_the_probes(answer) -> None:
    """It was let in while the breaker was closed: what came of it neither closes nor opens it, nor frees the place."""
    target = gateway()
    early = Drive(plan(target), call(), fresh(answer)).run_to(1)
    open_breaker(target, BEGAN - 6)
    probe = Drive(plan(target), call()).run_to(1)

    early.run()

    assert probe.asked == ["g"]
    assert target.known._probing
    assert target.seen().state == "half-open"


def test_a_place_that_was_given_up_is_not_given_up_again() -> None:
    """By a call that is cancelled after its connection turned out to be stale: another may be the probe by then."""
    target = gateway()
    open_breaker(target, BEGAN - 6)
    early = Drive(plan(target), call(body=None), lost(Fault.READ)).run_to(4)
    assert early.steps[-1] is REPLAY
    probe = Drive(plan(target), call()).run_to(1)

    early.flow.close()

    assert probe.asked == ["g"]
    assert target.known._probing


def test_a_fallback_may_be_the_probe() -> None:
    """A second target whose time is over is tried by the call that comes along, if that can pay for it."""
    first, second = gateway(), provider()
    open_breaker(second, BEGAN - 6)

    paid = run(plan(first, second), call(), reply(500, OWN), ok())
    assert paid.asked == ["g", "p"]
    assert second.seen().state == "closed"

    open_breaker(second, BEGAN - 6)
    spend_all([first])
    unpaid = run(plan(first, second), call(), reply(500, OWN))
    assert unpaid.asked == ["g"]
    assert second.known.enter(BEGAN).value == "probe"


def test_a_stale_probe_is_still_the_probe() -> None:
    """Its connection is replaced, and what comes then decides."""
    target = gateway()
    open_breaker(target, BEGAN - 6)

    drive = run(plan(target), call(), lost(Fault.READ), ok())

    assert drive.asked == ["g", "g"]
    assert target.seen().state == "closed"


def test_a_probe_that_is_hedged_gives_its_place_up() -> None:
    """What another target answered says nothing about the one that was to be probed."""
    target, other = gateway("g"), gateway("h")
    open_breaker(target, BEGAN - 6)
    target.known._latencies.append(1.0)
    open_breaker(other, BEGAN - 6)
    other.known.enter(BEGAN)
    steps = flow(call(), plan(target, other, hedge=Hedge(samples=1)), Trace(CHAT, BEGAN))
    race = next(steps)
    second = race.second(BEGAN + 1)

    outcome = finished(second.steps, None, Came(ok(), COMPLETION, BEGAN + 2))
    assert finished(steps, (None, outcome)) is outcome

    assert (target.known._probing, target.seen().state) == (False, "half-open")
    assert (other.known._probing, other.seen().state) == (True, "half-open")


def finished(steps: Any, *answers: Any) -> Any:
    """What *steps* return after these answers."""
    *before, last = answers
    for answer in before:
        steps.send(answer)
    with pytest.raises(StopIteration) as stop:
        steps.send(last)
    return stop.value.value


# --- waiters -----------------------------------------------------------------


def test_no_more_than_so_many_wait() -> None:
    """The others get the failure at once, and pay nothing; places are given back."""
    target = provider()
    rules = plan(target, retry=Retry(max_waiters=1))
    waiting = Drive(rules, call(), reply(503), ok()).run()
    first = Drive(rules, call(), reply(503), reply(400))
    first.run_to(waiting.steps.index(Sleep(0.5)) + 1)
    before = target.seen().retry_tokens

    second = run(rules, call(), reply(503))

    assert (second.asked, second.waits) == (["p"], [])
    assert target.seen().retry_tokens == before
    target.known.wait_in(2)
    first.run()
    assert target.known._waiting == 1
    target.known.wait_out()
    assert run(rules, call(), reply(503), ok()).waits == [0.5]


def test_nobody_waits_where_nobody_may() -> None:
    """A repeat without a wait needs no place; one with a wait is not made. A probe's place is given back too."""
    target = provider()
    rules = plan(target, retry=Retry(max_waiters=0))

    assert run(rules, call(), reply(503)).asked == ["p"]
    assert run(rules, call(), reply(503, retry_after="0"), ok()).asked == ["p", "p"]
    open_breaker(target, BEGAN - 6)
    drive = Drive(rules, call(), reply(409)).run()
    assert drive.asked == ["p"]
    assert not target.known._probing


def test_a_repeat_that_cannot_be_paid_gives_its_place_back() -> None:
    """Nobody waits for an attempt that will not be made."""
    target = provider()
    spend_all([target])

    run(plan(target), call(), reply(503))

    assert target.known.wait_in(1)


# --- cancelled ---------------------------------------------------------------


class Cancelled(BaseException):
    """As ``asyncio.CancelledError`` is."""


def long_way() -> tuple[Drive, Target, Target]:
    """A flow that passes through every state: redirect, error body, replay, fallback, backoff, probe, stream."""
    first, second = gateway(), provider()
    open_breaker(first, BEGAN - 6)
    open_breaker(second, BEGAN - 6)
    rules = plan(first, second, retry=Retry(attempts=4))
    return (
        Drive(
            rules,
            call(STREAM, body=None, timeout=60.0),
            Answer(307, headers={"location": "/other"}),
            Answer(502, *[bytes(40_000)] * 2),
            reply(409, retry_after="1"),
            events(ROLE, CONTENT),
            replay=b'{"stream":true}',
        ),
        first,
        second,
    )


LONG_WAY = long_way()[0].run().steps


def test_the_long_way_is_long() -> None:
    """Every kind of step is on it, so that the tests below interrupt each."""
    assert {type(step) for step in LONG_WAY} == {
        Send,
        Next,
        Close,
        Sleep,
        Tell,
        type(NOW),
        type(DRAW),
        type(REPLAY),
    }


#: Each step, and each error that may end the call there. What goes wrong when a connection is given back does not.
INTERRUPTED = [
    (at, error)
    for at, step in enumerate(LONG_WAY, 1)
    for error in (Cancelled, KeyboardInterrupt, ZeroDivisionError)
    if error is not ZeroDivisionError or not isinstance(step, Close)
]


@pytest.mark.parametrize(("at", "error"), INTERRUPTED)
def test_a_call_that_is_cancelled(at, error) -> None:
    """At any step it ends with that very error. Nothing is sent or waited for, and no place or connection is kept."""
    drive, *targets = long_way()
    drive.run_to(at)
    interrupted = error()

    with pytest.raises(error) as caught:
        drive.fail(interrupted)

    assert caught.value is interrupted
    assert {type(step) for step in drive.steps[at:]} <= {Close, type(NOW)}
    assert drive.open == []
    for target in targets:
        assert (target.known._probing, target.known._waiting) == (False, 0)


@pytest.mark.parametrize("at", range(1, len(LONG_WAY) + 1))
def test_a_call_that_is_given_up(at) -> None:
    """A generator that is closed cannot ask for anything more; places are given back even so."""
    drive, *targets = long_way()
    drive.run_to(at)

    drive.flow.close()

    for target in targets:
        assert (target.known._probing, target.known._waiting) == (False, 0)


def test_a_cancelled_attempt_is_on_record_and_nobodys_fault() -> None:
    """What was raised is its error; the target's health is as it was."""
    target = gateway()
    drive = Drive(plan(target), call()).run_to(1)

    with pytest.raises(Cancelled):
        drive.fail(Cancelled())

    (tried,) = drive.attempts
    assert (tried.error, tried.status, tried.meaning) == ("Cancelled", None, None)
    assert (target.seen().failures, target.seen().retry_tokens) == (0, 100.0)


def test_a_request_that_cannot_be_built() -> None:
    """The error reaches the caller as it is; a probe's place is given back."""

    class Broken(Target):
        def build(self, _call: Call) -> Outgoing:
            raise ZeroDivisionError

    target = Broken("g")
    open_breaker(target, BEGAN - 6)

    with pytest.raises(ZeroDivisionError):
        run(plan(target), call())

    assert not target.known._probing


def test_an_answer_that_cannot_be_closed() -> None:
    """Nobody is waiting for it any more: the call goes on."""
    drive = Drive(plan(gateway(), provider()), call(STREAM), events(b"data: {\n\n", CONTENT), events(CONTENT))
    drive.run_to(3)
    assert isinstance(drive.steps[-1], Close)

    drive.fail(OSError())

    assert drive.asked == ["g", "p"]
    assert reason_of(drive.outcome) is None


# --- which failure is returned -----------------------------------------------


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([lost(Fault.CONNECT), lost(Fault.READ)], "read"),
        ([reply(503, OWN), lost(Fault.CONNECT)], "503"),
        ([lost(Fault.CONNECT), reply(503)], "503"),
        ([reply(500, OWN), reply(429)], "429"),
        ([reply(500, OWN), lost(Fault.CERTIFICATE)], "certificate"),
        ([reply(500, OWN), lost(Fault.POOL)], "pool"),
        ([Answer(200, b"<html>"), lost(Fault.CONNECT)], "not JSON"),
    ],
    ids=["errors", "answer first", "answer last", "answers", "trust", "local", "no answer"],
)
def test_the_most_telling_failure(answers, told) -> None:
    """What ended the call for good; else the newest answer rather than a broken connection; else the newest error."""
    rules = plan(gateway(), provider(), controls=controls(attempts=2))

    drive = run(rules, call(), *map(fresh, answers))

    assert drive.asked == ["g", "p"]
    assert reason_of(drive.outcome) == told


def test_a_failure_keeps_its_body() -> None:
    """As it came, and whose it was; its caller sees it as he would without us."""
    answer = Answer(400, RELAYED[:5], RELAYED[5:])

    outcome = run(plan(gateway()), call(), answer).outcome

    assert outcome is not None
    assert outcome.verdict is not None
    assert (outcome.answer, outcome.body, outcome.over, outcome.target.name) == (answer, RELAYED, True, "g")
    assert outcome.verdict.meaning is Meaning.REQUEST


def test_an_error_that_has_no_meaning() -> None:
    """A mistake of ours, or a cancellation: it is raised, and nothing is tried again."""
    with pytest.raises(ZeroDivisionError):
        run(plan(gateway(), provider()), call(), ZeroDivisionError(), ok())


# --- redirects ---------------------------------------------------------------


def moved(status: int = 307, location: str = "/other") -> Answer:
    return Answer(status, b"moved", headers={"location": location})


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_inside_the_origin(status) -> None:
    """The answer is closed before the next request is sent, with the same headers and body; it is one attempt."""
    target, head, answer = gateway(), moved(status), ok()
    asked = call(timeout=60.0)
    drive = run(plan(target), asked, head, answer)

    first, close, second, *_ = drive.steps
    assert close == Close(head)
    outgoing = first.outgoing.replace(url="https://g.example/other")
    assert second == Send(target, outgoing, first.until, first.idle, first.call)
    assert drive.asked == ["g", "g"]
    assert [(tried.number, tried.status) for tried in drive.attempts] == [(1, 200)]
    assert drive.outcome is not None
    assert drive.outcome.answer is answer


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
        (307, "https://[::1/api", "no address"),
        (307, "/\x00", "no address"),
        (307, "/" + "a" * 65536, "no address"),
        (301, "/other", "into a GET"),
        (302, "/other", "into a GET"),
        (303, "/other", "into a GET"),
    ],
)
def test_redirects_that_are_refused(status, location, reason) -> None:
    """Nothing is sent there or elsewhere, and the answer's connection is given back."""
    head = moved(status, location)
    drive = run(plan(gateway(), provider()), call(), head)

    outcome = drive.outcome
    assert outcome is not None
    assert drive.asked == ["g"]
    assert drive.closed == [head]
    assert reason in (outcome.refused or "")
    assert (outcome.answer, len(drive.attempts)) == (None, 1)
    assert "secret" not in (outcome.refused or "")


def test_a_redirect_is_refused_in_the_name_of_who_redirected() -> None:
    """Not every target is the gateway."""
    outcome = run(plan(provider("Acme")), call(), moved(303)).outcome

    assert outcome is not None
    assert (outcome.refused or "").startswith("Acme ")


def test_a_loop_of_redirects_ends() -> None:
    """After three, with a reason; all of them are one attempt, and all are closed."""
    heads = [moved(location="/api/chat/completions") for _ in range(MAX_REDIRECTS + 1)]

    drive = run(plan(gateway(), provider()), call(), *heads)

    assert drive.outcome is not None
    assert "more than 3" in (drive.outcome.refused or "")
    assert drive.asked == ["g"] * (MAX_REDIRECTS + 1)
    assert drive.closed == heads
    assert len(drive.attempts) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ok(), None),
        (Answer(200, COMPLETION, headers={"location": "/x"}), None),
        (Answer(307), "307"),
        (reply(400), "400"),
    ],
)
def test_as_many_redirects_as_are_followed(answer, reason) -> None:
    """What is behind the third is judged like any other answer."""
    drive = run(plan(gateway()), call(), *(moved() for _ in range(MAX_REDIRECTS)), fresh(answer))

    assert reason_of(drive.outcome) == reason
    assert drive.outcome is not None
    assert drive.outcome.refused is None


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(Answer(307), "307"), (Answer(304, headers={"location": "/x"}), "304"), (moved(200), "not JSON")],
    ids=["no location", "304", "200"],
)
def test_what_is_no_redirect(answer, verdict) -> None:
    """No Location, or a status that means something else: judged as it is."""
    drive = run(plan(gateway(), retry=Retry(attempts=1)), call(), answer)

    assert drive.asked == ["g"]
    assert drive.closed == []
    assert reason_of(drive.outcome) == verdict


def test_a_caller_that_follows_none() -> None:
    """The redirect is his answer."""
    head = moved(location="https://evil.example")

    outcome = run(plan(gateway()), call(follow_redirects=False), head).outcome

    assert outcome is not None
    assert (outcome.answer, outcome.refused) == (head, None)


def test_the_answer_behind_a_redirect_is_judged_like_any_other() -> None:
    """A failure there is one of the target; a connection that breaks there is given back, and is not stale."""
    target = answered_before(gateway())
    broken = Answer(200, b"{", lost(Fault.READ))

    drive = run(plan(target, provider()), call(), moved(), broken, reply(400))
    assert drive.asked == ["g", "g", "p"]
    assert drive.closed[1:] == [broken]

    drive = run(plan(answered_before(gateway()), provider()), call(), moved(), lost(Fault.READ), ok())
    assert drive.asked == ["g", "g", "p"]
    assert [answer.status_code for answer in drive.closed] == [307]


@pytest.mark.parametrize(("replay", "asked"), [(b"--b", ["g", "g"]), (None, ["g"])])
def test_a_redirect_of_a_body_that_is_not_in_memory(replay, asked) -> None:
    """Followed only if the body can be had again: what was read once would be sent empty."""
    drive = run(plan(gateway()), call(body=None), moved(), ok(), replay=replay)

    assert drive.asked == asked
    assert [step.outgoing.body for step in drive.of(Ask, Send)] == [None, replay][: len(asked)]
    assert drive.outcome is not None
    assert ("only once" in (drive.outcome.refused or "")) is (replay is None)


# --- bodies of errors --------------------------------------------------------


def test_an_error_is_read_up_to_a_limit() -> None:
    """Beyond 64 KiB nothing is read: the rest is his who gets the failure."""
    answer = Answer(400, *[bytes(1024)] * 100)

    drive = run(plan(gateway()), call(), answer)

    outcome = drive.outcome
    assert outcome is not None
    assert len(outcome.body) == MAX_ERROR_BODY + 1024
    assert (outcome.over, len(answer.body), drive.closed) == (False, 35, [])


def test_a_long_error_is_closed_before_the_next_attempt() -> None:
    """Its connection is not kept waiting for a reader who never comes."""
    answer = Answer(500, *[bytes(1024)] * 100)

    drive = run(plan(gateway(), provider()), call(), answer, lost(Fault.CONNECT))

    assert drive.closed == [answer]
    kinds = [type(step) for step in drive.steps]
    assert kinds.index(Close) < kinds.index(Ask, 1)
    assert drive.outcome is not None
    assert (drive.outcome.answer, drive.outcome.over) == (answer, True)


def test_an_error_of_exactly_the_limit_is_whole() -> None:
    """Its end is looked for, so nothing is left to read."""
    outcome = run(plan(gateway()), call(), Answer(400, bytes(MAX_ERROR_BODY))).outcome

    assert outcome is not None
    assert (outcome.over, len(outcome.body)) == (True, MAX_ERROR_BODY)


@pytest.mark.parametrize("broken", [lost(Fault.READ), lost(Fault.DECODING), Overdue()])
def test_an_error_whose_body_breaks_off(broken) -> None:
    """Its status is known and says more: what came of the body is kept, and the connection given back."""
    answer = Answer(429, b"Too", broken)

    drive = run(plan(provider(), retry=Retry(attempts=1)), call(), answer)

    outcome = drive.outcome
    assert outcome is not None
    assert (reason_of(outcome), outcome.body, outcome.over, outcome.error) == ("429", b"Too", True, None)
    assert drive.closed == [answer]


@pytest.mark.parametrize("make", [gateway, provider])
def test_whose_fault_an_error_is_whose_body_breaks_off(make) -> None:
    """His who answered: the status counts, whatever can be read of the body."""
    target = make()

    run(plan(target, retry=Retry(attempts=1)), call(), Answer(500, b"{", lost(Fault.READ)))

    assert target.seen().failures == 1


# --- whole answers -----------------------------------------------------------


def test_events_that_the_caller_reads_by_himself() -> None:
    """A body that calls itself a stream is delivered, whatever is in it."""
    outcome = run(plan(gateway()), call(), events(CONTENT, DONE)).outcome

    assert outcome is not None
    assert (outcome.verdict, outcome.body) == (None, CONTENT + DONE)


def test_a_body_that_is_too_large() -> None:
    """Its connection is given back, and no other target is asked to send as much."""
    answer = Answer(200, bytes(600), bytes(600))

    drive = run(plan(gateway(), provider(), limits=Limits(body=1024)), call(), answer)

    assert drive.outcome is not None
    assert (drive.asked, drive.closed, drive.outcome.fault) == (["g"], [answer], Fault.LIMIT)


@pytest.mark.parametrize(("kind", "fine"), [("audio/mpeg", True), ("text/html", False)])
def test_speech_is_told_by_its_type(kind, fine) -> None:
    """Bytes cannot be looked into; a page of HTML is no speech."""
    answer = Answer(200, b"ID3", headers={"content-type": kind})

    drive = run(plan(gateway(), retry=Retry(attempts=1)), call(path=SPEECH), answer)

    assert (reason_of(drive.outcome) is None) is fine


# --- streams before their first content --------------------------------------

#: What a stream begins with; why it is no answer; whether it has to be closed.
NO_STREAMS = {
    "an error": ([b'data: {"error":{"message":"No.","code":503}}\n\n', CONTENT], "503", True),
    "an error after a role": ([ROLE, b'data: {"error":{"message":"No.","code":"503"}}\n\n'], "503", True),
    "garbage": ([b"data: {\n\n", CONTENT], "invalid JSON", True),
    "no UTF-8": ([b"data: \xff\n\n", CONTENT], "invalid UTF-8", True),
    "only its end": ([DONE], "no events", True),
    "its end, and then nothing": ([DONE, 99.0, b""], "no events", True),
    "nothing": ([], "no events", False),
    "only comments": ([b": PROCESSING\n\n"], "no events", False),
    "an end before content": ([ROLE], "ended before content", False),
    "half a character at the end": ([b"data: \xc3"], "invalid UTF-8", False),
    "an answer": ([COMPLETION], "no events", False),
    "an error that is no event": ([b'{"error":{"message":"No.","code":503}}'], "503", False),
}


@pytest.mark.parametrize(("chunks", "reason", "closed"), NO_STREAMS.values(), ids=NO_STREAMS)
def test_a_stream_that_is_no_answer(chunks, reason, closed) -> None:
    """The next target is asked, and the caller sees nothing of it. What is left of the body is closed, not awaited."""
    answer = events(*chunks)

    drive = run(plan(gateway(), provider()), call(STREAM, timeout=60.0), answer, events(CONTENT))

    ((tell, _),) = drive.told
    assert (drive.asked, tell.reason) == (["g", "p"], reason)
    assert (drive.closed, drive.now) == ([answer] * closed, BEGAN)


@pytest.mark.parametrize(
    "chunks", [[b"data: {\n\n", CONTENT], [b'data: {"error":{"message":"No."}}\n\n', CONTENT]]
)
def test_a_stream_that_is_no_answer_and_the_last_one(chunks) -> None:
    """Its connection is given back although nobody else is asked: what is delivered is an error."""
    answer = events(*chunks)

    drive = run(plan(gateway(), retry=Retry(attempts=1)), call(STREAM), answer)

    assert drive.closed == [answer]
    assert drive.outcome is not None
    assert drive.outcome.over


@pytest.mark.parametrize(
    ("make", "headers", "faults"),
    [(gateway, {}, 1), (gateway, {"x-respan-log-id": "l"}, 0), (provider, {"x-respan-log-id": "l"}, 1)],
    ids=["no log id", "log id", "no gateway"],
)
@pytest.mark.parametrize("chunks", [[b"data: {\n\n"], [ROLE], [COMPLETION], [b"<html>"]])
def test_whose_fault_a_stream_without_content_is(make, headers, faults, chunks) -> None:
    """A gateway that wrote a log id was up: it relays what came, and its provider is not asked directly."""
    target = make()
    rules = plan(target, direct(), retry=Retry(attempts=1))

    run(rules, call(STREAM), events(*chunks, **headers))

    assert target.seen().failures == faults


@pytest.mark.parametrize(
    "chunks",
    [
        [CONTENT],
        [ROLE, CONTENT],
        [ROLE + CONTENT],
        [CONTENT + b"data: {\n\n"],
        [CONTENT + b'data: {"error":{"message":"No."}}\n\n'],
        [b'data: {"choices":[{"delta":{"reasoning":"Hm"}}]}\n\n'],
        [b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'],
        [CONTENT[:20], CONTENT[20:]],
    ],
)
def test_content_commits(chunks) -> None:
    """From the first content event on the stream is the caller's, whatever stands behind it; nothing is lost of it."""
    drive = run(plan(gateway(), provider()), call(STREAM), events(*chunks, CONTENT))

    outcome = drive.outcome
    assert outcome is not None
    assert (outcome.verdict, outcome.over, outcome.held) == (None, False, chunks)
    assert drive.asked == ["g"]


def test_a_stream_of_nothing_that_ends_as_it_should() -> None:
    """``[DONE]`` after events without content is an answer, and the end of the connection is not waited for."""
    outcome = run(plan(gateway()), call(STREAM), events(b'data: {"choices":[]}\n\n', DONE, 99.0, b"")).outcome

    assert outcome is not None
    assert (outcome.verdict, outcome.over) == (None, False)


def test_what_is_held_back_is_limited() -> None:
    """Beyond the limit the stream is the caller's: memory is worth more than another target."""
    comment = b":" + b" " * 1021 + b"\n\n"
    answer = events(*[comment] * 3, CONTENT)

    outcome = run(plan(gateway(), limits=Limits(held=2048)), call(STREAM), answer).outcome

    assert outcome is not None
    assert (outcome.verdict, outcome.over, len(outcome.body)) == (None, False, 3 * 1024)
    assert answer.body == [CONTENT]


def test_an_event_that_is_too_large() -> None:
    """A limit of ours: nobody else is asked, and the connection is given back."""
    answer = events(b"data: " + bytes(2048))

    drive = run(plan(gateway(), provider(), limits=Limits(event=1024)), call(STREAM), answer)

    assert drive.outcome is not None
    assert (drive.asked, drive.closed, drive.outcome.fault) == (["g"], [answer], Fault.LIMIT)


def test_a_stream_that_breaks_off_before_content() -> None:
    """The next target is asked; it may have been billed."""
    answer = events(ROLE, lost(Fault.READ))

    drive = run(plan(gateway(), provider()), call(STREAM), answer, events(CONTENT))

    assert (drive.asked, drive.closed) == (["g", "p"], [answer])
    assert [tried.possible_duplicate for tried in drive.attempts] == [False, True]


#: The type of what comes in the place of a stream, its body, and why it is no answer.
PLAIN = {
    "an answer": ("application/json", COMPLETION, "not a stream"),
    "an error": ("application/json", b'{"error":{"message":"No.","code":503}}', "503"),
    "a page": ("text/html", b"<html>", "not a stream"),
    "events under a wrong name": ("text/plain", ROLE + CONTENT + DONE, None),
    "events without content": ("text/plain", ROLE, "not a stream"),
    "an error among events": (
        "text/plain",
        ROLE + b'data: {"error":{"message":"No.","code":503}}\n\n',
        "503",
    ),
}


@pytest.mark.parametrize(("kind", "body", "reason"), PLAIN.values(), ids=PLAIN)
def test_something_else_than_a_stream(kind, body, reason) -> None:
    """It is read at once and judged: half an answer or none would look like an empty stream to the SDK."""
    answer = Answer(200, body, headers={"content-type": kind})

    drive = run(plan(gateway(), retry=Retry(attempts=1)), call(STREAM, timeout=60.0), answer)

    assert drive.of(Read) == [Read(answer, Limits().body, BEGAN + 60)]
    assert reason_of(drive.outcome) == reason
    assert drive.outcome is not None
    assert (drive.outcome.body, drive.outcome.over) == (body, True)
    assert drive.outcome.watch is not None


def test_a_stream_after_something_else() -> None:
    """What was read to its end need not be closed before the next target is asked."""
    page = Answer(200, b"<html>", headers={"content-type": "text/html"})

    drive = run(plan(gateway(), provider()), call(STREAM), page, events(CONTENT))

    assert (drive.asked, drive.closed) == (["g", "p"], [])


def test_a_field_called_stream_elsewhere_in_the_body() -> None:
    """The caller asked for no stream, so what comes is passed on as it is."""
    asked = call(STREAM, body=b'{"model":"m","metadata":{"stream":true}}')
    answer = Answer(200, COMPLETION, headers={"content-type": "application/json"})

    drive = run(plan(gateway()), asked, answer)

    assert drive.of(Read, Next) == []
    assert drive.outcome is not None
    assert (drive.outcome.verdict, drive.outcome.over, drive.outcome.held) == (None, False, None)


def test_a_stream_without_a_type() -> None:
    """It is taken for one."""
    assert reason_of(run(plan(gateway()), call(STREAM), Answer(200, CONTENT)).outcome) is None


@pytest.mark.parametrize("event", [b"event: error\ndata: {}\n\n", b'data: {"type":"response.failed"}\n\n'])
def test_a_response_that_fails_first(event) -> None:
    """The Responses API has errors of its own shape; before content they are failures like any other."""
    created = b'data: {"type":"response.created","response":{}}\n\n'
    delta = b'data: {"type":"response.output_text.delta","delta":"Hi"}\n\n'

    drive = run(plan(gateway(), provider()), call(STREAM, RESPONSES), events(created, event), events(delta))

    assert drive.asked == ["g", "p"]


# --- a trace that goes on ----------------------------------------------------


def test_a_further_flow_of_one_call() -> None:
    """Its time counts from its own beginning, and earlier attempts count among those allowed."""
    trace = run(plan(gateway()), call(STREAM, timeout=5.0), events(CONTENT)).trace
    drive = Drive(plan(provider()), call(STREAM, timeout=5.0), reply(503), reply(503), trace=trace)
    drive.now = BEGAN + 100

    drive.run()

    assert drive.steps[0] is NOW
    assert {step.until for step in drive.of(Send)} == {BEGAN + 105}
    assert drive.asked == ["p", "p"]
    assert [tried.number for tried in drive.attempts] == [1, 2, 3]
    assert drive.attempts[1].ms == 0.0
