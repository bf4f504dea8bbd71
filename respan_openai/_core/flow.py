"""One call from first try to answer, told in order.

1. The first target that is well is asked; if none is, the preferred one, once.
2. An answer is delivered. Nothing is repeated afterwards.
3. A failure is judged (``judge``): it ends the call, or another target may be asked, or the same one again.
4. Going on costs: an attempt of those allowed, a share of the failed target's retry budget, and time that must
   fit the deadline. What cannot be paid for is not done, and the caller gets the failure at once; except that
   another target which is well is asked on its own account.
5. The most telling failure is what the caller gets: what ended the call for good, else an answer rather than a
   broken connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .attempt import attempt
from .course import Course, Leg
from .judge import RULES, Meaning
from .steps import DRAW, NOW, REPLAY, Sleep, Tell


if TYPE_CHECKING:
    from collections.abc import Generator

    from .attempt import Asking, Outcome
    from .call import Call
    from .judge import Verdict
    from .plan import Plan, Target
    from .trace import Trace


_FOR_GOOD = frozenset({Meaning.TRUST, Meaning.LOCAL})


def flow(call: Call, plan: Plan, trace: Trace) -> Generator[Any, Any, Outcome]:
    """Bring *call* to an answer, or to the failure that its caller gets.

    *trace* may hold attempts already: then its time counts from now on, and they count among those allowed.
    """
    now = (yield NOW) if trace.tried else trace.began
    course = Course(call, plan, now)
    leg: Leg | None = None
    asking: Asking | None = None
    most_telling: Outcome | None = None
    try:
        while True:
            asking = course.asking(leg.target, now, leg.wait) if leg is not None else course.first(now)
            # Each step passes through every generator on the way, so there is none for what few calls need.
            outcome = yield from _hedged(course, asking, trace) if plan.hedge is not None else attempt(asking)
            trace.tried.append(outcome.tried)
            verdict = outcome.verdict
            if verdict is None:
                return _succeeded(course, outcome, trace)
            _failed(course, outcome, verdict, (yield DRAW))
            if most_telling is None or _tells_more(outcome, verdict, most_telling):
                most_telling = outcome
            leg = yield from _following(course, outcome, verdict, trace)
            if leg is None:
                return most_telling
            yield from asking.give_back()
            outcome.over = True
            now = outcome.tried.ended
            if leg.wait:
                now = yield from _waited(course, leg.wait)
                if not course.fits(now, 0.0):  # a machine that was asleep wakes up late
                    course.leave()
                    return most_telling
    except GeneratorExit:
        course.leave()
        raise
    except BaseException:
        course.leave()
        if asking is not None:
            yield from asking.give_back()
        raise


def _hedged(course: Course, asking: Asking, trace: Trace) -> Generator[Any, Any, Outcome]:
    from .hedge import asked  # few plans have one

    return asked(course, asking, trace)


def _tells_more(outcome: Outcome, verdict: Verdict, other: Outcome) -> bool:
    # What ended the call for good, a certificate or a limit of ours, must not be hidden by somebody's 503.
    return verdict.meaning in _FOR_GOOD or outcome.answer is not None or other.answer is None


def _succeeded(course: Course, outcome: Outcome, trace: Trace) -> Outcome:
    if outcome.error is not None:  # none of the library's: a cancellation, or a mistake
        raise outcome.error
    tried, clean = outcome.tried, len(trace.tried) == 1
    probe = course.probe is not None and course.end_probe()
    course.health.succeeded(tried.ended, clean=clean, seconds=tried.ended - tried.began, probe=probe)
    if course.paid is not None:
        payer, cost = course.paid
        payer.refund(cost)
    read = outcome.read
    if read is not None:
        trace.usage, trace.answer_model, trace.flags = read.usage, read.model, read.flags
    return outcome


def _failed(course: Course, outcome: Outcome, verdict: Verdict, draw: float) -> None:
    now, health = outcome.tried.ended, course.health
    course.note(outcome.target, verdict)
    if outcome.spent:
        course.until = now
    if course.owed is not None:
        payer, cost = course.owed
        payer.spend(now, cost)
    if verdict.rule.breaker and verdict.own:
        answered = outcome.answer is not None
        health.faulted(now, draw, course.plan.breaker, probe=course.end_probe(), answered=answered)
    elif outcome.answer is not None:
        health.succeeded(now, clean=False, probe=course.end_probe())
    else:
        course.leave()
    if verdict.bad_credential:
        health.mark_bad(now)
    if verdict.meaning is Meaning.OVERLOAD and not outcome.target.guards:
        # Asked for more than the cap, it is left alone for as long as is known for certain.
        cap = course.plan.retry.retry_after_cap
        health.pause(now, cap if verdict.too_long_wait else verdict.wait or 0.0)


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
        course.call = course.call.replace(body=body)
    # A connection that the server had closed says nothing against the server: it is replaced at once.
    leg = None if verdict.rule.cost else _same(course, outcome, verdict, 0.0)
    action = "retry"
    if leg is None:
        leg, action = _other(course, outcome, verdict), "fallback"
    if leg is None:
        leg, action = _same(course, outcome, verdict, (yield DRAW)), "retry"
    if leg is not None:
        reason = verdict.reason
        yield Tell(action, outcome.target.name, reason, leg.target.name, len(trace.tried), leg.wait)
    return leg


def _other(course: Course, outcome: Outcome, verdict: Verdict) -> Leg | None:
    now, cost = outcome.tried.ended, verdict.rule.cost or RULES[verdict.meaning].cost
    for target in course.onward(verdict):
        if course.enter_other(target, now):
            if _paid(course, cost, now) or _on_account(course, target, cost, now):
                return Leg(target)
            course.leave()
    return None


def _same(course: Course, outcome: Outcome, verdict: Verdict, draw: float) -> Leg | None:
    now, health = outcome.tried.ended, course.health
    wait = course.wait_to_repeat(outcome.target, verdict, draw)
    if wait is None or not course.fits(now, wait) or not course.enter(health, now):
        return None
    if wait and health.wait_in(course.plan.retry.max_waiters):
        course.waiting = health
    if (not wait or course.waiting is not None) and _paid(course, verdict.rule.cost, now):
        return Leg(outcome.target, wait)
    course.leave()
    return None


def _paid(course: Course, cost: float, now: float) -> bool:
    if cost and not course.health.spend(now, cost):
        return False
    course.paid, course.owed = (course.health, cost) if cost else None, None
    return True


def _on_account(course: Course, target: Target, cost: float, now: float) -> bool:
    """Whether *target* is asked although who failed cannot pay: nobody who is down gets more to do by that.

    All calls that are under way when a target breaks down fail at once, more of them than its budget pays for. So one
    that needs no probe vouches for itself, and is charged only if it fails too: in an outage of everybody that ends
    as soon as its own budget is spent.
    """
    health = target.health(course.call)
    if course.probe is not None or not health.affords(now, cost):
        return False
    course.paid, course.owed = None, (health, cost)
    return True


def _waited(course: Course, seconds: float) -> Generator[Any, Any, float]:
    yield Sleep(seconds)
    course.end_wait()
    now: float = yield NOW
    return now
