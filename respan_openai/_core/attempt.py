"""One attempt: a request to one target, and what came of it.

It is over when it is known to be an answer: the whole body where it is read at once, the first content event of
a stream, the head of a body that the caller streams himself. Up to there nothing was shown to anybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from .call import Mode, parse_object
from .judge import Fault, judge_answer, judge_body, judge_error, judge_fault
from .origin import same_origin
from .sse import Watch
from .steps import NOW, Close, Next, Read, Send
from .trace import Tried


if TYPE_CHECKING:
    from collections.abc import Generator

    from .call import Call, Outgoing
    from .judge import Verdict
    from .plan import Plan, Target
    from .steps import Answer


#: Redirects followed within one attempt.
MAX_REDIRECTS = 3

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
    """

    __slots__ = (
        "answer",
        "error",
        "fault",
        "held",
        "over",
        "refused",
        "target",
        "tried",
        "usage",
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
        self.usage: Any = None
        self.target: Target
        self.tried: Tried

    @property
    def body(self) -> bytes:
        """What was read of the body and not yet delivered."""
        return b"".join(self.held or ())


class Asking:
    """What one attempt needs to know of its call."""

    __slots__ = ("began", "call", "content_until", "plan", "target", "until")

    def __init__(
        self,
        plan: Plan,
        call: Call,
        target: Target,
        began: float,
        until: float | None,
        content_until: float | None,
    ) -> None:
        self.plan = plan
        self.call = call
        self.target = target
        self.began = began
        self.until = until
        self.content_until = content_until


def attempt(asking: Asking, wait: float, *, reused: bool, duplicate: bool) -> Generator[Any, Any, Outcome]:
    """Ask once.

    Args:
        asking: What, whom, until when.
        wait: Seconds waited before; for the record.
        reused: Whether the connection may be an old one, which the server may have closed meanwhile.
        duplicate: Whether an earlier attempt may have been worked on.
    """
    target = asking.target
    outgoing = target.build(asking.call)
    answer: Answer | None = None
    try:
        answer = yield Send(target, outgoing, asking.content_until, asking.plan.timeouts.idle)
        if answer.status_code in _REDIRECTS and asking.call.follow_redirects:
            outcome = yield from _redirected(asking, outgoing, answer)
        else:
            outcome = yield from _judged(asking, answer)
    except GeneratorExit:
        raise
    except BaseException as exc:
        outcome = Outcome()
        outcome.error = exc
        outcome.fault = fault = asking.plan.explain(exc)
        if fault is not None:
            stale = reused and answer is None and fault is Fault.READ
            outcome.verdict = judge_fault(Fault.STALE if stale else fault)
    if outcome.fault is not None and answer is not None:
        yield Close(answer)
    outcome.target = target
    outcome.tried = _tried(asking, outgoing, outcome, (yield NOW), wait, duplicate)
    return outcome


def _tried(
    asking: Asking, outgoing: Outgoing, outcome: Outcome, now: float, wait: float, duplicate: bool
) -> Tried:
    verdict, answer, error, held = outcome.verdict, outcome.answer, outcome.error, outcome.held
    status = None if answer is None else answer.status_code
    return Tried(
        asking.target.name,
        outgoing.model,
        status if verdict is None else verdict.status or status,
        None if verdict is None else verdict.meaning.value,
        asking.began,
        now,
        wait,
        0 if held is None else sum(map(len, held)),
        duplicate,
        None if error is None else type(error).__name__,
    )


# -- what an answer is


def _judged(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    mode = asking.call.mode
    if not 200 <= answer.status_code < 300:
        return (yield from _refusal(asking, answer))
    if mode is Mode.WHOLE:
        return (yield from _whole(asking, answer))
    if mode is Mode.EVENTS:
        return (yield from _events(asking, answer))
    outcome = Outcome(answer)
    outcome.over = False
    return outcome


def _whole(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    body = yield Read(answer, asking.plan.limits.body, asking.until)
    call = asking.call
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
    outcome.usage = reading.usage
    outcome.held = [body]
    if reading.verdict is not None and "event-stream" in (answer.headers.get("content-type") or ""):
        outcome.verdict = None  # events that the caller wants to read by himself
    return outcome


def _events(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    kind = answer.headers.get("content-type")
    if kind is not None and "event-stream" not in kind:
        return (yield from _no_events(asking, answer))
    outcome = Outcome(answer)
    watch = Watch(asking.call.path, max_event=asking.plan.limits.event)
    held: list[bytes] = []
    outcome.held, outcome.watch, outcome.over = held, watch, False
    room = asking.plan.limits.held
    while room >= 0:
        chunk = yield Next(answer, asking.content_until)
        if chunk is None:
            outcome.over = True
            watch.close()
        else:
            held.append(chunk)
            room -= len(chunk)
            watch.feed(chunk)
        outcome.verdict = _early_end(asking, outcome, watch)
        if outcome.verdict is not None or watch.content or outcome.over:
            break
    return outcome


def _early_end(asking: Asking, outcome: Outcome, watch: Watch) -> Verdict | None:
    """What a stream that has shown no content yet comes to; ``None`` while it may still become an answer."""
    if watch.content:
        return None
    if watch.error is not None:
        return judge_error(watch.error, _no_header, gateway=asking.target.guards)
    if watch.garbage is not None:
        return _no_answer(watch.garbage)
    if not outcome.over or (watch.events and watch.complete):
        return None
    if watch.events:
        return _no_answer("ended before content")
    return _verdict_on_body(asking, outcome.body) or _no_answer("no events")


def _no_events(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    """``stream=True`` was answered with something else, or with events under a wrong name."""
    outcome = Outcome(answer)
    if parse_object(asking.call.body).get("stream") is not True:  # a field of that name elsewhere in the body
        outcome.over = False
        return outcome
    body = yield Read(answer, asking.plan.limits.body, asking.until)
    watch = Watch(asking.call.path, max_event=asking.plan.limits.event)
    watch.feed(body)
    watch.close()
    outcome.held, outcome.watch = [body], watch
    if not watch.content:
        outcome.verdict = _verdict_on_body(asking, body) or _no_answer("not a stream")
    return outcome


def _verdict_on_body(asking: Asking, body: bytes) -> Verdict | None:
    return judge_body(asking.call.path, None, 200, body, gateway=asking.target.guards).verdict


def _no_answer(reason: str) -> Verdict:
    return judge_fault(Fault.DECODING)._replace(reason=reason)


def _no_header(_name: str) -> str | None:
    return None


# -- what is none


def _refusal(asking: Asking, answer: Answer) -> Generator[Any, Any, Outcome]:
    outcome = Outcome(answer)
    outcome.held = held = []
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
    size = 0
    try:
        while size <= MAX_ERROR_BODY:
            chunk = yield Next(answer, asking.until)
            if chunk is None:
                return True
            held.append(chunk)
            size += len(chunk)
    except Exception as exc:
        # The status is known, and says more than a body that breaks off.
        if asking.plan.explain(exc) is None:
            raise
        yield Close(answer)
        return True
    return False


def _redirected(asking: Asking, outgoing: Outgoing, answer: Answer) -> Generator[Any, Any, Outcome]:
    """Follow a redirect inside the same origin that keeps the method, as part of the attempt.

    Any other is refused, because prompts and parameters would follow it, and a POST would become a GET
    (RFC 9110, 15.4).
    """
    for _ in range(MAX_REDIRECTS):
        location = answer.headers.get("location") if answer.status_code in _REDIRECTS else None
        if location is None:
            return (yield from _judged(asking, answer))
        yield Close(answer)
        reason = _refused(outgoing.url, answer.status_code, location)
        if reason is not None:
            return _refused_outcome(reason)
        outgoing = outgoing._replace(url=urljoin(outgoing.url, location))
        answer = yield Send(asking.target, outgoing, asking.content_until, asking.plan.timeouts.idle)
    if answer.status_code not in _REDIRECTS or answer.headers.get("location") is None:
        return (yield from _judged(asking, answer))
    yield Close(answer)
    return _refused_outcome(f"{asking.target.name} redirected more than {MAX_REDIRECTS} times.")


def _refused_outcome(reason: str) -> Outcome:
    outcome = Outcome(None, judge_fault(Fault.REDIRECT))
    outcome.refused = reason
    return outcome


def _refused(origin: str, status: int, location: str) -> str | None:
    url = urljoin(origin, location)
    if not same_origin(url, origin):
        return (
            f"The gateway answered {status} and pointed to another origin. Credentials, prompts and parameters "
            "would follow, so the redirect was refused. Set base_url to the gateway's final address."
        )
    if urlsplit(url).username is not None:  # httpx would put it in the place of our credential
        return "The gateway redirected to an address with a user name in it, which is not followed."
    if status not in _KEEPS_METHOD:
        return (
            f"The gateway answered a POST with {status}, which would turn it into a GET. "
            "Set base_url to the gateway's final address."
        )
    return None
