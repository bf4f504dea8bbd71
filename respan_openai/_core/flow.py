"""One call from first try to answer, told in order.

1. The first target that is well is asked; if none is, the preferred one, once.
2. An answer is delivered. Nothing is repeated afterwards.
3. A failure is judged (``judge``): it ends the call, or another target may be asked, or the same one again.
4. Going on costs: an attempt of those allowed, a share of the failed target's retry budget, and time that must
   fit the deadline. What cannot be paid for is not done, and the caller gets the failure at once.
5. The most telling failure is what the caller gets: an answer rather than a broken connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .attempt import Asking, attempt
from .course import Course, Leg
from .health import Entry
from .judge import Meaning
from .steps import DRAW, NOW, REPLAY, Close, Sleep, Tell


if TYPE_CHECKING:
    from collections.abc import Generator

    from .attempt import Outcome
    from .call import Call
    from .health import Health
    from .judge import Verdict
    from .plan import Plan
    from .trace import Trace


#: Longer ago than this, no connection is still open (httpx closes idle ones after 5 s unless told otherwise).
REUSED_SECONDS = 300.0


def flow(call: Call, plan: Plan, trace: Trace) -> Generator[Any, Any, Outcome]:
    """Bring *call* to an answer, or to the failure that its caller gets."""
    course = Course(call, plan, trace.began)
    now = trace.began
    leg = course.first(now)
    most_telling: Outcome | None = None
    while True:
        outcome = yield from _attempted(course, leg, now, trace)
        now = outcome.tried.ended
        verdict = outcome.verdict
        if verdict is None:
            return outcome
        if most_telling is None or outcome.answer is not None or most_telling.answer is None:
            most_telling = outcome
        following = yield from _following(course, outcome, verdict, trace)
        if following is None:
            return most_telling
        if not outcome.over:
            yield Close(outcome.answer)  # type: ignore[arg-type]
            outcome.over = True
        leg = following
        if leg.wait:
            now = yield from _waited(course, leg)


def _attempted(course: Course, leg: Leg, began: float, trace: Trace) -> Generator[Any, Any, Outcome]:
    target = leg.target
    health = target.health(course.call)
    asking = Asking(course.plan, course.call, target, began, course.until, course.content_until(began))
    course.asked[target] = course.asked.get(target, 0) + 1
    outcome: Outcome | None = None
    try:
        outcome = yield from attempt(
            asking, leg.wait, reused=health.answered_within(REUSED_SECONDS, began), duplicate=course.duplicate
        )
        trace.tried.append(outcome.tried)
        if outcome.verdict is None and outcome.error is not None:
            raise outcome.error
    except BaseException:
        if leg.entry is Entry.PROBE:
            health.released(began)
        raise
    if outcome.verdict is None:
        _succeeded(course, leg, health, outcome, trace)
    else:
        _failed(course, leg, health, outcome, outcome.verdict, (yield DRAW))
    return outcome


def _succeeded(course: Course, leg: Leg, health: Health, outcome: Outcome, trace: Trace) -> None:
    tried, clean = outcome.tried, len(trace.tried) == 1
    probe = leg.entry is Entry.PROBE
    health.succeeded(tried.ended, clean=clean, seconds=tried.ended - tried.began, probe=probe)
    if course.paid is not None:
        payer, cost = course.paid
        payer.refund(cost)
    if outcome.usage is not None:
        trace.usage = outcome.usage


def _failed(
    course: Course, leg: Leg, health: Health, outcome: Outcome, verdict: Verdict, draw: float
) -> None:
    now, probe = outcome.tried.ended, leg.entry is Entry.PROBE
    course.duplicate = course.duplicate or verdict.rule.billed
    if verdict.rule.breaker and verdict.own:
        health.faulted(now, draw, course.plan.breaker, probe=probe)
    elif outcome.answer is not None:
        health.succeeded(now, clean=False, probe=probe)
    elif probe:
        health.released(now)
    if verdict.bad_credential:
        health.mark_bad(now)
    if verdict.meaning is Meaning.OVERLOAD and verdict.wait and not outcome.target.guards:
        health.pause(now, verdict.wait)


def _following(
    course: Course, outcome: Outcome, verdict: Verdict, trace: Trace
) -> Generator[Any, Any, Leg | None]:
    now = outcome.tried.ended
    if not course.may_go_on(verdict, len(trace.tried), now):
        return None
    if course.call.body is None and verdict.meaning is not Meaning.NOT_SENT:
        body = yield REPLAY
        if body is None:
            return None
        course.call = course.call._replace(body=body)
    leg = _other(course, outcome, verdict, now)
    action = "fallback"
    if leg is None:
        leg, action = _same(course, outcome, verdict, now, (yield DRAW)), "retry"
    if leg is not None:
        reason = verdict.reason
        yield Tell(action, outcome.target.name, reason, leg.target.name, len(trace.tried), leg.wait)
    return leg


def _other(course: Course, outcome: Outcome, verdict: Verdict, now: float) -> Leg | None:
    for target in course.onward(outcome, verdict):
        entry = course.enter(target, now)
        if entry is Entry.OPEN:
            continue
        if _paid(course, outcome, verdict, now):
            return Leg(target, entry)
        if entry is Entry.PROBE:
            target.health(course.call).released(now)
        return None
    return None


def _same(course: Course, outcome: Outcome, verdict: Verdict, now: float, draw: float) -> Leg | None:
    wait = course.wait_to_repeat(outcome, verdict, draw)
    if wait is None or not course.fits(now, wait):
        return None
    health = outcome.target.health(course.call)
    entry = health.enter(now)
    if entry is Entry.OPEN:
        return None
    if not wait or health.wait_in(course.plan.retry.max_waiters):
        if _paid(course, outcome, verdict, now):
            return Leg(outcome.target, entry, wait)
        if wait:
            health.wait_out()
    if entry is Entry.PROBE:
        health.released(now)
    return None


def _paid(course: Course, outcome: Outcome, verdict: Verdict, now: float) -> bool:
    health, cost = outcome.target.health(course.call), verdict.rule.cost
    if cost and not health.spend(now, cost):
        return False
    course.paid = (health, cost) if cost else None
    return True


def _waited(course: Course, leg: Leg) -> Generator[Any, Any, float]:
    health = leg.target.health(course.call)
    try:
        yield Sleep(leg.wait)
    except BaseException:
        if leg.entry is Entry.PROBE:
            health.released(0.0)
        raise
    finally:
        health.wait_out()
    now: float = yield NOW
    return now
