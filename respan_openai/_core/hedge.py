"""A second attempt while the first is slow, and the answer of whichever comes first. Off unless asked for: it bills twice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .attempt import attempt
from .call import PASS
from .steps import Race, Racer
from .trace import Tried


if TYPE_CHECKING:
    from collections.abc import Generator

    from .attempt import Asking, Outcome
    from .course import Course
    from .trace import Trace


#: What is generated anew each time, without a trace at the provider.
_METHODS = frozenset({"/chat/completions", "/responses", "/embeddings"})


def asked(course: Course, asking: Asking, trace: Trace) -> Generator[Any, Any, Outcome]:
    """Ask once, or twice if the answer is slow to come and the call may be hedged; for plans that have a hedge."""
    after = _hedge_after(course, trace)
    if after is None:
        return (yield from attempt(asking))
    seconds: list[Asking] = []
    race = Race(_racer(asking), partial(_second, course, asking, seconds), after, _won)
    first, second = yield race
    if not seconds:
        return first  # type: ignore[no-any-return]
    return (yield from _settled(course, trace, (asking, first), (seconds[0], second)))


def _hedge_after(course: Course, trace: Trace) -> float | None:
    hedge = course.plan.hedge
    call = course.call
    if hedge is None or trace.tried or call.mode is PASS or call.path not in _METHODS or call.body is None:
        return None
    controls = course.controls
    if controls.stays or controls.once or controls.several or controls.attempts == 1:
        return None
    return course.health.hedge_after(hedge)


def _second(course: Course, asking: Asking, seconds: list[Asking], now: float) -> Racer | None:
    """The second attempt: at another target of the same kind, else at the same one; ``None`` if there is no budget."""
    hedge, health = course.plan.hedge, course.health
    if hedge is None or not health.hedge(hedge):
        return None
    # Slow is not broken: past a gateway that is well, nobody goes who would not enforce what it does.
    target = next(
        (other for other in course.neighbours() if other.guards and not other.direct), asking.target
    )
    second = course.asking(target, now)
    second.duplicate = True
    seconds.append(second)
    return _racer(second)


def _racer(asking: Asking) -> Racer:
    return Racer(_whole(asking), asking.give_back)


def _whole(asking: Asking) -> Generator[Any, Any, Outcome]:
    outcome = yield from attempt(asking)
    if outcome.verdict is None and outcome.error is not None:
        raise outcome.error
    return outcome


def _won(outcome: Outcome) -> bool:
    return outcome.verdict is None


def _settled(
    course: Course, trace: Trace, one: tuple[Asking, Outcome | None], other: tuple[Asking, Outcome | None]
) -> Generator[Any, Any, Outcome]:
    """The outcome that counts; the other is given back and recorded."""
    if one[1] is None or (other[1] is not None and one[1].verdict is not None and other[1].verdict is None):
        one, other = other, one
    asking, outcome = one
    loser, lost = other
    if outcome is None:
        raise AssertionError("unreachable")  # a race ends when somebody has
    if lost is not None:
        yield from loser.give_back()
    trace.tried.append(_lost(loser, outcome.tried.ended) if lost is None else lost.tried)
    course.health = asking.target.health(course.call)
    return outcome


def _lost(asking: Asking, now: float) -> Tried:
    name, duplicate = asking.target.name, asking.duplicate
    return Tried(
        name, asking.model, None, None, asking.began, now, possible_duplicate=duplicate, error="Hedged"
    )
