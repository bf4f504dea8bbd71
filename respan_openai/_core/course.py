"""Where one call stands, and where it may go from here. Decides; asks nothing and changes nobody's health."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .backoff import backoff
from .call import Mode
from .health import Entry
from .judge import Meaning
from .plan import Controls


if TYPE_CHECKING:
    from collections.abc import Iterator

    from .attempt import Outcome
    from .call import Call
    from .health import Health
    from .judge import Verdict
    from .plan import Plan, Target


#: Seconds to the first content of a stream, where another target could be asked and nobody said otherwise.
FIRST_CONTENT_SECONDS = 300.0

#: Most attempts that a call can have, whatever it asks for.
MOST_ATTEMPTS = 5

#: Added to what a server asked us to wait, as a share of it, so that not all who were told the same come back at once.
JITTER = 0.1

_FINAL = frozenset({Meaning.TRUST, Meaning.LOCAL})
_TOO_MANY_REQUESTS = 429


class Leg(NamedTuple):
    """Whom to ask, how the target's health let the call in, and after how many seconds."""

    target: Target
    entry: Entry
    wait: float = 0.0


class Course:
    """One call on its way over its targets.

    Attributes:
        call: As it is put to the next target.
        until: When it must be over, in monotonic seconds; ``None`` for no limit.
        asked: Targets that were asked, and how often.
        duplicate: Whether a provider may have worked on an attempt that failed.
        paid: What the running attempt cost, and whose retry budget paid: given back if it succeeds.
    """

    __slots__ = ("_controls", "asked", "call", "duplicate", "paid", "plan", "until")

    def __init__(self, call: Call, plan: Plan, began: float) -> None:
        self.call = call
        self.plan = plan
        self.until = None if call.timeout is None else began + call.timeout
        self.asked: dict[Target, int] = {}
        self.duplicate = False
        self.paid: tuple[Health, float] | None = None
        self._controls: Controls | None = None

    @property
    def controls(self) -> Controls:
        """What the call says about itself, looked up when first needed."""
        if self._controls is None:
            self._controls = self.plan.controls(self.call)
        return self._controls

    def first(self, now: float) -> Leg:
        """The preferred target if it is well, else the first other that is, else the preferred one for one attempt."""
        preferred = self.plan.targets[0]
        entry = preferred.health(self.call).enter(now)
        if entry is not Entry.OPEN:
            return Leg(preferred, entry)
        if not self.controls.stays:
            for target in self._others(preferred):
                entry = self.enter(target, now)
                if entry is not Entry.OPEN:
                    return Leg(target, entry)
        # A breaker may be wrong, and an attempt that fails is no worse than none.
        self._controls = self.controls._replace(attempts=1)
        return Leg(preferred, Entry.CLOSED)

    def enter(self, target: Target, now: float) -> Entry:
        """Whether *target* is well enough to be the next one."""
        health = target.health(self.call)
        return Entry.OPEN if health.paused(now) or health.is_bad(now) else health.enter(now)

    def content_until(self, began: float) -> float | None:
        """When an attempt that begins at *began* must show its first content, or its answer."""
        call = self.call
        if call.mode is not Mode.EVENTS:
            return self.until
        limit = call.first_content or self.plan.timeouts.first_content
        if limit is None and len(self.plan.targets) > 1:
            limit = FIRST_CONTENT_SECONDS
        if limit is None:
            return self.until
        return began + limit if self.until is None else min(self.until, began + limit)

    def may_go_on(self, verdict: Verdict, done: int, now: float) -> bool:
        """Whether a failure after *done* attempts need not be the end."""
        cap = self.controls.attempts or self.plan.retry.attempts
        if verdict.meaning in _FINAL or done >= min(cap, MOST_ATTEMPTS) or not self.fits(now, 0.0):
            return False
        careful = self.controls.once or self.plan.retry.on_ambiguous == "raise"
        return not (careful and verdict.meaning is Meaning.AMBIGUOUS)

    def fits(self, now: float, wait: float) -> bool:
        """Whether a wait would be over in time."""
        return self.until is None or now + wait < self.until

    def onward(self, outcome: Outcome, verdict: Verdict) -> Iterator[Target]:
        """Other targets that may be asked after *outcome*, in order."""
        if self.controls.stays:
            return
        for target in self.plan.named.get(verdict.named or "", ()):
            if self._is_possible(target) and target not in self.asked:
                yield target
        if verdict.rule.next:
            for target in self._others(*self.asked):
                if _may_follow(target, outcome.target, verdict):
                    yield target

    def wait_to_repeat(self, outcome: Outcome, verdict: Verdict, draw: float) -> float | None:
        """Seconds until the same target may be asked again; ``None`` if it may not."""
        repeats = self.asked[outcome.target] - 1
        many = verdict.meaning is Meaning.OVERLOAD and not verdict.once
        if not verdict.rule.same or verdict.too_long_wait or (repeats and not many):
            return None
        if verdict.wait is not None:
            return verdict.wait * (1 + JITTER * draw)
        if not verdict.rule.cost:  # a connection that the server had closed before
            return 0.0
        retry = self.plan.retry
        throttled = verdict.status == _TOO_MANY_REQUESTS
        base = self.controls.backoff or (retry.backoff_throttled if throttled else retry.backoff)
        return backoff(draw, repeats + 1, base=base, cap=retry.backoff_cap)

    def _others(self, *but: Target) -> Iterator[Target]:
        return (target for target in self.plan.targets if target not in but and self._is_possible(target))

    def _is_possible(self, target: Target) -> bool:
        return self.call.path in target.paths and target.unfit(self.call) is None


def _may_follow(target: Target, failed: Target, verdict: Verdict) -> bool:
    """Whether *target* would not be a way around what *failed* guards, nor of no use.

    Straight to the provider helps only if the gateway itself is broken; and a limit of the gateway's own, which may
    be a customer's budget, must hold at every target.
    """
    limited = failed.guards and verdict.own and verdict.status == _TOO_MANY_REQUESTS
    if target.direct:
        return verdict.own and not limited
    return target.guards or not limited
