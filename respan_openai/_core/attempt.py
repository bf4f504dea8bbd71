"""One attempt: a request to one target, and what came of it.

It is over when it is known to be an answer: the whole body where it is read at once, the first content event of
a stream, the head of a body that the caller streams himself. Up to there nothing was shown to anybody.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from .call import EVENTS, WHOLE, parse_object
from .judge import Fault, judge_answer, judge_body, judge_error, judge_fault
from .origin import same_origin
from .steps import NOW, REPLAY, SPENT, Ask, Close, Next, Read, Send
from .trace import Tried


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from .call import Call, Outgoing
    from .judge import Read as Reading
    from .judge import Verdict
    from .plan import Plan, Target
    from .sse import Watch
    from .steps import Answer


#: Redirects followed within one attempt.
MAX_REDIRECTS = 3

#: Characters of an address that is followed.
MAX_URL = 65536

#: Bytes of an error's body that are looked at.
MAX_ERROR_BODY = 65536

_KEEPS_METHOD = frozenset({307, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Outcome:
    """What came of an attempt.

    Attributes:
        target: Who was asked.
        verdict: What the failure means; ``None`` for an answer that may be delivered.
        answer: The response, if there is one.
        held: What was read of its body and not yet delivered, unpacked; ``None`` if nothing was.
        over: Whether *held* is the whole body.
        watch: On a stream that goes on; it has seen *held*.
        error: What was raised instead of an answer, and *fault* what it means.
        refused: Why a redirect was not followed.
        spent: Whether *error* left the call no time, when it was recorded that is now played.
        read: What was read in a whole answer.
    """

    __slots__ = (
        "answer",
        "error",
        "fault",
        "held",
        "over",
        "read",
        "refused",
        "spent",
        "target",
        "tried",
        "verdict",
        "watch",
    )

    def __init__(self, answer: Answer | None = None, verdict: Verdict | None = None) -> None:
        self.answer = answer
        self.verdict = verdict
        self.held: list[bytes] | None = None
        self.over = True
        self.watch: Watch | None = None
        self.error: BaseException | None = None
        self.fault: Fault | None = None
        self.refused: str | None = None
        self.spent = False
        self.read: Reading | None = None
        self.target: Target
        self.tried: Tried

    @property
    def body(self) -> bytes:
        """What was read of the body and not yet delivered."""
        return b"".join(self.held or ())


class Asking:
    """What one attempt needs to know of its call.

    Attributes:
        until: When it must have shown its first content, or its answer; ``None`` for no limit.
        wait: Seconds waited before; for the record.
        reused: Whether the connection may be an old one, which the server may have closed meanwhile.
        duplicate: Whether an earlier attempt may have been worked on.
        model: Asked for, once it is known.
        answer: The response whose body is neither over nor given back, while there is one.
    """

    __slots__ = ("answer", "began", "call", "duplicate", "model", "plan", "reused", "target", "until", "wait")

    def __init__(
        self,
        plan: Plan,
        call: Call,
        target: Target,
        began: float,
        until: float | None,
        wait: float,
        reused: bool,
        duplicate: bool,
    ) -> None:
        self.plan = plan
        self.call = call
        self.target = target
        self.began = began
        self.until = until
        self.wait = wait
        self.reused = reused
        self.duplicate = duplicate
        self.model: str | None = None
        self.answer: Answer | None = None

    def give_back(self) -> Generator[Any, Any, None]:
        """Close the response that is open, if one is; what goes wrong then is of no interest to anybody."""
        answer, self.answer = self.answer, None
        if answer is not None:
            with suppress(Exception):
                yield Close(answer)


def attempt(asking: Asking) -> Generator[Any, Any, Outcome]:
    """Ask once."""
    target, call, plan = asking.target, asking.call, asking.plan
    outgoing = target.build(call)
    asking.model = outgoing.model
    at = 0.0
    try:
        if call.mode is WHOLE:
            came = yield Ask(target, outgoing, plan.limits.body, asking.until, plan.timeouts.idle, call)
            asking.answer, body, at = came.answer, came.body, came.at
            if came.error is not None:
                raise came.error  # noqa: TRY301 -- as if it were thrown in here
        else:
            asking.answer, body = (yield Send(target, outgoing, asking.until, plan.timeouts.idle, call)), None
        outcome = _judged(asking, body) if body is not None else (yield from _answered(asking, outgoing))
    except GeneratorExit:
        raise
    except BaseException as exc:
        outcome, at = _broken(asking, exc), 0.0
        yield from asking.give_back()
    outcome.target = target
    outcome.tried = _tried(asking, outcome, at or (yield NOW))
    return outcome


def _broken(asking: Asking, error: BaseException) -> Outcome:
    outcome = Outcome()
    outcome.error = error
    outcome.spent = getattr(error, SPENT, False)
    outcome.fault = fault = asking.plan.explain(error)
    if fault is not None:
        stale = asking.reused and asking.answer is None and fault is Fault.READ
        outcome.verdict = judge_fault(Fault.STALE if stale else fault)
    return outcome


def _tried(asking: Asking, outcome: Outcome, now: float) -> Tried:
    verdict, answer, error, held = outcome.verdict, outcome.answer, outcome.error, outcome.held
    status = None if answer is None else answer.status_code
    return Tried(
        asking.target.name,
        asking.model,
        status if verdict is None else verdict.status or status,
        None if verdict is None else verdict.meaning.value,
        asking.began,
        now,
        asking.wait,
        0 if held is None else sum(map(len, held)),
        asking.duplicate,
        None if error is None else type(error).__name__,
    )


# -- what an answer is


def _answered(asking: Asking, outgoing: Outgoing) -> Generator[Any, Any, Outcome]:
    """What comes of the head of an answer to *outgoing*."""
    answer: Any = asking.answer
    if answer.status_code in _REDIRECTS and asking.call.follow_redirects:
        return _redirected(asking, outgoing, answer)
    return _reading(asking, answer)


def _reading(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    """How *answer* is read, as far as its call wants it read, and what comes of it."""
    mode = asking.call.mode
    if not 200 <= answer.status_code < 300:
        return _refusal(asking, answer)
    if mode is WHOLE:
        return _whole(asking, answer)
    return _events(asking, answer) if mode is EVENTS else _unread(asking, answer)


def _unread(_asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    outcome = Outcome(answer)
    outcome.over = False
    yield from ()
    return outcome


def _whole(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    return _judged(asking, (yield Read(answer, asking.plan.limits.body, asking.until)))


def _judged(asking: Asking, body: bytes) -> Outcome:
    """What an answer is whose whole *body* is known."""
    call = asking.call
    answer: Any = asking.answer
    asking.answer = None
    reading = judge_body(
        call.path,
        answer.headers.get("content-type") if call.path.startswith("/audio/") else None,
        answer.status_code,
        body,
        gateway=asking.target.guards,
        header=answer.headers.get,
        wait_cap=asking.plan.retry.retry_after_cap,
    )
    outcome = Outcome(answer, reading.verdict)
    outcome.read = reading
    outcome.held = [body]
    if reading.verdict is not None and "event-stream" in (answer.headers.get("content-type") or ""):
        outcome.verdict = None  # events that the caller wants to read by himself
    return outcome


@cache
def _watch_class() -> type[Watch]:
    # Many programs never stream; and to import what is there already takes longer than to make one.
    from .sse import Watch

    return Watch


def _events(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    kind = answer.headers.get("content-type")
    if kind is not None and "event-stream" not in kind:
        return (yield from _no_events(asking, answer))
    outcome = Outcome(answer)
    watch = _watch_class()(asking.call.path, max_event=asking.plan.limits.event)
    held: list[bytes] = []
    outcome.held, outcome.watch, outcome.over = held, watch, False
    room = asking.plan.limits.held
    while room >= 0:
        chunk = yield Next(answer, asking.until)
        if chunk is None:
            outcome.over = True
            asking.answer = None
            watch.close()
        else:
            held.append(chunk)
            room -= len(chunk)
            watch.feed(chunk)
            if watch.content:
                break
        outcome.verdict = _early_end(asking, outcome, watch)
        if outcome.verdict is not None or watch.done or outcome.over:
            break
    if outcome.verdict is not None:
        yield from asking.give_back()
        outcome.over = True
    return outcome


def _early_end(asking: Asking, outcome: Outcome, watch: Watch) -> Verdict | None:
    """What a stream that has shown no content yet comes to; ``None`` while it may still become an answer."""
    if watch.error is not None:
        return judge_error(
            watch.error,
            _no_header,
            gateway=asking.target.guards,
            wait_cap=asking.plan.retry.retry_after_cap,
        )
    if watch.garbage is not None:
        return _no_answer(asking, outcome, watch.garbage)
    if not (outcome.over or watch.done) or (watch.events and watch.complete):
        return None
    if watch.events:
        return _no_answer(asking, outcome, "ended before content")
    return _verdict_on_body(asking, outcome) or _no_answer(asking, outcome, "no events")


def _no_events(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    """``stream=True`` was answered with something else, or with events under a wrong name."""
    outcome = Outcome(answer)
    if parse_object(asking.call.body).get("stream") is not True:  # a field of that name elsewhere in the body
        outcome.over = False
        return outcome
    body = yield Read(answer, asking.plan.limits.body, asking.until)
    asking.answer = None
    watch = _watch_class()(asking.call.path, max_event=asking.plan.limits.event)
    watch.feed(body)
    watch.close()
    outcome.held, outcome.watch = [body], watch
    if not watch.content:
        told = None if watch.error is None else _early_end(asking, outcome, watch)
        outcome.verdict = (
            told or _verdict_on_body(asking, outcome) or _no_answer(asking, outcome, "not a stream")
        )
    return outcome


def _verdict_on_body(asking: Asking, outcome: Outcome) -> Verdict | None:
    """What a JSON object means that came instead of events; ``None`` for anything else."""
    body = outcome.body
    if not parse_object(body):
        return None
    return judge_body(
        asking.call.path,
        None,
        200,
        body,
        gateway=asking.target.guards,
        header=_headers_of(outcome).get,
        wait_cap=asking.plan.retry.retry_after_cap,
    ).verdict


def _no_answer(asking: Asking, outcome: Outcome, reason: str) -> Verdict:
    """As ``judge_body`` has it: a gateway that wrote a log id was up, and relays what a provider sent."""
    own = not asking.target.guards or _headers_of(outcome).get("x-respan-log-id") is None
    return judge_fault(Fault.DECODING).replace(reason=reason, own=own)


def _headers_of(outcome: Outcome) -> Mapping[str, str]:
    return {} if outcome.answer is None else outcome.answer.headers


def _no_header(_name: str) -> str | None:
    return None


# -- what is none


def _refusal(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    outcome = Outcome(answer)
    held: list[bytes] = []
    outcome.held = held
    outcome.over = yield from _head_of_body(asking, answer, held)
    outcome.verdict = judge_answer(
        answer.status_code,
        answer.headers.get,
        outcome.body,
        gateway=asking.target.guards,
        wait_cap=asking.plan.retry.retry_after_cap,
    )
    return outcome


def _head_of_body(asking: Asking, answer: Answer, held: list[bytes]) -> Generator[Any, Any, bool]:
    """Read what is looked at of an error's body; whether that is all there will be of it."""
    size = 0
    try:
        while size <= MAX_ERROR_BODY:
            chunk = yield Next(answer, asking.until)
            if chunk is None:
                asking.answer = None
                return True
            held.append(chunk)
            size += len(chunk)
    except Exception as exc:
        # The status is known, and says more than a body that breaks off.
        if asking.plan.explain(exc) is None:
            raise
        yield from asking.give_back()
        return True
    return False


def _redirected(asking: Asking, outgoing: Outgoing, answer: Answer) -> Generator[Any, Any, Outcome]:
    """Follow a redirect inside the same origin that keeps the method, as part of the attempt.

    Any other is refused, because prompts and parameters would follow it, and a POST would become a GET
    (RFC 9110, 15.4).
    """
    for _ in range(MAX_REDIRECTS):
        location = _location(answer)
        if location is None:
            return (yield from _reading(asking, answer))
        yield from asking.give_back()
        reason = _refused(asking.target.name, outgoing.url, answer.status_code, location)
        if reason is not None:
            return _refused_outcome(reason)
        if asking.call.body is None:
            # A generator that was read once would be sent empty.
            outgoing = outgoing.replace(body=(yield REPLAY))
            if outgoing.body is None:
                return _refused_outcome(
                    f"{asking.target.name} redirected a request whose body can be sent only once."
                )
        outgoing = outgoing.replace(url=urljoin(outgoing.url, location))
        asking.reused = False  # it has just answered
        asking.answer = answer = yield Send(
            asking.target, outgoing, asking.until, asking.plan.timeouts.idle, asking.call
        )
    if _location(answer) is None:
        return (yield from _reading(asking, answer))
    yield from asking.give_back()
    return _refused_outcome(f"{asking.target.name} redirected more than {MAX_REDIRECTS} times.")


def _location(answer: Answer) -> str | None:
    return answer.headers.get("location") if answer.status_code in _REDIRECTS else None


def _refused_outcome(reason: str) -> Outcome:
    outcome = Outcome(None, judge_fault(Fault.REDIRECT))
    outcome.refused = reason
    return outcome


def _refused(name: str, origin: str, status: int, location: str) -> str | None:
    url = _address(origin, location)
    if url is None:
        return f"{name} redirected to something that is no address, or one that no client would take."
    if not same_origin(url, origin):
        return (
            f"{name} answered {status} and pointed to another origin. Credentials, prompts and parameters "
            "would follow, so the redirect was refused. Set base_url to the final address."
        )
    if urlsplit(url).username is not None:  # httpx would put it in the place of our credential
        return f"{name} redirected to an address with a user name in it, which is not followed."
    if status not in _KEEPS_METHOD:
        return (
            f"{name} answered a POST with {status}, which would turn it into a GET. "
            "Set base_url to the final address."
        )
    return None


def _address(origin: str, location: str) -> str | None:
    """The URL that *location* means; ``None`` if it is none, or is one that httpx refuses (httpx/_urlparse.py)."""
    try:
        url = urljoin(origin, location)
    except ValueError:
        return None
    return url if url.isprintable() and len(url) <= MAX_URL else None
